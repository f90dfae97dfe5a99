"""Where a sweep stands, folded from its events. Pure: O(running trials) per event, nothing is ever rescanned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from metta.sweep.report.events import (
    SweepEnded,
    SweepEvent,
    SweepStarted,
    TrialEnded,
    TrialPaused,
    TrialReported,
    TrialStarted,
)


@dataclass(frozen=True, slots=True)
class Running:
    """A trial on a worker: how far it is, how far it may go, its last score."""

    step: int
    until: int | None
    score: float | None


@dataclass(frozen=True, slots=True)
class Best:
    """The best score at the largest step reached so far: scores at different steps are not compared."""

    score: float
    trial: int
    step: int


@dataclass(frozen=True, slots=True)
class Progress:
    """The state a view draws. `ended` counts by state, `failures` by reason."""

    name: str = ""
    metric: str = "score"
    maximize: bool = True
    trials: int | None = None
    max_seconds: float | None = None
    seconds: float = 0.0
    started: int = 0
    paused: int = 0
    running: Mapping[int, Running] = field(default_factory=dict)
    ended: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    best: Best | None = None
    over: bool = False
    error: str | None = None

    @property
    def fraction(self) -> float | None:
        """How much of the budget is used: the trials that have left their workers, or the time."""
        parts = []
        if self.trials:
            parts.append((self.started - len(self.running)) / self.trials)
        if self.max_seconds:
            parts.append(self.seconds / self.max_seconds)
        return min(1.0, max(parts)) if parts else None

    @property
    def seconds_left(self) -> float | None:
        """An estimate in seconds: the rest at the pace so far. None before anything is known."""
        done = self.fraction
        return self.seconds * (1 - done) / done if done else None


def advance(progress: Progress, event: SweepEvent) -> Progress:
    """The progress after one more event."""
    now = replace(progress, seconds=event.seconds)
    match event:
        case SweepStarted():
            return Progress(
                name=event.name,
                metric=event.metric,
                maximize=event.maximize,
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
            best = _better(now, event)
            if (row_now := now.running.get(event.trial)) is None:
                return replace(now, best=best)
            row = Running(event.step, row_now.until, event.score)
            return replace(now, best=best, running={**now.running, event.trial: row})
        case TrialPaused():
            return replace(now, paused=now.paused + 1, running=_without(now.running, event.trial))
        case TrialEnded():
            failures = now.failures
            if event.reason is not None:
                failures = {**failures, event.reason: failures.get(event.reason, 0) + 1}
            return replace(
                now,
                paused=now.paused - (event.trial not in now.running),
                running=_without(now.running, event.trial),
                ended={**now.ended, event.state: now.ended.get(event.state, 0) + 1},
                failures=failures,
            )
        case SweepEnded():
            return replace(now, over=True, error=event.error)


def _better(progress: Progress, event: TrialReported) -> Best | None:
    if event.score is None or not math.isfinite(event.score):
        return progress.best
    sign = 1 if progress.maximize else -1
    best = progress.best
    if best is not None and (event.step, sign * event.score) <= (best.step, sign * best.score):
        return best
    return Best(event.score, event.trial, event.step)


def _without(running: Mapping[int, Running], trial: int) -> dict[int, Running]:
    return {number: row for number, row in running.items() if number != trial}
