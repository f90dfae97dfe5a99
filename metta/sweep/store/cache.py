"""Results that are used again by later runs.

    FOLDER/<first 2 digits>/<key>        "metta-cache 1 <checksum>\n", then the content

Losing an entry costs its computation, nothing else: so entries are not synced, and a damaged one is a miss.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from metta.sweep.errors import UsageError
from metta.sweep.store.files import Bytes, pieces_of, read_file, storage_errors, temporary_files, write_file

_KEY: Final = re.compile("[0-9a-f]{16,128}")
_HEAD: Final = b"metta-cache 1 %b\n"
_HEAD_LENGTH: Final = len(_HEAD % (b"0" * 64))
_TOUCH_AFTER: Final = 60.0


class Cache:
    """Content by key. Several processes may use one folder at once; the last `put` of a key wins.

    Keys are hexadecimal, as `codec.digest` gives them: 16 to 128 digits.

    Args:
        folder: made at the first `put`.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder: Path = Path(folder)

    def get(self, key: str) -> bytes | None:
        """The content, which counts as used now; None where there is none, or a damaged one.

        Raises:
            StorageError: it cannot be read.
            UsageError: the key is none.
        """
        path = self.path(key)
        try:
            data = read_file(path)
        except FileNotFoundError:
            return None
        if not _is_intact(key, data):
            return None
        with contextlib.suppress(OSError):  # gone meanwhile, or a read-only store: it is only less well sorted
            if path.stat().st_mtime < time.time() - _TOUCH_AFTER:
                os.utime(path)
        return data[_HEAD_LENGTH:]

    def put(self, key: str, content: Bytes | Iterable[Bytes]) -> None:
        """Store content under a key, in place of what is there.

        Args:
            content: whole or in pieces, an `Encoded` for instance.

        Raises:
            StorageError: it cannot be written.
            UsageError: the key is none.
        """
        pieces = pieces_of(content)
        write_file(self.path(key), (_head(key, pieces), *pieces), durable=False)

    def path(self, key: str) -> Path:
        """The file of a key, which need not be there. UsageError for a text that is no key."""
        if not _KEY.fullmatch(key):
            raise UsageError(f"{key!r:.100} is no key of a cache: expected 16 to 128 hexadecimal digits")
        return self.folder / key[:2] / key

    def damaged(self) -> Iterator[Path]:
        """The entries that are not what was put; each is read whole."""
        for path in self._entries():
            with contextlib.suppress(FileNotFoundError):
                if not _is_intact(path.name, read_file(path)):
                    yield path

    def prune(self, *, max_bytes: float = float("inf"), max_age: float = float("inf")) -> int:
        """Delete the entries that were not used for longest, and what killed writers left.

        Args:
            max_bytes: what the whole cache may keep.
            max_age: seconds since an entry was used last.

        Returns:
            How many bytes that freed.
        """
        freed = sum(_delete(path, size) for path, size in self.spare(max_bytes=max_bytes, max_age=max_age))
        for path in list(temporary_files(self.folder)):
            freed += _delete(path, 0)
        return freed

    def spare(self, *, max_bytes: float = float("inf"), max_age: float = float("inf")) -> list[tuple[Path, int]]:
        """The entries that `prune` would delete, and their bytes."""
        found = []
        for path in self._entries():
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                found.append((status.st_mtime, status.st_size, path))
        found.sort(reverse=True)
        now, kept, going = time.time(), 0, []
        for used, size, path in found:
            if now - used <= max_age and kept + size <= max_bytes:
                kept += size
            else:
                going.append((path, size))
        return going

    def _entries(self) -> Iterator[Path]:
        for path in sorted(self.folder.glob("[0-9a-f][0-9a-f]/*")):
            if _KEY.fullmatch(path.name) and path.name[:2] == path.parent.name:
                yield path


def _delete(path: Path, size: int) -> int:
    with storage_errors(path, "delete"), contextlib.suppress(FileNotFoundError):
        path.unlink()
        return size
    return 0


def _head(key: str, pieces: Iterable[Bytes]) -> bytes:
    """The first line. The key belongs to the checksum: an entry under another name is none."""
    state = hashlib.blake2b(key.encode(), digest_size=32)
    for piece in pieces:
        state.update(piece)
    return _HEAD % state.hexdigest().encode()


def _is_intact(key: str, data: bytes) -> bool:
    return data[:_HEAD_LENGTH] == _head(key, (memoryview(data)[_HEAD_LENGTH:],))
