"""What a sweep is given, checked before anything runs."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from metta.sweep import optimizers
from metta.sweep.errors import UsageError
from metta.sweep.executors.command import CommandTraining
from metta.sweep.executors.objective import Objective
from metta.sweep.experiments.aggregation import Aggregator
from metta.sweep.experiments.base import Experiment
from metta.sweep.experiments.budget import Budget
from metta.sweep.experiments.nested.repeats import RepeatedNested
from metta.sweep.experiments.repeats import Repeated, SeededExperiment
from metta.sweep.goal import Direction, Goal, Objectives
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.schedulers.base import Scheduler
from metta.sweep.trial import Observation, Resources, Trial

if TYPE_CHECKING:
    from metta.sweep.space import SearchSpace


def checked_base(base: object) -> Experiment[Any] | Objective:
    """`base_experiment=`.

    Raises:
        UsageError: it is no function of a trial and no experiment.
    """
    if isinstance(base, type) and issubclass(base, Experiment):
        return base()
    if isinstance(base, Experiment):
        return base
    if isinstance(base, type) and issubclass(base, CommandTraining):
        raise UsageError("base_experiment=CommandTraining is a class: write CommandTraining('python train.py ...')")
    if callable(base):
        _check_callable_with_trial(base)
        return base
    raise UsageError(f"base_experiment={base!r}: expected a function of a trial, an Experiment class or an Experiment")


def _check_callable_with_trial(objective: Objective) -> None:
    try:
        signature = inspect.signature(objective)
    except (TypeError, ValueError):  # written in C, and does not say
        return
    try:
        signature.bind(Trial({}))
    except TypeError as error:
        name = getattr(objective, "__name__", type(objective).__name__)
        raise UsageError(
            f"the objective {name}{signature} cannot be called with a trial: {error}; "
            "it takes one argument: def objective(trial): ..."
        ) from None


def checked_part(name: str, value: object, kind: type[Any]) -> Any:
    """An argument that has to be an instance of `kind`.

    Raises:
        UsageError: it is something else.
    """
    if isinstance(value, kind):
        return value
    if isinstance(value, type) and issubclass(value, kind):
        raise UsageError(f"{name}={value.__name__} is a class: write {name}={value.__name__}(...)")
    given = value.__name__ if isinstance(value, type) else repr(value)
    made = value if isinstance(value, type) else type(value)
    for other in (Optimizer, Scheduler):
        if kind in (Optimizer, Scheduler) and issubclass(made, other):
            part = other.__name__.lower()
            call = f"{given}(...)" if isinstance(value, type) else given
            raise UsageError(f"{name}={given} is {_with_article(part)}: write {part}={call}")
    raise UsageError(f"{name}={given}: expected {_with_article(kind.__name__)}")


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'AEIOUaeiou' else 'a'} {noun}"


def checked_goal(
    goal: Goal | Mapping[str, Direction | None] | None, optimizer: Optimizer, base: Experiment[Any] | Objective
) -> Goal:
    """`goal=`, by default the optimizer's own, else that of the sweep that is searched, else "maximize".

    A metric without a direction, also one that only the optimizer names, is maximized, and named in a warning.

    Raises:
        UsageError: it is no goal.
    """
    names: Mapping[str, Direction | None] = dict.fromkeys(optimizer.objective_names)
    chosen = (optimizer.goal or names or goal_of(base) or "maximize") if goal is None else goal
    if not isinstance(chosen, str | Mapping):
        raise UsageError(f'goal={goal!r}: expected "maximize", "minimize" or a mapping metric -> direction')
    if isinstance(chosen, str):
        return dict.fromkeys(names, chosen) if names else chosen
    chosen = {**names, **chosen}
    undirected = [name for name, direction in chosen.items() if direction is None]
    if undirected:
        named = ", ".join(map(repr, undirected))
        warnings.warn(f'goal= gives no direction for {named}: taken as "maximize"', UserWarning, stacklevel=3)
    return {name: "maximize" if direction is None else direction for name, direction in chosen.items()}


def goal_of(base: object) -> Direction | None:
    """Whether the score of an experiment is to be large or small; None where it does not say, or has several.

    A sweep over another sweep goes the same way as that one.
    """
    goal: object = getattr(base, "goal", None) if isinstance(base, Experiment) else None
    if isinstance(goal, Mapping) and len(goal) == 1:
        (goal,) = goal.values()
    return goal if goal in ("maximize", "minimize") else None


def check_space(optimizer: Optimizer, space: SearchSpace | None, seed: int) -> None:
    """Find out before anything runs that there is nothing to search.

    Raises:
        UsageError: one of our optimizers has no space, or no configuration meets the space's constraints.
    """
    if space is None:
        if type(optimizer).__module__.startswith(f"{optimizers.__name__}."):
            optimizer.require_space()
    elif space.constraints:
        import numpy as np

        space.sample(np.random.default_rng(seed))


def checked_text(name: str, value: object) -> str:
    """An argument that names something.

    Raises:
        UsageError: it is no text, or empty.
    """
    if isinstance(value, str) and value:
        return value
    raise UsageError(f"{name}={value!r}: expected a name")


def checked_seed(seed: object) -> int | None:
    """`seed=`.

    Raises:
        UsageError: it is no whole number of at least 0.
    """
    if seed is None or (isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0):
        return seed
    raise UsageError(f"seed={seed!r}: expected a whole number, at least 0, or None to draw one")


def checked_budget(budget: object) -> int | Budget:
    """`budget=` of a sweep.

    Raises:
        UsageError: it is no number of trials and no Budget.
    """
    Budget.of(budget)  # type: ignore[arg-type]
    return budget  # type: ignore[return-value]


def checked_observations(observations: object) -> tuple[Observation, ...]:
    """`warm_start=`.

    Raises:
        UsageError: they are no observations.
    """
    if isinstance(observations, Sequence) and all(isinstance(item, Observation) for item in observations):
        return tuple(observations)
    raise UsageError(
        f"warm_start={observations!r:.100}: expected observations, such as `result.observations` of a sweep, or "
        "load_observations(...)"
    )


def check_paths(base: Experiment[Any] | Objective, paths: Iterable[str]) -> None:
    """Find a path of the search space that the base experiment does not know, or the other way round.

    Raises:
        UsageError: there is one; the message names the nearest.
    """
    if isinstance(base, Experiment):
        base.check_params(paths)
    elif isinstance(base, CommandTraining):
        base.bound(paths)


def objective_of(
    base: Experiment[Any] | Objective,
    paths: Iterable[str] | None,
    *,
    repeats: int,
    aggregator: Aggregator,
    objectives: Objectives,
    cost_key: str | None,
) -> Objective:
    """What a worker is given to run for each trial."""
    if isinstance(base, CommandTraining) and paths is not None:
        base = base.bound(paths)
    if isinstance(base, Experiment) and base.nests:
        nested = base.evaluate_nested
        return nested if repeats == 1 else RepeatedNested(base, repeats, aggregator, objectives, cost_key)
    if repeats == 1:
        return base.evaluate if isinstance(base, Experiment) else base
    if isinstance(base, Experiment):
        base = SeededExperiment(base) if hasattr(base, "seed") else base.evaluate
    return Repeated(base, repeats, aggregator, objectives, cost_key)


def merged(own: Resources, scheduled: Resources) -> Resources:
    """What a trial gets: what the scheduler says where it says something, else what the sweep says."""
    said = {
        field.name: getattr(scheduled, field.name)
        for field in fields(Resources)
        if getattr(scheduled, field.name) != field.default
    }
    return replace(own, **said)


def allocated(scheduler: Scheduler, trial: Trial) -> Resources:
    """What the scheduler says that a trial needs.

    Raises:
        UsageError: it says something else.
    """
    found: object = scheduler.allocate_resources(trial)
    if isinstance(found, Resources):
        return found
    raise UsageError(
        f"{type(scheduler).__name__}.allocate_resources gave {found!r:.100}: it has to return Resources, such as "
        "Resources(cpus=2, gpus=1), or Resources() to leave it to the sweep"
    )


def names_repeats(repeats: int, aggregator: Aggregator) -> Mapping[str, Any] | None:
    """How repeats stand in the plan of a sweep; None where there are none."""
    if repeats == 1:
        return None
    kind = type(aggregator)
    settings: dict[str, Any] = asdict(aggregator) if is_dataclass(aggregator) else {}
    return {"n": repeats, "aggregate": f"{kind.__module__}:{kind.__qualname__}", **settings}
