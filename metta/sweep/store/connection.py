"""Opening the SQLite file of a journal, and what its errors mean for whoever uses it.

The file is only ever opened through SQLite: closing any other handle on it would drop the locks of this process.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from metta.sweep.errors import DamagedError, StorageError, UsageError

BUSY_TIMEOUT: Final = 10.0
"""Seconds to wait for another process that holds the file for a moment."""

LARGEST_ROW: Final = 64 * 2**20
"""Bytes of the largest row that is read or written."""

SQL_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite raises. The second, where a message quotes a damaged file: Python cannot read the message then."""

_READ_ONLY_MEDIA: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})

_READ_ONLY: Final = "or its folder is read-only: give yourself write access, or choose another store"

_SAFE: Final = (
    "PRAGMA trusted_schema = OFF",  # a schema from elsewhere calls no functions
    "PRAGMA cell_size_check = ON",  # damaged pages are noticed when they are read
    "PRAGMA temp_store = MEMORY",
)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Errors of SQLite become StorageError or DamagedError with the path."""
    try:
        yield
    except SQL_ERRORS as error:
        raise storage_error(error, path) from error


def storage_error(error: sqlite3.Error | UnicodeDecodeError, path: Path) -> StorageError:
    """What an error of SQLite means for the file at `path`."""
    if isinstance(error, UnicodeDecodeError):
        return damaged(path, ascii(error.object)[2:-1])
    if isinstance(error, sqlite3.ProgrammingError):
        return StorageError(f"{path} is closed: open the run again", path=str(path))
    code = error_code(error)
    if code == sqlite3.SQLITE_FULL:
        text, remedy = "the disk is full or a quota is used up", "make room, then resume"
    elif code == sqlite3.SQLITE_IOERR:
        text, remedy = "it cannot be written or read", "look at the disk, its quota and the mount, then resume"
    elif code == sqlite3.SQLITE_READONLY:
        return StorageError(f"{path} {_READ_ONLY} ({error}); nothing that was acknowledged is lost", path=str(path))
    elif code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        text, remedy = "it cannot be opened", "check that it exists and that you may read and write its folder"
    elif code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
        text, remedy = f"another process has kept it locked for {BUSY_TIMEOUT:g} s", "stop that process, then resume"
    elif code == sqlite3.SQLITE_NOMEM:
        text, remedy = "there is not enough memory", "free some, then resume"
    else:
        return damaged(path, str(error))
    return StorageError(f"{path}: {text} ({error}): {remedy}; nothing that was acknowledged is lost", path=str(path))


def damaged(path: Path, what: str) -> DamagedError:
    """The error for a file that is not what was written."""
    return DamagedError(f"{path} is damaged: {what}; `metta-sweep doctor` says what can be saved", path=str(path))


def error_code(error: sqlite3.Error) -> int | None:
    """The primary result code of SQLite; None where the error comes from elsewhere."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def refuse_links(path: Path) -> None:
    """A journal is a regular file: a link could lead anywhere.

    Raises:
        UsageError: there is no such file.
        DamagedError: it is something else.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        raise UsageError(f"there is no journal {path}") from None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}", path=str(path)) from error
    if not stat.S_ISREG(mode):
        raise damaged(path, "it is a link or no regular file")


def refuse_read_only(path: Path) -> None:
    """SQLite opens for writing what it may only read, and says so at the first write: this says it before.

    Raises:
        StorageError: the file or its folder is read-only.
    """
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        raise StorageError(f"{path} {_READ_ONLY}", path=str(path))


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection in SQLite's `mode` ("rw" or "ro", or "ro&immutable=1"); texts are read as bytes.

    Raises:
        sqlite3.Error: the file cannot be opened.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_TIMEOUT,
    )
    try:
        connection.text_factory = bytes
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_ROW)
        for statement in _SAFE:
            connection.execute(statement)
    except BaseException:
        connection.close()
        raise
    return connection


def prepare_writer(connection: sqlite3.Connection, path: Path, *, network: bool) -> None:
    """Make a connection the one that writes: every commit is on the disk when it returns.

    Raises:
        StorageError: the file cannot be written.
    """
    mode = "DELETE" if network else "WAL"
    with translated(path):
        connection.execute("PRAGMA synchronous = FULL")
        ((found,),) = connection.execute(f"PRAGMA journal_mode = {mode}").fetchall()
        connection.execute("PRAGMA journal_size_limit = 16777216")
    if found.decode().upper() != mode:
        raise StorageError(f"{path}: its file system cannot do journal_mode={mode}", path=str(path))


def connect_reader(path: Path, stack: ExitStack) -> sqlite3.Connection:
    """A connection that never writes to the file, closed by `stack`.

    Works beside a driver, on what a killed driver left behind, and on read-only media: there SQLite cannot keep its
    index of the write-ahead log, so the file is taken as it is, or, where a log is left, read from a private copy.

    Raises:
        StorageError: the file cannot be read.
    """
    with translated(path):
        try:
            return _checked(path, "ro", stack)
        except sqlite3.OperationalError as error:
            if error_code(error) not in _READ_ONLY_MEDIA:
                raise
        filled = [_is_filled(Path(f"{path}{suffix}")) for suffix in ("-wal", "-journal")]
        if not any(filled):
            return _checked(path, "ro&immutable=1", stack)
        return _checked(_copy(path, stack), "rw", stack)


def _checked(path: Path, mode: str, stack: ExitStack) -> sqlite3.Connection:
    """A connection that has read something: SQLite opens its files late."""
    with ExitStack() as attempt:
        connection = attempt.enter_context(closing(connect(path, mode)))
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        stack.push(attempt.pop_all())
    return connection


def _is_filled(path: Path) -> bool:
    """Whether there is something in the log beside a database.

    Raises:
        DamagedError: it is a link, which SQLite never makes, or a pipe or device, whose copy would have no end.
        StorageError: it cannot be read.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", path=str(path)) from error
    if not stat.S_ISREG(status.st_mode):
        raise damaged(path, "it is no regular file")
    return status.st_size > 0


def scratch_folder(stack: ExitStack) -> Path:
    """A folder of this process, removed by `stack`."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="metta-sweep-", ignore_cleanup_errors=True)))


def _copy(path: Path, stack: ExitStack) -> Path:
    folder = scratch_folder(stack)
    for name in (path.name, f"{path.name}-wal", f"{path.name}-journal"):
        try:
            shutil.copyfile(path.with_name(name), folder / name)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError(f"{path.with_name(name)} cannot be read: {error.strerror}", path=str(path)) from error
    return folder / path.name


@contextmanager
def transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """One transaction, rolled back if anything is raised inside or the commit fails."""
    try:
        connection.execute(begin)
        yield
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise


def roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction that is still open; SQLite has ended it itself after some errors."""
    if connection.in_transaction:
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error:
            # Then the connection is no good any more; the next use of it says so.
            return
