"""A pool of warm worker processes: what `LocalExecutor` and `call_in_child` share."""

from __future__ import annotations

import os
import threading
import weakref
from functools import partial
from typing import Final

from metta.sweep.errors import UsageError
from metta.sweep.executors.base import Answer, EventStream, Failed, Reported, Task
from metta.sweep.executors.loop import Job, Loop
from metta.sweep.executors.serial import UnstorableError, describe_error, dumps
from metta.sweep.executors.worker import Surroundings

GRACE: Final = 2.0
"""Seconds between SIGTERM and SIGKILL."""

_pools: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


class WorkerPool:
    """Starts its processes when they are first needed. All methods may be called from any thread.

    Args:
        slots: how many tasks of one core run at once.
        grace: seconds between SIGTERM and SIGKILL when a task is stopped.
        environment: variables that tasks see, where the driver's own environment does not set them.
    """

    def __init__(self, slots: int, *, grace: float = GRACE, environment: dict[str, str] | None = None) -> None:
        self.slots = slots
        self._grace = grace
        self._environment = environment or {}
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._tokens: set[str] = set()
        self._loop: Loop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        _pools.add(self)

    def submit(self, task: Task, events: EventStream) -> None:
        """See `Executor.submit`."""
        slots = task.resources.cpus
        if slots > self.slots:
            raise UsageError(f'the task "{task.name}" wants {slots:g} cores, the executor has {self.slots}')
        with self._lock:
            self._check_usable()
            if task.token in self._tokens:
                raise UsageError(f'a task with the token "{task.token}" is not over: every attempt needs its own')
            self._tokens.add(task.token)
            loop = self._started_loop()
        try:
            call = dumps(
                (task.fn, task.args, dict(task.kwargs)), f"the function or an argument of {task.name or 'the task'}"
            )
        except UnstorableError as error:
            self._forget_token(task.token)
            text = describe_error(error, None)
            events.put(Failed(task.token, text.reason, str(error), "", error))
            return
        except BaseException:
            self._forget_token(task.token)
            raise
        here = Surroundings.here()
        here.environment.update({**self._environment, **here.environment})
        if not loop.post(partial(loop.submit, Job(task, events, call, here))):
            self._forget_token(task.token)
            raise UsageError("the executor is closed")

    def answer(self, report: Reported, answer: Answer) -> None:
        """See `Executor.answer`."""
        if self._loop is not None:
            self._loop.post(partial(self._loop.answer, report.token, report.sequence, answer.value))

    def cancel(self, token: str) -> None:
        """See `Executor.cancel`."""
        if self._loop is not None:
            self._loop.post(partial(self._loop.cancel, token))

    def close(self) -> None:
        """See `Executor.close`."""
        if self._owner != os.getpid():
            return
        with self._lock:
            self._closed = True
        if self._loop is not None and self._thread is not None:
            self._loop.post(self._loop.close)
            if self._thread is not threading.current_thread():  # the garbage collector runs in any thread
                self._thread.join()

    def _check_usable(self) -> None:
        if self._owner != os.getpid():
            raise UsageError("the executor belongs to the process that made it: make a new one after a fork")
        if self._closed:
            raise UsageError("the executor is closed: make a new one")

    def _started_loop(self) -> Loop:
        if self._loop is None:
            self._loop = Loop(self.slots, self._grace, self._forget_token)
            # A daemon: the interpreter waits for other threads before it calls `atexit` functions, which close us.
            self._thread = threading.Thread(target=self._loop.run, name="metta-sweep workers", daemon=True)
            self._thread.start()
        return self._loop

    def _forget_token(self, token: str) -> None:
        with self._lock:
            self._tokens.discard(token)

    def _forget_all(self) -> None:
        self._lock = threading.Lock()  # another thread may have held it when the process forked
        if self._loop is not None:
            self._loop.forget()


def _after_fork() -> None:
    """A forked copy of a driver must not keep its connections open: workers end when those close."""
    for pool in list(_pools):
        pool._forget_all()


os.register_at_fork(after_in_child=_after_fork)
