"""Formats: a newer one is refused with a remedy, an older one is brought up to date, anything else is damage."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from metta.sweep import __version__
from metta.sweep.errors import DamagedError, RefusedError, StorageError
from metta.sweep.store import schema
from metta.sweep.store.entries import Entry
from metta.sweep.store.journal import Journal
from tests.store.crashes import make_version_0, migrate_version_0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Journal.create(tmp_path / "run.db") as journal:
        journal.commit([Entry("e", data=n) for n in range(10)])
    return journal.path


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_version_0(tmp_path / "run.db")
    monkeypatch.setitem(schema.MIGRATIONS, 0, migrate_version_0)
    return tmp_path / "run.db"


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def user_version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


@pytest.mark.parametrize("write", [False, True])
def test_a_newer_format_is_refused_with_the_release_to_install(path: Path, write: bool) -> None:
    change(path, "PRAGMA user_version = 7", "UPDATE head SET release = '3.1.4'", "DROP TABLE trials")
    with pytest.raises(RefusedError) as caught:
        Journal.open(path, write=write)
    assert "format 7" in str(caught.value)
    assert "pip install 'metta-sweep>=3.1.4'" in str(caught.value)
    assert caught.value.exit_code == 4


def test_an_older_format_is_brought_up_to_date(old: Path) -> None:
    with Journal.open(old, write=True) as journal:
        assert journal.commit([Entry("e")]) == 1
    assert user_version(old) == schema.VERSION
    assert os.listdir(old.parent) == ["run.db"]


def test_whoever_only_reads_an_older_format_changes_nothing(old: Path) -> None:
    before = old.read_bytes()
    with Journal.open(old, write=False) as journal:
        assert list(journal.entries()) == []
    assert old.read_bytes() == before


def test_a_migration_that_fails_changes_nothing_and_leaves_the_backup(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        migrate_version_0(connection)
        connection.execute("INSERT INTO nowhere VALUES (1)")

    monkeypatch.setitem(schema.MIGRATIONS, 0, fail)
    with pytest.raises(StorageError, match="nowhere"):
        Journal.open(old, write=True)
    assert user_version(old) == 0
    backup = old.with_name("run.db.format-0.backup")
    assert user_version(backup) == 0
    assert backup.stat().st_mode & 0o777 == 0o600
    monkeypatch.setitem(schema.MIGRATIONS, 0, migrate_version_0)
    with Journal.open(old, write=True):
        assert not backup.exists()


def test_a_migration_must_lead_to_our_tables(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(schema.MIGRATIONS, 0, lambda connection: None)
    with pytest.raises(DamagedError, match="events"):
        Journal.open(old, write=True)
    monkeypatch.delitem(schema.MIGRATIONS, 0)
    with pytest.raises(DamagedError, match="format 0, which no release has written"):
        Journal.open(old, write=True)


def test_the_release_that_wrote_the_format_is_in_the_file(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT release FROM head").fetchone() == (__version__,)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE snapshots",
        "CREATE TABLE more (x)",
        "CREATE VIEW more AS SELECT 1",
        "CREATE INDEX more ON events (time)",
        "CREATE TRIGGER more AFTER INSERT ON events BEGIN DELETE FROM reports; END",
        "ALTER TABLE events ADD COLUMN more",
        "PRAGMA application_id = 0",
    ],
)
@pytest.mark.parametrize("write", [False, True])
def test_other_tables_are_damage(path: Path, statement: str, write: bool) -> None:
    change(path, statement)
    with pytest.raises(DamagedError) as caught:
        Journal.open(path, write=write)
    assert caught.value.path == str(path)


@pytest.mark.parametrize("content", [b"", b"\0" * 8192, b"\x80\x04\x95pickle", b"SQLite format 3\0" + b"x" * 5000])
def test_other_files_are_damage(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.db").write_bytes(content)
    for write in (False, True):
        with pytest.raises(DamagedError):
            Journal.open(tmp_path / "run.db", write=write)
    assert (tmp_path / "run.db").read_bytes() == content


def test_a_database_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    change(tmp_path / "run.db", "CREATE TABLE theirs (x)")
    before = (tmp_path / "run.db").read_bytes()
    with pytest.raises(DamagedError, match="no journal"):
        Journal.open(tmp_path / "run.db", write=True)
    assert (tmp_path / "run.db").read_bytes() == before
