"""A lease: the lock of a run where the file system has no `flock`.

A file that only one process can make, with its name in it. Unlike a lock it outlives its process: it is taken over
where that process has certainly ended, and not otherwise. Should two processes ever take one over at the same instant,
the journal still refuses the second writer.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from uuid import uuid4

from metta.sweep.errors import RefusedError
from metta.sweep.store.failpoints import fail_point
from metta.sweep.store.files import FILE_MODE, read_file, storage_errors
from metta.sweep.store.process import Process


def take(path: Path) -> bytes:
    """Make the lease `path` for this process and return its content.

    Raises:
        RefusedError: another process has it, or may have.
        StorageError: it cannot be written.
    """
    text = Process.current().to_json()
    if _make(path, text):
        return text
    clear_stale(path)
    if _make(path, text):
        return text
    raise RefusedError(f"{path.parent.name} has just been taken by another process: a run has one driver at a time")


def drop(path: Path, text: bytes) -> None:
    """Give a lease back, if it is still the one with this content."""
    with contextlib.suppress(FileNotFoundError), storage_errors(path, "remove"):
        if read_file(path) == text:
            path.unlink()


def _make(path: Path, text: bytes) -> bool:
    try:
        with storage_errors(path, "write"):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
            with os.fdopen(descriptor, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
    except Exception as error:
        if isinstance(error.__cause__, FileExistsError):
            return False
        raise
    return True


def clear_stale(path: Path) -> None:
    """Remove the lease of a process that has ended.

    Raises:
        RefusedError: its process is alive, or may be.
        StorageError: it cannot be removed.
    """
    try:
        stale = read_file(path)
    except FileNotFoundError:
        return  # just given back
    owner = Process.from_json(stale)
    if owner is None or not owner.is_gone():
        who = owner or "a process that did not sign"
        raise RefusedError(
            f"run {path.parent.name} is held by {who}: `metta-sweep cancel {path.parent.name}` stops it there."
            f" If that machine is gone for good, remove {path}"
        )
    fail_point("lease.found_stale")
    aside = path.with_name(f".{path.name}-{uuid4().hex[:8]}.tmp")  # `files.temporary_files` finds it
    with contextlib.suppress(FileNotFoundError), storage_errors(path, "move"):
        os.rename(path, aside)
        fail_point("lease.cleared")
        if read_file(aside) != stale:  # somebody took it over in between: that was theirs
            with contextlib.suppress(OSError):
                os.link(aside, path)
        aside.unlink()
