"""What one transaction of a journal writes: batches of checked entries, their numbers, their chain, and the SQL."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from metta.sweep.errors import RefusedError, UsageError
from metta.sweep.store import connection as sql
from metta.sweep.store import entries as row
from metta.sweep.store.entries import CHAIN_SIZE, Entry, ReportEntry, TrialRow
from metta.sweep.store.reader import Head

LARGEST_TEXT: Final = sql.LARGEST_ROW // 2
"""Bytes of the JSON text of an entry, a row or a snapshot. Larger values belong in an artifact."""

SNAPSHOTS_KEPT: Final = 2

_INSERT_EVENT: Final = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)"
_INSERT_REPORT: Final = "INSERT INTO reports VALUES (?, ?, ?, ?, ?)"
_HAS_REPORT: Final = "SELECT 1 FROM reports WHERE trial = ? AND step = ?"
_OLD_DIGEST: Final = "SELECT digest FROM trials WHERE id = ?"
_REPLACE_ROW: Final = "INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?, ?)"
_REPLACE_SNAPSHOT: Final = "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?)"
_DROP_SNAPSHOTS: Final = "DELETE FROM snapshots WHERE seq NOT IN (SELECT seq FROM snapshots ORDER BY seq DESC LIMIT ?)"
_MOVE_HEAD: Final = "UPDATE head SET seq = ?, chain = ?, rows = ? WHERE id = 1 AND seq = ? AND chain = ?"


class _Event(NamedTuple):
    time: float
    kind: str
    subject: str
    data: str


class _Report(NamedTuple):
    time: float
    trial: int
    step: int
    metrics: str


class _Row(NamedTuple):
    id: int
    state: str
    step: int
    score: float | None
    data: str


class Batch:
    """The checked entries of one commit. Afterwards it has either a `seq`, the number of its last entry, or an `error`.

    Raises:
        UsageError: an entry, a row or the snapshot cannot be stored.
    """

    __slots__ = ("entries", "error", "last", "rows", "seq", "snapshot")

    def __init__(
        self, entries: Iterable[Entry | ReportEntry], rows: Iterable[TrialRow], snapshot: Any, now: float
    ) -> None:
        self.entries: Final = [
            _event(entry, now) if isinstance(entry, Entry) else _report(entry, now) for entry in entries
        ]
        self.rows: Final = [_row(given) for given in rows]
        self.snapshot: Final = None if snapshot is None else _bounded(row.to_text(snapshot, "a snapshot"), "a snapshot")
        self.last: int = 0
        self.seq: int | None = None
        self.error: Exception | None = None

    @property
    def is_settled(self) -> bool:
        """True once it is known whether it is on the disk."""
        return self.seq is not None or self.error is not None


class Plan:
    """One transaction: the batches, numbered and chained on from `head`."""

    def __init__(self, head: Head, batches: Sequence[Batch]) -> None:
        self.before: Final = head
        self.batches: Final = batches
        self._events: list[tuple[object, ...]] = []
        self._reports: list[tuple[object, ...]] = []
        self._rows: dict[int, _Row] = {}
        self._snapshots: list[tuple[object, ...]] = []
        seq, chain = head.seq, head.chain
        for batch in batches:
            for entry in batch.entries:
                seq += 1
                if isinstance(entry, _Event):
                    time, kind, subject, data = entry
                    chain = row.event_link(chain, seq, time, kind.encode(), subject.encode(), data.encode())
                    self._events.append((seq, *entry, chain))
                else:
                    time, trial, step, metrics = entry
                    chain = row.report_link(chain, seq, time, trial, step, metrics.encode())
                    self._reports.append((seq, *entry))
            batch.last = seq
            self._rows.update((given.id, given) for given in batch.rows)
            if batch.snapshot is not None:
                digest = row.snapshot_digest(seq, chain, batch.snapshot.encode())
                self._snapshots.append((seq, chain, batch.snapshot, digest))
        self.after: Head = Head(seq, chain, head.rows)

    def write(self, connection: sqlite3.Connection, path: Path) -> None:
        """Write it, inside of a transaction.

        Raises:
            sqlite3.Error: as SQLite says.
            RefusedError: the head is not where it was: somebody else writes.
            DamagedError: a row that is replaced is not what was written.
        """
        rows = self._digested_rows(connection, path)
        before = self.before
        # First of all: only then do the numbers of the entries belong to us.
        if connection.execute(_MOVE_HEAD, (*self.after, before.seq, before.chain)).rowcount != 1:
            raise RefusedError(
                f"another process has written to {path} since entry {before.seq}: a run has one driver at a time."
                " Stop the other one, then resume"
            )
        connection.executemany(_INSERT_EVENT, self._events)
        connection.executemany(_INSERT_REPORT, self._reports)
        connection.executemany(_REPLACE_ROW, rows)
        if self._snapshots:
            connection.executemany(_REPLACE_SNAPSHOT, self._snapshots)
            connection.execute(_DROP_SNAPSHOTS, (SNAPSHOTS_KEPT,))

    def _digested_rows(self, connection: sqlite3.Connection, path: Path) -> list[tuple[object, ...]]:
        """The rows to write with their digests, which take the place of the old ones in the head."""
        total = self.before.rows
        values: list[tuple[object, ...]] = []
        for given in self._rows.values():
            digest = row.row_digest(given.id, given.state.encode(), given.step, given.score, given.data.encode())
            for (old,) in connection.execute(_OLD_DIGEST, (given.id,)):
                if not isinstance(old, bytes) or len(old) != CHAIN_SIZE:
                    raise sql.damaged(path, f"the row of trial {given.id} has no digest")
                total = row.toggled(total, old)
            total = row.toggled(total, digest)
            values.append((*given, digest))
        self.after = self.after._replace(rows=total)
        return values


def refusal(connection: sqlite3.Connection, batch: Batch, error: sqlite3.Error, path: Path) -> Exception:
    """Why a batch breaks a rule of the tables: a step reported twice, else the file is not what it should be."""
    seen: set[tuple[int, int]] = set()
    for entry in batch.entries:
        if isinstance(entry, _Report):
            place = entry.trial, entry.step
            if place in seen or connection.execute(_HAS_REPORT, place).fetchone():
                return UsageError(f"trial {entry.trial} has reported step {entry.step} already: report a step once")
            seen.add(place)
    return sql.damaged(path, str(error))


def _event(entry: Entry, now: float) -> _Event:
    kind, subject = _name(entry.kind, "the kind of an event"), _name(entry.subject, "the subject of an event")
    what = f"the data of the event {kind!r}"
    return _Event(_time(entry.time, now), kind, subject, _bounded(row.to_text(entry.data, what), what))


def _report(entry: ReportEntry, now: float) -> _Report:
    trial, step = _number(entry.trial, "the trial of a report"), _number(entry.step, "the step of a report")
    return _Report(_time(entry.time, now), trial, step, _bounded(row.metrics_to_text(entry.metrics), "a report"))


def _row(given: TrialRow) -> _Row:
    what = f"the row of trial {given.id}"
    score = given.score
    # SQLite keeps no NaN and no -0.0, so neither must be in the digest.
    kept = None if score is None or math.isnan(score) else float(score) + 0.0
    return _Row(
        _number(given.id, "the id of a trial"),
        _name(given.state, "the state of a trial"),
        _number(given.step, "the step of a trial"),
        kept,
        _bounded(row.to_text(given.data, what), what),
    )


def _name(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{what} should be text, found {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{what} is no valid Unicode: {value!r}") from None
    return _bounded(value, what)


def _number(value: object, what: str) -> int:
    if not isinstance(value, int) or not 0 <= value < 2**63:
        raise UsageError(f"{what} should be a whole number from 0 to 2**63 - 1, found {value!r}")
    return int(value)


def _time(time: float | None, now: float) -> float:
    value = now if time is None else time
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise UsageError(f"the time of an entry should be seconds since the epoch, found {value!r}")
    return float(value) + 0.0


def _bounded(text: str, what: str) -> str:
    if len(text) > LARGEST_TEXT:
        raise UsageError(f"{what} takes {len(text)} bytes, more than {LARGEST_TEXT}: store it as an artifact")
    return text
