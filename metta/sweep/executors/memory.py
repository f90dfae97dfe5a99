"""How much memory the process groups of workers use, and which use more than they may.

It is watched, not enforced by the kernel: `RLIMIT_AS` and `RLIMIT_DATA` count address space that was reserved and never
touched (CUDA reserves the size of the whole machine, every thread a stack), count each process for itself, and make
allocations fail in odd places instead of ending the task with a clear word. A control group of our own would need one
that is delegated to the user, and the driver moved to a leaf of it: rarely there, and not ours to do.

What a watch can miss, a task that takes everything between two looks, ends as the kernel's choice: it prefers workers
to their driver (`process.offer_to_oom`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

INTERVAL: Final = 0.2
"""Seconds between two looks."""

_LEISURE: Final = 20
"""A look is followed by at least so many times its own duration: the watch takes at most 5 % of one core."""


@dataclass(slots=True)
class Usage:
    """What a process group uses.

    Attributes:
        resident: bytes in memory; pages that processes share count once for each.
        processes: its process ids.
    """

    resident: int = 0
    processes: list[int] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Bytes in memory, shared pages by halves, thirds and so on where the kernel tells (Linux); costs more."""
        shares = [_proportional(process) for process in self.processes]
        known = [share for share in shares if share is not None]
        return sum(known) if known else self.resident  # one that has ended meanwhile uses nothing


class MemoryWatch:
    """Looks at intervals. `due` is when it wants to look again, in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self.due: float = 0.0

    def exceeded(self, limits: Mapping[int, int]) -> dict[int, int]:
        """The process groups that use more than their limit, and how much; both in bytes."""
        began = time.monotonic()
        over: dict[int, int] = {}
        for group, usage in usage_of(limits).items():
            # The cheap figure is never below the exact one.
            if usage.resident > limits[group] and usage.bytes > limits[group]:
                # Of processes that end during a look the others take over what they shared: it would count twice.
                used = usage_of([group]).get(group, Usage()).bytes
                if used > limits[group]:
                    over[group] = used
        now = time.monotonic()
        self.due = now + max(INTERVAL, _LEISURE * (now - began))
        return over


def usage_of(groups: Collection[int]) -> dict[int, Usage]:
    """What each process group uses now; a group that is gone is left out."""
    found: dict[int, Usage] = {}
    for process, group, resident in _on_linux() if sys.platform == "linux" else _by_ps():
        if group in groups:
            usage = found.setdefault(group, Usage())
            usage.resident += resident
            usage.processes.append(process)
    return found


def readable(amount: int) -> str:
    """Bytes as text: "1.50 GiB", "312 MiB"."""
    return f"{amount / 2**30:.2f} GiB" if amount >= 2**30 else f"{amount / 2**20:.0f} MiB"


def _on_linux() -> list[tuple[int, int, int]]:
    """Process id, process group and resident bytes of every process."""
    page = os.sysconf("SC_PAGE_SIZE")
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with suppress(OSError):  # it ended meanwhile
            with open(f"/proc/{name}/stat", "rb", buffering=0) as file:
                # The command's name comes before, in parentheses, and may hold anything.
                fields = file.read().rpartition(b")")[2].split()
            found.append((int(name), int(fields[2]), int(fields[21]) * page))
    return found


def _by_ps() -> list[tuple[int, int, int]]:
    """The same where there is no /proc: macOS."""
    with suppress(OSError):
        done = subprocess.run(["ps", "-A", "-o", "pid=,pgid=,rss="], capture_output=True, text=True, check=False)
        rows = [line.split() for line in done.stdout.splitlines()]
        return [(int(process), int(group), int(kibibytes) * 1024) for process, group, kibibytes in rows]
    return []


def _proportional(process: int) -> int | None:
    """Its proportional set size in bytes; None where the kernel does not tell."""
    with suppress(OSError), open(f"/proc/{process}/smaps_rollup", "rb") as file:
        for line in file:
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return None
