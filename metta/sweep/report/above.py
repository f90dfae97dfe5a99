"""What is printed while a live region is on the terminal: it appears above the region, and does not tear it."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, Final, Protocol, TextIO

LONGEST_TAIL: Final = 1000
"""Characters of a line without an end that are kept."""

_COMMAND: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Pausing(Protocol):
    """A region as those who print see it.

    Attributes:
        lock: held by whoever writes to the terminal; a thread may take it twice.
        is_live: whether the region is still drawn, by this process.
    """

    @property
    def lock(self) -> AbstractContextManager[object]: ...
    @property
    def is_live(self) -> bool: ...

    def paused(self) -> AbstractContextManager[None]:
        """Inside the block the region is not there."""


class Above:
    """Stands for `sys.stdout` or `sys.stderr`: whole lines appear above the region, the rest in its first line.

    Args:
        region: what is drawn there.
        name: "stdout" or "stderr".
    """

    def __init__(self, region: Pausing, name: str) -> None:
        self._region = region
        self._name = name
        self._stream: TextIO = getattr(sys, name)
        self._rest = ""

    @property
    def tail(self) -> str:
        """What was printed and has no end yet, without colours; of a progress bar, its last state."""
        return _COMMAND.sub("", self._rest.rstrip("\r").rpartition("\r")[2])

    def begin(self) -> None:
        """Take its place."""
        setattr(sys, self._name, self)

    def end(self) -> None:
        """Give the place back, unless somebody else has taken it, and write the rest."""
        if getattr(sys, self._name) is self:
            setattr(sys, self._name, self._stream)
        if self._rest:
            with suppress(OSError, ValueError):  # the terminal was closed
                self._stream.write(f"{self._rest}\n")
                self._stream.flush()
            self._rest = ""

    def write(self, text: str) -> int:
        """As that of the stream."""
        if not self._region.is_live:  # a logger may have kept this; and the lock of a parent process may be held
            return self._stream.write(text)
        with self._region.lock:
            lines, newline, rest = (self._rest + text).rpartition("\n")
            self._rest = rest[-LONGEST_TAIL:]
            if newline:
                with self._region.paused():
                    self._stream.write(lines + newline)
                    self._stream.flush()
        return len(text)

    def writelines(self, lines: Sequence[str]) -> None:
        """As that of the stream."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Nothing waits here but what has no end yet."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether what is written there is seen at once."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # it was closed
        return False
