"""A sweep as data at one moment: all that figures, the report and the web page show of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from metta.sweep.goal import Objectives
from metta.sweep.trial import FailureReason, Trial, TrialState


@dataclass(frozen=True, slots=True)
class Span:
    """One attempt of a trial on a worker.

    Attributes:
        trial: its number.
        attempt: counted from 1 for each trial.
        worker: where it ran, as its executor calls it; "" where nobody said.
        began: when it was handed to a worker, in seconds since the sweep began.
        ended: when it was over; None while it runs.
        end: "running", "paused", "completed", "pruned", "failed", "preempted" (the machine was taken away), "lost"
            (nobody knows what became of it) or "cancelled".
        reason: why it failed: the `FailureReason` and its message; "" otherwise.
    """

    trial: int
    attempt: int
    worker: str
    began: float
    ended: float | None
    end: str
    reason: str = ""


def state_text(state: TrialState, status: str) -> str:
    """The state of a trial as it is told: what ran when the last driver of its sweep ended does so no more.

    Args:
        state: as the journal has it; a driver that dies writes nothing.
        status: of the run, such as "running" or "interrupted".
    """
    return "stopped" if state is TrialState.RUNNING and status != "running" else state.value


@dataclass(frozen=True, slots=True)
class SweepSnapshot:
    """A sweep at one moment.

    Attributes:
        run_id: of its run in the store; None without a store.
        name: of the sweep.
        status: "running", "interrupted", "completed", "failed" or "cancelled".
        objectives: what is optimized.
        space: the distributions by path, as JSON values; empty where the optimizer has none.
        trials: all of them, `trials[i].id == i`. Their reports are read from the run when they are asked for.
        spans: the attempts in the order in which they began; empty without a store.
        seconds: how long it has run, without the time between two drivers.
        ended: why it ended, as a phrase; None while it goes on.
        budget_trials: how many trials it may start; None where something else limits it.
        version: grows with every change of the run.
    """

    run_id: str | None
    name: str
    status: str
    objectives: Objectives
    trials: tuple[Trial, ...]
    seconds: float = 0.0
    space: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    spans: tuple[Span, ...] = ()
    ended: str | None = None
    budget_trials: int | None = None
    version: int = 0

    @property
    def counts(self) -> Mapping[TrialState, int]:
        """How many trials there are in each state."""
        return Counter(trial.state for trial in self.trials)

    @property
    def failures(self) -> Mapping[FailureReason, int]:
        """How many trials failed, by reason."""
        return Counter(trial.failure.reason for trial in self.trials if trial.failure is not None)
