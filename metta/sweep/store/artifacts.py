"""Outputs of stages on disk: each in a file named by its content.

    FOLDER/<first 2 digits>/<digest>

The name is the checksum, so a damaged file is noticed whenever it is read, and equal outputs are one file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Final

from metta.sweep.errors import DamagedError
from metta.sweep.store.files import Bytes, open_file, pieces_of, read_file, storage_errors, temporary_files, write_file

_DIGEST: Final = re.compile("[0-9a-f]{64}")
_CHUNK: Final = 1 << 20


class ArtifactStore:
    """Files named by the BLAKE2b-256 of their content. Several processes may use one folder at once.

    Args:
        folder: made at the first `put`.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder: Path = Path(folder)

    def put(self, content: Bytes | Iterable[Bytes]) -> str:
        """Store some content; durable when this returns.

        What is there already is not written again, unless it is damaged: then it is repaired.

        Args:
            content: whole or in pieces, an `Encoded` for instance.

        Returns:
            Its digest: 64 hexadecimal digits.

        Raises:
            StorageError: it cannot be written.
        """
        pieces = pieces_of(content)
        digest = _digest_of(pieces)
        path = self.path(digest)
        if not self._renewed(path, digest):
            write_file(path, pieces)
        return digest

    def get(self, digest: str) -> bytes:
        """The content with a digest, verified.

        Raises:
            DamagedError: its file is missing, or is not what was stored.
            StorageError: it cannot be read.
        """
        path = self.path(digest)
        try:
            content = read_file(path)
        except FileNotFoundError:
            raise DamagedError(f"the artifact {path} is missing", path=str(path)) from None
        if _digest_of((content,)) != digest:
            raise DamagedError(f"the artifact {path} is damaged: its content does not fit its name", path=str(path))
        return content

    def path(self, digest: str) -> Path:
        """The file of a digest, which need not be there. DamagedError for a text that is no digest."""
        if not _DIGEST.fullmatch(digest):
            raise DamagedError(f"{digest!r:.100} is no digest of an artifact in {self.folder}", path=str(self.folder))
        return self.folder / digest[:2] / digest

    def __contains__(self, digest: str) -> bool:
        return self.path(digest).is_file()

    def size(self, digest: str) -> int:
        """The length of a content in bytes. DamagedError where its file is missing."""
        path = self.path(digest)
        try:
            return path.lstat().st_size
        except FileNotFoundError:
            raise DamagedError(f"the artifact {path} is missing", path=str(path)) from None

    def is_intact(self, digest: str) -> bool:
        """Whether the file of a digest is there and fits it; whatever its size, memory stays small."""
        return _fits(self.path(digest), digest)

    def digests(self) -> Iterator[str]:
        """All there are, in their order."""
        for path in sorted(self.folder.glob("[0-9a-f][0-9a-f]/*")):
            if _DIGEST.fullmatch(path.name) and path.name[:2] == path.parent.name:
                yield path.name

    def sweep(self, referenced: Container[str], *, keep: float = 3600.0) -> int:
        """Delete what nothing refers to, and what killed writers left.

        Args:
            referenced: the digests that stay.
            keep: seconds; what was put later stays too: its event may not have been written yet.

        Returns:
            How many bytes that freed.
        """
        freed = 0
        for path in temporary_files(self.folder, older_than=keep):
            with contextlib.suppress(FileNotFoundError):
                freed += _delete(path, path.lstat().st_size)
        return freed + sum(_delete(path, size) for path, size in self.unreferenced(referenced, keep=keep))

    def unreferenced(self, referenced: Container[str], *, keep: float = 3600.0) -> list[tuple[Path, int]]:
        """The artifacts that `sweep` would delete, and their bytes."""
        found = []
        latest = time.time() - keep
        for path in [self.path(digest) for digest in self.digests() if digest not in referenced]:
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                if status.st_mtime <= latest:
                    found.append((path, status.st_size))
        return found

    def _renewed(self, path: Path, digest: str) -> bool:
        """Whether the content is there; if so it counts as put now, so that no sweep takes it away."""
        try:
            os.utime(path, follow_symlinks=False)
        except OSError:
            return False
        return _fits(path, digest)


def _delete(path: Path, size: int) -> int:
    with storage_errors(path, "delete"), contextlib.suppress(FileNotFoundError):
        path.unlink()
        return size
    return 0


def _digest_of(pieces: Iterable[Bytes]) -> str:
    state = hashlib.blake2b(digest_size=32)
    for piece in pieces:
        state.update(piece)
    return state.hexdigest()


def _fits(path: Path, digest: str) -> bool:
    state = hashlib.blake2b(digest_size=32)
    try:
        with open_file(path) as file:
            while chunk := file.read(_CHUNK):
                state.update(chunk)
    except OSError:
        return False
    return state.hexdigest() == digest
