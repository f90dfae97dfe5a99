"""A pipeline's run, shown while it is driven: a live region on a terminal, else a line per change of a stage's state.

Both are read from its journal, each event once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Protocol, TextIO

from metta.sweep.errors import StorageError
from metta.sweep.report.inner import InnerRuns
from metta.sweep.report.live import MOST_LINES, SUMMARY_SECONDS
from metta.sweep.report.pipeline_status import stage_name
from metta.sweep.report.region import Line, Paper, Region
from metta.sweep.report.stages import PipelineProgress, pipeline_frame
from metta.sweep.report.text import clock, duration, one_line
from metta.sweep.runtime.history import EventLike
from metta.sweep.store.run import Run

POLL: Final = 0.2
"""Seconds between two looks at the journal."""


class StageView(Protocol):
    """Shows how the stages of a run go."""

    def feed(self, past: Iterable[EventLike]) -> None:
        """What earlier drivers have done."""

    def show(self, events: list[EventLike]) -> None:
        """What has happened since it was called last, which may be nothing."""

    def stop(self) -> None:
        """There is no more."""


class Follower:
    """Shows a run from a thread, until it is stopped.

    Args:
        run: its folder.
        after: the number of the last event that is old news.
        view: where it is shown.
        resumed: called when the run really goes on: what has changed since may forbid it.
    """

    def __init__(self, run: Path, after: int, view: StageView, resumed: Callable[[], object]) -> None:
        self._resumed = resumed
        self._folder = run
        self._seq = after
        self._view = view
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="metta-sweep-stages", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Show what is left; returns when it is shown."""
        self._over.set()
        self._thread.join()

    def _follow(self) -> None:
        try:
            with Run.open(self._folder, write=False) as run:
                self._view.feed(event for event in run.journal.events() if event.seq <= self._seq)
                over = False
                while not over:
                    over = self._over.wait(POLL)
                    events = self._new(run)
                    if any(event.kind == "run.resumed" for event in events):
                        self._resumed()
                    self._view.show(events)
        except StorageError:
            return  # the driver meets the same disk, and says it
        finally:
            self._view.stop()

    def _new(self, run: Run) -> list[EventLike]:
        found = list(run.journal.events(self._seq))
        if found:
            self._seq = found[-1].seq
        return list(found)


class StageRegion:
    """The stages in a live region of a terminal.

    Args:
        stream: a terminal.
        run: the run's folder.
        name: of the run.
        total: how many stages it has; None where nobody knows.
    """

    def __init__(self, stream: TextIO, run: Path, name: str, total: int | None) -> None:
        self._progress = PipelineProgress(name, total)
        self._inner: InnerRuns | None = InnerRuns(run)
        self._began = time.time()
        self._lock = threading.Lock()
        self._region = Region(stream, self._frame)
        self._region.start()

    def feed(self, past: Iterable[EventLike]) -> None:
        """Take what earlier drivers have done."""
        with self._lock:
            self._progress.feed(past)

    def show(self, events: list[EventLike]) -> None:
        """Take what is new; the region draws itself."""
        self.feed(events)

    def stop(self) -> None:
        """The last frame stays; no inner run is in it."""
        self._inner = None
        self._region.stop()

    def _frame(self, paper: Paper) -> list[Line]:
        now = time.time()
        inner = self._inner
        below = [] if inner is None else inner.of_stages()
        with self._lock:
            return pipeline_frame(self._progress, now - self._began, now, paper, below)


class StageText:
    """A line for each change, and a summary where nothing was said for 60 seconds.

    Args:
        tell: prints a line.
    """

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell
        self._lines = StageLines()
        self._began = time.time()
        self._spoken = time.monotonic()

    def feed(self, past: Iterable[EventLike]) -> None:
        """Lines are about what happens now."""

    def show(self, events: list[EventLike]) -> None:
        """Tell what is new."""
        for line in self._lines.of(events):
            self._say(line)
        if time.monotonic() - self._spoken >= SUMMARY_SECONDS:
            self._say(self._lines.summary())

    def stop(self) -> None:
        """All is said."""

    def _say(self, text: str) -> None:
        self._tell(f"[{clock(time.time() - self._began)}] {one_line(text)}")
        self._spoken = time.monotonic()


class StageLines:
    """From events to lines. A stage that ends soon after it began has one line, and elements of a map have none.

    A run of very many passes has no line for each: after 300 lines only the failures that end something are told.

    Args:
        most_lines: so many.
    """

    def __init__(self, most_lines: int = MOST_LINES) -> None:
        self._left = most_lines
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
                        lines += self._counted([f"{_told(key)} {_ended(event)}"])
                case "stage.failed":
                    began.pop(key, None)
                    self._running.pop(key, None)
                    what = "failed" if event.data["last"] else f"failed at attempt {event.data['attempt']}"
                    line = f"{_told(key)} {what} ({event.data['reason']}): {event.data['message']}"
                    lines += [line] if event.data["last"] else self._counted([line])
                case _:
                    pass
        return lines + self._counted([line for key, line in began.items() if not key.endswith("]")])

    def _counted(self, lines: list[str]) -> list[str]:
        """As many of the lines as may still be told."""
        told = lines[: max(0, self._left)]
        if 0 < self._left <= len(lines):
            told = [*told, f"many passages: from here on failures, and every {SUMMARY_SECONDS:g} s a summary"]
        self._left -= len(lines)
        return told

    def summary(self) -> str:
        """What runs, and how much is done."""
        names = ", ".join(dict.fromkeys(stage_name(key) for key in self._running))
        return f"{self._done} done, running: {names or 'nothing'}"


def _ended(event: EventLike) -> str:
    if event.data.get("skipped"):
        return "skipped"
    if event.data.get("cached"):
        return "taken from the cache"
    return f"done in {duration(event.data.get('seconds', 0.0))}"


def _told(key: str) -> str:
    """A key for people: `train#3` is the third pass, `sq[2]` an element."""
    last = key.rpartition("/")[2]
    number = last.rpartition("#")[2] if "#" in last else ""
    index = last[last.index("[") :] if last.endswith("]") and "[" in last else ""
    name = stage_name(key).removesuffix("[]")
    return f"{name}{index}" + (f" (pass {number})" if number.isdigit() else "")
