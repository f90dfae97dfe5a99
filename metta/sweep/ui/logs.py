"""Logs of a run as pages: bounded, and only files that are logs inside of the run's folder."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from metta.sweep.cli.logs import LOG, OLDER, PLACES
from metta.sweep.errors import UsageError
from metta.sweep.store.files import inside, storage_error, storage_errors, walk
from metta.sweep.store.naming import natural_order

TAIL: Final = 64 * 1024
"""Bytes of a log on one page."""

MOST_LOGS: Final = 1_000
"""Logs in a list."""

_NO_FILE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)

_ESCAPE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class LogPart:
    """A piece of a log.

    Attributes:
        path: relative to the run's folder, with "/".
        text: without the codes of terminals.
        begin, end, size: bytes: where the piece begins and ends, and those of the whole file.
    """

    path: str
    text: str
    begin: int
    end: int
    size: int


def log_paths(run: Path, below: Path | None = None) -> list[str]:
    """The logs of a run, relative to its folder; links are not followed, and after `MOST_LOGS` it is enough.

    Args:
        below: a folder in the run's folder to which it is limited.
    """
    places = [run / name for name in PLACES] if below is None else [below]
    found: list[str] = []
    for place in places:
        if place.is_symlink():
            continue
        for folder, names, files in walk(place):
            names.sort(key=natural_order)
            for name in (OLDER, LOG):
                if name in files and not os.path.islink(os.path.join(folder, name)):
                    found.append(os.path.relpath(os.path.join(folder, name), run))
            if len(found) >= MOST_LOGS:
                return found
    return found


def read_log(run: Path, path: str, *, end: int | None = None) -> LogPart | None:
    """The piece of a log that ends at byte `end`; None where the path names no log of the run.

    Args:
        path: relative to the run's folder.
        end: None for the end of the file.

    Raises:
        StorageError: it cannot be read.
    """
    parts = path.split("/")
    if parts[0] not in PLACES or parts[-1] not in (LOG, OLDER):
        return None
    try:
        file = inside(run, path)
    except UsageError:
        return None
    try:
        # Not blocking: a hostile run may have a pipe here.
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise storage_error(error, file, "read") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        stop = status.st_size if end is None else min(max(end, 0), status.st_size)
        begin = max(0, stop - TAIL)
        with storage_errors(file, "read"):
            data = os.pread(descriptor, stop - begin, begin)
    finally:
        os.close(descriptor)
    return LogPart(path, plain_text(data.decode("utf-8", "replace")), begin, begin + len(data), status.st_size)


def tails(run: Path, paths: Iterable[str]) -> list[LogPart]:
    """The ends of these logs, without those that are gone or empty."""
    return [part for path in paths if (part := read_log(run, path)) is not None and part.size]


def plain_text(text: str) -> str:
    """A text without what colours a terminal or moves its cursor; of a line that was overwritten, the last version."""
    text = _ESCAPE.sub("", text.replace("\r\n", "\n"))
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", "\n".join(lines))
