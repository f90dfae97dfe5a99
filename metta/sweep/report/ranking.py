"""The order of a sweep's trials: by the resource they reached, then by score."""

from __future__ import annotations

from collections.abc import Iterable

from metta.sweep.goal import Losses, Objectives, fronts, ranked
from metta.sweep.trial import Result, Trial, TrialState


def ranking(trials: Iterable[Trial], objectives: Objectives) -> tuple[Trial, ...]:
    """The trials with a finite score that did not fail, best first: by resource reached, then by score.

    Several objectives rank by front of non-domination, then by crowding distance, the most isolated first (Deb et al.,
    2002, NSGA-II, section III). Ties break by trial number.
    """
    by_step = _by_step(trials, objectives)
    found: list[Trial] = []
    for step in sorted(by_step, reverse=True):
        by_number = {trial.id: trial for trial, _ in by_step[step]}
        found += (by_number[number] for number in ranked((trial.id, losses) for trial, losses in by_step[step]))
    return tuple(found)


def pareto_front(trials: Iterable[Trial], objectives: Objectives) -> tuple[Trial, ...]:
    """The trials that no other one beats in all objectives, among those that reached the largest resource.

    In the order of their numbers. With one objective it is the best trial, and those that are just as good.
    """
    by_step = _by_step(trials, objectives)
    if not by_step:
        return ()
    candidates = by_step[max(by_step)]
    members = fronts([losses for _, losses in candidates])[0]
    return tuple(sorted((candidates[index][0] for index in members), key=lambda trial: trial.id))


def _by_step(trials: Iterable[Trial], objectives: Objectives) -> dict[int, list[tuple[Trial, Losses]]]:
    found: dict[int, list[tuple[Trial, Losses]]] = {}
    for trial in trials:
        if trial.state is not TrialState.FAILED and trial.score is not None and Result(trial.score).is_usable:
            found.setdefault(trial.step, []).append((trial, objectives.losses(trial.score)))
    return found
