"""Optuna's storages, opened by a path or an address; nothing of ours unpickles what is in one."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from metta.sweep.errors import StorageError, UsageError
from metta.sweep.interop.libraries import library
from metta.sweep.interop.optuna_lock import JournalLock

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

_SQLITE_HEADER: Final = b"SQLite format 3\0"
_ENTRY: Final = b'{"op_code":'
"""How each line of a journal begins."""
_PIECE: Final = 1 << 16
_SQLITE_ENDS: Final = (".db", ".sqlite", ".sqlite3")


def storage_address(place: str | os.PathLike[str]) -> str:
    """The address of a storage as Optuna and optuna-dashboard take it: that of a database, or a journal's path.

    A path that ends in .db, .sqlite or .sqlite3, or leads to an SQLite database, is one; any other is a journal.

    Raises:
        UsageError: the address is one of Redis: Optuna unpickles what it finds there.
    """
    text = os.fspath(place)
    if text.startswith("redis"):
        raise UsageError(
            "an Optuna storage in Redis is not opened: it is read by unpickling; take a file or a database"
        )
    if "://" in text:
        return text
    path = Path(text).absolute()
    is_there = path.is_file()
    if is_there and path.stat().st_size:
        with path.open("rb") as file:
            is_database = file.read(len(_SQLITE_HEADER)) == _SQLITE_HEADER
    else:
        is_database = path.suffix.lower() in _SQLITE_ENDS
    return f"sqlite:///{path}" if is_database else str(path)


def open_storage(place: str | os.PathLike[str], *, create: bool) -> tuple[BaseStorage, HeldJournal | None]:
    """Open a storage; also its journal, where it is one.

    Args:
        place: see `storage_address`.
        create: make it where it is not there.

    Raises:
        MissingExtraError: Optuna is not installed.
        UsageError: there is none, or its database needs a library that is not installed.
        StorageError: it cannot be read or written, or another version of Optuna wrote it.
    """
    library("optuna", "opening an Optuna storage", "optuna")
    address = storage_address(place)
    path = Path(address.removeprefix("sqlite:///").partition("?")[0])
    is_file = "://" not in address or address.startswith("sqlite:///")
    if is_file and not path.is_file():
        if not create:
            raise UsageError(f"there is no Optuna storage {path}")
        path.parent.mkdir(parents=True, exist_ok=True)
    from optuna.storages import JournalStorage, RDBStorage

    try:
        if "://" not in address:
            _check_journal(path, mend=create)
            journal = HeldJournal(address)
            return JournalStorage(cast("Any", journal)), journal
        return RDBStorage(address, skip_table_creation=not create), None
    except ImportError as missing:
        raise UsageError(f"the database of {address.partition('://')[0]} needs a library: {missing}") from None
    except Exception as error:  # whatever SQLAlchemy and the driver of the database raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StorageError(
            f"the Optuna storage cannot be opened: {reason}", path=str(path) if is_file else ""
        ) from error


def _check_journal(path: Path, *, mend: bool) -> None:
    """Refuse what is no journal; with `mend`, cut off a last line that a writer has left unfinished.

    Optuna takes such a line for one that is being written, and would write behind it: what follows would be lost.
    """
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open("rb") as file:
        first = file.readline(100_000)
    is_begun = first.startswith(_ENTRY) or _ENTRY.startswith(first)
    if not first.endswith(b"\n") and mend and is_begun:
        _cut_tail(path)
    elif "op_code" not in json.loads(first):
        raise ValueError("it is no journal of Optuna's")
    elif mend and not _is_whole(path):
        _cut_tail(path)


def _is_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _cut_tail(path: Path) -> None:
    lock = JournalLock(str(path))
    lock.acquire()
    try:
        with path.open("r+b") as file:
            end = size = file.seek(0, os.SEEK_END)
            while end:
                begin = max(0, end - _PIECE)
                file.seek(begin)
                place = file.read(end - begin).rfind(b"\n")
                if place >= 0:
                    end = begin + place + 1
                    break
                end = begin
            if end < size:
                file.truncate(end)
    finally:
        lock.release()


@contextmanager
def quiet() -> Iterator[None]:
    """Without what Optuna tells of studies, and of features that may change."""
    from optuna.exceptions import ExperimentalWarning

    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        logger.setLevel(level)


class HeldJournal:
    """Optuna's journal in a file, which can be told to write later: all at once.

    Optuna locks and syncs the file for each trial that is added, which takes 10 ms.
    """

    def __init__(self, path: str) -> None:
        from optuna.storages.journal import JournalFileBackend

        self._file = JournalFileBackend(path, cast("Any", JournalLock(path)))
        self._held: list[dict[str, Any]] | None = None
        self._in_file = 0

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """The entries from this number on, those that are held too."""
        if self._held is None:
            return self._file.read_logs(log_number_from)
        before = max(0, self._in_file - log_number_from)
        written = islice(self._file.read_logs(log_number_from), before) if before else ()
        return [*written, *self._held[max(0, log_number_from - self._in_file) :]]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add entries."""
        if self._held is None:
            self._file.append_logs(logs)
        else:
            self._held += logs

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Write at the end what is added meanwhile; nothing of it where that fails."""
        self._in_file = sum(1 for _ in self._file.read_logs(0))
        self._held = []
        try:
            yield
            held, self._held = self._held, None
            if held:
                self._file.append_logs(held)
        finally:
            self._held = None
