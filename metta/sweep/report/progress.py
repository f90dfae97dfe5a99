"""Where a sweep stands, folded from its events.

Pure: O(running trials, and trials of the Pareto front) per event, nothing is ever rescanned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from metta.sweep.goal import Losses, Objectives, Score, dominates
from metta.sweep.report.events import (
    SweepEnded,
    SweepEvent,
    SweepStarted,
    TrialEnded,
    TrialPaused,
    TrialReported,
    TrialStarted,
)
from metta.sweep.report.failed import failed_by_reason
from metta.sweep.report.pace import seconds_left, used_share
from metta.sweep.report.snapshot import SweepSnapshot
from metta.sweep.trial import TrialState


@dataclass(frozen=True, slots=True)
class Running:
    """A trial on a worker: how far it is, how far it may go, its last score."""

    step: int
    until: int | None
    score: Score | None


@dataclass(frozen=True, slots=True)
class Best:
    """The best score at the largest step reached so far: scores at different steps are not compared."""

    score: float
    trial: int
    step: int


@dataclass(frozen=True, slots=True)
class Front:
    """The trials that no other one beats in all objectives, with their losses, at the largest step reached so far."""

    trials: Mapping[int, Losses] = field(default_factory=dict)
    step: int = 0


@dataclass(frozen=True, slots=True)
class LastFailure:
    """The trial that failed last for some reason, and its message."""

    trial: int
    message: str


@dataclass(frozen=True, slots=True)
class Progress:
    """The state a view draws. `ended` counts by state, `failures` by reason, `last_failures` are those by reason.

    With one objective there is a `best`, with several a `front`.
    """

    name: str = ""
    objectives: Objectives = field(default_factory=Objectives)
    trials: int | None = None
    max_seconds: float | None = None
    seconds: float = 0.0
    started: int = 0
    paused: int = 0
    running: Mapping[int, Running] = field(default_factory=dict)
    ended: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    last_failures: Mapping[str, LastFailure] = field(default_factory=dict)
    best: Best | None = None
    front: Front = Front()
    over: bool = False
    error: str | None = None

    @property
    def fraction(self) -> float | None:
        """How much of the budget is used: the trials that have left their workers, or the time."""
        return used_share((self.started - len(self.running), self.trials), (self.seconds, self.max_seconds))

    @property
    def seconds_left(self) -> float | None:
        """An estimate; None where there is none, and once it is over."""
        return None if self.over else seconds_left(self.seconds, self.fraction)


def progress_of(snapshot: SweepSnapshot) -> Progress:
    """The progress of a sweep that somebody else drives, in one pass over its trials."""
    scored = [trial for trial in snapshot.trials if trial.score is not None]
    progress = Progress(name=snapshot.name, objectives=snapshot.objectives, trials=snapshot.budget_trials)
    for trial in sorted(scored, key=lambda trial: trial.step):
        report = TrialReported(0.0, trial.id, trial.step, trial.score)
        best, front = _better(progress, report), _advanced(progress, report)
        if best is not progress.best or front is not progress.front:
            progress = replace(progress, best=best, front=front)
    counts, failed = snapshot.counts, failed_by_reason(snapshot.trials)
    return replace(
        progress,
        seconds=snapshot.seconds,
        started=len(snapshot.trials),
        paused=counts.get(TrialState.PAUSED, 0),
        running={
            trial.id: Running(trial.step, trial.resource or None, trial.score)
            for trial in snapshot.trials
            if trial.state is TrialState.RUNNING
        },
        ended={state.value: number for state, number in counts.items() if state.is_finished},
        failures={each.reason.value: each.count for each in failed},
        last_failures={each.reason.value: LastFailure(each.last.id, each.failure.message) for each in failed},
        over=snapshot.ended is not None,
    )


def advance(progress: Progress, event: SweepEvent) -> Progress:
    """The progress after one more event."""
    now = replace(progress, seconds=event.seconds)
    match event:
        case SweepStarted():
            return Progress(
                name=event.name,
                objectives=event.objectives,
                trials=event.trials,
                max_seconds=event.max_seconds,
                seconds=event.seconds,
            )
        case TrialStarted():
            row = Running(event.step, event.until, None)
            return replace(
                now,
                started=now.started + (not event.resumed),
                paused=now.paused - event.resumed,
                running={**now.running, event.trial: row},
            )
        case TrialReported():
            now = replace(now, best=_better(now, event), front=_advanced(now, event))
            if (row_now := now.running.get(event.trial)) is None:
                return now
            row = Running(event.step, row_now.until, event.score)
            return replace(now, running={**now.running, event.trial: row})
        case TrialPaused():
            return replace(now, paused=now.paused + 1, running=_without(now.running, event.trial))
        case TrialEnded():
            failures, last = now.failures, now.last_failures
            if event.reason is not None:
                failures = {**failures, event.reason: failures.get(event.reason, 0) + 1}
                last = {**last, event.reason: LastFailure(event.trial, event.message)}
            return replace(
                now,
                paused=now.paused - (event.trial not in now.running),
                running=_without(now.running, event.trial),
                ended={**now.ended, event.state: now.ended.get(event.state, 0) + 1},
                failures=failures,
                last_failures=last,
            )
        case SweepEnded():
            return replace(now, over=True, error=event.error)


def _better(progress: Progress, event: TrialReported) -> Best | None:
    score, best = event.score, progress.best
    if not isinstance(score, int | float) or not math.isfinite(score):
        return best
    sign = 1 if progress.objectives.directions[0] == "maximize" else -1
    if best is not None and (event.step, sign * score) <= (best.step, sign * best.score):
        return best
    return Best(score, event.trial, event.step)


def _advanced(progress: Progress, event: TrialReported) -> Front:
    """The front after a report."""
    score, front = event.score, progress.front
    if not isinstance(score, Mapping) or not all(map(math.isfinite, score.values())) or event.step < front.step:
        return front
    losses = progress.objectives.losses(score)
    others = front.trials if event.step == front.step else {}
    if any(dominates(other, losses) for other in others.values()):
        return front
    kept = {number: other for number, other in others.items() if not dominates(losses, other)}
    return Front({**kept, event.trial: losses}, event.step)


def _without(running: Mapping[int, Running], trial: int) -> dict[int, Running]:
    return {number: row for number, row in running.items() if number != trial}
