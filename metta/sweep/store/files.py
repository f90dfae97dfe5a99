"""Files and folders of a store: written whole or not at all, private, and never outside of their folder.

What every file of a store goes through, so that a crash, a full disk or a hostile name is thought of in one place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from metta.sweep.errors import StorageError, UsageError
from metta.sweep.store.failpoints import fail_point

Bytes = bytes | bytearray | memoryview

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600

DEEPEST: Final = 100
"""Folders in one another of a run, at most."""

_TEMPORARY: Final = ".tmp"

_REMEDIES: Final[Mapping[int, str]] = {
    errno.ENOSPC: "the disk is full: make room, then run it again",
    errno.EDQUOT: "the disk quota is used up: make room, then run it again",
    errno.EFBIG: "the file would be larger than this process may write (ulimit -f)",
    errno.EROFS: "the file system is read-only: choose another store",
    errno.EACCES: "this user may not: check the owner and the mode of the folder",
    errno.EPERM: "this user may not: check the owner and the mode of the folder",
    errno.ENAMETOOLONG: "the name is too long for this file system: choose a shorter one",
    errno.ENOTDIR: "a part of the path is a file, where a folder is needed",
    errno.ELOOP: "it is a symbolic link, which a store never writes",
    errno.EMFILE: "this process has too many open files (ulimit -n)",
    errno.EIO: "the disk reports an error: check it before going on",
}


@contextlib.contextmanager
def storage_errors(path: str | os.PathLike[str], verb: str) -> Iterator[None]:
    """Turn an OSError of the block into a StorageError that names the path and says what to do.

    Args:
        path: the file or folder that the block works on.
        verb: what it does, as in "cannot `write` PATH".
    """
    try:
        yield
    except OSError as error:
        raise storage_error(error, path, verb) from error


def pieces_of(content: Bytes | Iterable[Bytes]) -> tuple[Bytes, ...]:
    """Content that comes whole or in pieces, in pieces."""
    return (content,) if isinstance(content, Bytes) else tuple(content)


def storage_error(error: OSError, path: str | os.PathLike[str], verb: str) -> StorageError:
    """The StorageError for an OSError, see `storage_errors`."""
    reason = error.strerror or type(error).__name__
    remedy = _REMEDIES.get(error.errno or 0)
    text = f"cannot {verb} {os.fspath(path)}: {reason}"
    return StorageError(f"{text} ({remedy})" if remedy else text, path=os.fspath(path))


def make_folder(path: Path) -> None:
    """Make a folder and its parents, each of them for this user only; one that is there stays as it is.

    A new folder's name is on the disk when this returns.

    Raises:
        StorageError: it cannot be made.
    """
    with storage_errors(path, "make the folder"):
        missing = []
        folder = path
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for folder in reversed(missing):
            with contextlib.suppress(FileExistsError):  # another process was faster; a file there fails below
                folder.mkdir(mode=FOLDER_MODE)
            sync_folder(folder.parent)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def write_file(path: Path, pieces: Iterable[Bytes], *, durable: bool = True) -> None:
    """Write a file so that `path` is, at every instant, what it was before or the whole new file.

    Its folder is made where it is missing.

    Args:
        path: the file; of mode 0600.
        pieces: its content.
        durable: return only when a power cut would not undo it. False for what may be lost, never for what may be torn:
            without it the reader must be able to tell a torn file.

    Raises:
        StorageError: the disk is full or read-only, or the folder is not ours; `path` is what it was before.
    """
    make_folder(path.parent)
    with storage_errors(path, "write"):
        # Short, whatever the name: a name of 255 bytes is allowed, one of 270 is not.
        # Drawn, not counted: what a killed writer left must not be in the way of the next process with its number.
        temporary = path.with_name(f".{os.urandom(8).hex()}{_TEMPORARY}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(temporary, flags, FILE_MODE), "wb") as file:
                fail_point("file.created")
                for piece in pieces:
                    file.write(piece)
                file.flush()
                fail_point("file.written")
                if durable:
                    os.fsync(file.fileno())
            fail_point("file.synced")
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        fail_point("file.renamed")
        if durable:
            sync_folder(path.parent)


def read_file(path: Path) -> bytes:
    """The content of a file that is not a symbolic link.

    Raises:
        FileNotFoundError: there is none.
        StorageError: it cannot be read.
    """
    try:
        with open_file(path) as file:
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise storage_error(error, path, "read") from error


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading. OSError for anything else: a link leads elsewhere, a pipe would block."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def replace_durably(source: Path, target: Path) -> None:
    """Rename a file within one folder, and have the folder remember it after a power cut.

    Raises:
        StorageError: it cannot be renamed.
    """
    with storage_errors(target, "write"):
        os.replace(source, target)
        sync_folder(target.parent)


def sync_folder(path: Path) -> None:
    """Have a folder remember its names after a power cut. OSError where that fails."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems know no such thing
            raise
    finally:
        os.close(descriptor)


def inside(root: Path, path: str | os.PathLike[str]) -> Path:
    """The path below `root`, symbolic links resolved.

    Args:
        root: the folder that must not be left.
        path: relative to it, from a user, a hook or a file.

    Raises:
        UsageError: the path is absolute, empty, has a NUL or a "..", or leads out of the folder by a symbolic link.
    """
    text = os.fspath(path)
    shown = repr(text if len(text) <= 200 else text[:200] + "…")
    if "\0" in text:
        raise UsageError(f"the path {shown} has a NUL character: give a plain relative path")
    if os.path.isabs(text):
        raise UsageError(f"the path {shown} is absolute: give one relative to {root}")
    parts = Path(text).parts
    if ".." in parts:
        raise UsageError(f'the path {shown} has a "..", so it could leave {root}: give one without')
    if not parts:
        raise UsageError(f"the path {shown} names no file: give one relative to {root}")
    try:
        resolved_root = root.resolve()
        resolved = (resolved_root / text).resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
        raise UsageError(f"the path {shown} cannot be followed: {error}") from error
    if resolved == resolved_root or not resolved.is_relative_to(resolved_root):
        raise UsageError(f"the path {shown} leads out of {root} by a symbolic link, to {resolved}")
    return resolved


def walk(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """As `os.walk`, not beyond `DEEPEST` folders: runs are less deep, and Python cannot follow any depth."""
    top = str(folder).count(os.sep)
    for place, names, others in os.walk(folder):
        if place.count(os.sep) - top >= DEEPEST:
            yield place, list(names), others
            names.clear()
        else:
            yield place, names, others


def temporary_files(folder: Path, *, older_than: float = 3600.0) -> Iterator[Path]:
    """What killed writers left in a folder and in those below: temporary files that are `older_than` seconds old."""
    latest = time.time() - older_than
    for place, names, others in walk(folder):
        for name in (*names, *others):
            path = Path(place, name)
            with contextlib.suppress(OSError):
                if name.startswith(".") and name.endswith(_TEMPORARY) and path.lstat().st_mtime <= latest:
                    yield path
