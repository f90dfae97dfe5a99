"""`metta-sweep status --watch` on a terminal: the live region of a run that another process drives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol, TextIO

from metta.sweep.cli.opening import SWEEP, has_begun
from metta.sweep.experiments.sweep_reading import SweepReader
from metta.sweep.report.frames import sweep_frame
from metta.sweep.report.inner import InnerRuns
from metta.sweep.report.progress import Progress, progress_of
from metta.sweep.report.region import Line, Paper, Piece, Region
from metta.sweep.report.stages import PipelineProgress, pipeline_frame
from metta.sweep.store.run import Run, RunStatus, read_info

POLL: Final = 0.5
"""Seconds between two looks at the journal."""


def watch_run(folder: Path, stream: TextIO) -> None:
    """Show a run until nobody drives it any more; then nothing of that is left on the terminal.

    Args:
        folder: of the run.
        stream: a terminal.

    Raises:
        DamagedError: the run is damaged.
        StorageError: it cannot be read.
    """
    if read_info(folder).status is not RunStatus.RUNNING:
        return
    with Run.open(folder, write=False) as run:
        looker: Looker = SweepLooker(run) if run.kind == SWEEP else PipelineLooker(run)
        looker.look()
        region = Region(stream, looker.frame)
        region.start()
        try:
            while read_info(folder).status is RunStatus.RUNNING:
                time.sleep(POLL)
                looker.look()
        except BaseException:
            region.stop()
            raise
        region.stop(keep=False)


class Looker(Protocol):
    """Reads a run again and again."""

    def look(self) -> None:
        """Read what is new."""

    def frame(self, paper: Paper) -> list[Line]:
        """What there is to see of what was read."""


class SweepLooker:
    """Looks at a sweep.

    Args:
        run: open, for reading.
        now: seconds that only grow.
    """

    def __init__(self, run: Run, now: Callable[[], float] = time.monotonic) -> None:
        self._run = run
        self._now = now
        self._reader: SweepReader | None = None
        self._seq = -1
        self._progress: Progress | None = None
        self._read_at = now()
        self._inner = InnerRuns(run.folder)

    def look(self) -> None:
        """Read what is new."""
        seq = self._run.journal.last_seq
        if seq == self._seq:
            return
        if self._reader is None:
            if not has_begun(self._run):
                return
            self._reader = SweepReader(self._run)
        progress = progress_of(self._reader.read())
        self._seq, self._progress, self._read_at = seq, progress, self._now()

    def frame(self, paper: Paper) -> list[Line]:
        """What there is to see of what was read."""
        progress = self._progress
        if progress is None:
            return [[Piece(f"{self._run.name} has not begun")]]
        if not progress.over:  # the clock goes on between two changes
            progress = replace(progress, seconds=progress.seconds + self._now() - self._read_at)
        return sweep_frame(progress, paper, self._inner.of_trial)


class PipelineLooker:
    """Looks at a pipeline.

    Args:
        run: open, for reading.
        now: seconds since 1970.
    """

    def __init__(self, run: Run, now: Callable[[], float] = time.time) -> None:
        self._run = run
        self._now = now
        self._seq = 0
        self._began = now()
        self._progress = PipelineProgress(run.name)
        self._inner = InnerRuns(run.folder)
        self._lock = threading.Lock()

    def look(self) -> None:
        """Read what is new."""
        events = list(self._run.journal.events(self._seq))
        if not events:
            return
        if self._seq == 0:
            self._began = events[0].time
        self._seq = events[-1].seq
        with self._lock:
            self._progress.feed(events)

    def frame(self, paper: Paper) -> list[Line]:
        """What there is to see of what was read."""
        now = self._now()
        below = self._inner.of_stages()
        with self._lock:
            return pipeline_frame(self._progress, now - self._began, now, paper, below)
