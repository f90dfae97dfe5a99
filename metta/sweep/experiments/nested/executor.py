"""Trials that are experiments themselves: they run in the driver, and only the leaves below them take workers.

A trial of a sweep over an experiment that `nests` is a coroutine of the driver's loop. It takes no worker, so however
many levels there are, one worker slot is enough. The slots are handed down: a sweep of n slots that runs k nested
trials at once gives each of them n // k, at least one.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from metta.sweep.errors import RunError, StageTimeout
from metta.sweep.executors.base import (
    Answer,
    Event,
    EventStream,
    Executor,
    Failed,
    Finished,
    Reported,
    Started,
    StateSaved,
    Task,
)
from metta.sweep.executors.channel import SavedStates
from metta.sweep.executors.nest import NEST, Nest
from metta.sweep.executors.objective import Outcome, as_metrics
from metta.sweep.executors.serial import describe_error
from metta.sweep.experiments.driver import Job, driver
from metta.sweep.experiments.nested.accounts import spent_below
from metta.sweep.experiments.places import KEEPS
from metta.sweep.redaction import Redactor, secrets_in
from metta.sweep.runtime.scope import leave_scope
from metta.sweep.store.nested import CHILDREN_FOLDER
from metta.sweep.trial import FailureReason, Report, Saved, Trial

NestedObjective = Callable[[Trial], Awaitable[Any]]
"""What a trial in the driver runs; it gives what an objective may return."""


class Leaves(NamedTuple):
    """Where the trials below an experiment run that need a worker.

    Attributes:
        executor: takes them.
        slots: how many may run at once; None where the executor's own queue decides.
    """

    executor: Executor
    slots: int | None


@contextlib.asynccontextmanager
async def leaves(executor: Executor | Callable[[], Executor] | None) -> AsyncIterator[Leaves]:
    """The executor that is given, which its owner closes; or a new one, closed in the end.

    None is that of the sweep around, with its share of the slots, or that of the experiment around; at the top a
    `LocalExecutor`.
    """
    if executor is None:
        shared, nest = _SHARED.get(), NEST.get()
        if shared is not None:
            yield Leaves(shared.executor, shared.executor.capacity)
            return
        if nest is not None and nest.executor is not None:
            yield Leaves(nest.executor, nest.slots)
            return
    given = _given(executor)
    if given is not None:
        yield Leaves(given, given.capacity)
        return
    own = _opened(executor)
    try:
        yield Leaves(own, own.capacity)
    finally:
        await _close(own)


class _Shared:
    """The executor of all sweeps that an experiment starts: opened when the first one needs it."""

    def __init__(self, wanted: Executor | Callable[[], Executor] | None) -> None:
        self._wanted = wanted
        self.opened: Executor | None = None

    @property
    def executor(self) -> Executor:
        given = _given(self._wanted)
        if given is None and self.opened is None:
            self.opened = _opened(self._wanted)
        return cast("Executor", given or self.opened)


_SHARED: Final[ContextVar[_Shared | None]] = ContextVar("metta_sweep_shared_executor", default=None)


async def sharing(
    executor: Executor | Callable[[], Executor] | None, main: Callable[[], Awaitable[Any]], *, keeps: bool = True
) -> Any:
    """Run what an experiment does, with one executor for all sweeps in it: warm workers stay warm between them.

    Args:
        executor: None for that of the sweep or the experiment around, else one of its own.
        main: what it does.
        keeps: whether the runs in it are kept where they do not say.
    """
    nest = NEST.get()
    is_around = _SHARED.get() is not None or (nest is not None and nest.executor is not None)
    shared = None if executor is None and is_around else _Shared(executor)
    around = _SHARED.get(), KEEPS.get()
    _SHARED.set(shared or around[0])
    KEEPS.set(keeps and around[1])
    try:
        return await main()
    finally:
        _SHARED.set(around[0])
        KEEPS.set(around[1])
        if shared is not None and shared.opened is not None:
            await _close(shared.opened)


def _given(executor: object) -> Executor | None:
    """The executor, if it is one that somebody else has opened."""
    is_one = not isinstance(executor, type) and hasattr(executor, "submit")
    return cast("Executor", executor) if is_one else None


def _opened(executor: object) -> Executor:
    from metta.sweep.executors.local import LocalExecutor

    if executor is None:
        nest = NEST.get()
        return LocalExecutor(None if nest is None else nest.slots)
    return cast("Callable[[], Executor]", executor)()


async def _close(executor: Executor) -> None:
    # Closing waits for the processes' ends; a second Ctrl-C must not leave them behind.
    await asyncio.shield(asyncio.to_thread(executor.close))


class NestedChannel:
    """The `TrialChannel` of a trial in the driver. Any thread may call it.

    What the runs below the trial have spent goes with every report.
    """

    def __init__(self, task: Task, nest: Nest, events: EventStream) -> None:
        assert task.channel is not None
        self._token = task.token
        self._nest = nest
        self._events = events
        self._states = SavedStates(task.channel)
        self._changed = threading.Condition()
        self._reports = 0
        self._judged = 0
        self._answer = Answer.CONTINUE
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()

    @property
    def answer(self) -> Answer:
        """The scheduler's last word; PAUSE and STOP stay."""
        return self._answer

    @property
    def nest(self) -> Nest:
        """What the trial starts belongs there."""
        return self._nest

    def report(self, report: Report) -> None:
        """Tell the sweep, and commit the state that was saved before."""
        with self._changed:
            self._commit(report.step)
            self._reports += 1
            told = Report(report.step, {**report.metrics, **self._nest.spent})
            self._events.put(Reported(self._token, self._reports, told))

    def should_stop(self) -> bool:
        """True once the scheduler wants the trial to end or to pause. Waits until all reports are judged.

        On the driver's loop, where a wait would hold up every run of the process, it says what is known: an async stage
        awaits `stopped`, or looks again later.
        """
        with self._changed:
            if driver().is_current_thread():
                return self._answer is not Answer.CONTINUE
            self._changed.wait_for(lambda: self._answer is not Answer.CONTINUE or self._judged >= self._reports)
            return self._answer is not Answer.CONTINUE

    def save(self, state: object) -> None:
        """Write the state beside the committed ones; the next report commits it."""
        with self._changed:
            self._states.save(state)

    def load(self) -> Saved | None:
        """The state saved last, by this attempt or by the one it goes on from."""
        with self._changed:
            return self._states.load()

    def finish(self, step: int) -> None:
        """Commit a state that was saved after the last report, with the last step."""
        with self._changed:
            self._commit(step)

    async def stopped(self) -> None:
        """Return when the scheduler wants the trial to end or to pause; for code on the driver's loop."""
        await self._stopped.wait()

    def judged(self, sequence: int, answer: Answer) -> None:
        """The sweep's answer to a report."""
        with self._changed:
            self._judged = max(self._judged, sequence)
            if self._answer is Answer.CONTINUE:
                self._answer = answer
            self._changed.notify_all()
        if answer is not Answer.CONTINUE:
            self._loop.call_soon_threadsafe(self._stopped.set)

    def _commit(self, step: int) -> None:
        path = self._states.commit(step)
        if path is not None:
            self._events.put(StateSaved(self._token, step, path))


class DriverExecutor:
    """The executor of trials that are experiments: each is a coroutine of the driver.

    Args:
        below: takes the leaves of all of them.
        trials: how many of them run at once; each gets its share of the slots.
        allow_changed: their child runs may go on although their plan has changed.
        retried: the trials that had failed and are tried again: so are those that have failed in their child runs.
    """

    def __init__(
        self, below: Leaves, trials: int, *, allow_changed: bool = False, retried: Collection[int] = ()
    ) -> None:
        self._executor = below.executor
        self._share = None if below.slots is None else max(1, below.slots // trials)
        self._allow_changed = allow_changed
        self._retried = frozenset(retried)
        self._lock = threading.Lock()
        self._jobs: dict[str, Job[Event]] = {}
        self._channels: dict[str, NestedChannel] = {}
        self._cancelled: set[str] = set()

    @property
    def capacity(self) -> None:
        """No limit of its own: the leaves have one."""
        return None

    def events(self) -> EventStream:
        """A new, empty stream; tasks are submitted to it."""
        return EventStream()

    def submit(self, task: Task, events: EventStream) -> None:
        """Start a task: an async function that takes a `channel`."""
        with self._lock:
            job = driver().start(self._attempt(task, events), task.name)
            self._jobs[task.token] = job
        job.outcome.add_done_callback(lambda outcome: self._conclude(task.token, job, events))

    def answer(self, report: Reported, answer: Answer) -> None:
        """Tell a task what its report has led to. Ignored when the task is over."""
        channel = self._channels.get(report.token)
        if channel is not None:
            channel.judged(report.sequence, answer)

    def cancel(self, token: str) -> None:
        """Stop a task with everything below it; `Failed` with the reason "cancelled" follows when that is gone."""
        with self._lock:
            job = self._jobs.get(token)
            if job is None or token in self._cancelled:
                return  # a second one would cut its cleaning up short
            self._cancelled.add(token)
        channel = self._channels.get(token)
        if channel is not None:
            channel.judged(0, Answer.STOP)  # a thread of it may wait for an answer that does not come any more
        job.cancel()

    @property
    def outlives_driver(self) -> bool:
        """False."""
        return False

    def reattach(self, token: str, events: EventStream, folder: Path | None = None, *, also_ended: bool = True) -> bool:
        """Always False: trials in the driver end with it."""
        return False

    def close(self) -> None:
        """Cancel what is left."""
        for token in list(self._jobs):
            self.cancel(token)

    async def _attempt(self, task: Task, events: EventStream) -> Event:
        """Run a task; its last event."""
        assert task.channel is not None
        began = time.monotonic()
        (_, trial) = task.args
        leave_scope()
        folder = task.channel.folder
        before = await asyncio.to_thread(spent_below, folder) if (folder / CHILDREN_FOLDER).is_dir() else {}
        nest = Nest(
            trial,
            folder,
            self._share,
            self._executor,
            self._allow_changed,
            retry_failed=trial.id in self._retried,
            accounts=before,
        )
        NEST.set(nest)
        _SHARED.set(None)
        channel = self._channels[task.token] = NestedChannel(task, nest, events)
        events.put(Started(task.token, "driver"))
        limit = task.timeout
        try:
            async with asyncio.timeout(limit) as timer:
                result = await cast("Awaitable[Any]", task.fn(*task.args, **task.kwargs, channel=channel))
        except Exception as error:
            if isinstance(error, TimeoutError) and timer.expired():
                error = StageTimeout(task.name, math.inf if limit is None else limit)
                seconds = time.monotonic() - began
                return Failed(task.token, FailureReason.TIMEOUT, str(error), "", error, "", seconds, nest.spent)
            text = describe_error(error, error.__traceback__, Redactor(secrets_in(os.environ)))
            seconds = time.monotonic() - began
            return Failed(task.token, text.reason, text.message, text.traceback, error, "", seconds, nest.spent)
        return Finished(task.token, result, "", time.monotonic() - began)

    def _conclude(self, token: str, job: Job[Event], events: EventStream) -> None:
        """A job is over, in whatever way: tell its last event."""
        with self._lock:
            del self._jobs[token]
            self._channels.pop(token, None)
            self._cancelled.discard(token)
        error = job.outcome.exception()
        job.observe()
        if error is None:
            events.put(job.outcome.result())
        else:
            reason = FailureReason.CANCELLED if isinstance(error, RunError) else FailureReason.USER_ERROR
            events.put(Failed(token, reason, str(error) if reason is FailureReason.USER_ERROR else "cancelled"))


async def run_nested(
    objective: NestedObjective, trial: Trial, *, channel: NestedChannel, metric_key: str = "score"
) -> Outcome:
    """Run one attempt of a trial in the driver: what `run_objective` is in a worker."""
    trial.channel = channel
    result = await objective(trial)
    channel.finish(trial.step)
    used = channel.nest.spent
    metrics = None if result is None else {**as_metrics(result, metric_key), **used}
    return Outcome(metrics, trial.step, channel.answer, used)


async def until_stopped(main: Awaitable[Any], trial: Trial, enough: Callable[[], bool]) -> Any:
    """Await `main`; cancel it when the scheduler wants `trial` to end before it has done `enough`.

    Returns:
        What `main` gave; None where it was cancelled for that.
    """
    channel = trial.channel
    if not isinstance(channel, NestedChannel):
        return await main
    running = asyncio.ensure_future(main)
    stopped = asyncio.ensure_future(channel.stopped())
    try:
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if running.done() or enough():
            return await running
        running.cancel()
        await asyncio.wait({running})
        if not running.cancelled() and (error := running.exception()) is not None:
            raise error
        return None
    except asyncio.CancelledError:
        if not running.cancelling():  # a second one would cut its cleaning up short
            running.cancel()
        await asyncio.wait({running})
        if not running.cancelled():
            running.exception()  # seen: it failed because we cancelled it
        raise
    finally:
        stopped.cancel()
