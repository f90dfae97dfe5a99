"""The journal of a running sweep: what happened is collected, then committed at once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from metta.sweep.experiments.ledger import Ledger
from metta.sweep.experiments.ledger_json import ReadReports, remainder_of, row_of
from metta.sweep.experiments.states import state_of
from metta.sweep.optimizers.params import ParamsCodec
from metta.sweep.store.entries import Entry, ReportEntry
from metta.sweep.store.failpoints import fail_point
from metta.sweep.store.journal import Journal
from metta.sweep.trial import Report, Trial

LEAST_INTERVAL: Final = 1_000
"""Entries between two snapshots, at least."""

LARGEST_SNAPSHOT: Final = 16 * 2**20
"""Bytes; a state that would make it larger is left out, and computed again from the journal."""

FEW_REPORTS: Final = 8
"""Steps of a trial up to which its reports stay in memory: to read so few again costs more than it saves."""

BYTES_PER_ENTRY: Final = 100
"""A snapshot of n bytes is worth n / 100 entries: so what snapshots cost per entry does not grow with the sweep."""


class Clock:
    """The clock of a sweep: seconds since it began, without the time when no driver ran.

    An instant (seconds since the epoch) is what the journal keeps. Its distance from `base` is exactly what the ledger
    was told, so that a replay tells it the same.

    Args:
        seconds: what it shows now.
        wall: seconds since the epoch.
    """

    def __init__(self, seconds: float = 0.0, wall: Callable[[], float] = time.time) -> None:
        self._started = wall()
        self._monotonic = time.monotonic()
        self.base: float = self._started - seconds

    def instant(self) -> float:
        """Now, in seconds since the epoch; it never goes back."""
        return self._started + (time.monotonic() - self._monotonic)

    def __call__(self) -> float:
        """Now, in seconds since the sweep began."""
        return self.instant() - self.base


def reports_reader(path: Path) -> ReadReports:
    """Reads the reports of a trial up to a step from the journal at `path`, also when its run is closed."""

    def read(trial: int, step: int) -> list[Report]:
        with Journal.open(path, write=False) as journal:
            return [Report(found.step, found.metrics) for found in journal.reports(trial) if found.step <= step]

    return read


class SweepJournal:
    """Collects what happens in a sweep and commits it.

    Args:
        journal: of the run, open for writing; None for a sweep without a store, of which nothing is written.
        codec: for the parameters.
        snapshot_facts: what stands in every snapshot beside the states: base, plan and the like.
        since_snapshot: entries that were written after the last snapshot.
    """

    def __init__(
        self, journal: Journal | None, codec: ParamsCodec, snapshot_facts: dict[str, Any], since_snapshot: int = 0
    ) -> None:
        self.codec = codec
        self._journal = journal
        self._facts = snapshot_facts
        self._entries: list[Entry | ReportEntry] = []
        self._interval = LEAST_INTERVAL
        self._since_snapshot = since_snapshot

    @property
    def is_kept(self) -> bool:
        """Whether there is a journal."""
        return self._journal is not None

    def free(self, trial: Trial) -> None:
        """A trial has no worker, and all of it is committed: its reports are read again when somebody asks for them."""
        if self._journal is not None and trial.step > FEW_REPORTS:
            number, step, read = trial.id, trial.step, reports_reader(self._journal.path)
            trial.read_reports_later(step, lambda: read(number, step))

    def note(self, instant: float, kind: str, subject: int | str = "", **data: Any) -> None:
        """An event happened."""
        if self._journal is not None:
            self._entries.append(Entry(kind, str(subject), data, instant))

    def report(self, instant: float, trial: int, report: Report) -> None:
        """A trial reported."""
        if self._journal is not None:
            self._entries.append(ReportEntry(trial, report.step, report.metrics, instant))

    def drop(self) -> None:
        """Forget what waits to be committed: the driver failed in the middle of it, and nothing of it has happened."""
        self._entries = []

    def commit(self, ledger: Ledger, *, snapshot: bool = False) -> None:
        """Write what was collected; when this returns it is on the disk.

        Args:
            ledger: after everything that was collected.
            snapshot: write a snapshot now, whether it is due or not.

        Raises:
            StorageError: it cannot be written: nothing of it has happened.
        """
        if self._journal is None:
            return
        due = snapshot or self._since_snapshot + len(self._entries) >= self._interval
        if not self._entries and not due:
            return
        fail_point("sweep.collected")
        if due:
            rows = [row_of(ledger, number, self.codec) for number in sorted(ledger.touched)]
            data, size = self._snapshot(ledger)
            self._journal.commit(self._entries, rows=rows, snapshot=data)
            ledger.touched.clear()
            self._since_snapshot = 0
            self._interval = max(LEAST_INTERVAL, size // BYTES_PER_ENTRY)
            fail_point("sweep.snapshot")
        else:
            self._journal.commit(self._entries)
            self._since_snapshot += len(self._entries)
        self._entries = []
        fail_point("sweep.committed")

    def _snapshot(self, ledger: Ledger) -> tuple[dict[str, Any], int]:
        """The snapshot, and its size in bytes."""
        data = {**self._facts, "ledger": remainder_of(ledger)}
        size = len(json.dumps(data))
        for name, part in (("scheduler", ledger.scheduler), ("optimizer", ledger.optimizer)):
            state = state_of(part)
            length = 0 if state is None else len(json.dumps(state))
            data[name] = None if size + length > LARGEST_SNAPSHOT else state
            size += 0 if data[name] is None else length
        return data, size
