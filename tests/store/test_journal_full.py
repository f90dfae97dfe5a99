"""No room, no permission: what was acknowledged stays, the error names the path, and work goes on afterwards."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metta.sweep.errors import StorageError
from metta.sweep.store.entries import Entry
from metta.sweep.store.journal import Journal


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB; only where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("may not mount a tmpfs here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def commit_until_full(journal: Journal, acknowledged: list[int]) -> None:
    for _ in range(2_000):  # more than there is room for
        acknowledged.append(journal.commit([Entry("e", data="x" * 2000)]))


def fill(journal: Journal) -> int:
    """Commit until there is no room; the last number that was acknowledged."""
    acknowledged = [journal.last_seq]
    with pytest.raises(StorageError, match="nothing that was acknowledged is lost") as caught:
        commit_until_full(journal, acknowledged)
    assert caught.value.path == str(journal.path)
    assert caught.value.exit_code == 3
    return acknowledged[-1]


def check(journal: Journal, last: int) -> None:
    assert journal.last_seq == last
    assert [event.seq for event in journal.entries()] == list(range(1, last + 1))


@pytest.mark.parametrize("network", [False, True])
def test_a_full_file(tmp_path: Path, network: bool) -> None:
    with Journal.create(tmp_path / "run.db", network=network) as journal:
        assert journal._writing is not None
        journal._writing.execute("PRAGMA max_page_count = 40")
        last = fill(journal)
        assert last > 5
        check(journal, last)
        with pytest.raises(StorageError, match="disk is full"):
            journal.commit([Entry("e", data="x" * 2000)])
        journal._writing.execute("PRAGMA max_page_count = 4000")  # there is room again
        assert journal.commit([Entry("e", data="x" * 2000)]) == last + 1
        check(journal, last + 1)


@pytest.mark.parametrize("network", [False, True])
def test_a_full_disk(small_disk: Path, network: bool) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 300_000)
    with Journal.create(small_disk / "run.db", network=network) as journal:
        last = fill(journal)
        check(journal, last)
        ballast.unlink()
        assert journal.commit([Entry("e")]) == last + 1
        last = fill(journal)
    with Journal.open(small_disk / "run.db", write=False) as journal:
        check(journal, last)


def test_a_full_disk_at_the_beginning(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(b"x" * (2**20 - 8192))
    with pytest.raises(StorageError, match=r"run\.db"):
        Journal.create(small_disk / "run.db")


LIMITED = """
import resource, sys
from pathlib import Path
from metta.sweep.errors import StorageError
from metta.sweep.store.entries import Entry
from metta.sweep.store.journal import Journal
with Journal.create(Path(sys.argv[1])) as journal:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    last = 0
    try:
        for _ in range(1000):
            last = journal.commit([Entry("e", data="x" * 2000)])
    except StorageError as error:
        assert error.path == sys.argv[1], error
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert journal.commit([Entry("after")]) == last + 1
    print(last)
"""


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "run.db")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with Journal.open(tmp_path / "run.db", write=False) as journal:
        assert 5 < int(done.stdout) < 1000
        check(journal, int(done.stdout) + 1)


KILLED = """
import os, signal, sys
from pathlib import Path
from metta.sweep.store.entries import Entry
from metta.sweep.store.journal import Journal
journal = Journal.create(Path(sys.argv[1]), network=sys.argv[2] == "network")
for _ in range(20):
    journal.commit([Entry("e", data="x" * 2000)])
if sys.argv[2] == "network":  # in the middle of a transaction, with pages in the file already
    journal._writing.execute("PRAGMA cache_size = 1")
    journal._writing.execute("BEGIN IMMEDIATE")
    for seq in range(21, 90):
        journal._writing.execute("INSERT INTO events VALUES (?, 0.0, '', '', ?, '')", (seq, "y" * 4000))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("kind", ["local", "network"])
@pytest.mark.parametrize("without_index", [False, True])
def test_reading_what_a_killed_driver_left_on_read_only_media(small_disk: Path, kind: str, without_index: bool) -> None:
    path = small_disk / "run.db"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), kind])
    assert done.returncode == -signal.SIGKILL
    if without_index:
        path.with_name("run.db-shm").unlink(missing_ok=True)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with Journal.open(path, write=False) as journal:
        check(journal, 20)
    with pytest.raises(StorageError, match="read-only"):
        Journal.open(path, write=True)


def test_reading_a_closed_run_on_read_only_media(small_disk: Path) -> None:
    with Journal.create(small_disk / "run.db") as journal:
        journal.commit([Entry("e")])
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with Journal.open(small_disk / "run.db", write=False) as journal:
        check(journal, 1)


def test_reading_what_a_killed_driver_left(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    subprocess.run([sys.executable, "-c", KILLED, str(path), "local"])
    assert path.with_name("run.db-wal").stat().st_size > 0
    for _ in range(2):
        with Journal.open(path, write=False) as journal:
            check(journal, 20)
    with Journal.open(path, write=True) as journal:
        check(journal, 20)
        assert journal.commit([Entry("e")]) == 21
