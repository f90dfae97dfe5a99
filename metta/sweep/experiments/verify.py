"""Was every decision of a sweep the one that its optimizer and its scheduler take? `metta-sweep doctor --replay`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, cast

from metta.sweep.errors import UsageError
from metta.sweep.experiments.plan import Plan
from metta.sweep.experiments.restore import Parts, restore
from metta.sweep.experiments.sweep_facts import facts_of, recorded_space, start_of
from metta.sweep.goal import Objectives
from metta.sweep.optimizers import OPTIMIZERS
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.optimizers.params import ParamsCodec
from metta.sweep.registry import Registry
from metta.sweep.schedulers import SCHEDULERS
from metta.sweep.schedulers.base import Scheduler
from metta.sweep.space import SearchSpace
from metta.sweep.store.run import Run


def verify_sweep(run: Run, optimizer: Optimizer | None = None, scheduler: Scheduler | None = None) -> list[str]:
    """Feed the recorded order of events to a fresh optimizer and scheduler; compare all they suggest and decide.

    Args:
        run: a sweep.
        optimizer, scheduler: as the sweep was given them; None to make them from the record, where they are ours.

    Returns:
        The differences as text, the first one of each; none where everything is reproduced. What another optimizer or
        scheduler has decided, before it was replaced in a resumption, is not compared.

    Raises:
        UsageError: one of them is not ours, or its arguments are no JSON values: give it.
        DamagedError: the journal is not what was written, or tells of no sweep.
    """
    plan, seed = _recorded(run)
    if optimizer is None:
        optimizer = cast("Optimizer", _made(plan["optimizer"], OPTIMIZERS))
        optimizer.bind(search_space=_space(plan, run.journal.path))
    if scheduler is None:
        scheduler = cast("Scheduler", _made(plan["scheduler"], SCHEDULERS))
    objectives = Objectives(tuple(plan["objectives"]), tuple(plan["objectives"].values()))

    def fresh() -> Parts:
        own, other = optimizer.copy(), scheduler.copy()
        own.bind(goal=plan["objectives"], seed=seed)
        other.search_space = own.search_space
        other.bind(objectives=objectives, seed=seed)
        return own, other

    return restore(run.journal, ParamsCodec(optimizer.search_space), fresh, from_start=True, limit=math.inf).differences


def _recorded(run: Run) -> tuple[Plan, int]:
    """The newest plan of a sweep, and its seed."""
    facts = facts_of(run.journal, start_of(run.journal), run.journal.snapshot())
    return facts.plan, facts.seed


def _space(plan: Plan, path: Path) -> SearchSpace | None:
    space = recorded_space(plan, path)
    if space is None and plan["space"] is not None:
        raise UsageError("the search space has functions or classes in it, which are not stored: give the optimizer")
    return space


def _made(recorded: Mapping[str, Any], registry: Registry) -> Any:
    """An optimizer or scheduler of ours from its recorded class and arguments; nobody else's code is loaded."""
    name, arguments = recorded["class"], recorded["arguments"]
    if name not in registry.builtin.values():
        raise UsageError(f"its {registry.kind} is {name}, which is not ours: give verify_sweep({registry.kind}=...)")
    module, _, attribute = name.partition(":")
    cls = getattr(import_module(module), attribute)
    given: dict[str, Any] = {}
    for parameter in signature(cls).parameters.values():
        if parameter.name in arguments:
            value = arguments[parameter.name]
            given |= value if parameter.kind is Parameter.VAR_KEYWORD else {parameter.name: value}
    return cls(**given)
