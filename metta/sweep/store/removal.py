"""Removing folders, however deep they lie in each other, and what they take on the disk."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from secrets import token_hex
from typing import Final

from metta.sweep.store import files

_OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def tree_size(path: Path) -> int:
    """The bytes of a file, or of all files below a folder; 0 where it has just gone.

    What lies deeper than a run's files may (`files.DEEPEST`) is not counted.

    Raises:
        StorageError: it cannot be read.
    """
    with files.storage_errors(path, "read"):
        if path.is_symlink() or not path.is_dir():
            return _size(path)
        places = files.walk(path)
        return sum(_size(Path(place, name)) for place, names, others in places for name in (*names, *others))


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        status = path.lstat()
        return 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    return 0


def remove_tree(path: Path) -> int:
    """Remove a file, or a folder with all that is in it; the bytes of the files. Links are removed, not followed.

    A folder in a folder is moved up before it is emptied: so neither Python's stack nor the longest path that the
    system takes limits how deep they may lie in each other. Killed half-way, it can be done again.

    Raises:
        StorageError: something cannot be removed.
    """
    with files.storage_errors(path, "remove"):
        if path.is_symlink() or not path.is_dir():
            freed = _size(path)
            path.unlink(missing_ok=True)
            return freed
        top = os.open(path, _OPEN_FOLDER)
        try:
            freed, waiting = _emptied(top, top)
            while waiting:
                name = waiting.pop()
                folder = os.open(name, _OPEN_FOLDER, dir_fd=top)
                try:
                    more, found = _emptied(folder, top)
                finally:
                    os.close(folder)
                os.rmdir(name, dir_fd=top)
                freed += more
                waiting += found
        finally:
            os.close(top)
        path.rmdir()
    return freed


def _emptied(folder: int, top: int) -> tuple[int, list[str]]:
    """Remove the files of a folder and move its folders to the top one; the bytes, and what those are called there."""
    freed, moved = 0, []
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        if not entry.is_dir(follow_symlinks=False):
            with contextlib.suppress(FileNotFoundError):
                freed += entry.stat(follow_symlinks=False).st_size
                os.unlink(entry.name, dir_fd=folder)
            continue
        with contextlib.suppress(OSError):  # where it is empty, this is all, and needs no leave to write in it
            os.rmdir(entry.name, dir_fd=folder)
            continue
        name = token_hex(8)
        os.rename(entry.name, name, src_dir_fd=folder, dst_dir_fd=top)
        moved.append(name)
    return freed, moved
