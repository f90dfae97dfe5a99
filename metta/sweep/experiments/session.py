"""One running sweep: its ledger, and the executor that does what the ledger decides.

The stages of `SweepExperiment.pipeline()` are the functions at the end of this module.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from metta.sweep.errors import RunError
from metta.sweep.executors.base import (
    Answer,
    Event,
    EventStream,
    Executor,
    Failed,
    Finished,
    Logged,
    Reported,
    Started,
    StateSaved,
)
from metta.sweep.executors.objective import Objective, Outcome, trial_task
from metta.sweep.experiments.ledger import Grant, Halt, Ledger
from metta.sweep.experiments.results import SweepRecord
from metta.sweep.report.events import SweepEnded, SweepEvent, SweepStarted
from metta.sweep.schedulers.base import Action, Decision, Scheduler, Wait
from metta.sweep.trial import Failure, Trial

Move = Decision | Halt
"""What a sweep does next: a decision of its scheduler, or the end of its budget."""


class Standing(NamedTuple):
    """Where a sweep stands after each pass of its loop.

    Attributes:
        trials: configurations started.
        running: trials that have a slot.
        over: whether the loop ends here.
    """

    trials: int
    running: int
    over: bool


@dataclass(slots=True)
class Attempt:
    """One grant in the hands of the executor.

    Attributes:
        grant: the trial, as the ledger gave it.
        granted: the trial's resource at the start; 0 for no limit.
        saved_step: the step of the state that it goes on from.
        reported: whether it has reported anything.
        decided: nothing that it still does can change its trial.
    """

    grant: Grant
    granted: int
    saved_step: int
    reported: bool = False
    decided: bool = False


class Session:
    """What the stages of a sweep share while it runs.

    Args:
        name: the sweep's, for its record.
        seed: the sweep's, for its record.
        ledger: the state of the sweep.
        scheduler: asked what each trial needs before it starts.
        objective: what a trial runs.
        executor: where it runs.
        folder: for the trials' states and logs.
        run_id: begins the tokens of all attempts.
        clock: seconds since the sweep began.
        tell: hears the begin and the end.
    """

    def __init__(
        self,
        *,
        name: str,
        seed: int,
        ledger: Ledger,
        scheduler: Scheduler,
        objective: Objective,
        executor: Executor,
        folder: Path,
        run_id: str,
        clock: Callable[[], float],
        tell: Callable[[SweepEvent], None],
    ) -> None:
        self.name = name
        self.seed = seed
        self.ledger = ledger
        self._scheduler = scheduler
        self._objective = objective
        self._executor = executor
        self._folder = folder
        self._run_id = run_id
        self._clock = clock
        self._tell = tell
        self._events: EventStream = executor.events()
        self._attempts: dict[str, Attempt] = {}
        self._submitted = 0
        self._saved: dict[int, tuple[int, Path]] = {}
        self._stopping = False

    @property
    def standing(self) -> Standing:
        """Where the sweep stands now."""
        running = sum(not attempt.decided for attempt in self._attempts.values())
        return Standing(len(self.ledger.trials), running, self.ledger.over is not None)

    def decide(self) -> Move:
        """What to do next."""
        return Halt("it was cancelled") if self._stopping else self.ledger.decide()

    def submit(self) -> list[Trial]:
        """Hand the executor what may start or go on now."""
        grants = self.ledger.grants(blocked=[attempt.grant.trial.id for attempt in self._attempts.values()])
        for grant in grants:
            self._submit(grant)
        return [grant.trial for grant in grants]

    def next_events(self) -> list[Event]:
        """Wait for the events up to the first one that may change what happens next.

        Returns early when the budget's time is over and when the sweep is stopped.
        """
        deadline = self.ledger.budget.seconds
        events: list[Event] = []
        with contextlib.suppress(TimeoutError):
            while not self._stopping and not (events and isinstance(events[-1], Reported | Finished | Failed)):
                limit = None if deadline is None else max(0.0, deadline - self._clock())
                events.append(self._events.get(limit))
        return events

    def fold(self, event: Event) -> None:
        """Take an event of the executor into the ledger, and answer it."""
        attempt = self._attempts.get(event.token)
        if attempt is None:
            return
        trial = attempt.grant.trial
        match event:
            case Started():
                if not attempt.decided:
                    self.ledger.began(attempt.grant, attempt.saved_step)
            case StateSaved():
                self._saved[trial.id] = (event.step, event.path)
            case Reported():
                self._fold_report(event, attempt)
            case Finished():
                del self._attempts[event.token]
                if not attempt.decided:
                    self._fold_result(event, attempt)
            case Failed():
                del self._attempts[event.token]
                if not attempt.decided:
                    self.ledger.failed(trial, Failure(event.reason, event.message, event.traceback))

    def halt(self) -> None:
        """Take back everything that the executor still does for this sweep."""
        for token, attempt in self._attempts.items():
            attempt.decided = True
            self._executor.cancel(token)

    def stop(self) -> None:
        """End the sweep soon, as cancelled. Any thread may call it; the stages then come to their end."""
        self._stopping = True
        self._events.put(_WAKE)

    async def close(self) -> None:
        """When the stages have ended: halt, and wait until nothing of this sweep runs any more."""
        self.halt()
        while self._attempts:
            event = await self._events.aget()
            if isinstance(event, Finished | Failed):
                self._attempts.pop(event.token, None)

    def begin(self) -> None:
        """Tell the listeners that the sweep begins."""
        objectives, budget = self.ledger.objectives, self.ledger.budget
        maximize = objectives.directions[0] == "maximize"
        self._tell(SweepStarted(self._clock(), self.name, objectives.keys[0], maximize, budget.trials, budget.seconds))

    def record(self) -> SweepRecord:
        """The sweep so far, as data."""
        return SweepRecord(
            name=self.name,
            objectives=self.ledger.objectives,
            trials=tuple(self.ledger.trials),
            seconds=self._clock(),
            seed=self.seed,
            ended=self.ledger.over or "it goes on",
            recomputed=self.ledger.recomputed,
        )

    def end(self, error: BaseException | None) -> None:
        """Tell the listeners that the sweep is over."""
        told = None
        if error is not None:
            cancelled = isinstance(error, asyncio.CancelledError)
            told = "cancelled" if cancelled else f"{type(error).__name__}: {error}"
        self._tell(SweepEnded(self._clock(), told))

    def _submit(self, grant: Grant) -> None:
        trial = grant.trial
        resources = self._scheduler.allocate_resources(trial)
        self._submitted += 1
        token = f"{self._run_id}-{self._submitted}-trial-{trial.id}"
        saved_step, restore = self._start_of(trial)
        task = trial_task(
            self._objective,
            trial,
            token=token,
            folder=self._folder / f"trial-{trial.id:04}",
            restore=restore,
            metric_key=self.ledger.objectives.keys[0],
            timeout=resources.time_limit_seconds,
            resources=resources,
        )
        self._executor.submit(task, self._events)
        self._attempts[token] = Attempt(grant, trial.resource, saved_step)

    def _fold_report(self, event: Reported, attempt: Attempt) -> None:
        attempt.reported = True
        if attempt.decided:
            # It was told to end and reports again: it does not ask should_stop(), so its process ends instead.
            self._executor.cancel(event.token)
            return
        action = self.ledger.reported(attempt.grant.trial, event.report)
        attempt.decided = action is not Action.CONTINUE
        self._executor.answer(event, _ANSWERS[action])

    def _fold_result(self, event: Finished, attempt: Attempt) -> None:
        if not isinstance(event.result, Outcome):
            raise RunError(f"the executor returned {event.result!r} for {event.token}: expected an Outcome")
        self.ledger.returned(
            attempt.grant.trial, event.result.metrics, granted=attempt.granted, reported=attempt.reported
        )

    def _start_of(self, trial: Trial) -> tuple[int, Path | None]:
        """The step and the file that the trial goes on from: its own state, else its donor's."""
        if trial.id in self._saved:
            return self._saved[trial.id]
        if trial.parent is not None and trial.parent in self._saved:
            return self._saved[trial.parent]
        return 0, None


_WAKE = Logged("", "")
"""An event of no attempt: whoever waits for events looks up."""

_ANSWERS = {
    Action.CONTINUE: Answer.CONTINUE,
    Action.PAUSE: Answer.PAUSE,
    Action.STOP: Answer.STOP,
    Action.COMPLETE: Answer.STOP,
}


# The stages of a sweep's pipeline


def begin(session: Session) -> Standing:
    """Begin: nothing runs yet."""
    session.begin()
    return session.standing


def decide(session: Session) -> Move:
    """Ask the scheduler what to do next."""
    return session.decide()


def suggest(session: Session, move: Move) -> list[Trial]:
    """Ask the optimizer for the configurations that the move wants; the new trials."""
    return session.ledger.enact(move)


def launch(session: Session, move: Move) -> list[Trial]:
    """Give the free slots to what is queued; a halt takes them all back. The trials that got one."""
    if isinstance(move, Halt):
        session.halt()
        return []
    return session.submit()


def wait(session: Session, move: Move) -> list[Event]:
    """Where the scheduler waits, wait for the workers. It blocks its thread: all stages run in one, off the loop."""
    return session.next_events() if isinstance(move, Wait) else []


def observe(session: Session, events: list[Event]) -> Standing:
    """Judge the reports, book the results."""
    for event in events:
        session.fold(event)
    return session.standing


def conclude(session: Session) -> SweepRecord:
    """What the sweep has found."""
    return session.record()


def stopwatch() -> Callable[[], float]:
    """A clock that starts now: seconds, monotonic."""
    began = time.monotonic()
    return lambda: time.monotonic() - began
