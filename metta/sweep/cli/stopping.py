"""Ctrl-C: once, and the run stops in order; twice, and the process ends at once. SIGTERM counts as Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from metta.sweep.report.region import erasure

INTERRUPTED: Final = 130
GRACE: Final = 8.0
"""Seconds that a run may take to stop; then the process ends all the same. What is committed is on disk by then."""


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Inside the block the first signal raises KeyboardInterrupt in the main thread.

    A second one, or `GRACE` seconds, ends the process: workers notice that their driver is gone and end, too. A SIGINT
    that the process was started to ignore (a shell's background job) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    handler = _Handler()
    before: dict[int, Any] = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
        handler.disarm()


class _Handler:
    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._timer is not None:
            _end("ended at once")
        # A daemon, and no join: the main thread may wait for something that never ends.
        self._timer = threading.Timer(GRACE, _end, [f"ended: it did not stop within {GRACE:g} s"])
        self._timer.daemon = True
        self._timer.start()
        os.write(2, erasure() + b"\nstopping; press Ctrl-C again to end at once\n")
        raise KeyboardInterrupt

    def disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _end(why: str) -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, RuntimeError):  # RuntimeError: the main thread is just writing
            continue
    os.write(2, erasure() + f"{why}; `metta-sweep ls` shows the run, it can be resumed\n".encode())
    os._exit(INTERRUPTED)
