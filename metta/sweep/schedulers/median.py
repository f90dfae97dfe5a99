"""The median stopping rule (Golovin et al., "Google Vizier: A Service for Black-Box Optimization", KDD 2017, 3.2.2)."""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from metta.sweep.goal import Losses
from metta.sweep.schedulers.base import Action, Scheduler, Verdict, positive, resource_argument
from metta.sweep.space import Distribution, Integer
from metta.sweep.trial import Report, Result, Trial, number_to_json

LONGEST_TUNED_GRACE = 20
"""The longest grace period that `tunables` offers where trials end by themselves."""


class _Curve(NamedTuple):
    """A completed trial: at `steps[k]`, and until the next of them, its running averages are `averages[k]`."""

    steps: list[int]
    averages: list[Losses]

    def until(self, step: int) -> Losses | None:
        """The averages of what was reported up to `step`; None where that is nothing."""
        index = bisect_right(self.steps, step)
        return self.averages[index - 1] if index else None


class MedianStoppingScheduler(Scheduler):
    """Stops trials that have been worse than usual; launches a new one whenever a slot is free.

    A trial that reports step s is stopped, as pruned, if its best value up to s is strictly worse than the median over
    all completed trials of the average of what each had reported up to s. Completed are those that were trained to
    their end, with a finite last score; one that had not reported by step s has no part in it.

    With several objectives a trial is stopped only if this holds for each of them: one at which it is good keeps it.
    NaN is the worst value.

    Args:
        grace_period: units of resource before which no trial is stopped.
        min_trials: how many completed trials that have reported up to s it takes.
        max_resource: units of resource after which a trial is complete; None where trials end by themselves.
            `max_epochs` and `max_t` are accepted too.
        max_parallel: trials that may run at once; None for as many as the executor has slots.
        seed: not used; accepted so that schedulers can be swapped.

    Raises:
        UsageError: an argument is out of range.
    """

    forks: ClassVar[bool] = False

    def __init__(
        self,
        grace_period: int = 1,
        min_trials: int = 5,
        *,
        max_resource: int | None = None,
        max_epochs: int | None = None,
        max_t: int | None = None,
        max_parallel: int | None = None,
        seed: int | None = None,
    ) -> None:
        limit = resource_argument(None, max_resource=max_resource, max_epochs=max_epochs, max_t=max_t)
        super().__init__(max_resource=limit, max_parallel=max_parallel, seed=seed)
        self.grace_period: int = positive("grace_period", grace_period)
        self.min_trials: int = positive("min_trials", min_trials)
        self._best: dict[int, Losses] = {}
        """Of trials that are not over, the best value of each objective; it follows from their reports."""
        self._completed: dict[int, _Curve] = {}
        self._at_step: dict[int, list[list[float]]] = {}
        """Step -> for each objective the averages of the completed trials, in order; of the steps that were asked
        for. It follows from `_completed`."""

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        """A grace period is over by the middle of a training, where its length is known."""
        longest = LONGEST_TUNED_GRACE if self.max_resource is None else self.max_resource // 2
        found: dict[str, Distribution[Any]] = {"min_trials": Integer(1, 10)}
        if longest > 1:
            found["grace_period"] = Integer(1, longest, log=True)
        return found

    def should_stop(self, trial: Trial) -> bool:
        """Does the rule stop this trial at its last report?"""
        best = self._best.get(trial.id)
        if best is None or trial.step < self.grace_period:
            return False
        averages = self._averages(trial.step)
        if len(averages[0]) < self.min_trials:
            return False
        return all(loss > _median(known) for loss, known in zip(best, averages, strict=True))

    def on_report(self, trial: Trial, report: Report) -> Verdict:
        self._best[trial.id] = self._best_so_far(trial, report)
        verdict = super().on_report(trial, report)
        if verdict.action is Action.COMPLETE:
            self.on_complete(trial)
        elif verdict.action is Action.STOP:
            self._best.pop(trial.id)
        return verdict

    def on_complete(self, trial: Trial) -> None:
        self._best.pop(trial.id, None)
        if not Result(trial.score).is_usable:
            return
        curve = self._completed[trial.id] = self._curve(trial)
        for step, averages in self._at_step.items():
            _enter(averages, curve.until(step))

    def on_failure(self, trial: Trial) -> None:
        self._best.pop(trial.id, None)

    def state_dict(self) -> dict[str, Any]:
        return {
            "completed": [
                [number, curve.steps, list(map(_to_json, curve.averages))] for number, curve in self._completed.items()
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._completed = {
            number: _Curve(list(steps), list(map(_from_json, averages)))
            for number, steps, averages in state["completed"]
        }
        self._best, self._at_step = {}, {}

    def _best_so_far(self, trial: Trial, report: Report) -> Losses:
        # At its first report, or its first after a failure or a restart, all that it has reported is looked at.
        known = [self._best[trial.id]] if trial.id in self._best else list(map(self._losses, trial.reports))
        return tuple(min(losses) for losses in zip(self._losses(report), *known, strict=True))

    def _losses(self, report: Report) -> Losses:
        return self.objectives.losses(self.objectives.score(report.metrics))

    def _curve(self, trial: Trial) -> _Curve:
        steps: list[int] = []
        averages: list[Losses] = []
        sums = (0.0,) * len(self.objectives.keys)
        for count, report in enumerate(trial.reports, 1):
            sums = tuple(known + loss for known, loss in zip(sums, self._losses(report), strict=True))
            steps.append(report.step)
            averages.append(tuple(_worst_if_nan(known / count) for known in sums))
        return _Curve(steps, averages)

    def _averages(self, step: int) -> list[list[float]]:
        """For each objective the running averages of the completed trials at `step`, in order."""
        if step not in self._at_step:
            averages: list[list[float]] = [[] for _ in self.objectives.keys]
            for curve in self._completed.values():
                _enter(averages, curve.until(step))
            self._at_step[step] = averages
        return self._at_step[step]


def _enter(averages: list[list[float]], new: Losses | None) -> None:
    for known, average in zip(averages, new or (), strict=False):
        insort(known, average)


def _median(ordered: list[float]) -> float:
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _worst_if_nan(average: float) -> float:
    """Infinities of both signs have no average."""
    return math.inf if math.isnan(average) else average


def _to_json(losses: Losses) -> list[float | str]:
    return [number_to_json(loss) for loss in losses]


def _from_json(losses: list[float | str]) -> Losses:
    return tuple(map(float, losses))
