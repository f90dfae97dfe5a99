"""Tasks in worker processes of this machine."""

from __future__ import annotations

import os
import weakref
from types import TracebackType
from typing import NoReturn

from metta.sweep.errors import UsageError
from metta.sweep.executors.base import Answer, EventStream, Reported, Task
from metta.sweep.executors.pool import GRACE, WorkerPool

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""What torch, numpy and their libraries ask for the number of their threads."""


class LocalExecutor:
    """Runs tasks in warm worker processes of this machine, one task per process at a time.

    A worker never runs the user's script again: what `__main__` defines travels by value, so a script needs no
    `if __name__ == "__main__"`. A worker that dies fails its task and is replaced. A task is stopped by SIGTERM to its
    process group and, `grace` seconds later, SIGKILL: its own children go with it. All workers end with their driver,
    in whatever way it ends. Tasks see the driver's environment, working folder and `sys.path` as they were at `submit`.

    Of a task's resources it counts the cores (a task of two takes two slots) and keeps the time limit; devices and
    memory are what the driver has.

    Args:
        max_workers: slots; default: the cores this process may use.
        grace: seconds between SIGTERM and SIGKILL.

    Raises:
        UsageError: fewer than one worker, or no POSIX system.
    """

    def __init__(self, max_workers: int | None = None, *, grace: float = GRACE) -> None:
        if not hasattr(os, "fork"):
            raise UsageError("LocalExecutor needs a POSIX system (Linux, macOS, or WSL on Windows)")
        cores = usable_cores()
        slots = cores if max_workers is None else max_workers
        if slots < 1:
            raise UsageError(f"LocalExecutor(max_workers={max_workers}): expected at least 1")
        # Left alone, each of n workers would start a thread per core: n times too many.
        threads = str(max(1, cores // slots))
        self._pool = WorkerPool(slots, grace=grace, environment=dict.fromkeys(THREAD_VARIABLES, threads))
        # Also for an executor that nobody closed: when it is collected, or when the interpreter ends.
        self._close = weakref.finalize(self, self._pool.close)

    @property
    def capacity(self) -> int:
        """How many tasks of one core run at the same time; more may be submitted."""
        return self._pool.slots

    def events(self) -> EventStream:
        """A new, empty stream; tasks are submitted to it."""
        return EventStream()

    def submit(self, task: Task, events: EventStream) -> None:
        """Hand in a task. Whatever goes wrong with it becomes a `Failed` in `events`.

        Raises:
            UsageError: closed, a token in use, or more cores wanted than there are.
        """
        self._pool.submit(task, events)

    def answer(self, report: Reported, answer: Answer) -> None:
        """Tell a task what its report has led to. Ignored when the task is over."""
        self._pool.answer(report, answer)

    def cancel(self, token: str) -> None:
        """Stop a task; `Failed` with the reason "cancelled" follows when its processes are gone."""
        self._pool.cancel(token)

    def reattach(self, token: str, events: EventStream) -> bool:
        """Always False: local workers end with their driver."""
        return False

    def close(self) -> None:
        """Cancel what is left and end every process; blocks until that is done. May be called twice."""
        self._close()

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a LocalExecutor owns processes and cannot be sent to another: make one there")


def usable_cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
