"""Who a process is, in words that outlive it: a process id alone is used again for others."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Final, NamedTuple

_PROC: Final = Path("/proc")


class Process(NamedTuple):
    """A process, and since when (seconds since the epoch) it has what it signed for.

    `boot`, `namespace` and `started` (clock ticks since the boot) tell apart processes that had the same number; they
    are empty and 0 where the system does not say.
    """

    pid: int
    host: str
    boot: str
    namespace: str
    started: int
    since: float

    @classmethod
    def current(cls) -> Process:
        """This process, now."""
        pid = os.getpid()
        return cls(pid, os.uname().nodename, _boot(), _namespace(), _started(pid) or 0, time.time())

    @classmethod
    def from_json(cls, text: bytes) -> Process | None:
        """The process that `to_json` wrote down; None where the text is something else."""
        try:
            data = json.loads(text)
            numbers = int(data["pid"]), int(data["started"]), float(data["since"])
            names = str(data["host"]), str(data["boot"]), str(data["namespace"])
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return None
        return cls(numbers[0], *names, numbers[1], numbers[2])

    def to_json(self) -> bytes:
        """One line of JSON."""
        return json.dumps(self._asdict()).encode() + b"\n"

    def is_gone(self) -> bool:
        """True where it is certain that the process has ended; one on another machine may be alive."""
        here = Process.current()
        if self.host != here.host:
            return False
        if self.boot != here.boot:
            return True  # the machine has been restarted since
        if self.namespace != here.namespace:
            return False  # another container: its process ids mean nothing here
        if _PROC.joinpath("self").exists():
            started = _started(self.pid)
            return started is None or started != self.started
        return not _answers(self.pid)

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"pid {self.pid} on host {self.host} since {since}"


def _boot() -> str:
    return _content(_PROC / "sys/kernel/random/boot_id")


def _namespace() -> str:
    try:
        return os.readlink(_PROC / "self/ns/pid")
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """When a process started, in clock ticks since the boot; None where there is none that runs (or no /proc)."""
    # "pid (name) state ppid ... starttime": the name may have blanks and brackets (proc(5), fields 2, 3 and 22).
    state, *fields = _content(_PROC / str(pid) / "stat").rpartition(")")[2].split() or [""]
    return int(fields[18]) if len(fields) > 18 and state not in "ZX" else None


def _content(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
