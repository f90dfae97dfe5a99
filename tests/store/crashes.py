"""Processes that die in the middle of things, and what must hold afterwards. Run as a program by test_journal_crash.

It forks; pytest's own process, which has threads, should not.

    python -m tests.store.crashes points SCENARIO      one death at each fail point of a scenario
    python -m tests.store.crashes random ROUNDS SEED   deaths at any time
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import signal
import sqlite3
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from metta.sweep.store import failpoints, schema
from metta.sweep.store.doctor import Severity, examine
from metta.sweep.store.entries import Entry, Event, ReportEntry, TrialRow
from metta.sweep.store.journal import Journal
from metta.sweep.store.run import RunStatus
from metta.sweep.store.runs import Store

ACKNOWLEDGED: Final = struct.Struct("<q")

Acknowledge = Callable[[int], object]
Scenario = Callable[[Path, Acknowledge], None]


def entry(seq: int) -> Entry | ReportEntry:
    """What the scenarios write at a number: it can be told afterwards whether it is right."""
    if seq % 3 == 0:
        return ReportEntry(trial=seq % 5, step=seq, metrics={"score": seq / 7})
    return Entry("tick", f"subject {seq % 2}", {"n": seq, "text": "x" * (seq % 50)})


def batch(after: int, size: int) -> list[Entry | ReportEntry]:
    return [entry(seq) for seq in range(after + 1, after + 1 + size)]


def commit_some(journal: Journal, acknowledge: Acknowledge, commits: int, size: int = 4) -> None:
    for _ in range(commits):
        last = journal.last_seq
        rows = [TrialRow(last % 5, "running", last, last / 7, {"last": last})]
        acknowledge(journal.commit(batch(last, size), rows=rows, snapshot={"last": last + size}))


def check_journal(journal: Journal, acknowledged: int) -> None:
    assert journal.last_seq >= acknowledged, (journal.last_seq, acknowledged)
    seq = 0
    for found in journal.entries():
        seq += 1
        wanted = entry(seq)
        if isinstance(wanted, Entry):
            assert isinstance(found, Event)
            assert (found.kind, found.subject, found.data) == (wanted.kind, wanted.subject, wanted.data)
        else:
            assert not isinstance(found, Event)
            assert (found.trial, found.step, found.metrics) == (wanted.trial, wanted.step, wanted.metrics)
    assert seq == journal.last_seq
    list(journal.trials())
    snapshot = journal.snapshot()
    assert (snapshot.seq if snapshot else 0) == journal.last_seq
    assert snapshot is None or snapshot.data == {"last": snapshot.seq}


def new_run(folder: Path, acknowledge: Acknowledge) -> None:
    with Store(folder).create("crash", "test") as run:
        commit_some(run.journal, acknowledge, 5)
        run.publish(RunStatus.RUNNING, {"done": 5})
        run.close()  # so that the manifest's thread passes its fail points
        commit = Store(folder).open("crash", write=True)
        commit_some(commit.journal, acknowledge, 5)
        commit.close()


def removal(folder: Path, acknowledge: Acknowledge) -> None:
    Store(folder).create("other", "test").close()
    Store(folder).remove("other")


def leased(folder: Path, acknowledge: Acknowledge) -> None:
    """On a file system without locks, where the last driver has died."""

    def refuse(descriptor: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    fcntl.flock = refuse
    store = Store(folder)
    if os.fork() == 0:
        store.create("crash", "test")
        os._exit(0)
    os.wait()
    with store.open("crash", write=True) as run:
        commit_some(run.journal, acknowledge, 2)


def make_version_0(path: Path) -> None:
    """A journal of a format that never was: its events have no subject."""
    Journal.create(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("DROP TABLE events")
        connection.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY, text TEXT)")
        connection.execute("PRAGMA user_version = 0")


def migrate_version_0(connection: sqlite3.Connection) -> None:
    connection.execute("DROP TABLE events")
    connection.execute(next(text for text in schema.TABLES if "TABLE events" in text))


def upgrade(folder: Path, acknowledge: Acknowledge) -> None:
    store = Store(folder)
    run = store.create("crash", "test")
    run.close()
    (run.folder / "run.db").unlink()
    make_version_0(run.folder / "run.db")
    with store.open("crash", write=True) as again:
        commit_some(again.journal, acknowledge, 2)


FILE_POINTS: Final = ("file.created", "file.written", "file.synced", "file.renamed")

SCENARIOS: Final[dict[str, tuple[Scenario, Sequence[str]]]] = {
    "new_run": (
        new_run,
        (
            *("run.folder_made", "run.locked", "run.journal_made", "run.described", "run.renamed"),
            *("lock.taken", "lock.signed", "manifest.collected", "manifest.completed"),
            *("journal.made", "journal.begun", "journal.begun:4", "journal.written", "journal.written:7"),
            *("journal.committed", "journal.committed:10", "lock.taken:2", "lock.signed:2"),
            *FILE_POINTS,
            *(f"{name}:{times}" for name in FILE_POINTS for times in (2, 3)),
        ),
    ),
    "removal": (removal, ("run.set_aside",)),
    "leased": (leased, ("lease.found_stale", "lease.cleared")),
    "upgrade": (upgrade, ("journal.backed_up", "journal.upgraded")),
}


def die(scenario: Scenario, folder: Path, point: str) -> tuple[int, int]:
    """Run a scenario in a child that dies at `point`: how it ended, and the last number that was acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            failpoints._COUNTDOWN = failpoints._Countdown(point)  # type: ignore[misc]
            scenario(folder, lambda seq: os.write(writing, ACKNOWLEDGED.pack(seq)))
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    os.close(writing)
    acknowledged = read_all(reading)
    return os.waitpid(child, 0)[1], acknowledged


def read_all(descriptor: int) -> int:
    with open(descriptor, "rb") as pipe:
        data = pipe.read()
    return ACKNOWLEDGED.unpack_from(data, len(data) - ACKNOWLEDGED.size)[0] if data else 0


def check_store(folder: Path, acknowledged: int) -> None:
    """After a death: what was acknowledged is there, nothing is damaged, and work goes on."""
    store = Store(folder)
    errors = [finding for finding in examine(folder) if finding.severity is Severity.ERROR] if folder.exists() else []
    assert not errors, errors
    if (info := store.latest("crash")) is not None:
        with store.open(info.id, write=True) as run:
            check_journal(run.journal, acknowledged)
            commit_some(run.journal, lambda seq: None, 2)
            check_journal(run.journal, acknowledged + 8)
    else:
        assert acknowledged == 0
    with store.create("crash", "test") as run:
        commit_some(run.journal, lambda seq: None, 1)
    for path in folder.rglob("*"):  # an hour later
        if not path.is_symlink():
            os.utime(path, (0, 0))
    store.gc()
    left = [path for path in folder.rglob("*") if any(mark in path.name for mark in (".tmp", ".new-", ".backup"))]
    assert not left, left
    assert not examine(folder), examine(folder)


def at_points(name: str) -> None:
    schema.MIGRATIONS[0] = migrate_version_0
    scenario, points = SCENARIOS[name]
    for point in points:
        with tempfile.TemporaryDirectory() as folder:
            status, acknowledged = die(scenario, Path(folder, "store"), point)
            assert os.WIFSIGNALED(status), f"{point} was not passed"
            assert os.WTERMSIG(status) == signal.SIGKILL
            check_store(Path(folder, "store"), acknowledged)
            print(point)


def commit_for_ever(path: Path, acknowledged: int, size: int) -> None:
    with Journal.open(path, write=True) as journal:
        while True:
            commit_some(journal, lambda seq: os.write(acknowledged, ACKNOWLEDGED.pack(seq)), 1, size)


def at_random(rounds: int, seed: int) -> None:
    """One journal, killed again and again."""
    drawn = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.db")
        Journal.create(path).close()
        acknowledged = 0
        for number in range(rounds):
            reading, writing = os.pipe()
            size = drawn.choice((1, 1, 4, 100))
            child = os.fork()
            if child == 0:
                commit_for_ever(path, writing, size)
            os.close(writing)
            time.sleep(drawn.uniform(0.001, 0.03))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            acknowledged = max(acknowledged, read_all(reading))
            with Journal.open(path, write=False) as journal:  # beside what the dead left
                assert journal.last_seq >= acknowledged
                if number % 10 == 9 or number == rounds - 1:
                    check_journal(journal, acknowledged)
        print(acknowledged)


if __name__ == "__main__":
    if sys.argv[1] == "points":
        at_points(sys.argv[2])
    else:
        at_random(int(sys.argv[2]), int(sys.argv[3]))
