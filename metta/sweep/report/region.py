"""A region of a terminal that is drawn again and again, while other lines appear above it.

After each frame the cursor stands at the region's begin, visible. So nothing has to be counted when the window
changes its size, what others write to the terminal is never erased, and however the process ends, the cursor is there.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final, NamedTuple, TextIO

from metta.sweep.report.above import Above, is_terminal
from metta.sweep.report.text import cells, harmless, shorten

FRAME_SECONDS: Final = 0.25
"""Between two frames, at least."""

WIDEST: Final = 80
ROOMY: Final = 10
"""Lines of a terminal that has one to spare above the region."""

_HOME: Final = "\r\x1b[J"
_STYLES: Final = {"bold": "\x1b[1m", "dim": "\x1b[2m", "red": "\x1b[31m", "green": "\x1b[32m", "blue": "\x1b[34m"}


class Piece(NamedTuple):
    """A part of a line. `style` is "", "bold", "dim", "red", "green" or "blue"."""

    text: str
    style: str = ""


Line = Sequence[Piece]


class Paper(NamedTuple):
    """What there is to draw on.

    Attributes:
        width: in columns.
        height: in lines.
        ascii: only ASCII can be shown.
    """

    width: int
    height: int
    ascii: bool = False

    @property
    def mark(self) -> str:
        """What stands where something was cut off."""
        return "..." if self.ascii else "…"


Draw = Callable[[Paper], Sequence[Line]]


def can_redraw(stream: TextIO | None) -> bool:
    """Whether the stream is a terminal on which lines can be drawn again."""
    return is_terminal(stream) and os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")


class Region:
    """Shows what `draw` returns, on as many lines as the terminal has, at most four times a second.

    What is printed to `sys.stdout` and `sys.stderr` meanwhile appears above it, where these are terminals.
    In the background of a shell nothing is drawn.

    Args:
        stream: a terminal.
        draw: the lines of the next frame; called from a thread, one call at a time.
    """

    def __init__(self, stream: TextIO, draw: Draw) -> None:
        self._stream = stream
        self._draw = draw
        self.lock: AbstractContextManager[object] = threading.RLock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._redraw, name="metta-sweep-region", daemon=True)
        self._ascii = _is_ascii(stream)
        self._plain = bool(os.environ.get("NO_COLOR"))
        self._above: list[Above] = []
        self._process = os.getpid()
        self._is_drawn = False
        self._is_gone = False
        self._drawn_at = 0.0

    def start(self) -> None:
        """Begin to draw."""
        global _shown
        _shown = self
        self._above = [Above(self, name) for name in ("stdout", "stderr") if is_terminal(getattr(sys, name))]
        for above in self._above:
            above.begin()
        atexit.register(self.stop)
        self._thread.start()

    def stop(self, *, keep: bool = True) -> None:
        """End it; a second time does nothing.

        Args:
            keep: the last frame stays where it is.
        """
        global _shown
        if not self.is_live:
            return
        self._over.set()
        atexit.unregister(self.stop)
        self._thread.join()
        with self.lock:
            self._write(self._erasure())
            for above in self._above:
                above.end()
            if keep:
                self._write(self._frame(last=True))
            self._is_drawn = False
            if _shown is self:
                _shown = None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Inside the block the region is not there, and other things can be written.

        Then it is drawn again, unless it was drawn just before: who prints much does not have it drawn for each line.
        """
        with self.lock:
            self._write(self._erasure())
            self._is_drawn = False
            yield
            if time.monotonic() - self._drawn_at >= FRAME_SECONDS:
                self._write(self._frame())

    @property
    def is_live(self) -> bool:
        """Whether it is drawn again and again: not after its end, and not in a forked process."""
        return not self._over.is_set() and os.getpid() == self._process

    @property
    def is_drawn(self) -> bool:
        """Whether it is to be seen now."""
        return self._is_drawn

    def _redraw(self) -> None:
        while True:
            with self.lock:
                if self._over.is_set():
                    return
                self._write(self._frame())
            self._over.wait(FRAME_SECONDS)

    def _erasure(self) -> str:
        return _HOME if self._is_drawn else ""

    def _frame(self, *, last: bool = False) -> str:
        """What draws the next frame from the cursor on, and leaves it there, or below the last one."""
        size = None if self._is_gone else self._size()
        if size is None:
            self._is_drawn = False
            return ""
        top: list[Line] = [[Piece(above.tail)] for above in self._above if above.tail]
        if not top and not last and size.lines >= ROOMY:
            top = [[]]  # for the cursor, and for what others write there
        # One column stays free: in the last one terminals differ in where the cursor is.
        paper = Paper(max(1, min(WIDEST, size.columns - 1)), max(1, size.lines - 1 - len(top)), self._ascii)
        try:
            drawn = self._draw(paper)
        except Exception:  # whoever prints meanwhile must not get it
            self._write(self._erasure())
            self._is_gone = True
            logging.getLogger("metta.sweep").exception("the live region cannot be drawn any more")
            return ""
        lines = [self._text(line, paper) for line in [*top, *drawn[: paper.height]][: size.lines]]
        self._drawn_at = time.monotonic()
        self._is_drawn = bool(lines)
        up = "" if len(lines) < 2 else f"\x1b[{len(lines) - 1}A"
        end = "\r\n" if last and lines else f"{up}\r"
        # No wrapping, as a terminal may find a character wider than we do. Erased line by line, against flicker.
        return "\x1b[?7l\r" + "\x1b[K\r\n".join(lines) + "\x1b[K\x1b[J\x1b[?7h" + end

    def _text(self, line: Line, paper: Paper) -> str:
        room, parts = paper.width, []
        for piece in line:
            text = shorten(_as_ascii(piece.text) if paper.ascii else piece.text, room, mark=paper.mark)
            room -= cells(text)
            style = "" if self._plain else _STYLES.get(piece.style, "")
            parts.append(f"{style}{text}\x1b[0m" if style and text else text)
            if room <= 0:
                break
        return "".join(parts)

    def _size(self) -> os.terminal_size | None:
        """The terminal's, None where nothing may be drawn on it."""
        try:
            number = self._stream.fileno()
            if _is_in_background(number):
                return None
            size = os.get_terminal_size(number)
        except (OSError, ValueError):
            return None
        # A terminal that does not know its size says 0.
        return os.terminal_size((size.columns or WIDEST, size.lines or 24))

    def _write(self, text: str) -> None:
        if not text or self._is_gone:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._is_gone = True  # the terminal was closed: there is nobody to draw for


_shown: Region | None = None
"""The region on the terminal of this process."""


def is_shown() -> bool:
    """Whether there is a region already; there is room for one."""
    return _shown is not None


def erasure() -> bytes:
    """What to write to the terminal before a message that cannot wait for the region, as in a signal handler."""
    return _HOME.encode() if _shown is not None and _shown.is_drawn else b""


def _is_in_background(terminal: int) -> bool:
    """Whether the shell has given the terminal to somebody else: what is drawn then gets between his lines."""
    try:
        return os.tcgetpgrp(terminal) != os.getpgrp()
    except OSError:  # it is not the one that controls this process
        return False


def _is_ascii(stream: TextIO) -> bool:
    """Whether only ASCII can be shown. Python writes UTF-8 in the C locale; a terminal there may read anything."""
    named = next((value for name in ("LC_ALL", "LC_CTYPE", "LANG") if (value := os.environ.get(name))), "")
    if named in ("C", "POSIX"):
        return True
    return not (stream.encoding or "").lower().startswith("utf")


def _as_ascii(text: str) -> str:
    return harmless(text).encode("ascii", "backslashreplace").decode("ascii")
