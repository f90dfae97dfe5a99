"""Tasks in worker processes of this machine."""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from metta.sweep.errors import UsageError
from metta.sweep.executors.base import Answer, EventStream, Reported, Task
from metta.sweep.executors.pool import GRACE, WorkerPool, usable_cores


class LocalExecutor:
    """Runs tasks in warm worker processes of this machine, one task per process at a time.

    A worker never runs the user's script again: what `__main__` defines travels by value, so a script needs no
    `if __name__ == "__main__"`. A worker that dies fails its task and is replaced. A task is stopped by SIGTERM to its
    process group and, `grace` seconds later, SIGKILL: its own children go with it. All workers end with their driver,
    in whatever way it ends. Tasks see the driver's environment, working folder and `sys.path` as they were at `submit`.

    What becomes of a task's `Resources`:

    - `cpus`: a task of two takes two slots, and numerical libraries are told to use two threads unless the driver's
      environment says how many. Of the default, one, each task has a fair share of the machine's cores. Nothing is
      pinned to a core: two executors would pin to the same ones.
    - `memory`: what the worker's process group has in memory is watched (every 0.2 s while a limited task runs); a
      group with more is killed, with the reason "oom".
    - `gpus`: the devices of an existing `CUDA_VISIBLE_DEVICES`, else those that `nvidia-smi` lists, are handed out by
      setting that variable before the task's code is loaded. A worker keeps its devices for life. Two tasks with 0.5
      share one; a task with 0, the default, sees none.
    - `time_limit`: as `timeout`; the smaller one counts.

    Tasks start first come, first served; `placement` says when a younger one may start before an older one.
    Output, messages and tracebacks come with the secrets masked that `metta.sweep.redaction` knows of.

    Args:
        max_workers: slots; default: the cores this process may use.
        grace: seconds between SIGTERM and SIGKILL.

    Raises:
        UsageError: fewer than one worker, or no POSIX system.
    """

    def __init__(self, max_workers: int | None = None, *, grace: float = GRACE) -> None:
        if not hasattr(os, "fork"):
            raise UsageError("LocalExecutor needs a POSIX system (Linux, macOS, or WSL on Windows)")
        slots = usable_cores() if max_workers is None else max_workers
        if slots < 1:
            raise UsageError(f"LocalExecutor(max_workers={max_workers}): expected at least 1")
        self._pool = WorkerPool(slots, grace=grace, equips=True)
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
            UsageError: closed, a token in use, or more cores or GPUs wanted than there are.
        """
        self._pool.submit(task, events)

    def answer(self, report: Reported, answer: Answer) -> None:
        """Tell a task what its report has led to. Ignored when the task is over."""
        self._pool.answer(report, answer)

    def cancel(self, token: str) -> None:
        """Stop a task; `Failed` with the reason "cancelled" follows when its processes are gone."""
        self._pool.cancel(token)

    @property
    def outlives_driver(self) -> bool:
        """False."""
        return False

    def reattach(self, token: str, events: EventStream, folder: Path | None = None, *, also_ended: bool = True) -> bool:
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
