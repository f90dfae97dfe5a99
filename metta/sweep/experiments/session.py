"""One running sweep: its ledger, the executor that does what the ledger decides, and the journal of both.

A pass of the loop takes all events that are there into the ledger and decides until there is nothing to decide.
Then everything that came of it is committed at once, and only then do workers hear answers and get tasks. So a
driver that is killed has either not begun what it was about to do, or its journal tells of it.

The stages of `SweepExperiment.pipeline()` (stages.py) call it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from metta.sweep.errors import RunError, StorageError
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
from metta.sweep.executors.objective import Objective, Outcome, run_objective, trial_task
from metta.sweep.experiments import records
from metta.sweep.experiments.arguments import allocated, merged
from metta.sweep.experiments.checkpoints import Checkpoints
from metta.sweep.experiments.ledger import Ledger, SavedState, told_again
from metta.sweep.experiments.ledger_json import failure_to_json
from metta.sweep.experiments.moves import Halt, Move, move_to_json, verdict_to_json
from metta.sweep.experiments.nested.executor import run_nested
from metta.sweep.experiments.nested.sweep_trial import Watch
from metta.sweep.experiments.repeats import seed_of
from metta.sweep.experiments.results import SweepRecord
from metta.sweep.experiments.reuse import KnownResults, told_by
from metta.sweep.experiments.sweep_journal import Clock, SweepJournal
from metta.sweep.experiments.sweep_store import Adopted, token_of
from metta.sweep.optimizers.base import Restored
from metta.sweep.report.events import SweepEnded, SweepEvent, SweepStarted
from metta.sweep.schedulers.base import CONTINUE, Action, Scheduler, Wait
from metta.sweep.store.failpoints import fail_point
from metta.sweep.trial import Failure, FailureReason, Report, Resources, Trial

LARGEST_BATCH: Final = 500
"""Events whose answers wait for one commit: after so many it is made although more events are there."""

PUBLISH_INTERVAL: Final = 2.0
"""Seconds between two updates of what `metta-sweep ls` shows, at least."""

TRACEBACK_LIMIT: Final = 20_000
"""Characters of a traceback that the journal keeps."""


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
class Submitted:
    """An attempt in the hands of the executor.

    Attributes:
        trial: its number.
        number: of the attempt, from 1.
        saved_step: the step of the state that it goes on from.
        restore: the file of that state; None to start at the beginning.
        known_step: states up to this step are known from an earlier driver, which may have removed them.
        source: the trial whose result it takes over; None where it runs in a worker.
        decided: nothing that it still does can change its trial, but for a state that it saves.
        unreported: states that are on disk before the report of their step has come.
    """

    trial: int
    number: int
    saved_step: int
    restore: Path | None = None
    known_step: int = -1
    source: int | None = None
    decided: bool = False
    unreported: list[SavedState] = field(default_factory=list)


class Session:
    """What the stages of a sweep share while it runs.

    Args:
        name: the sweep's, for its record.
        seed: the sweep's, for its record.
        ledger: the state of the sweep.
        scheduler: asked what each trial needs before it starts.
        objective: what a trial runs.
        executor: where it runs.
        checkpoints: the states of its trials.
        trial_folder: where a trial has its states and its log.
        run_id: begins the tokens of all attempts.
        clock: of the sweep.
        journal: of the sweep.
        tell: hears the begin and the end.
        resources: what a trial needs where the scheduler says nothing else.
        deduplicates: whether a configuration that comes again takes over the result that it had.
        publish: tells those who look at the store how far it is.
        restored: how its optimizer was brought back, for its record; None for a new sweep.
        is_kept: whether the run stays in a store.
        nested: whether its trials are experiments that run in the driver: the objective then is an async one.
        watch: hears after every commit where the sweep stands.
        events: the executor's, where it has told some already; None for new ones.
        adopted: attempts of an earlier driver, which tell their events there from their beginning.
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
        checkpoints: Checkpoints,
        trial_folder: Callable[[int], Path],
        run_id: str,
        clock: Clock,
        journal: SweepJournal,
        tell: Callable[[SweepEvent], None],
        publish: Callable[[], None],
        resources: Resources | None = None,
        deduplicates: bool = False,
        restored: Restored | None = None,
        is_kept: bool = False,
        nested: bool = False,
        watch: Watch | None = None,
        events: EventStream | None = None,
        adopted: Sequence[Adopted] = (),
    ) -> None:
        self.name = name
        self.seed = seed
        self.ledger = ledger
        self._scheduler = scheduler
        self._objective = objective
        self._executor = executor
        self._checkpoints = checkpoints
        self._trial_folder = trial_folder
        self._run_id = run_id
        self._clock = clock
        self._journal = journal
        self._tell = tell
        self._publish = publish
        self._resources = Resources() if resources is None else resources
        self._known = KnownResults(journal.codec, ledger.trials) if deduplicates else None
        self._restored = restored
        self._is_kept = is_kept
        self._run_trial = run_nested if nested else run_objective
        self._watch = watch
        self._objective_seed = seed_of(seed)
        self._events: EventStream = executor.events() if events is None else events
        self._attempts: dict[str, Submitted] = {found.token: self._taken_over(found) for found in adopted}
        self._answers: list[tuple[Reported, Answer]] = []
        self._to_cancel: list[str] = [found.token for found in adopted if not found.runs]
        self._left: list[Trial] = []
        """Trials whose workers are done with them since the last commit."""
        self._publish_at = ledger.now + PUBLISH_INTERVAL
        self._unsettled = 0
        self._instant = 0.0
        self._stopping = False

    @property
    def standing(self) -> Standing:
        """Where the sweep stands now."""
        running = sum(not attempt.decided for attempt in self._attempts.values())
        return Standing(len(self.ledger.trials), running, self._stopping or self.ledger.over is not None)

    # The loop

    def decide(self) -> Move:
        """What to do next."""
        if self._stopping:
            return Halt("it was cancelled")
        self._tick()
        return self.ledger.decide()

    def enact(self, move: Move) -> list[Trial]:
        """Have the ledger do it, and note it; the new trials."""
        if self._stopping or isinstance(move, Wait):
            return []
        new = self.ledger.enact(move)
        if self._journal.is_kept:
            codec = self._journal.codec
            data = move_to_json(move, codec) | records.new_trials_to_json(move, new, codec)
            self._journal.note(self._instant, records.DECIDED, **data)
        fail_point("sweep.decided")
        return new

    def settle(self) -> list[Trial]:
        """Everything is decided: commit it, then answer the workers and submit what may start or go on now.

        While more events are there, they are taken first: one commit for all of them.
        """
        over = self.standing.over
        if self._journal.is_kept and not over and len(self._events) and self._unsettled < LARGEST_BATCH:
            return []
        self._unsettled = 0
        blocked = {attempt.trial for attempt in self._attempts.values()}
        granted: list[tuple[str, Submitted]] = []
        while not over and (number := self.ledger.next_grant(blocked)) is not None:
            self._tick()
            granted.append(self._grant(number))
        self._journal.commit(self.ledger)
        self._after_commit()
        for report, answer in self._answers:
            self._executor.answer(report, answer)
        fail_point("sweep.answered")
        for token in self._to_cancel:
            self._executor.cancel(token)
        self._answers, self._to_cancel = [], []
        self._checkpoints.remove_unused(self.ledger)
        for token, attempt in granted:
            if attempt.source is None:
                self._submit(token, attempt)
            else:
                known = self.ledger.trials[attempt.source]
                for event in told_by(known, token, self.ledger.trials[attempt.trial].step):
                    self._events.put(event)
            self._attempts[token] = attempt
            fail_point("sweep.submitted")
        return [self.ledger.trials[attempt.trial] for _, attempt in granted]

    def next_events(self) -> list[Event]:
        """Wait for an event; take those that are there, up to the first one that may change what happens next.

        Returns early when the budget's time is over and when the sweep is stopped.
        """
        deadline = self.ledger.budget.seconds
        events: list[Event] = []
        with contextlib.suppress(TimeoutError):
            while not self._stopping:
                limit = None if deadline is None else max(0.0, deadline - self._clock())
                events.append(self._events.get(limit))
                # Where nothing more is there what was taken is committed and answered, before the next wait.
                if isinstance(events[-1], Reported | Finished | Failed) or not len(self._events):
                    break
        return events

    def fold(self, event: Event) -> None:
        """Take an event of the executor into the ledger, and note it."""
        self._tick()
        self._unsettled += 1
        attempt = self._attempts.get(event.token)
        if attempt is None:
            if not isinstance(event, Logged):
                self._journal.note(
                    self._instant, records.STALE, _trial_in(event.token), token=event.token, event=type(event).__name__
                )
            return
        match event:
            case Started():
                if not attempt.decided and self.ledger.running[attempt.trial].began is None:
                    self._fold_start(event, attempt)
            case StateSaved():
                if event.step <= attempt.known_step:
                    return
                path = self._checkpoints.relative(event.path)
                attempt.unreported.append(SavedState(event.step, path))
                self._commit_states(attempt)
            case Reported():
                self._fold_report(event, attempt)
            case Finished():
                del self._attempts[event.token]  # also where folding fails: nothing more comes that `close` waits for
                self._fold_result(event, attempt)
                self._forget(attempt)
            case Failed():
                del self._attempts[event.token]
                if not attempt.decided:
                    self._fold_failure(attempt, Failure(event.reason, event.message, event.traceback), event.used)
                self._forget(attempt)
        fail_point("sweep.folded")

    # The ends

    def begin(self) -> None:
        """Tell the listeners that the sweep begins, and in short what has happened in it before."""
        objectives, budget = self.ledger.objectives, self.ledger.budget
        self._tell(
            SweepStarted(
                self._clock(),
                self.name,
                objectives,
                budget.trials,
                budget.seconds,
                run_id=self._run_id if self._is_kept else None,
                folder=self._checkpoints.root if self._is_kept else None,
                resumed=bool(self.ledger.trials),
            )
        )
        for event in told_again(self.ledger):
            self._tell(event)

    def halt(self) -> None:
        """Take back everything that the executor still does for this sweep."""
        for token, attempt in self._attempts.items():
            attempt.decided = True
            self._executor.cancel(token)

    def stop(self) -> None:
        """End soon; the sweep can be resumed. Any thread may call it; the stages then come to their end."""
        self._stopping = True
        self._events.put(_WAKE)

    async def close(self) -> None:
        """When the stages have ended: halt, and wait until nothing of this sweep runs any more."""
        self.halt()
        while self._attempts:
            event = await self._events.aget()
            if isinstance(event, Finished | Failed):
                self._attempts.pop(event.token, None)

    def conclude(self) -> SweepRecord:
        """Note the end of the sweep, or write what has happened until it was stopped; the sweep as data."""
        self._tick()
        if self.ledger.over is not None:
            self._journal.note(self._instant, records.ENDED, why=self.ledger.over)
            fail_point("sweep.ending")
        self._journal.commit(self.ledger, snapshot=True)
        if self._watch is not None:
            self._watch(self.ledger)
        if self.ledger.over is not None:
            self._checkpoints.conclude(self.ledger)
        return self.record()

    def record(self) -> SweepRecord:
        """The sweep so far, as data."""
        return SweepRecord(
            name=self.name,
            objectives=self.ledger.objectives,
            trials=tuple(self.ledger.trials),
            seconds=self.ledger.now,
            seed=self.seed,
            ended=self.ledger.over or "it goes on",
            recomputed=self.ledger.recomputed,
            run_id=self._run_id if self._is_kept else None,
            folder=self._checkpoints.root if self._is_kept else None,
            resumed=self._restored,
        )

    def end(self, error: BaseException | None) -> None:
        """Tell the listeners, and the journal of a sweep that did not come to its end, that the driver is done."""
        told = None
        if error is not None:
            cancelled = isinstance(error, asyncio.CancelledError)
            told = "cancelled" if cancelled else f"{type(error).__name__}: {error}"
            if not isinstance(error, StorageError):  # then nothing more can be written
                self._tick()
                self._journal.drop()
                self._journal.note(self._instant, records.STOPPED, why=told)
                with contextlib.suppress(StorageError):
                    self._journal.commit(self.ledger)
        self._tell(SweepEnded(self._clock(), told))

    # Inside

    def _tick(self) -> None:
        """Read the clock for the input that comes next."""
        self._instant = self._clock.instant()
        self.ledger.now = self._instant - self._clock.base

    def _after_commit(self) -> None:
        left, self._left = self._left, []
        for trial in left:
            self._journal.free(trial)
        if self._watch is not None:
            self._watch(self.ledger)
        if self._is_kept and self.ledger.now >= self._publish_at:
            self._publish_at = self.ledger.now + PUBLISH_INTERVAL
            with contextlib.suppress(StorageError):  # those who look on see an older state; the journal is the truth
                self._publish()

    def _taken_over(self, found: Adopted) -> Submitted:
        state = self.ledger.states.get(found.trial)
        saved = 0 if state is None else state.step
        known = -1 if found.trial in self.ledger.forks else saved
        return Submitted(found.trial, found.attempt, saved, known_step=known, decided=not found.runs)

    def _grant(self, number: int) -> tuple[str, Submitted]:
        self.ledger.grant(number)
        trial = self.ledger.trials[number]
        attempt = self.ledger.attempts[number]
        token = token_of(self._run_id, number, attempt)
        self._journal.note(self._instant, records.GRANTED, number, attempt=attempt, token=token)
        fail_point("sweep.granted")
        source = None if self._known is None else self._known.find(trial)
        if source is not None:
            return token, Submitted(number, attempt, trial.step, source=source)
        return token, Submitted(number, attempt, *self._checkpoints.start_of(self.ledger, number))

    def _submit(self, token: str, attempt: Submitted) -> None:
        trial = self.ledger.trials[attempt.trial]
        if attempt.number > 1:
            self._checkpoints.prepare(trial.id, attempt.saved_step)
        resources = merged(self._resources, allocated(self._scheduler, trial))
        task = trial_task(
            self._objective,
            trial,
            token=token,
            folder=self._trial_folder(trial.id),
            restore=attempt.restore,
            keep=KEEP_ALL,
            metric_key=self.ledger.objectives.keys[0],
            timeout=resources.time_limit_seconds,
            resources=resources,
            seed=self._objective_seed,
            run=self._run_trial,
        )
        self._executor.submit(task, self._events)

    def _fold_start(self, event: Started, attempt: Submitted) -> None:
        self.ledger.began(attempt.trial, attempt.saved_step)
        self._journal.note(
            self._instant,
            records.BEGAN,
            attempt.trial,
            attempt=attempt.number,
            worker=event.worker,
            saved_step=attempt.saved_step,
        )

    def _fold_report(self, event: Reported, attempt: Submitted) -> None:
        if attempt.decided:
            # It was told to end and reports again: it does not ask should_stop(), so its process ends instead.
            if attempt.source is None:
                self._to_cancel.append(event.token)
            return
        action = self._take_report(event.report, attempt)
        if attempt.source is None:
            self._answers.append((event, _ANSWERS[action]))

    def _take_report(self, report: Report, attempt: Submitted) -> Action:
        number = attempt.trial
        if report.step <= self.ledger.trials[number].step:
            return Action.CONTINUE
        problem = self.ledger.problem(report)
        if problem is not None:
            used = report.metrics if self.ledger.nested else None
            self._fold_failure(attempt, Failure(FailureReason.USER_ERROR, problem), used)
            return Action.STOP
        verdict = self.ledger.reported(number, report)
        if verdict != CONTINUE:
            self._journal.note(self._instant, records.JUDGED, number, step=report.step, **verdict_to_json(verdict))
        self._journal.report(self._instant, number, report)
        attempt.decided = verdict.action is not Action.CONTINUE
        self._commit_states(attempt)
        return verdict.action

    def _commit_states(self, attempt: Submitted) -> None:
        """A state counts once the report of its step does: who goes on from it does not report that step again."""
        reached = self.ledger.trials[attempt.trial].step
        for state in [state for state in attempt.unreported if state.step <= reached]:
            attempt.unreported.remove(state)
            self._checkpoints.replaced(self.ledger, attempt.trial)
            self.ledger.saved(attempt.trial, state)
            self._journal.note(self._instant, records.SAVED, attempt.trial, step=state.step, path=state.path)

    def _fold_result(self, event: Finished, attempt: Submitted) -> None:
        if not isinstance(event.result, Outcome):
            raise RunError(f"the executor returned {event.result!r} for {event.token}: expected an Outcome")
        if attempt.decided:
            return
        report = self.ledger.last_report(attempt.trial, event.result.metrics)
        if report is not None:
            self._take_report(report, attempt)
        if not attempt.decided:
            attempt.decided = True
            used = event.result.used
            self.ledger.returned(attempt.trial, used)
            noted = {} if used is None else {"used": dict(used)}
            self._journal.note(self._instant, records.RETURNED, attempt.trial, attempt=attempt.number, **noted)

    def _forget(self, attempt: Submitted) -> None:
        """An attempt is over: nothing more will come of it."""
        trial = self.ledger.trials[attempt.trial]
        self._left.append(trial)
        if trial.state.is_finished:
            self._checkpoints.finished(self.ledger, trial.id)
            if self._known is not None:
                self._known.remember(trial)

    def _fold_failure(self, attempt: Submitted, failure: Failure, used: Mapping[str, float] | None = None) -> None:
        attempt.decided = True
        reason, message, traceback = failure_to_json(_bounded(failure))
        failure = _bounded(failure)
        self.ledger.failed(attempt.trial, failure, used)
        self._journal.note(
            self._instant,
            records.FAILED,
            attempt.trial,
            attempt=attempt.number,
            reason=reason,
            message=message,
            traceback=traceback,
            **({} if used is None else {"used": dict(used)}),
        )


def _bounded(failure: Failure) -> Failure:
    """A failure whose traceback is not longer than the journal keeps."""
    text = failure.traceback
    if len(text) <= TRACEBACK_LIMIT:
        return failure
    half = TRACEBACK_LIMIT // 2
    shortened = f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
    return Failure(failure.reason, failure.message, shortened)


def _trial_in(token: str) -> str:
    """The number of the trial in the token of an attempt."""
    return token.rpartition("-attempt-")[0].rpartition("-trial-")[2]


_WAKE = Logged("", "")
"""An event of no attempt: whoever waits for events looks up."""

KEEP_ALL: Final = 2**31
"""Workers delete no states: the driver does, when the journal knows of newer ones."""

_ANSWERS = {
    Action.CONTINUE: Answer.CONTINUE,
    Action.PAUSE: Answer.PAUSE,
    Action.STOP: Answer.STOP,
    Action.COMPLETE: Answer.STOP,
}
