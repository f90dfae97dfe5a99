"""The driver: one asyncio loop, in one daemon thread, for every run of this process.

Runs are coroutines of this loop, nested ones too, so they never wait for a worker slot of their own.
Synchronous user code never runs on the loop: `asyncio.to_thread` gives it a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar

from metta.sweep.errors import RunError

T = TypeVar("T")


class Job(Generic[T]):
    """A coroutine on the driver's loop.

    `outcome` is settled when the coroutine has really ended, clean-up included: a cancelled job is one
    whose workers are gone. `frames` is the traceback of its failure, as it was when it ended.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.outcome: Future[T] = Future()
        self.frames: TracebackType | None = None
        self.observed: bool = False
        self._task: asyncio.Task[T] | None = None
        self._cancelled = False

    @classmethod
    def finished(cls, name: str, value: T) -> Job[T]:
        """A job that was over before it began: for results that are loaded, not computed."""
        job = cls(name)
        job.outcome.set_result(value)
        return job

    def cancel(self) -> None:
        """Ask the coroutine to stop; `outcome` is settled when it has. Safe from any thread, any time."""
        if not self.outcome.done():
            driver().call(self._cancel)

    def observe(self) -> None:
        """Somebody has seen the outcome: a failure need not be printed at exit."""
        self.observed = True
        if _current is not None:
            _current.release(self)

    def _cancel(self) -> None:
        if self._cancelled:
            return  # a second one would cut its cleaning up short
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()

    def _begin(self, main: Coroutine[Any, Any, T]) -> None:
        self._task = asyncio.get_running_loop().create_task(_contained(main, self.name), name=self.name)
        self._task.add_done_callback(partial(self._settle, main))
        if self._cancelled:
            self._task.cancel()

    def _settle(self, main: Coroutine[Any, Any, T], task: asyncio.Task[T]) -> None:
        main.close()  # cancelled before its first step, it would be reported as never awaited
        if task.cancelled():
            self.observed = self.observed or self._cancelled  # whoever asked for it need not be told at exit
            self.outcome.set_exception(RunError(f'run "{self.name}" was cancelled'))
        elif (error := task.exception()) is not None:
            self.frames = error.__traceback__
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(task.result())


async def _contained(main: Coroutine[Any, Any, T], name: str) -> T:
    """Keep `sys.exit()` in user code from ending the loop that every other run lives on."""
    try:
        return await main
    except (SystemExit, KeyboardInterrupt) as stop:
        raise RunError(f'run "{name}" was ended by {type(stop).__name__} in its own code') from stop


class _ThreadPerCall(ThreadPoolExecutor):
    """`asyncio.to_thread` without a limit on threads.

    A stage that waits for a nested run keeps its thread: with a bounded pool, enough of them would
    deadlock. Daemon threads of our own also go on while the interpreter waits for the last runs.
    """

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=call, name="metta-sweep-stage", daemon=True).start()
        return future


class Driver:
    """The loop and its thread. Use `driver()`, which starts one when it is first needed."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
        self.loop.set_default_executor(_ThreadPerCall(1))
        self._jobs: set[Job[Any]] = set()
        self._idle = threading.Condition()
        self._thread = threading.Thread(target=self._serve, name="metta-sweep-driver", daemon=True)
        self._thread.start()
        # Not a daemon: the interpreter waits for it, and so a script may end with `experiment.run()`.
        threading.Thread(target=self._see_runs_out, name="metta-sweep-exit").start()

    def is_current_thread(self) -> bool:
        """Whether the caller runs on the driver's loop, where waiting would block everything."""
        return threading.current_thread() is self._thread

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Run `function(*args)` on the loop, soon."""
        self.loop.call_soon_threadsafe(function, *args)

    def start(self, main: Coroutine[Any, Any, T], name: str) -> Job[T]:
        """Start `main` on the loop. May be called from any thread, the driver's own included."""
        job: Job[T] = Job(name)
        with self._idle:
            self._jobs.add(job)
        job.outcome.add_done_callback(lambda _: self.release(job))
        self.call(job._begin, main)
        return job

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        while True:
            # A task that raises SystemExit ends run_forever(); the other runs must not notice.
            with contextlib.suppress(SystemExit, KeyboardInterrupt):
                self.loop.run_forever()

    def release(self, job: Job[Any]) -> None:
        """Let go of a job that is over. A failure nobody has read is kept, to be printed at exit."""
        with self._idle:
            if job.outcome.done() and (job.observed or job.outcome.exception() is None):
                self._jobs.discard(job)
            self._idle.notify_all()

    def _see_runs_out(self) -> None:
        """When the main thread has ended, wait for the runs that are still going."""
        threading.main_thread().join()
        with self._idle:
            left = list(self._jobs)
        if hasattr(sys, "last_value"):  # the script died of an exception: do not work on for hours
            for job in left:
                job.cancel()
        with self._idle:
            self._idle.wait_for(lambda: all(job.outcome.done() for job in left))
        for job in left:
            error = job.outcome.exception()
            if error is not None and not job.observed:
                print(f'run "{job.name}" failed:', file=sys.stderr)
                traceback.print_exception(error)


_current: Driver | None = None
_starting = threading.Lock()


def driver() -> Driver:
    """The process's driver, started on first use."""
    global _current
    with _starting:
        if _current is None:
            _current = Driver()
        return _current


def _after_fork() -> None:
    """Threads do not survive a fork: the child starts its own driver when it needs one."""
    global _current, _starting
    _current = None
    _starting = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
