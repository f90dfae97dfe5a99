"""One call in a child process that can be killed: how a sync stage keeps its time-out."""

from __future__ import annotations

import atexit
import itertools
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from metta.sweep.errors import RunError, StageTimeout, UserError, WorkerDied
from metta.sweep.executors.base import Event, EventStream, Failed, Finished, Logged, Task
from metta.sweep.executors.pool import WorkerPool, usable_cores
from metta.sweep.executors.serial import UnstorableError
from metta.sweep.trial import FailureReason, Resources

_MOST_CHILDREN: Final = 32
_EXPLANATION: Final = (
    "a sync stage with timeout= runs in a worker process: its arguments and its result must be storable"
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
        UserError: the function, an argument or the result cannot travel between processes.
        WorkerDied: the process ended under the call.
        Exception: what `fn` raised, the traceback of its process attached as a note.
    """
    pool = _ready_pool(resources)
    task, events = _begin(pool, fn, args, kwargs, timeout, name, resources, log_folder)
    try:
        while not _is_last(event := events.get()):
            _relay(event)
    except BaseException:
        pool.cancel(task.token)
        raise
    return _result(event, name)


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
    pool = _ready_pool(resources)
    task, events = _begin(pool, fn, args, kwargs, timeout, name, resources, log_folder)
    try:
        while not _is_last(event := await events.aget()):
            _relay(event)
    except BaseException:
        pool.cancel(task.token)
        raise
    return _result(event, name)


def _begin(
    pool: WorkerPool,
    fn: Callable[..., object],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None,
    timeout: float,
    name: str,
    resources: Resources | None,
    log_folder: Path | None,
) -> tuple[Task, EventStream]:
    events = EventStream()
    task = Task(
        f"call-{next(_numbers)}",
        fn,
        args,
        kwargs or {},
        name=name,
        resources=resources or Resources(),
        timeout=timeout,
        log_folder=log_folder,
        stream_log=True,
    )
    pool.submit(task, events)
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
