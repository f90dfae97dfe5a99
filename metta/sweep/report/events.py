"""What happens in a sweep, as a stream of values: views consume it, and know nothing of who runs the sweep.

`seconds` is always the time since the sweep began, in seconds, as the sender measured it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from metta.sweep.goal import Objectives, Score


@dataclass(frozen=True, slots=True)
class SweepStarted:
    """A sweep begins. `trials` and `max_seconds` are its budget, where it has one."""

    seconds: float
    name: str
    objectives: Objectives
    trials: int | None = None
    max_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TrialStarted:
    """A trial is given to a worker: a new one, or a paused one at `step`. It may run `until` there."""

    seconds: float
    trial: int
    params: Mapping[str, object]
    step: int = 0
    until: int | None = None
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class TrialReported:
    """A running trial reported its score after `step` units of resource (epochs, say): a number per objective."""

    seconds: float
    trial: int
    step: int
    score: Score | None


@dataclass(frozen=True, slots=True)
class TrialPaused:
    """A trial gave its worker back and may be resumed."""

    seconds: float
    trial: int
    step: int
    score: Score | None


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """A trial is over: `state` is "completed", "pruned", "failed" or "cancelled".

    A failed one has a `reason` ("user_error", "timeout", ...) and a one-line `message`.
    """

    seconds: float
    trial: int
    state: str
    step: int
    score: Score | None
    reason: str | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class SweepEnded:
    """The sweep is over. `error` is the one-line reason if it did not end well."""

    seconds: float
    error: str | None = None


SweepEvent = SweepStarted | TrialStarted | TrialReported | TrialPaused | TrialEnded | SweepEnded
Listener = Callable[[SweepEvent], None]
