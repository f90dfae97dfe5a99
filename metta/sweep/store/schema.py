"""The tables of a journal, their version, and how older versions become the present one.

The number in `user_version` is the format; `application_id` says that the file is ours. A file must hold exactly the
tables below and nothing else: no trigger, no view.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from functools import lru_cache
from pathlib import Path
from typing import Final

from metta.sweep.errors import RefusedError
from metta.sweep.store.connection import connect, damaged, scratch_folder, transaction, translated
from metta.sweep.store.entries import CHAIN_START
from metta.sweep.store.failpoints import fail_point

VERSION: Final = 1

APPLICATION_ID: Final = 0x4D535750  # "MSWP"

TABLES: Final = (
    # One row. `seq` and `chain` are those of the last entry; `rows` is the exclusive or of the digests of all rows of
    # `trials`; `release` is the release of metta-sweep that gave the file its format, in every version.
    """CREATE TABLE head (
        id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL, chain BLOB NOT NULL, rows BLOB NOT NULL,
        release TEXT NOT NULL)""",
    # The truth. Events and reports share one sequence of numbers from 1 without gaps.
    """CREATE TABLE events (
        seq INTEGER PRIMARY KEY, time REAL NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, data TEXT NOT NULL,
        chain BLOB NOT NULL)""",
    """CREATE TABLE reports (
        seq INTEGER PRIMARY KEY, time REAL NOT NULL, trial INTEGER NOT NULL, step INTEGER NOT NULL,
        metrics TEXT NOT NULL, UNIQUE (trial, step))""",
    # Caches of what the entries say.
    """CREATE TABLE trials (
        id INTEGER PRIMARY KEY, state TEXT NOT NULL, step INTEGER NOT NULL, score REAL, data TEXT NOT NULL,
        digest BLOB NOT NULL)""",
    """CREATE TABLE snapshots (
        seq INTEGER PRIMARY KEY, chain BLOB NOT NULL, data TEXT NOT NULL, digest BLOB NOT NULL)""",
)

Migration = Callable[[sqlite3.Connection], None]

MIGRATIONS: Final[dict[int, Migration]] = {}
"""Format -> what makes the next format of it. A migration leaves exactly the tables of that format, so that their
texts compare equal: it makes new tables and copies, and never alters one."""


def create(connection: sqlite3.Connection, release: str) -> None:
    """Make the tables in an empty file, in one transaction, with a write-ahead log from the beginning."""
    connection.execute("PRAGMA journal_mode = WAL")
    with transaction(connection):
        for statement in TABLES:
            connection.execute(statement)
        connection.execute("INSERT INTO head VALUES (1, 0, ?, ?, ?)", (CHAIN_START, CHAIN_START, release))
        # A pragma takes no bound values.
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")


def version(connection: sqlite3.Connection, path: Path) -> int:
    """The format of the file.

    Raises:
        DamagedError: the file is no journal.
        RefusedError: a newer release wrote it; the message says which.
    """
    application = _number(connection, "PRAGMA application_id")
    found = _number(connection, "PRAGMA user_version")
    if application != APPLICATION_ID:
        raise damaged(path, f"it is no journal of a run (its application id is {application:#x})")
    if found > VERSION:
        release = _release(connection)
        raise RefusedError(
            f"{path} has format {found} and this release of metta-sweep knows formats up to {VERSION}: it was written"
            f" by metta-sweep {release}. Install that or a newer one: pip install 'metta-sweep>={release}'"
        )
    return found


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Compare the tables of the file with ours.

    Raises:
        DamagedError: a table is missing or different, or there is more than ours.
    """
    found, ours = _description(connection), _ours()
    if found != ours:
        names = sorted(name for _, name, _ in found ^ ours)
        raise damaged(path, f"its tables are not those of a journal (look at {', '.join(dict.fromkeys(names))})")


def upgrade(connection: sqlite3.Connection, path: Path, release: str) -> None:
    """Bring an older file to the present format, in one transaction; a backup stands beside it until that is done.

    Raises:
        DamagedError: no migration is known, or it did not lead to the tables of the present format.
    """
    found = version(connection, path)
    if found == VERSION:
        for backup in path.parent.glob(f"{path.name}.format-*.backup"):
            backup.unlink(missing_ok=True)  # whoever made it was killed after the last step
        return
    backup = path.with_name(f"{path.name}.format-{found}.backup")
    _back_up(connection, backup)
    fail_point("journal.backed_up")
    with transaction(connection, "BEGIN EXCLUSIVE"):
        _migrate(connection, path, MIGRATIONS, found)
        connection.execute("UPDATE head SET release = ?", (release,))
    fail_point("journal.upgraded")
    backup.unlink()


def upgraded_copy(connection: sqlite3.Connection, path: Path, stack: ExitStack) -> sqlite3.Connection:
    """A connection to a copy in the present format, for those who only read. `stack` closes and removes it.

    Raises:
        DamagedError: as `upgrade`.
    """
    copy = scratch_folder(stack) / path.name
    _back_up(connection, copy)
    reader = stack.enter_context(closing(connect(copy, "rw")))
    with transaction(reader):
        _migrate(reader, path, MIGRATIONS, version(reader, path))
    return reader


def _migrate(connection: sqlite3.Connection, path: Path, migrations: Mapping[int, Migration], found: int) -> None:
    for number in range(found, VERSION):
        if number not in migrations:
            raise damaged(path, f"it has format {number}, which no release has written")
        migrations[number](connection)
        connection.execute(f"PRAGMA user_version = {number + 1}")
    check(connection, path)


def _back_up(connection: sqlite3.Connection, target: Path) -> None:
    target.unlink(missing_ok=True)
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with closing(sqlite3.connect(target)) as backup, translated(target):
        connection.backup(backup)


@lru_cache(maxsize=1)
def _ours() -> frozenset[tuple[str, str, str]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.text_factory = bytes
        for statement in TABLES:
            connection.execute(statement)
        return _description(connection)


def _description(connection: sqlite3.Connection) -> frozenset[tuple[str, str, str]]:
    rows = connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master").fetchall()
    return frozenset((_text(kind), _text(name), _text(sql)) for kind, name, sql in rows)


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else repr(value)


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    ((value,),) = connection.execute(pragma).fetchall()
    return int(value)


def _release(connection: sqlite3.Connection) -> str:
    try:
        ((release,),) = connection.execute("SELECT release FROM head").fetchall()
    except (sqlite3.Error, ValueError):
        return "?"
    text = _text(release)
    return text if text.replace(".", "").isalnum() and len(text) < 40 else "?"
