"""The output of one task: its tail in memory, all of it in a file where a folder is given."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import BinaryIO, Final

from metta.sweep.executors.serial import one_line

TAIL_LIMIT: Final = 16 * 1024
"""Bytes of output that an event carries."""


class TaskLog:
    """Collects what a task writes to stdout and stderr, as one stream."""

    def __init__(self, folder: Path | None) -> None:
        self._tail = bytearray()
        self._file: BinaryIO | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._file = (folder / "log.txt").open("ab", buffering=0)
            except OSError as error:
                self._lose_file(error)

    def feed(self, data: bytes) -> str:
        """Add output; the text of it, for a stream (characters cut in two come with the next piece)."""
        self._tail += data
        if len(self._tail) > 2 * TAIL_LIMIT:
            del self._tail[:-TAIL_LIMIT]
        if self._file is not None:
            try:
                self._file.write(data)
            except OSError as error:  # a full disk must not end the task, and not go unnoticed
                self._lose_file(error)
        return self._decoder.decode(data)

    def close(self) -> str:
        """Close the file; the tail of the output."""
        if self._file is not None:
            self._file.close()
        return self._tail[-TAIL_LIMIT:].decode("utf-8", "replace")

    def _lose_file(self, error: OSError) -> None:
        self._tail += f"\n[the log file cannot be written: {one_line(error)}]\n".encode()
        if self._file is not None:
            self._file.close()
            self._file = None
