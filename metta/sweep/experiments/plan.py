"""What a sweep is: what must not change between a run and its resumption, and how to tell what has."""

from __future__ import annotations

import json
import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from metta.sweep.compiler.fingerprint import fingerprint_of, fingerprints
from metta.sweep.errors import UsageError
from metta.sweep.executors.command import CommandTraining
from metta.sweep.executors.objective import Objective
from metta.sweep.experiments.base import Experiment
from metta.sweep.goal import Objectives
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.schedulers.base import Scheduler
from metta.sweep.trial import Observation

if TYPE_CHECKING:
    from metta.sweep.space import Distribution, SearchSpace

Plan = dict[str, Any]
"""The plan of a sweep as JSON values; see `plan_of`."""

FIXED = ("objectives", "cost_key", "seed", "repeats")
"""What cannot change in a sweep: results of different goals are not comparable, and a seed is the sweep's own."""

_OPTIMIZER_BINDS = {"search_space", "goal"}
_SCHEDULER_BINDS = {"objectives", "search_space"}


def plan_of(
    *,
    objective: Experiment[Any] | Objective,
    space: SearchSpace | None,
    optimizer: Optimizer,
    scheduler: Scheduler,
    objectives: Objectives,
    cost_key: str | None,
    seed: int | None,
    repeats: Mapping[str, Any] | None = None,
    nested: bool = False,
    warm_start: Sequence[Observation] = (),
) -> Plan:
    """The plan of a sweep, as JSON values.

    Args:
        objective: what a trial runs.
        space: what is searched.
        optimizer, scheduler: as the user gave them, not the run's copies.
        objectives: the metrics to optimize.
        cost_key: the metric that holds a trial's cost.
        seed: as the user gave it; None where it was drawn.
        repeats: how often each configuration is run, and how its scores become one; None for once.
        nested: whether the trials run in the driver.
        warm_start: what the optimizer was told before it began.
    """
    plan = {
        "objective": _objective(objective),
        "space": None if space is None else _space(space),
        "optimizer": {"class": _name(type(optimizer)), "arguments": arguments(optimizer, _OPTIMIZER_BINDS)},
        "scheduler": {
            "class": _name(type(scheduler)),
            "arguments": arguments(scheduler, _SCHEDULER_BINDS),
            "synchronous": scheduler.synchronous,
        },
        "objectives": dict(zip(objectives.keys, objectives.directions, strict=True)),
        "cost_key": cost_key,
        "seed": seed,
    }
    if repeats is not None:
        plan["repeats"] = dict(repeats)
    if nested:
        plan["nested"] = True
    if warm_start:
        plan["warm_start"] = _told(warm_start)
    return plan


def _told(observations: Sequence[Observation]) -> str:
    """How many results an optimizer starts with, and a digest of them."""
    known = [[_plain(dict(found.trial.params)), _plain(found.result.score)] for found in observations]
    return f"{len(known)} observations {fingerprint_of(json.dumps(known))}"


def changes(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """What has changed: the part of the plan -> "recorded -> now", item by item where it has items."""
    found = {}
    for part in recorded.keys() | now.keys():
        old, new = recorded.get(part), now.get(part)
        if old == new or (part == "seed" and new is None):
            continue
        lines = _differences(part, old, new)
        found[part] = "; ".join(lines)
    return dict(sorted(found.items()))


def _differences(path: str, old: Any, new: Any) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        return [
            line
            for key in keys
            if old.get(key) != new.get(key)
            for line in _differences(f"{path}.{key}", old.get(key), new.get(key))
        ]
    return [f"{path}: {_shown(old)} -> {_shown(new)}"]


def _shown(value: Any) -> str:
    text = "nothing" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _objective(objective: Experiment[Any] | Objective) -> dict[str, Any]:
    """Names and digests. The bytecode belongs to a version of Python, so that stands beside it."""
    python = ".".join(platform.python_version_tuple()[:2])
    if isinstance(objective, CommandTraining):
        return {"name": "CommandTraining", "command": list(objective.command)}
    if not isinstance(objective, Experiment):
        name = getattr(objective, "__qualname__", type(objective).__qualname__)
        return {"name": name, "code": f"{fingerprint_of(objective)} (Python {python})"}
    stages = "no pipeline"
    if type(objective).pipeline is not Experiment.pipeline:
        stages = fingerprint_of(list(fingerprints(objective._compiled().graph).values()))
    code = fingerprint_of([type(objective).evaluate, stages])
    return {
        "name": _name(type(objective)),
        "code": f"{code} (Python {python})",
        "settings": objective._settings(),
    }


def _space(space: SearchSpace) -> dict[str, Any]:
    try:
        data = space.to_json()
        json.dumps(data, allow_nan=False)
    except (UsageError, ValueError, TypeError):
        # A constraint is a function, or a choice is a class: digests stand for them.
        return {
            "parameters": {path: _distribution(known) for path, known in space.items()},
            "constraints": [
                " ".join(
                    [known.name, *(fingerprint_of(fn) for fn in (known.predicate, known.repair) if fn is not None)]
                )
                for known in space.constraints
            ],
            "is_digest": True,
        }
    return data


def _distribution(distribution: Distribution[Any]) -> dict[str, Any]:
    fields = {name: _plain(getattr(distribution, name)) for name in type(distribution).model_fields}
    return {**fields, "type": type(distribution).__name__, "conditions": list(map(str, distribution.conditions))}


def arguments(part: object, bound: Collection[str]) -> dict[str, Any]:
    """The public attributes, without those that the run fills in."""
    return {
        name: _plain(value)
        for name, value in sorted(vars(part).items())
        if not name.startswith("_") and name not in bound
    }


def _plain(value: Any) -> Any:
    """A JSON value as it is read back; a digest of anything else."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        pass
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Experiment):
        return {"class": _name(type(value)), **value._settings()}
    if is_dataclass(value) and not isinstance(value, type):
        own = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return {"class": _name(type(value)), **own}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(item) for key, item in value.items()}
    return f"{type(value).__qualname__} {fingerprint_of(value)}"


def _name(kind: type[Any]) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"
