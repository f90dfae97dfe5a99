"""A pool of warm worker processes: what `LocalExecutor` and `call_in_child` share."""

from __future__ import annotations

import os
import threading
import weakref
from functools import partial
from typing import Final

from metta.sweep.errors import UsageError
from metta.sweep.executors.base import Answer, EventStream, Failed, Reported, Task
from metta.sweep.executors.devices import describe, find_devices
from metta.sweep.executors.jobs import Job
from metta.sweep.executors.loop import Loop
from metta.sweep.executors.serial import UnstorableError, dumps, reason_of
from metta.sweep.executors.worker import Surroundings
from metta.sweep.trial import Resources

GRACE: Final = 2.0
"""Seconds between SIGTERM and SIGKILL."""


def usable_cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_pools: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


class WorkerPool:
    """Starts its processes when they are first needed. All methods may be called from any thread.

    Args:
        slots: how many tasks of one core run at once.
        grace: seconds between SIGTERM and SIGKILL when a task is stopped.
        equips: whether tasks get threads and devices by their `Resources`; else they see what the driver sees.
    """

    def __init__(self, slots: int, *, grace: float = GRACE, equips: bool) -> None:
        self.slots = slots
        self._grace = grace
        self._equips = equips
        # Left alone, each of n workers would start a thread per core: n times too many.
        self._fair_threads = max(1, usable_cores() // slots)
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._tokens: set[str] = set()
        self._devices: tuple[str, ...] | None = None
        self._surroundings: Surroundings | None = None
        self._loop: Loop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        _pools.add(self)

    def submit(self, task: Task, events: EventStream) -> None:
        """See `Executor.submit`."""
        self._check_resources(task)
        with self._lock:
            self._check_token(task.token)
        try:
            secrets: set[str] = set()
            what = f"the function or an argument of {task.name or 'the task'}"
            call = dumps((task.fn, task.args, dict(task.kwargs)), what, secrets)
        except UnstorableError as error:
            here = Surroundings.here(self._surroundings)
            events.put(Failed(task.token, reason_of(error), here.redactor.text(str(error)), "", error))
            return
        self.submit_call(task, call, frozenset(secrets), events)

    def submit_call(self, task: Task, call: bytes, secrets: frozenset[str], events: EventStream) -> None:
        """`submit` where the call is pickled already: that of `task` itself is not looked at.

        Args:
            task: of which everything else counts.
            call: function, arguments and keyword arguments as `serial.dumps` pickles them.
            secrets: what is to be masked beside the secrets of the environment.
            events: where its events go.
        """
        self._check_resources(task)
        with self._lock:
            self._check_token(task.token)
            self._tokens.add(task.token)
            loop = self._started_loop()
        # The same object as long as nothing changes: workers are told only of changes.
        here = self._surroundings = Surroundings.here(self._surroundings)
        threads = self._threads_for(task.resources) if self._equips else None
        job = Job.of(task, events, call, here, threads, secrets)
        if not loop.post(partial(loop.submit, job)):
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

    def _check_resources(self, task: Task) -> None:
        wanted = task.resources
        name = task.name or task.token
        if wanted.cpus > self.slots:
            raise UsageError(f'the task "{name}" wants {wanted.cpus:g} cores, the executor has {self.slots}')
        if wanted.gpus == 0 or not self._equips:
            return
        if wanted.gpus > 1 and wanted.gpus != int(wanted.gpus):
            raise UsageError(
                f'the task "{name}" wants {wanted.gpus:g} GPUs: expected a whole number, or a share below 1'
            )
        devices = self._found_devices()
        if wanted.gpus > len(devices):
            raise UsageError(f'the task "{name}" wants {wanted.gpus:g} GPUs, there are {describe(devices)}')

    def _found_devices(self) -> tuple[str, ...]:
        """Looked for once, when a task first wants one: asking the driver of the devices can take seconds."""
        if self._devices is None:
            self._devices = find_devices()
        return self._devices

    def _threads_for(self, wanted: Resources) -> int:
        """As many as the cores that a task names; one that names none (the default, 1) has a fair share of all."""
        return self._fair_threads if wanted.cpus == 1 else max(1, int(wanted.cpus))

    def _check_token(self, token: str) -> None:
        """Raise where no task with this token can be taken now."""
        if self._owner != os.getpid():
            raise UsageError("the executor belongs to the process that made it: make a new one after a fork")
        if self._closed:
            raise UsageError("the executor is closed: make a new one")
        if token in self._tokens:
            raise UsageError(f'a task with the token "{token}" is not over: every attempt needs its own')

    def _started_loop(self) -> Loop:
        if self._loop is None:
            self._loop = Loop(
                self.slots, self._grace, self._found_devices if self._equips else None, self._forget_token
            )
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
