"""One call of a stage in another process: a worker of this one, which can be killed, or where an executor runs it."""

from __future__ import annotations

import atexit
import itertools
import math
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from metta.sweep.errors import RunError, StageTimeout, WorkerDied
from metta.sweep.executors.base import Event, EventStream, Executor, Failed, Finished, Logged, Task
from metta.sweep.executors.pool import WorkerPool, usable_cores
from metta.sweep.executors.serial import UnstorableError
from metta.sweep.trial import FailureReason, Resources

_MOST_CHILDREN: Final = 32
_ENDED_FROM_OUTSIDE: Final = frozenset(
    {
        FailureReason.OOM,
        FailureReason.KILLED,
        FailureReason.PREEMPTED,
        FailureReason.NODE_LOST,
        FailureReason.LOST_CONTACT,
        FailureReason.CANCELLED,
    }
)

_lock = threading.Lock()
_pools: dict[bool, WorkerPool] = {}
_numbers = itertools.count(1)


def call_in_child(
    fn: Callable[..., object],
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    timeout: float,
    name: str,
    resources: Resources | None = None,
    log_folder: Path | None = None,
) -> Any:
    """Call `fn` in a worker process and return its result; blocks until then.

    What it prints appears on our stdout. The workers stay warm for the next call.

    Args:
        fn: sync or async.
        args: positional arguments.
        kwargs: keyword arguments.
        timeout: seconds until the process group of the call is ended; infinity for no limit.
        name: the stage's name, for messages.
        resources: what the call needs: it waits until that is free, and is held to it (see `LocalExecutor`). None: it
            starts at once and sees the devices that this process sees.
        log_folder: what it prints is also appended to `log.txt` there; None: only shown.

    Raises:
        StageTimeout: it took longer.
        UsageError: more is needed than there is.
        UnstorableError: the function, an argument or the result cannot travel between processes.
        WorkerDied: the process ended under the call.
        Exception: what `fn` raised, the traceback of its process attached as a note.
    """
    task = stage_task(fn, args, kwargs, timeout=timeout, name=name, resources=resources, log_folder=log_folder)
    return _called(_ready_pool(resources), task)


async def acall_in_child(
    fn: Callable[..., object],
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    timeout: float,
    name: str,
    resources: Resources | None = None,
    log_folder: Path | None = None,
) -> Any:
    """`call_in_child` without blocking the loop. Cancelling it ends the call's process group."""
    task = stage_task(fn, args, kwargs, timeout=timeout, name=name, resources=resources, log_folder=log_folder)
    return await _acalled(_ready_pool(resources), task)


def stage_task(
    fn: Callable[..., object],
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    timeout: float = math.inf,
    name: str,
    resources: Resources | None = None,
    log_folder: Path | None = None,
    token: str | None = None,
) -> Task:
    """The task of one call of a stage; the arguments are those of `call_in_child`.

    Args:
        token: names the call for whoever looks for it after the death of this driver; None: nobody does.
    """
    return Task(
        # Drivers may share a spool: the number alone would not do.
        token or f"call-{os.urandom(6).hex()}-{next(_numbers)}",
        fn,
        args,
        kwargs or {},
        name=name,
        resources=resources or Resources(),
        timeout=None if math.isinf(timeout) else timeout,
        log_folder=log_folder,
        stream_log=True,
    )


def call_on(executor: Executor, task: Task, *, adopt: Sequence[str] = ()) -> Any:
    """Run a stage's task on an executor and return its result; blocks until then.

    What it prints appears on our stdout.

    Args:
        executor: where it runs.
        task: of `stage_task`.
        adopt: tokens under which drivers that died may have submitted it: the first that still is there is waited for.

    Raises:
        StageTimeout, UsageError, UnstorableError, WorkerDied, Exception: as `call_in_child`. An exception that comes
            from a machine that shares no pipe with us comes as text: builtin classes are rebuilt, of others it is
            a RunError with the name of the class and its message.
    """
    for earlier in _adoptable(executor, task, adopt):
        if (events := _reattached(executor, earlier)) is not None:
            event = _last_event(executor, earlier, events)
            if not _is_gone(event):
                return _result(event, earlier)
    return _called(executor, task)


async def acall_on(executor: Executor, task: Task, *, adopt: Sequence[str] = ()) -> Any:
    """`call_on` without blocking the loop. Cancelling it cancels the task."""
    for earlier in _adoptable(executor, task, adopt):
        if (events := _reattached(executor, earlier)) is not None:
            event = await _alast_event(executor, earlier, events)
            if not _is_gone(event):
                return _result(event, earlier)
    return await _acalled(executor, task)


def _adoptable(executor: Executor, task: Task, tokens: Sequence[str]) -> list[Task]:
    return [replace(task, token=token) for token in tokens] if executor.outlives_driver else []


def _reattached(executor: Executor, task: Task) -> EventStream | None:
    events = EventStream()
    return events if executor.reattach(task.token, events, task.log_folder) else None


def _is_gone(event: Event) -> bool:
    """Whether a dead driver's task never began, was just being cancelled, or nothing is known of it any more.

    It is over and fenced: it is begun anew.
    """
    return isinstance(event, Failed) and event.reason in (FailureReason.LOST_CONTACT, FailureReason.CANCELLED)


def _called(place: WorkerPool | Executor, task: Task) -> Any:
    events = EventStream()
    place.submit(task, events)
    return _result(_last_event(place, task, events), task)


async def _acalled(place: WorkerPool | Executor, task: Task) -> Any:
    events = EventStream()
    place.submit(task, events)
    return _result(await _alast_event(place, task, events), task)


def _last_event(place: WorkerPool | Executor, task: Task, events: EventStream) -> Event:
    try:
        while not _is_last(event := events.get()):
            _relay(event)
    except BaseException:
        place.cancel(task.token)
        raise
    return event


async def _alast_event(place: WorkerPool | Executor, task: Task, events: EventStream) -> Event:
    try:
        while not _is_last(event := await events.aget()):
            _relay(event)
    except BaseException:
        place.cancel(task.token)
        raise
    return event


def _is_last(event: Event) -> bool:
    return isinstance(event, Finished | Failed)


def _relay(event: Event) -> None:
    if isinstance(event, Logged):
        sys.stdout.write(event.text)
        sys.stdout.flush()


def _result(event: Event, task: Task) -> Any:
    if isinstance(event, Finished):
        return event.result
    assert isinstance(event, Failed)
    name, error = task.name, event.exception
    if event.reason is FailureReason.TIMEOUT:
        raise error if isinstance(error, StageTimeout) else StageTimeout(name, task.timeout or event.seconds)
    if isinstance(error, UnstorableError):
        raise UnstorableError(_unstorable(name, event.message)) from error
    # What `fn` raised has a traceback.
    if not event.traceback and (isinstance(error, WorkerDied) or event.reason in _ENDED_FROM_OUTSIDE):
        raise WorkerDied(f'stage "{name}": {event.message}', reason=event.reason.value)
    error = error or RunError(f'stage "{name}": {event.message}')
    if event.traceback:
        error.add_note(f"In the worker process:\n\n{event.traceback.rstrip()}")
    raise error


def _unstorable(stage: str, message: str) -> str:
    return f'stage "{stage}" runs in another process: its arguments and its result must be storable; {message}'


def _ready_pool(resources: Resources | None) -> WorkerPool:
    """A pool of this process, made at the first call: one counts cores and hands out devices, the other does not."""
    equips = resources is not None
    with _lock:
        if equips not in _pools:
            _pools[equips] = WorkerPool(usable_cores() if equips else _MOST_CHILDREN, equips=equips)
        return _pools[equips]


def _forget_pools() -> None:
    """A forked process starts its own."""
    global _pools, _lock
    _pools = {}
    _lock = threading.Lock()


@atexit.register
def _close_pools() -> None:
    for pool in _pools.values():
        pool.close()


os.register_at_fork(after_in_child=_forget_pools)
