"""A pipeline's run as lines, one per change of a stage's state, read from its journal while it is driven."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from metta.sweep.errors import StorageError
from metta.sweep.report.live import SUMMARY_SECONDS, clock
from metta.sweep.report.pipeline_status import stage_name
from metta.sweep.runtime.history import EventLike
from metta.sweep.store.run import Run

POLL: Final = 0.2
"""Seconds between two looks at the journal."""


class Follower:
    """Prints the lines of a run from a thread, until it is stopped.

    Args:
        run: its folder.
        after: the number of the last event that is old news.
        tell: prints a line.
        resumed: called when the run really goes on: what has changed since may forbid it.
    """

    def __init__(self, run: Path, after: int, tell: Callable[[str], object], resumed: Callable[[], object]) -> None:
        self._resumed = resumed
        self._folder = run
        self._seq = after
        self._tell = tell
        self._over = threading.Event()
        self._began = time.time()
        self._thread = threading.Thread(target=self._follow, name="metta-sweep-lines", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Print what is left; returns when it is printed."""
        self._over.set()
        self._thread.join()

    def _follow(self) -> None:
        spoken = time.monotonic()
        lines = StageLines()
        try:
            with Run.open(self._folder, write=False) as run:
                while True:
                    over = self._over.wait(POLL)
                    events = self._new(run)
                    if any(event.kind == "run.resumed" for event in events):
                        self._resumed()
                    for line in lines.of(events):
                        self._tell(f"[{clock(time.time() - self._began)}] {line}")
                        spoken = time.monotonic()
                    if over:
                        return
                    if time.monotonic() - spoken >= SUMMARY_SECONDS:
                        self._tell(f"[{clock(time.time() - self._began)}] {lines.summary()}")
                        spoken = time.monotonic()
        except StorageError:
            return  # the driver meets the same disk, and says it

    def _new(self, run: Run) -> list[EventLike]:
        found = list(run.journal.events(self._seq))
        if found:
            self._seq = found[-1].seq
        return list(found)


class StageLines:
    """From events to lines. A stage that ends soon after it began has one line, and elements of a map have none."""

    def __init__(self) -> None:
        self._running: dict[str, None] = {}
        self._done = 0

    def of(self, events: Iterable[EventLike]) -> list[str]:
        """The lines of the next events."""
        began: dict[str, str] = {}
        lines: list[str] = []
        for event in events:
            key = event.subject
            match event.kind:
                case "stage.started":
                    self._running[key] = None
                    began[key] = f"{_told(key)} started"
                case "stage.done":
                    began.pop(key, None)
                    self._running.pop(key, None)
                    self._done += 1
                    if not key.endswith("]"):
                        lines.append(f"{_told(key)} {_ended(event)}")
                case "stage.failed":
                    began.pop(key, None)
                    self._running.pop(key, None)
                    what = "failed" if event.data["last"] else f"failed at attempt {event.data['attempt']}"
                    lines.append(f"{_told(key)} {what} ({event.data['reason']}): {event.data['message']}")
                case _:
                    pass
        return [*lines, *(line for key, line in began.items() if not key.endswith("]"))]

    def summary(self) -> str:
        """What runs, and how much is done."""
        names = ", ".join(dict.fromkeys(stage_name(key) for key in self._running))
        return f"{self._done} done, running: {names or 'nothing'}"


def _ended(event: EventLike) -> str:
    if event.data.get("skipped"):
        return "skipped"
    if event.data.get("cached"):
        return "taken from the cache"
    return f"done in {event.data.get('seconds', 0.0):.2f} s"


def _told(key: str) -> str:
    """A key for people: `train#3` is the third pass, `sq[2]` an element."""
    last = key.rpartition("/")[2]
    number = last.rpartition("#")[2] if "#" in last else ""
    index = last[last.index("[") :] if last.endswith("]") and "[" in last else ""
    name = stage_name(key).removesuffix("[]")
    return f"{name}{index}" + (f" (pass {number})" if number.isdigit() else "")
