"""The lock of a run: one driver at a time, for as long as its process lives.

`flock` on a file of the run's folder. The system drops it when the process ends, however that happens, so it is never
stale. The text of the file says who holds it. Children made by `fork` close it at once: the lock is shared with them,
and would otherwise live on in them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self
from weakref import WeakSet

from metta.sweep.errors import RefusedError
from metta.sweep.store import lease
from metta.sweep.store.failpoints import fail_point
from metta.sweep.store.files import FILE_MODE, read_file, storage_errors
from metta.sweep.store.process import Process

LOCK_FILE: Final = "lock"
LEASE_FILE: Final = "lease"

_UNSUPPORTED: Final = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})

_PATIENCE: Final = (0.01, 0.02, 0.05, 0.1)
"""Seconds between attempts: somebody who only looks holds the lock for a moment."""

_ours: Final[WeakSet[RunLock]] = WeakSet()


class Holder(NamedTuple):
    """Who holds a run. `process` is None where it did not sign; `alive` is False where it ended without letting go."""

    process: Process | None
    alive: bool


class RunLock:
    """The lock of the run in `folder`; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptor: int | None = None
        self._lease: bytes | None = None

    @property
    def is_held(self) -> bool:
        """True between `acquire` and `release`, in the process that acquired it."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            RefusedError: another driver holds the run; the message says which.
            StorageError: the lock file cannot be written.
        """
        path = self.folder / LOCK_FILE
        with contextlib.ExitStack() as stack:
            with storage_errors(path, "lock"):
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                descriptor = os.open(path, flags, FILE_MODE)
                stack.callback(os.close, descriptor)
                held = _lock(descriptor, path)
            if held:
                lease.clear_stale(self.folder / LEASE_FILE)  # another machine may see this folder without locks
            else:
                self._lease = lease.take(self.folder / LEASE_FILE)
                stack.callback(lease.drop, self.folder / LEASE_FILE, self._lease)
            fail_point("lock.taken")
            with storage_errors(path, "write"):
                _write(descriptor, Process.current().to_json())
            fail_point("lock.signed")
            stack.pop_all()
        self._descriptor = descriptor
        _ours.add(self)

    def release(self) -> None:
        """Let go; a second time does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        _ours.discard(self)
        try:
            with storage_errors(self.folder / LOCK_FILE, "write"):
                os.ftruncate(descriptor, 0)
            if self._lease is not None:
                lease.drop(self.folder / LEASE_FILE, self._lease)
        finally:
            self._lease = None
            os.close(descriptor)

    def forget(self) -> None:
        """In a forked child: close the file without letting go, the lock is the parent's."""
        descriptor, self._descriptor, self._lease = self._descriptor, None, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def holder(folder: Path) -> Holder | None:
    """Who holds the run in `folder`, or held it and ended without letting go; None where nobody does.

    Raises:
        StorageError: the lock file cannot be read.
    """
    try:
        text = read_file(folder / LEASE_FILE)
    except FileNotFoundError:
        pass
    else:
        process = Process.from_json(text)
        return Holder(process, process is None or not process.is_gone())
    path = folder / LOCK_FILE
    try:
        text = read_file(path)
    except FileNotFoundError:
        return None
    alive = _is_locked(path)
    return Holder(Process.from_json(text), alive) if alive or text else None


def _lock(descriptor: int, path: Path) -> bool:
    """Take the lock; False where the file system has none."""
    for pause in (*_PATIENCE, None):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if pause is None:
                break
            time.sleep(pause)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return False
            raise
        else:
            if not _is_same(descriptor, path):
                raise RefusedError(f"run {path.parent.name} has just been removed")
            return True
    process = Process.from_json(os.pread(descriptor, 4096, 0))
    run = path.parent.name
    if process is not None and process.is_gone():
        raise RefusedError(
            f"run {run} was held by {process}, which has ended; a process that it started holds it still"
        )
    raise RefusedError(f"run {run} is held by {process or 'another process'}: `metta-sweep cancel {run}` stops it")


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _is_locked(path: Path) -> bool:
    with storage_errors(path, "read"):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            # Shared, so that two who look do not take each other for a driver.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return False  # then it is the lease that counts
            raise
        finally:
            os.close(descriptor)
    return False


def _write(descriptor: int, text: bytes) -> None:
    os.pwrite(descriptor, text, 0)
    os.ftruncate(descriptor, len(text))


def _close_in_child() -> None:
    for lock in list(_ours):
        lock.forget()
    _ours.clear()


os.register_at_fork(after_in_child=_close_in_child)
