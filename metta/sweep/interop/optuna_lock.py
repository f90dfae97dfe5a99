"""Optuna's lock of a journal in a file, so that one of ours that dies with it holds up nobody of ours."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.storages.journal import JournalFileSymlinkLock


class JournalLock:
    """The lock that Optuna takes for the journal at `path`, in the form that its `JournalFileBackend` wants.

    Optuna's is a symbolic link `path.lock` to the journal: it outlives its holder, and is taken away by the next one
    who has waited for 30 seconds. Ours is that link, and with it a lock of the kernel on the journal, which ends with
    its process. The target of our link is spelled in a way of its own, so that whoever has the lock of the kernel and
    finds such a link knows that its maker is dead. A link of Optuna's own is waited for.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        # The same file, as nobody else spells it.
        self._own_path = os.path.join(os.path.dirname(path), ".", ".", os.path.basename(path))
        self._descriptor: int | None = None
        self._link: JournalFileSymlinkLock | None = None

    def acquire(self) -> bool:
        """Wait for the lock, and take it."""
        from optuna.storages.journal import JournalFileSymlinkLock

        self._descriptor = self._held_by_kernel()
        if self._descriptor is None:  # another one of ours is alive, or this file system has no such locks
            self._link = JournalFileSymlinkLock(self._path)
        else:
            self._link = JournalFileSymlinkLock(self._own_path)
            link = f"{self._path}.lock"
            with contextlib.suppress(OSError):
                if os.readlink(link) == self._own_path:
                    os.unlink(link)
        try:
            return self._link.acquire()
        except BaseException:
            self._let_go()
            raise

    def release(self) -> None:
        """Give it back.

        Raises:
            RuntimeError: it is not held; it was taken away by somebody who had waited for long.
        """
        assert self._link is not None
        try:
            self._link.release()
        finally:
            self._let_go()

    def _held_by_kernel(self) -> int | None:
        """A descriptor that has the lock of the kernel; None where it cannot be had at once."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor

    def _let_go(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
