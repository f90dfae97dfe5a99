"""What the runs say that a trial or a stage of a run has started, for a line each in the view of the outer one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from metta.sweep.errors import StorageError
from metta.sweep.report.text import counts, number_text
from metta.sweep.store.nested import CHILDREN_FOLDER, entries_of, run_folders
from metta.sweep.store.run import RunInfo, RunStatus, read_info

FRESH_SECONDS: Final = 1.0
"""For so long what was read is shown again."""

MOST_RUNS: Final = 8


class InnerRuns:
    """The runs below a run that are running now, as their drivers publish them: no journal is read.

    Args:
        folder: of the outer run.
        clock: seconds that only grow.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._known: dict[Path, tuple[float, list[str]]] = {}
        self._ended: set[Path] = set()

    def of_trial(self, trial: int) -> str:
        """The runs that a trial has started, on one line; empty where none runs."""
        return "; ".join(self._running(self._folder / "trials" / f"trial-{trial:04d}" / CHILDREN_FOLDER))

    def of_stages(self) -> list[str]:
        """The runs that stages have started, a line each."""
        return self._running(self._folder / CHILDREN_FOLDER)

    def _running(self, children: Path) -> list[str]:
        now = self._clock()
        read, lines = self._known.get(children, (-FRESH_SECONDS, []))
        if now - read >= FRESH_SECONDS:
            lines = [_text(info) for info in self._infos(children)][:MOST_RUNS]
            self._known[children] = now, lines
        return lines

    def _infos(self, children: Path) -> Iterator[RunInfo]:
        for folder in _folders(children):
            if folder in self._ended:
                continue
            info = read_info(folder)
            if info.status is RunStatus.RUNNING:
                yield info
            elif info.status is RunStatus.COMPLETED:
                self._ended.add(folder)


def _folders(children: Path) -> Iterator[Path]:
    try:
        if children.is_symlink():
            return
        for store in entries_of(children):
            if store.is_dir() and not store.is_symlink():
                yield from run_folders(store)
    except StorageError:
        return  # its driver meets the same disk, and says it


def _text(info: RunInfo) -> str:
    best = "" if info.best is None else f", best {number_text(info.best)}"
    return f"{info.name}: {counts(info.counts) or 'running'}{best}"
