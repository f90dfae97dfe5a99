"""One driver at a time: the lock, its holder, forks, and the lease where there are no locks."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from metta.sweep.errors import RefusedError, StorageError
from metta.sweep.store.lock import LEASE_FILE, LOCK_FILE, RunLock, holder
from metta.sweep.store.process import Process

HOLD = """
import sys
from pathlib import Path
from metta.sweep.store import lock
if sys.argv[2] == "lease":
    def refuse(descriptor, operation):
        raise OSError(lock.errno.ENOLCK, "no locks")
    lock.fcntl.flock = refuse
held = lock.RunLock(Path(sys.argv[1]))
held.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_driver(folder: Path, kind: str = "lock") -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(folder), kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without `flock`: there is none here to try."""

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_the_second_driver_is_refused_and_told_who_holds_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "my-run"
    folder.mkdir()
    with another_driver(folder) as process:
        with pytest.raises(RefusedError) as caught:
            RunLock(folder).acquire()
        assert f"run my-run is held by pid {process.pid} on host {os.uname().nodename} since 2" in str(caught.value)
        assert "`metta-sweep cancel my-run`" in str(caught.value)
        found = holder(folder)
        assert found is not None
        assert found.alive
        assert found.process is not None
        assert found.process.pid == process.pid


def test_a_killed_driver_holds_nothing(tmp_path: Path) -> None:
    with another_driver(tmp_path) as process:
        process.kill()
        process.wait()
        found = holder(tmp_path)
        assert found is not None
        assert not found.alive
        with RunLock(tmp_path) as lock:
            assert lock.is_held
            now = holder(tmp_path)
            assert now is not None
            assert now.process is not None
            assert now.process.pid == os.getpid()


def test_released_means_free_and_unsigned(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    assert holder(tmp_path) is None
    lock.acquire()
    lock.release()
    lock.release()
    assert not lock.is_held
    assert holder(tmp_path) is None
    with RunLock(tmp_path):
        pass


def test_two_locks_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    with RunLock(tmp_path), pytest.raises(RefusedError, match=f"pid {os.getpid()}"):
        RunLock(tmp_path).acquire()


def test_the_lock_file_is_private_and_no_link(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        assert (tmp_path / LOCK_FILE).stat().st_mode & 0o777 == 0o600
    (tmp_path / LOCK_FILE).unlink()
    (tmp_path / LOCK_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError):
        RunLock(tmp_path).acquire()
    assert not (tmp_path / "elsewhere").exists()


FORK = """
import os, sys, time
from pathlib import Path
from metta.sweep.store.lock import RunLock, holder
folder = Path(sys.argv[1])
lock = RunLock(folder)
lock.acquire()
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    assert not lock.is_held
    lock.release()  # must not let go of the parent's
    os.write(ready[1], b"x")
    os.read(go[0], 1)
    os._exit(0)
os.close(ready[1])
assert os.read(ready[0], 1) == b"x", "the child has kept the lock"
assert holder(folder).alive, "the child has let go of the lock"
lock.release()
with RunLock(folder):  # while the child lives
    pass
os.write(go[1], b"x")
os.waitpid(child, 0)
print("fine")
"""


def test_a_forked_child_neither_keeps_nor_drops_the_lock(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FORK, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout == "fine\n", done.stderr


def test_the_lock_is_not_inherited_by_programs(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    lock.acquire()
    command = [sys.executable, "-c", "import sys; print('ready', flush=True); sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        lock.release()
        with RunLock(tmp_path):
            pass
        child.kill()


def test_a_run_removed_meanwhile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock = fcntl.flock

    def slow(descriptor: int, operation: int) -> None:
        (tmp_path / LOCK_FILE).unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", slow)
    with pytest.raises(RefusedError, match="has just been removed"):
        RunLock(tmp_path).acquire()


@pytest.mark.usefixtures("no_locks")
def test_without_locks_a_lease_does_the_same(tmp_path: Path) -> None:
    with another_driver(tmp_path, "lease") as process:
        with pytest.raises(RefusedError, match=f"pid {process.pid}"):
            RunLock(tmp_path).acquire()
        found = holder(tmp_path)
        assert found is not None
        assert found.alive
        process.kill()
        process.wait()
        found = holder(tmp_path)
        assert found is not None
        assert not found.alive
        with RunLock(tmp_path):  # its process is gone: taken over
            assert holder(tmp_path) is not None
        assert holder(tmp_path) is None
        assert sorted(os.listdir(tmp_path)) == [LOCK_FILE]


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize(
    ("changes", "is_stale"),
    [
        ({"boot": "another boot"}, True),
        ({"started": 1}, True),  # the number has been used again since
        ({"pid": 2**22 + 1}, True),
        ({"host": "elsewhere"}, False),
        ({"host": "elsewhere", "boot": "another boot"}, False),
        ({"namespace": "pid:[1]"}, False),
        ({}, False),
    ],
)
def test_a_lease_is_taken_over_only_if_its_process_is_certainly_gone(
    tmp_path: Path, changes: dict[str, object], is_stale: bool
) -> None:
    lease = tmp_path / LEASE_FILE
    lease.write_text(json.dumps({**Process.current()._asdict(), **changes}))
    if is_stale:
        with RunLock(tmp_path):
            pass
        assert not lease.exists()
    else:
        with pytest.raises(RefusedError, match="remove") as caught:
            RunLock(tmp_path).acquire()
        assert str(lease) in str(caught.value)
        assert lease.exists()


@pytest.mark.usefixtures("no_locks")
def test_a_lease_that_nobody_signed_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / LEASE_FILE).write_text("[" * 100_000)
    with pytest.raises(RefusedError, match="did not sign"):
        RunLock(tmp_path).acquire()
    found = holder(tmp_path)
    assert found is not None
    assert found.alive


def test_a_machine_with_locks_respects_the_lease_of_one_without(tmp_path: Path) -> None:
    (tmp_path / LEASE_FILE).write_bytes(Process.current()._replace(host="elsewhere").to_json())
    with pytest.raises(RefusedError, match="on host elsewhere"):
        RunLock(tmp_path).acquire()
    (tmp_path / LEASE_FILE).write_bytes(Process.current()._replace(boot="another").to_json())
    with RunLock(tmp_path):
        assert not (tmp_path / LEASE_FILE).exists()


def test_a_zombie_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"], stdout=subprocess.PIPE) as child:
        seen = Process.current()._replace(pid=child.pid, started=_started(child.pid))
        assert child.stdout is not None
        child.stdout.read()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and not yet waited for
        assert seen.is_gone()


def _started(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
