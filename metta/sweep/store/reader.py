"""Reading a journal: entries in order with their chain checked, reports of a trial, rows, snapshots."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple, TypeVar

from metta.sweep.errors import DamagedError
from metta.sweep.store import connection as sql
from metta.sweep.store import entries as row
from metta.sweep.store.entries import ARTIFACT, CHAIN_SIZE, CHAIN_START, Event, Snapshot, StoredReport, TrialRow

PAGE: Final = 256
"""Rows fetched at a time: no read lasts long, so none holds up the driver or its write-ahead log."""

_T = TypeVar("_T")
_Raw = tuple[Any, ...]

_HEAD: Final = "SELECT seq, chain, rows FROM head WHERE id = 1"
_ENDS: Final = """SELECT min((SELECT coalesce(min(seq), 1) FROM events), (SELECT coalesce(min(seq), 1) FROM reports)),
    max((SELECT coalesce(max(seq), 0) FROM events), (SELECT coalesce(max(seq), 0) FROM reports))"""
_LINK: Final = "SELECT seq, chain FROM events WHERE seq > 0 AND seq <= ? ORDER BY seq DESC LIMIT 1"
_ENTRIES: Final = """
    SELECT seq, time, kind, subject, data, chain, NULL, NULL FROM events WHERE seq > ?1
    UNION ALL SELECT seq, time, NULL, NULL, metrics, NULL, trial, step FROM reports WHERE seq > ?1
    ORDER BY seq LIMIT ?2"""
_EVENTS: Final = "SELECT seq, time, kind, subject, data FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2"
_EVENTS_OF: Final = """
    SELECT seq, time, kind, subject, data FROM events WHERE seq > ?1 AND subject = ?3 ORDER BY seq LIMIT ?2"""
_REPORTS: Final = "SELECT step, time, seq, metrics FROM reports WHERE step > ?1 AND trial = ?3 ORDER BY step LIMIT ?2"
_TRIALS: Final = "SELECT id, state, step, score, data, digest FROM trials WHERE id > ?1 ORDER BY id LIMIT ?2"
_TRIAL: Final = "SELECT id, state, step, score, data, digest FROM trials WHERE id = ?"
_SMALLEST: Final = """SELECT id, state, step, score, data, digest FROM trials WHERE score IS NOT NULL
    ORDER BY score, id LIMIT ?"""
_LARGEST: Final = """SELECT id, state, step, score, data, digest FROM trials WHERE score IS NOT NULL
    ORDER BY score DESC, id LIMIT ?"""
_COUNTS: Final = "SELECT state, count(*) FROM trials GROUP BY state ORDER BY state"
_SNAPSHOTS: Final = "SELECT seq, chain, data, digest FROM snapshots ORDER BY seq DESC"
_CHAIN_AT: Final = "SELECT chain FROM events WHERE seq = ?"

_EVENT_TEXTS: Final = "SELECT seq, data FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2"
_TRIAL_TEXTS: Final = "SELECT id, data FROM trials WHERE id > ?1 ORDER BY id LIMIT ?2"
_SNAPSHOT_TEXTS: Final = "SELECT seq, data FROM snapshots WHERE seq > ?1 ORDER BY seq LIMIT ?2"

_DIGEST: Final = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_PROMISED: Final = re.compile(ARTIFACT.encode() + rb"([0-9a-f]{64})(?![0-9a-f])")

_BEFORE_ALL: Final = -1


class DamagedEntry(DamagedError):
    """An entry of a journal is missing or is not what was written.

    Attributes:
        seq: its number, or that of the event where the chain broke.
    """

    def __init__(self, message: str, *, path: str, seq: int) -> None:
        super().__init__(message, path=path)
        self.seq = seq


class Head(NamedTuple):
    """The last entry's number, the chain there, and the exclusive or of the digests of the trials' rows."""

    seq: int
    chain: bytes
    rows: bytes


class JournalReader:
    """What a journal says. Every method may be called from several threads, and beside the driver that writes."""

    def __init__(self, path: Path, connection: sqlite3.Connection, resources: ExitStack) -> None:
        self.path: Final = path
        self._reading = connection
        self._read_lock = Lock()
        self._resources = resources

    @property
    def last_seq(self) -> int:
        """The number of the last entry, 0 where there is none."""
        return self._head().seq

    def entries(self, after: int = 0) -> Iterator[Event | StoredReport]:
        """Events and reports in the order of their numbers, from `after` (exclusive) to the last one there is now.

        Raises:
            DamagedError: an entry is missing or is not what was written; the message names its number.
        """
        head = self._head()
        seq, chain = self._known_link(min(after, head.seq))
        for raw in self._paged(_ENTRIES, seq) if seq < head.seq else ():
            if raw[0] != seq + 1:
                break
            seq = raw[0]
            entry, chain = self._decoded(seq, _linked, raw, chain)
            if seq == head.seq and chain != head.chain:
                raise self._damaged(seq, f"the chain ends elsewhere than the head says, at entry {seq}")
            if seq > after:
                yield entry
            if seq == head.seq:
                return
        if seq < head.seq:
            raise self._damaged(seq + 1, f"entry {seq + 1} is missing or there twice (the last one is {head.seq})")
        if chain != head.chain:
            raise self._damaged(seq, f"the chain ends elsewhere than the head says, at entry {seq}")

    def events(
        self, after: int = 0, *, kinds: Collection[str] | None = None, subject: str | None = None
    ) -> Iterator[Event]:
        """Events in the order of their numbers, from `after` (exclusive), of these kinds and of this subject only.

        The chain is not checked here: `entries` does that.

        Raises:
            DamagedError: an event cannot be read.
        """
        wanted = None if kinds is None else {kind.encode() for kind in kinds}
        raws = self._paged(_EVENTS, after) if subject is None else self._paged(_EVENTS_OF, after, subject)
        for raw in raws:
            if wanted is None or raw[2] in wanted:
                yield self._decoded(raw[0], _event, *raw)

    def reports(self, trial: int) -> list[StoredReport]:
        """The reports of one trial, by step.

        Raises:
            DamagedError: one of them cannot be read.
        """
        return [
            self._decoded(seq, _report, seq, time, trial, step, metrics)
            for step, time, seq, metrics in self._paged(_REPORTS, _BEFORE_ALL, trial)
        ]

    def trials(self) -> Iterator[TrialRow]:
        """The rows of all trials, by number.

        Raises:
            DamagedError: a row is not what was written, or one is missing.
        """
        before = self._head()
        total = bytes(CHAIN_SIZE)
        for raw in self._paged(_TRIALS, _BEFORE_ALL):
            yield self._trial_row(raw)
            total = row.toggled(total, raw[5])
        if total != before.rows and before == self._head():  # else the driver has just written
            raise sql.damaged(self.path, "rows of the table `trials` are missing or too many")

    def trial(self, id: int) -> TrialRow | None:
        """The row of one trial, None where there is none."""
        return next(iter(self._trial_rows(_TRIAL, id)), None)

    def best(self, count: int, *, largest: bool) -> list[TrialRow]:
        """The rows of at most `count` trials with the largest (or smallest) scores, the best first."""
        return self._trial_rows(_LARGEST if largest else _SMALLEST, count)

    def counts(self) -> dict[str, int]:
        """How many trials there are in each state."""
        return {state.decode(errors="replace"): number for state, number in self._fetch(_COUNTS)}

    def snapshot(self) -> Snapshot | None:
        """The newest snapshot that is what was written and belongs to these entries; None where there is none."""
        return next((found for found in self.snapshots() if isinstance(found, Snapshot)), None)

    def digests(self, *, promised: bool = False) -> set[str]:
        """Everything that looks like the digest of an artifact (64 hexadecimal digits) in events, rows and snapshots.

        Args:
            promised: only those in events, after "artifact:".
        """
        pattern = _PROMISED if promised else _DIGEST
        statements = (_EVENT_TEXTS,) if promised else (_EVENT_TEXTS, _TRIAL_TEXTS, _SNAPSHOT_TEXTS)
        found: set[bytes] = set()
        for statement in statements:
            for _, text in self._paged(statement, _BEFORE_ALL):
                if isinstance(text, bytes):
                    found.update(pattern.findall(text))
        return {digest.decode() for digest in found}

    def snapshots(self) -> Iterator[Snapshot | int]:
        """Every snapshot, the newest first; its number alone where it is damaged."""
        head = self._head()
        for seq, chain, data, digest in self._fetch(_SNAPSHOTS):
            try:
                here = self._fetch(_CHAIN_AT, seq)
                belongs = seq <= head.seq and (not here or here[0][0] == chain)
                if not belongs or digest != row.snapshot_digest(seq, chain, data):
                    raise ValueError
                yield Snapshot(seq, row.from_text(data))
            except (TypeError, ValueError):
                yield seq

    def check_ends(self) -> None:
        """Check the head, and the last entries against it; opening a journal does so.

        Raises:
            DamagedError: they do not belong together.
        """
        ((first, last),) = self._fetch(_ENDS)
        head = self._head()  # read last: a driver may write between the two
        if first < 1:
            raise self._damaged(first, f"there is an entry {first}, and they begin at 1")
        if last > head.seq:
            raise self._damaged(last, f"there is an entry {last}, and the head knows {head.seq} only")
        for _ in self.entries(head.seq):
            pass

    def _head(self) -> Head:
        found = self._fetch(_HEAD)
        if len(found) == 1:
            seq, chain, rows = found[0]
            if isinstance(seq, int) and seq >= 0 and _is_link(chain) and _is_link(rows):
                return Head(seq, chain, rows)
        raise sql.damaged(self.path, "its table `head` is not what was written")

    def _known_link(self, seq: int) -> tuple[int, bytes]:
        """The last entry up to `seq` whose chain is stored, and that chain."""
        found = self._fetch(_LINK, seq)
        if not found:
            return 0, CHAIN_START
        if not _is_link(found[0][1]):
            raise self._damaged(found[0][0], f"event {found[0][0]} has no chain")
        return found[0][0], found[0][1]

    def _trial_rows(self, statement: str, value: int) -> list[TrialRow]:
        return [self._trial_row(raw) for raw in self._fetch(statement, value)]

    def _trial_row(self, raw: _Raw) -> TrialRow:
        id, state, step, score, data, digest = raw
        try:
            if digest != row.row_digest(id, state, step, score, data):
                raise ValueError("it is not what was written")
            return TrialRow(id, state.decode(), step, score, row.from_text(data))
        except (ValueError, TypeError, AttributeError, row.StructError) as error:
            raise sql.damaged(self.path, f"the row of trial {id}: {error}") from None

    def _decoded(self, seq: int, decode: Callable[..., _T], *values: Any) -> _T:
        try:
            return decode(*values)
        except (ValueError, TypeError, AttributeError, row.StructError) as error:
            raise self._damaged(seq, f"entry {seq}: {error}") from None

    def _damaged(self, seq: int, what: str) -> DamagedEntry:
        return DamagedEntry(str(sql.damaged(self.path, what)), path=str(self.path), seq=seq)

    def _paged(self, statement: str, after: int, *values: object) -> Iterator[_Raw]:
        """The rows of a statement whose first column grows, whose ?1 is where to begin and whose ?2 the page size."""
        size = PAGE
        while True:
            try:
                raws = self._fetch(statement, after, size, *values)
            except DamagedError as error:
                if not isinstance(error.__cause__, sqlite3.DataError):
                    raise
                if size == 1:
                    limit = f"larger than {sql.LARGEST_ROW} bytes"
                    raise self._damaged(after + 1, f"the row after number {after} is {limit}") from error
                size = 1  # to name the row that is too large
                continue
            yield from raws
            if len(raws) < size:
                return
            after = raws[-1][0]

    def _fetch(self, statement: str, *values: object) -> list[_Raw]:
        with self._read_lock, sql.translated(self.path):
            return self._reading.execute(statement, values).fetchall()


def _is_link(value: object) -> bool:
    return isinstance(value, bytes) and len(value) == CHAIN_SIZE


def _linked(raw: _Raw, chain: bytes) -> tuple[Event | StoredReport, bytes]:
    """The entry of a row and the chain after it."""
    seq, time, kind, subject, data, stored, trial, step = raw
    if stored is None:
        return _report(seq, time, trial, step, data), row.report_link(chain, seq, time, trial, step, data)
    link = row.event_link(chain, seq, time, kind, subject, data)
    if link != stored:
        raise ValueError("it, or a report just before it, is not what was written")
    return _event(seq, time, kind, subject, data), link


def _event(seq: int, time: float, kind: bytes, subject: bytes, data: bytes) -> Event:
    if not isinstance(time, float):
        raise TypeError("its time is no number")
    return Event(seq, time, kind.decode(), subject.decode(), row.from_text(data))


def _report(seq: int, time: float, trial: int, step: int, metrics: bytes) -> StoredReport:
    if not (isinstance(time, float) and isinstance(trial, int) and isinstance(step, int)):
        raise TypeError("its time, trial and step should be numbers")
    return StoredReport(seq, time, trial, step, row.metrics_from_text(metrics))
