"""What happens in a sweep, as a stream of values: views consume it, and know nothing of who runs the sweep.

`seconds` is always the time since the sweep began, in seconds, as the sender measured it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from metta.sweep.goal import Objectives, Score


@dataclass(frozen=True, slots=True)
class SweepStarted:
    """A sweep begins. `trials` and `max_seconds` are its budget, where it has one.

    `run_id` and `folder` are those of its run in the store, None without one. Where it is `resumed`, what had happened
    to its trials before is told again next, in short: of their reports the last ones, without the metrics.
    """

    seconds: float
    name: str
    objectives: Objectives
    trials: int | None = None
    max_seconds: float | None = None
    run_id: str | None = None
    folder: Path | None = None
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class TrialStarted:
    """A trial is given to a worker: a new one, or a paused one at `step`. It may run `until` there.

    `attempt` counts from 1; `parent` is the trial from whose state a fork goes on.
    """

    seconds: float
    trial: int
    params: Mapping[str, object]
    step: int = 0
    until: int | None = None
    resumed: bool = False
    attempt: int = 1
    parent: int | None = None


@dataclass(frozen=True, slots=True)
class TrialReported:
    """A running trial reported its score after `step` units of resource (epochs, say): a number per objective.

    `metrics` are all that it reported then.
    """

    seconds: float
    trial: int
    step: int
    score: Score | None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrialPaused:
    """A trial gave its worker back and may be resumed.

    `reason` is why an attempt was lost that is made once more (a `FailureReason`'s value); None where the scheduler
    has paused the trial.
    """

    seconds: float
    trial: int
    step: int
    score: Score | None
    reason: str | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """A trial is over: `state` is "completed", "pruned", "failed" or "cancelled".

    A failed one has a `reason` ("user_error", "timeout", ...) and a one-line `message`. `cost` is what it has cost in
    all, in the unit of the sweep's `cost_key` (default: seconds).
    """

    seconds: float
    trial: int
    state: str
    step: int
    score: Score | None
    reason: str | None = None
    message: str = ""
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class SweepEnded:
    """The sweep is over. `error` is the one-line reason if it did not end well."""

    seconds: float
    error: str | None = None


SweepEvent = SweepStarted | TrialStarted | TrialReported | TrialPaused | TrialEnded | SweepEnded
Listener = Callable[[SweepEvent], None]


@runtime_checkable
class Callback(Protocol):
    """What `callbacks=` of a sweep takes besides plain functions of an event: a logger with its settings."""

    def listen(self) -> Listener:
        """A listener for one run of a sweep: it hears the events of that run, and of no other."""
