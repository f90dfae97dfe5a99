"""A run that is held open while somebody looks at it: what is new is read, what was drawn is drawn once."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from threading import Lock, RLock
from typing import Final, NamedTuple

from metta.sweep.cli.opening import SWEEP, has_begun
from metta.sweep.errors import MettaSweepError
from metta.sweep.experiments.sweep_reading import SweepReader
from metta.sweep.experiments.tree.run_tree import RunTree, run_tree
from metta.sweep.report.dag import DagReader, DagView
from metta.sweep.report.pipeline_status import PipelineStatus, pipeline_status
from metta.sweep.report.snapshot import SweepSnapshot
from metta.sweep.store.nested import child_runs, runs_below
from metta.sweep.store.run import Run, RunInfo, RunStatus, read_info
from metta.sweep.ui.live import Watcher

MOST_OPEN: Final = 8
"""Runs that are held open without being watched."""

MOST_BELOW: Final = 500
"""Nested runs that are looked at for changes, and shown."""


@dataclass(frozen=True, slots=True)
class Version:
    """What tells two states of a run apart.

    Attributes:
        journal: the last entry.
        status: of the run.
        below: a digest of how the runs stand that it has started; "" without any.
    """

    journal: int
    status: str
    below: str = ""

    def __str__(self) -> str:
        return f"{self.journal}-{self.status}-{self.below}"

    @classmethod
    def parse(cls, text: str) -> Version | None:
        """The version that `str` has written; None for anything else."""
        journal, _, rest = text.partition("-")
        status, sign, below = rest.partition("-")
        return cls(int(journal), status, below) if sign and journal.isdecimal() and len(text) < 200 else None


@dataclass(frozen=True, slots=True)
class RunData:
    """A run at one moment.

    Attributes:
        info: what its manifest and its driver say.
        sweep: None for what is no sweep, or has not begun.
        pipeline: None for a sweep.
        tree: with the runs that it has started; None where it has started none.
        dag: its graph; None where it cannot be read.
        problem: why it cannot be read; "" where it can.
    """

    info: RunInfo
    sweep: SweepSnapshot | None = None
    pipeline: PipelineStatus | None = None
    tree: RunTree | None = None
    dag: DagView | None = None
    problem: str = ""


class Readers(NamedTuple):
    """What reads a run again and again, each time only what is new."""

    sweep: SweepReader
    dag: DagReader


class OpenRun:
    """One run, for all who look at it. Every method may be called from any thread.

    Attributes:
        folder: of the run.
        effort: seconds spent in reading and drawing so far.
        watcher: tells the pages that show it of changes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.effort: float = 0.0
        self.watcher: Final[Watcher[Version]] = Watcher(self)
        self._lock = RLock()
        self._resources = ExitStack()
        self._run: Run | None = None
        self._readers: Readers | None = None
        self._known: tuple[Version, RunData] | None = None
        self._drawn: dict[tuple[str, ...], str] = {}

    def version(self) -> Version:
        """What is there now; costs no reading of the journal.

        Raises:
            StorageError: the run cannot be read.
        """
        with self._lock:
            info = read_info(self.folder)
            if info.problem:
                return Version(0, RunStatus.DAMAGED.value)
            return Version(self._opened().journal.last_seq, info.status.value, self._below())

    def read(self) -> RunData:
        """The run as it is now. A damaged one says so."""
        with self._lock:
            begun = time.perf_counter()
            try:
                version = self.version()
                if self._known is None or self._known[0] != version:
                    self._drawn.clear()
                    self._known = (version, self._read())
                return self._known[1]
            except MettaSweepError as error:
                self._known = None
                self.close()
                return RunData(read_info(self.folder)._replace(status=RunStatus.DAMAGED), problem=str(error))
            finally:
                self.effort += time.perf_counter() - begun

    def drawn(self, key: tuple[str, ...], draw: Callable[[RunData, Run], str]) -> str:
        """What `draw` makes of the run as it is now; made once for each state of the run.

        Args:
            key: what is drawn, and how.
        """
        with self._lock:
            data = self.read()
            begun = time.perf_counter()
            try:
                if key not in self._drawn:
                    if len(self._drawn) >= 64:
                        self._drawn.clear()
                    self._drawn[key] = draw(data, self._opened())
                return self._drawn[key]
            finally:
                self.effort += time.perf_counter() - begun

    def close(self) -> None:
        """Let go of the run; the next look opens it again."""
        with self._lock:
            self._resources.close()
            self._run, self._readers, self._known = None, None, None
            self._drawn.clear()

    def _opened(self) -> Run:
        if self._run is None:
            self._run = self._resources.enter_context(Run.open(self.folder, write=False))
        return self._run

    def _read(self) -> RunData:
        info = read_info(self.folder)
        if info.problem:
            return RunData(info, problem=info.problem)
        run = self._opened()
        if self._readers is None:
            self._readers = Readers(SweepReader(run), DagReader(run))
        return read_run(run, self._readers, self._known and self._known[1].tree)

    def _below(self) -> str:
        states = [
            f"{info.id} {info.status.value} {info.seq}"
            for info in map(read_info, islice(runs_below(self.folder), MOST_BELOW))
        ]
        return blake2b("\n".join(states).encode(), digest_size=8).hexdigest() if states else ""


def read_run(run: Run, readers: Readers | None = None, known: RunTree | None = None) -> RunData:
    """A run as it is now.

    Args:
        run: open for reading.
        readers: that have read it before; None to begin anew.
        known: its tree as it was before.

    Raises:
        DamagedError: its journal is not what was written.
    """
    info = read_info(run.folder)
    if info.problem:
        return RunData(info, problem=info.problem)
    sweep, dag = readers or Readers(SweepReader(run), DagReader(run))
    has_children = next(child_runs(run.folder), None) is not None
    tree = run_tree(run.folder, known=known) if has_children else None
    if info.kind != SWEEP:
        return RunData(info, pipeline=pipeline_status(run), tree=tree, dag=dag.read())
    return RunData(info, sweep=sweep.read() if has_begun(run) else None, tree=tree, dag=dag.read())


class OpenRuns:
    """The runs that are held open: those that somebody watches, and the last few that were looked at."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: dict[Path, OpenRun] = {}

    def at(self, folder: Path) -> OpenRun:
        """The run in a folder."""
        with self._lock:
            found = self._open.pop(folder, None) or OpenRun(folder)
            idle = [folder for folder, each in self._open.items() if not each.watcher.listeners]
            dropped = [self._open.pop(folder) for folder in idle[: max(0, len(idle) - MOST_OPEN + 1)]]
            self._open[folder] = found  # at the end: looked at last
        for each in dropped:
            each.close()
        return found

    def end(self) -> None:
        """End the streams of events."""
        for run in list(self._open.values()):
            run.watcher.end()

    def close(self) -> None:
        """Let go of all."""
        with self._lock:
            dropped = list(self._open.values())
            self._open.clear()
        for each in dropped:
            each.close()
