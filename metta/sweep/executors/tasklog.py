"""The output of one task: its tail in memory, the newest part of it in files where a folder is given."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from metta.sweep.errors import StorageError
from metta.sweep.executors.serial import one_line
from metta.sweep.redaction import Redactor
from metta.sweep.store.files import make_folder

TAIL_LIMIT: Final = 16 * 1024
"""Bytes of output that an event carries."""

FILE_LIMIT: Final = 32 * 1024 * 1024
"""Bytes of `log.txt`: when it is full it becomes `log.1.txt`, in place of an older one."""


class TaskLog:
    """Collects what a task writes to stdout and stderr, as one stream, its secrets masked.

    A task that prints nothing leaves no file, and no folder.

    Args:
        folder: for `log.txt`, made when needed; None for the tail only.
        redactor: masks secrets.
        listen: hears every piece as text (characters cut in two come with the next piece).
    """

    def __init__(self, folder: Path | None, redactor: Redactor, listen: Callable[[str], None] | None = None) -> None:
        self._folder = folder
        self._redactor = redactor.stream()
        self._tail = bytearray()
        self._file: BinaryIO | None = None
        self._size = 0
        self._listen = listen
        self._decoder = None if listen is None else codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> None:
        """Add output."""
        self._add(self._redactor.feed(data))

    def close(self) -> str:
        """The task is over: close the file; the tail of the output."""
        self._add(self._redactor.close(), final=True)
        if self._file is not None:
            self._file.close()
        return self._tail[-TAIL_LIMIT:].decode("utf-8", "replace")

    def _add(self, data: bytes, *, final: bool = False) -> None:
        if self._listen is not None and self._decoder is not None:
            text = self._decoder.decode(data, final)
            if text:
                self._listen(text)
        if not data:
            return
        self._tail += data
        if len(self._tail) > 2 * TAIL_LIMIT:
            del self._tail[:-TAIL_LIMIT]
        if self._folder is not None:
            try:
                self._write(self._folder, data)
            except (OSError, StorageError) as error:  # a full disk must not end the task, and not go unnoticed
                self._lose_file(error)

    def _write(self, folder: Path, data: bytes) -> None:
        path = folder / "log.txt"
        if self._file is None:
            make_folder(folder)
            self._file = _open(path)
            self._size = self._file.tell()
        if self._size >= FILE_LIMIT:
            self._file.close()
            path.replace(folder / "log.1.txt")
            self._file = _open(path)
            self._size = 0
        self._file.write(data)
        self._size += len(data)

    def _lose_file(self, error: Exception) -> None:
        self._tail += f"\n[the log file cannot be written: {one_line(error)}]\n".encode()
        self._folder = None
        if self._file is not None:
            self._file.close()
            self._file = None


def _open(path: Path) -> BinaryIO:
    """For appending, readable by the user alone: logs tell much."""
    return open(path, "ab", buffering=0, opener=lambda name, flags: os.open(name, flags, 0o600))
