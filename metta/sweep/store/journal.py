"""The journal of a run: one SQLite file, one writer, entries that are only ever appended.

Events and reports are the truth; rows of trials and snapshots are caches written in the same transaction. Each entry
is chained to the one before it, so that what is missing or changed is noticed. `commit` returns when its entries are
on the disk; commits of several threads share one transaction ("group commit").
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

from metta.sweep import __version__
from metta.sweep.errors import InternalError, RefusedError, StorageError, UsageError
from metta.sweep.store import connection as sql
from metta.sweep.store import files, filesystem, schema
from metta.sweep.store.entries import Entry, ReportEntry, TrialRow
from metta.sweep.store.failpoints import fail_point
from metta.sweep.store.reader import Head, JournalReader
from metta.sweep.store.writing import Batch, Plan, refusal


def make_journal(path: Path) -> None:
    """Make a new, empty journal. Its content is on the disk when this returns; its name once the folder is synced.

    Raises:
        UsageError: the file exists.
        StorageError: it cannot be written.
    """
    with files.storage_errors(path, "make"):
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, files.FILE_MODE)
        except FileExistsError:
            raise UsageError(f"{path} exists already: a journal is made once") from None
        try:
            fail_point("journal.made")
            with sql.translated(path), closing(sql.connect(path, "rw")) as connection:
                # Nothing is lost if this is cut short: one sync at the end is enough.
                connection.execute("PRAGMA synchronous = OFF")
                schema.create(connection, __version__)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Journal(JournalReader):
    """The journal of one run. `Journal.create` makes one, `Journal.open` opens it; both are context managers."""

    def __init__(
        self,
        path: Path,
        reading: sqlite3.Connection,
        resources: ExitStack,
        writing: sqlite3.Connection | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(path, reading, resources)
        self._writing = writing
        self._clock = clock
        self._write_lock = Lock()
        self._pending_lock = Lock()
        self._pending: list[Batch] = []
        self._known_head: Head | None = None
        self._attempt: Plan | None = None
        self._process = os.getpid()

    @classmethod
    def create(cls, path: Path, *, network: bool | None = None, clock: Callable[[], float] = time.time) -> Journal:
        """Make a new journal and open it for writing.

        Args:
            path: the file; its folder is there already.
            network: whether it lies on a network file system; None to find out.
            clock: the time of entries that have none, in seconds since the epoch.

        Raises:
            UsageError: the file exists.
            StorageError: it cannot be written.
        """
        make_journal(path)
        with files.storage_errors(path, "make"):
            files.sync_folder(path.parent)
        return cls.open(path, write=True, network=network, clock=clock)

    @classmethod
    def open(
        cls, path: Path, *, write: bool, network: bool | None = None, clock: Callable[[], float] = time.time
    ) -> Journal:
        """Open a journal. Only the driver that holds the run's lock may open it for writing.

        Raises:
            UsageError: there is none.
            DamagedError: the file is no journal, or its last entries are not what was written.
            RefusedError: a newer release wrote it.
            StorageError: it cannot be opened.
        """
        sql.refuse_links(path)
        with ExitStack() as stack:
            writing = None
            if write:
                sql.refuse_read_only(path)
                with sql.translated(path):
                    writing = stack.enter_context(closing(sql.connect(path, "rw")))
                    schema.version(writing, path)  # before anything of a file that is not ours is changed
                    on_network = filesystem.is_network(path) if network is None else network
                    sql.prepare_writer(writing, path, network=on_network)
                    schema.upgrade(writing, path, __version__)
            reading = sql.connect_reader(path, stack)
            with sql.translated(path):
                if schema.version(reading, path) < schema.VERSION:
                    reading = schema.upgraded_copy(reading, path, stack)
                schema.check(reading, path)
            journal = cls(path, reading, stack.pop_all(), writing, clock)
        try:
            journal.check_ends()
        except BaseException:
            journal.close()
            raise
        return journal

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self._process != os.getpid():
            return  # SQLite's handles belong to the process that opened them
        with self._write_lock, self._read_lock:
            self._resources.close()

    def commit(
        self, entries: Sequence[Entry | ReportEntry], *, rows: Sequence[TrialRow] = (), snapshot: Any = None
    ) -> int:
        """Append entries and return when they are on the disk; all of them are there then, or none.

        Threads that commit at the same time share one transaction.

        Args:
            entries: what happened, in order.
            rows: the rows of trials as they are after it; each replaces the one with its id.
            snapshot: JSON values, the state after these entries; None for none. Only where one thread commits:
                another's entries could come between. The newest two are kept.

        Returns:
            The number of the last of these entries, or of the last one in the journal where there are none.

        Raises:
            UsageError: an entry is no JSON or too large, or reports a step of a trial that is reported already.
            RefusedError: the journal is open for reading only, or another process has written to it.
            StorageError: the disk is full or fails; nothing of this commit is there, and a later one may succeed.
        """
        if self._writing is None:
            raise RefusedError(f"{self.path} is open for reading only")
        if self._process != os.getpid():
            raise InternalError("a journal was carried over into a forked process")
        batch = Batch(entries, rows, snapshot, self._clock())
        with self._pending_lock:
            self._pending.append(batch)
        with self._write_lock:
            if not batch.is_settled:
                self._write_pending(self._writing, batch)
        if batch.seq is None:
            raise batch.error or InternalError("a commit was neither written nor refused")
        return batch.seq

    def _write_pending(self, connection: sqlite3.Connection, own: Batch) -> None:
        """Write what all threads are waiting for, so that each of these batches is settled."""
        with self._pending_lock:
            batches, self._pending = self._pending, []
        try:
            self._settle(connection, batches)
        except BaseException:  # an interrupt, which concerns this thread only
            self._settle_interrupted(batches, own)
            raise

    def _settle(self, connection: sqlite3.Connection, batches: Sequence[Batch]) -> None:
        try:
            self._write(connection, batches)
        except sqlite3.IntegrityError as error:
            if len(batches) > 1:  # one of them is wrong, the others are not
                for batch in batches:
                    self._settle(connection, [batch])
            else:
                batches[0].error = refusal(connection, batches[0], error, self.path)
        except sql.SQL_ERRORS as error:
            for batch in batches:
                batch.error = sql.storage_error(error, self.path)
                batch.error.__cause__ = error
        except (RefusedError, StorageError) as error:
            for batch in batches:
                batch.error = error

    def _write(self, connection: sqlite3.Connection, batches: Sequence[Batch]) -> None:
        """One transaction with all batches."""
        plan = Plan(self._known_head or self._head(), batches)
        # Unknown until the commit has succeeded: after an error the file says what is true.
        self._known_head, self._attempt = None, plan
        with sql.transaction(connection):
            fail_point("journal.begun")
            plan.write(connection, self.path)
            fail_point("journal.written")
        fail_point("journal.committed")
        for batch in batches:
            batch.seq = batch.last
        self._known_head, self._attempt = plan.after, None

    def _settle_interrupted(self, batches: Sequence[Batch], own: Batch) -> None:
        """Find out whether the transaction that was interrupted is on the disk; put back what others wait for."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None and self._head() == attempt.after:
            for batch in attempt.batches:
                batch.seq = batch.last
        with self._pending_lock:
            self._pending[:0] = [batch for batch in batches if batch is not own and not batch.is_settled]
