"""The trials that a phase of a search knows from those before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from metta.sweep.contracts.records import record_fields_of_value
from metta.sweep.experiments.results import SweepResult
from metta.sweep.experiments.strategies.records import FittedModel, Found
from metta.sweep.goal import Direction
from metta.sweep.pipeline.context import Context
from metta.sweep.trial import Observation, Result, Trial, TrialState

DEEPEST: Final = 4
"""How deep trials are looked for: a context's field may hold the list of what parallel arms have found."""


def trials_in(value: object) -> list[Trial]:
    """The trials that a context, a record, a result or a list holds, in order, each once.

    Those that agree in parameters, steps and outcome are one: the same trial reaches a phase on several ways.
    """
    found: dict[object, Trial] = {}
    for trial in _inside(value, DEEPEST):
        found.setdefault(_identity(trial), trial)
    return list(found.values())


def _inside(value: object, depth: int) -> Iterator[Trial]:
    if isinstance(value, Trial):
        yield value
    elif depth:
        for item in _items(value):
            yield from _inside(item, depth - 1)


def _items(value: object) -> Iterable[object]:
    if isinstance(value, Found | FittedModel):
        return value.observed
    if isinstance(value, SweepResult):
        return value.trials
    if isinstance(value, Context):
        return value._asdict().values()
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, list | tuple | set | frozenset):
        return value
    return (record_fields_of_value(value) or {}).values()


def _identity(trial: Trial) -> tuple[object, ...]:
    return _configuration(trial), trial.step, repr(trial.score), trial.state


def _configuration(trial: Trial) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((path, repr(value)) for path, value in trial.params.items()))


def ranking(trials: Iterable[Trial], direction: Direction, full: int | None) -> list[Trial]:
    """The trials with a score, best first.

    Args:
        trials: of any phases.
        direction: of the score.
        full: units of resource of a full training. A trial that has used less is worse than one that has used more;
            whatever is beyond is equal. None where a training has no such measure: then only the score counts.
    """
    scored: list[tuple[int, float, Trial]] = []
    for trial in trials:
        if isinstance(trial.score, float | int) and trial.state is not TrialState.FAILED:
            if Result(trial.score).is_usable:
                reached = 0 if full is None else min(trial.step, full)
                scored.append((-reached, -trial.score if direction == "maximize" else trial.score, trial))
    return [trial for _, _, trial in sorted(scored, key=lambda it: it[:2])]


def different(trials: Iterable[Trial]) -> list[Trial]:
    """The first trial of every configuration: forks and repeats of one are told apart by nothing else."""
    found: dict[object, Trial] = {}
    for trial in trials:
        found.setdefault(_configuration(trial), trial)
    return list(found.values())


def observations(trials: Sequence[Trial]) -> list[Observation]:
    """What an optimizer can learn of them."""
    return [
        Observation(trial, Result(trial.score, trial.cost, trial.failure))
        for trial in trials
        if trial.score is not None or trial.failure is not None
    ]
