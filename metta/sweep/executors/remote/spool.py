"""The folder of an attempt: all that a driver and the worker program on another machine tell each other.

    task                   the driver: what to run (taskfile.py)
    intent.json            the driver: under which label it is about to be submitted
    job.json               the driver: the engine's id of its job
    answers                the driver: one line per answer to a report, or a request to end
    fenced                 the driver: nothing of this attempt counts any more; a worker that sees it ends
    output.txt             the engine: what the worker program printed itself, where the engine can say
    run-001/               one start of the worker program; an engine may start a job again (a requeue)
        start.json         how much of what earlier starts have told this one takes over
        events             one line per event, as it happens
        heartbeat          a number that grows
        step-00000003...   states
        result             what the task returned, where that is no outcome of a trial
        done.json          the last event

Who writes a file is the only one who does. Whole files appear at once (`store.files`); `events` and `answers` grow by
whole lines, and a line without its end is not there yet. They are opened anew for every look, which is what network
file systems promise to be up to date for.

No start takes over from one that has said `done` for good; two starts that live at once (a node that is cut off goes on
while the engine starts its job again) are told apart by their numbers: the driver follows the highest one, which says
up to which byte it has read the events of those before. The older one sees the newer one's folder, and ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from metta.sweep.errors import DamagedError, StorageError
from metta.sweep.store.files import make_folder, open_file, storage_errors, sync_folder, write_file
from metta.sweep.store.naming import unique_slug

FOLDER: Final = "attempts"
"""Where a trial or a stage has the folders of its attempts elsewhere."""

TASK, INTENT, JOB, ANSWERS, FENCED, OUTPUT = "task", "intent.json", "job.json", "answers", "fenced", "output.txt"
START, EVENTS, HEARTBEAT, RESULT, DONE = "start.json", "events", "heartbeat", "result", "done.json"

LONGEST_LINE: Final = 16 * 2**20
"""Bytes; what is longer was not written by us."""

READ_SIZE: Final = 2**20
"""Bytes of events that are read at once."""

_LABEL: Final = re.compile(r"ms-[0-9a-f]{20}")
_RUN: Final = re.compile(r"run-(\d{3,6})")


def attempt_folder(token: str, folder: Path) -> Path:
    """The folder of an attempt below that of its trial or stage, or below a spool."""
    return folder / FOLDER / unique_slug(token, "attempt")


def run_folder(attempt: Path, number: int) -> Path:
    """The folder of the `number`-th start of an attempt's worker program."""
    return attempt / f"run-{number:03d}"


def runs_of(attempt: Path) -> list[int]:
    """The starts of an attempt's worker program, ascending.

    Raises:
        StorageError: they cannot be listed.
    """
    with storage_errors(attempt, "read"), contextlib.suppress(FileNotFoundError):
        return sorted(number for name in os.listdir(attempt) if (number := run_number(name)))
    return []


def run_number(name: str) -> int:
    """The number of a start by the name of its folder; 0 for any other name."""
    match = _RUN.fullmatch(name)
    return 0 if match is None else int(match[1])


def new_run(attempt: Path) -> int:
    """Make the folder of one more start; its number. Of two that try at once each gets its own.

    Raises:
        StorageError: it cannot be made.
    """
    number = max(runs_of(attempt), default=0) + 1
    while True:
        folder = run_folder(attempt, number)
        with storage_errors(folder, "make the folder"):
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:
                number += 1
                continue
            sync_folder(attempt)
            return number


def new_label() -> str:
    """A label for one more submission to an engine."""
    return f"ms-{os.urandom(10).hex()}"


def checked_label(label: object) -> str:
    """A label that was read: engines ask for it, and end what bears it.

    Raises:
        ValueError: `new_label` made none like it.
    """
    if not isinstance(label, str) or _LABEL.fullmatch(label) is None:
        raise ValueError(f"{label!r:.100} is no label of a submission")
    return label


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a small file whole."""
    write_file(path, [json.dumps(data).encode()])


def read_json(path: Path) -> dict[str, Any] | None:
    """A small file; None where there is none (yet).

    Raises:
        DamagedError: it is none of ours.
        StorageError: it cannot be read.
    """
    try:
        content = read_end(path, LONGEST_LINE + 1)
    except FileNotFoundError:
        return None
    if len(content) > LONGEST_LINE:
        raise DamagedError(f"{path} is damaged: it is too long", path=str(path))
    try:
        return _object(content)
    except ValueError:
        raise DamagedError(f"{path} is damaged: it is no JSON object", path=str(path)) from None


def read_end(path: Path, most: int) -> bytes:
    """The last bytes of a file, `most` at most: whoever is no friend may put anything there, of any size.

    Raises:
        FileNotFoundError: there is none.
        StorageError: it cannot be read, or is no regular file.
    """
    try:
        with open_file(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - most))
            return file.read(most)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}", path=str(path)) from error


def append(path: Path, lines: bytes) -> None:
    """Add whole lines to a file, and have them on the disk, or with the server of the file system.

    Raises:
        StorageError: they cannot be written.
    """
    with storage_errors(path, "write"):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with memoryview(lines) as view:
                written = 0
                while written < len(lines):
                    written += os.write(descriptor, view[written:])
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@dataclass(slots=True)
class LineReader:
    """Reads a growing file of JSON lines from where it left off."""

    path: Path
    offset: int = 0

    def read(self, end: int | None = None) -> list[dict[str, Any]]:
        """The lines that are complete by now, up to the byte `end`; at most about a megabyte of them.

        Raises:
            DamagedError: a line is not ours.
            StorageError: it cannot be read.
        """
        size = READ_SIZE
        while True:
            data = self._bytes(size if end is None else min(size, end - self.offset))
            complete = data.rfind(b"\n") + 1
            if complete or len(data) < size:
                break
            size *= 4
            if size > LONGEST_LINE:
                raise DamagedError(f"{self.path} is damaged: a line is too long", path=str(self.path))
        lines = []
        for line in data[:complete].splitlines():
            try:
                lines.append(_object(line))
            except ValueError:
                raise DamagedError(
                    f"{self.path} is damaged: what follows byte {self.offset} is no event", path=str(self.path)
                ) from None
        self.offset += complete
        return lines

    def _bytes(self, size: int) -> bytes:
        if size <= 0:
            return b""
        try:
            with open_file(self.path) as file:
                if os.fstat(file.fileno()).st_size <= self.offset:
                    return b""
                file.seek(self.offset)
                return file.read(size)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise StorageError(f"cannot read {self.path}: {error.strerror}", path=str(self.path)) from error


def _object(line: bytes) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except RecursionError:
        raise ValueError("too deeply nested") from None
    if not isinstance(data, dict):
        raise ValueError("no object")
    return data


def is_fenced(attempt: Path) -> bool:
    """Whether nothing of the attempt counts any more.

    Raises:
        StorageError: the file system does not say.
    """
    with storage_errors(attempt / FENCED, "read"):
        return (attempt / FENCED).exists()


def fence(attempt: Path) -> None:
    """From now on nothing of the attempt counts, and a worker that has it ends. What it was to run may hold secrets.

    Raises:
        StorageError: that cannot be written.
    """
    if not is_fenced(attempt):
        make_folder(attempt)
        write_file(attempt / FENCED, [b""])
    with contextlib.suppress(OSError):
        (attempt / TASK).unlink()
