"""A command in a terminal of its own: a real pseudo-terminal, and an interpreter of what is written to it."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self

import pyte

BOUND: Final = 60.0
"""Seconds that anything awaited may take."""

FRAME_END: Final = b"\x1b[?7h"
"""What a live region writes at the end of each frame."""


class Terminal:
    """A program in a terminal.

    Args:
        program: the command with its arguments.
        environment: of the program. Only the terminal says how large it is: pytest-xdist sets variables for that, too.
        columns, lines: the size of the terminal.
        pass_fds: file descriptors that the program inherits.

    Attributes:
        child: the process; it leads a session of its own.
        written: all that the program has written, as bytes.
        screen: what is to be seen.
    """

    def __init__(
        self,
        program: Sequence[str],
        environment: Mapping[str, str],
        *,
        columns: int = 80,
        lines: int = 24,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._terminal, inner = os.openpty()
        self.screen: Any = pyte.HistoryScreen(columns, lines, history=1000, ratio=0.5)
        self._stream = pyte.ByteStream(self.screen)
        self.written = b""
        self.resize(columns, lines)
        self.child = subprocess.Popen(
            program,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env={"TERM": "xterm-256color", "LANG": "C.UTF-8", **environment, "COLUMNS": "", "LINES": ""},
            pass_fds=pass_fds,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(inner)

    @property
    def text(self) -> str:
        """What has scrolled away, and what is on the screen."""
        above = ["".join(row[at].data for at in range(self.screen.columns)) for row in self.screen.history.top]
        return "\n".join(line.rstrip() for line in [*above, *self.screen.display]).rstrip()

    def read(self, seconds: float = 0.1) -> bool:
        """Take what the program writes within a time; False when nobody can write any more."""
        if not select.select([self._terminal], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._terminal, 1 << 16)
        except OSError:  # how Linux says that all others have closed it
            return False
        self.written += data
        self._stream.feed(data)
        return bool(data)

    def until(self, holds: str | Callable[[], bool]) -> None:
        """Wait until a text is to be seen, or something holds."""

        def test() -> bool:
            return holds in self.text if isinstance(holds, str) else holds()

        end = time.monotonic() + BOUND
        while not test():
            assert self.read() or test(), f"it has ended, and {holds!r} does not hold:\n{self.text}"
            assert time.monotonic() < end, f"{holds!r} does not hold in time:\n{self.text}"

    def frames(self, number: int) -> None:
        """Wait for some more frames of a live region."""
        start = self.written.count(FRAME_END)
        self.until(lambda: self.written.count(FRAME_END) >= start + number)

    def resize(self, columns: int, lines: int) -> None:
        """The user changes the size of the window."""
        self.screen.resize(lines, columns)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, key: bytes) -> None:
        """The user presses a key."""
        os.write(self._terminal, key)

    def end(self) -> int:
        """Read to the end; the exit code, or minus the number of the signal."""
        end = time.monotonic() + BOUND
        while self.read():
            assert time.monotonic() < end, f"it has not ended in time:\n{self.text}"
        return self.child.wait(BOUND)

    def close(self) -> None:
        """Leave nothing behind."""
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()
        os.close(self._terminal)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


PROGRAM: Final = (sys.executable, "-m", "metta.sweep.cli.main")
