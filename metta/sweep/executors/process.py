"""Small things about processes that the fork server and its workers share."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36

_WORKER_OOM_SCORE: Final = 500
"""Half of the machine's memory on top, in the kernel's reckoning of whom to end."""


def die_with_parent(parent: int, number: signal.Signals) -> None:
    """Have the kernel send us a signal when our parent ends, where it can (Linux); exit if it ended already.

    It is the thread that started us which counts as the parent, so that thread must live as long as we may.
    """
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of grandchildren whose parent ended, so that they are reaped in containers without an init."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def kill_group(group: int, number: int) -> None:
    """Send a signal to a process group; one that is gone is no error."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS says the latter for a group of zombies
        return


def offer_to_oom() -> None:
    """Have the kernel, when the machine is out of memory, end this process rather than its driver (Linux)."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "r+") as file:
        if int(file.read()) < _WORKER_OOM_SCORE:
            file.write(str(_WORKER_OOM_SCORE))


class OomCounter:
    """Counts the processes that the kernel has killed in our control group for want of memory."""

    def __init__(self) -> None:
        self._path = _oom_file()

    def read(self) -> int:
        """How many so far; 0 where the kernel does not say."""
        try:
            with open(self._path, "rb", buffering=0) as file:
                return next(int(line.split()[1]) for line in file.read().splitlines() if line.startswith(b"oom_kill "))
        except (OSError, StopIteration, ValueError):
            return 0


def _oom_file() -> str:
    try:
        with open("/proc/self/cgroup") as file:
            groups = dict(line.rstrip("\n").split(":", 2)[1:] for line in file)
    except (OSError, ValueError):
        return os.devnull
    if "memory" in groups:  # version 1
        path = f"/sys/fs/cgroup/memory{groups['memory']}/memory.oom_control"
        # A container is told the machine's name of its group, and finds the group itself mounted at the top.
        return path if os.path.exists(path) else "/sys/fs/cgroup/memory/memory.oom_control"
    return f"/sys/fs/cgroup{groups.get('', '')}/memory.events"
