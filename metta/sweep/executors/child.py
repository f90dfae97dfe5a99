"""One call in a child process that can be killed: how a sync stage keeps its time-out."""

from __future__ import annotations

import atexit
import itertools
import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from metta.sweep.errors import RunError, StageTimeout, UserError, WorkerDied
from metta.sweep.executors.base import Event, EventStream, Failed, Finished, Logged, Task
from metta.sweep.executors.pool import WorkerPool
from metta.sweep.executors.serial import UnstorableError
from metta.sweep.trial import FailureReason

_MOST_CHILDREN: Final = 32
_EXPLANATION: Final = (
    "a sync stage with timeout= runs in a worker process: its arguments and its result must be storable"
)

_lock = threading.Lock()
_pool: WorkerPool | None = None
_numbers = itertools.count(1)


def call_in_child(
    fn: Callable[..., object],
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    timeout: float,
    name: str,
) -> Any:
    """Call `fn` in a worker process and return its result; blocks until then.

    What it prints appears on our stdout. The workers stay warm for the next call.

    Args:
        fn: sync or async.
        args: positional arguments.
        kwargs: keyword arguments.
        timeout: seconds until the process group of the call is ended; infinity for no limit.
        name: the stage's name, for messages.

    Raises:
        StageTimeout: it took longer.
        UserError: the function, an argument or the result cannot travel between processes.
        WorkerDied: the process ended under the call.
        Exception: what `fn` raised, the traceback of its process attached as a note.
    """
    task, events = _begin(fn, args, kwargs, timeout, name)
    try:
        while not _is_last(event := events.get()):
            _relay(event)
    except BaseException:
        _ready_pool().cancel(task.token)
        raise
    return _result(event, name)


async def acall_in_child(
    fn: Callable[..., object],
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    timeout: float,
    name: str,
) -> Any:
    """`call_in_child` without blocking the loop. Cancelling it ends the call's process group."""
    task, events = _begin(fn, args, kwargs, timeout, name)
    try:
        while not _is_last(event := await events.aget()):
            _relay(event)
    except BaseException:
        _ready_pool().cancel(task.token)
        raise
    return _result(event, name)


def _begin(
    fn: Callable[..., object],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None,
    timeout: float,
    name: str,
) -> tuple[Task, EventStream]:
    events = EventStream()
    task = Task(f"call-{next(_numbers)}", fn, args, kwargs or {}, name=name, timeout=timeout, stream_log=True)
    _ready_pool().submit(task, events)
    return task, events


def _is_last(event: Event) -> bool:
    return isinstance(event, Finished | Failed)


def _relay(event: Event) -> None:
    if isinstance(event, Logged):
        sys.stdout.write(event.text)
        sys.stdout.flush()


def _result(event: Event, name: str) -> Any:
    if isinstance(event, Finished):
        return event.result
    assert isinstance(event, Failed)
    if event.reason is FailureReason.TIMEOUT and isinstance(event.exception, StageTimeout):
        raise event.exception
    if isinstance(event.exception, UnstorableError):
        raise UserError(f'stage "{name}": {_EXPLANATION}; {event.message}') from event.exception
    if isinstance(event.exception, WorkerDied) and not event.traceback:  # one that `fn` raised has a traceback
        raise WorkerDied(f'stage "{name}": {event.message}', reason=event.reason.value)
    error = event.exception or RunError(f'stage "{name}": {event.message}')
    if event.traceback:
        error.add_note(f"In the worker process:\n\n{event.traceback.rstrip()}")
    raise error


def _ready_pool() -> WorkerPool:
    """The pool of this process, made at the first call."""
    global _pool
    with _lock:
        if _pool is None:
            _pool = WorkerPool(_MOST_CHILDREN)
        return _pool


def _forget_pool() -> None:
    """A forked process starts its own."""
    global _pool, _lock
    _pool = None
    _lock = threading.Lock()


@atexit.register
def _close_pool() -> None:
    if _pool is not None:
        _pool.close()


os.register_at_fork(after_in_child=_forget_pool)
