"""One run: its folder, its journal, and its lock while somebody drives it."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from metta.sweep.errors import DamagedError, StorageError
from metta.sweep.store import files
from metta.sweep.store.connection import damaged
from metta.sweep.store.entries import from_text, to_text
from metta.sweep.store.journal import Journal
from metta.sweep.store.lock import RunLock, holder
from metta.sweep.store.manifest import MANIFEST_FILE, Manifest
from metta.sweep.store.naming import stage_path

JOURNAL_FILE: Final = "run.db"
STATUS_FILE: Final = "status.json"

_LARGEST_FILE: Final = 16 * 2**20
"""Bytes of a manifest or status that is read."""


class RunStatus(StrEnum):
    """How a run is. The last two are never published: they are what one finds."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    DAMAGED = "damaged"


class RunInfo(NamedTuple):
    """What can be said of a run without reading its journal.

    Attributes:
        created: when, in UTC (ISO 8601).
        seq: the last entry that was published, 0 before.
        counts: how many of what, as published (trials by state, say).
        problem: why it is damaged, else empty.
        best: the best score, as published; None where there is none, or more than one objective.
    """

    id: str
    name: str
    kind: str
    folder: Path
    created: str
    status: RunStatus
    seq: int
    counts: Mapping[str, int]
    problem: str
    best: float | None = None


class Run:
    """A run that is open, for reading or (under its lock) for writing; a context manager.

    Attributes:
        info: what was said of it when it was opened.
        journal: what happened.
    """

    def __init__(self, info: RunInfo, journal: Journal, resources: ExitStack) -> None:
        self.info: Final = info
        self.journal: Final = journal
        self._resources = resources

    @classmethod
    def open(cls, folder: Path, *, write: bool, lock: RunLock | None = None, manifest: Manifest | None = None) -> Run:
        """Open the run in `folder`.

        Args:
            folder: its folder.
            write: to drive it; then nobody else may.
            lock: the lock where it is held already; it is released with the run.
            manifest: the manifest that is to be completed meanwhile.

        Raises:
            RefusedError: another driver holds it, or a newer release wrote it.
            DamagedError: its manifest or journal is not what was written.
            StorageError: it cannot be read or written.
        """
        with ExitStack() as stack:
            if write:
                lock = lock or RunLock(folder)
                if not lock.is_held:
                    lock.acquire()
                stack.callback(lock.release)
            info = read_info(folder)
            if info.problem:
                raise DamagedError(info.problem, path=str(folder))
            journal = stack.enter_context(Journal.open(folder / JOURNAL_FILE, write=write))
            if manifest is not None:
                manifest.complete(folder)
                stack.callback(manifest.finish)
            return cls(info, journal, stack.pop_all())

    @property
    def id(self) -> str:
        """The name of its folder."""
        return self.info.id

    @property
    def name(self) -> str:
        """What the user calls it; several runs may share a name."""
        return self.info.name

    @property
    def kind(self) -> str:
        """What kind of run it is, such as "sweep"."""
        return self.info.kind

    @property
    def folder(self) -> Path:
        """Where everything of it lies."""
        return self.info.folder

    @property
    def artifacts_folder(self) -> Path:
        """Where its content-addressed values lie."""
        return self.folder / "artifacts"

    @property
    def files_folder(self) -> Path:
        """Where the files lie that `checkpoint_path` names."""
        return self.folder / "files"

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest as it is on the disk by now."""
        return read_json(self.folder / MANIFEST_FILE)

    def trial_folder(self, trial: int) -> Path:
        """The folder of a trial; the caller makes it."""
        return self.folder / "trials" / f"trial-{trial:04d}"

    def stage_folder(self, key: str) -> Path:
        """The folder of a stage, by its key; the caller makes it."""
        return self.folder / "stages" / stage_path(key)

    def publish(self, status: RunStatus, counts: Mapping[str, int] | None = None, best: float | None = None) -> None:
        """Write `status.json`, for `ls` and for those who cannot read the journal. A cache: the journal is the truth.

        Raises:
            StorageError: the file cannot be written.
        """
        data = {
            "format": 1,
            "status": status.value,
            "seq": self.journal.last_seq,
            "counts": dict(counts or {}),
            "best": best,
            "time": time.time(),
        }
        text = to_text(data, "the status of a run")
        files.write_file(self.folder / STATUS_FILE, [text.encode("ascii"), b"\n"])

    def close(self) -> None:
        """Close the journal, then let go of the run; a second time does nothing."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def is_run(folder: Path) -> bool:
    """Whether `folder` looks like that of a run, be it a damaged one."""
    return folder.is_dir() and any(os.path.lexists(folder / name) for name in (JOURNAL_FILE, MANIFEST_FILE))


def read_info(folder: Path) -> RunInfo:
    """What can be said of the run in `folder` without reading its journal. A damaged one is described, not raised."""
    try:
        manifest = read_json(folder / MANIFEST_FILE)
        name, kind, created = (str(manifest[key]) for key in ("name", "kind", "created"))
        if not os.path.lexists(folder / JOURNAL_FILE):
            raise damaged(folder, f"its {JOURNAL_FILE} is missing")
        status, seq, counts, best = _published(folder)
        if status not in (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED):
            held = holder(folder)
            status = RunStatus.RUNNING if held is not None and held.alive else RunStatus.INTERRUPTED
    except (StorageError, KeyError) as error:
        problem = str(error) if isinstance(error, StorageError) else str(damaged(folder / MANIFEST_FILE, f"no {error}"))
        return RunInfo(folder.name, "", "", folder, "", RunStatus.DAMAGED, 0, {}, problem)
    return RunInfo(folder.name, name, kind, folder, created, status, seq, counts, "", best)


def _published(folder: Path) -> tuple[RunStatus, int, dict[str, int], float | None]:
    try:
        data = read_json(folder / STATUS_FILE)
        counts = {str(key): int(number) for key, number in data["counts"].items()}
        best = data.get("best")  # older releases did not write it
        return RunStatus(data["status"]), int(data["seq"]), counts, None if best is None else float(best)
    except (DamagedError, FileNotFoundError, KeyError, ValueError, TypeError, AttributeError, OverflowError):
        return RunStatus.INTERRUPTED, 0, {}, None  # a cache: the journal knows, and `doctor` says so


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a run.

    Raises:
        DamagedError: there is no such file, or it is something else.
        StorageError: it cannot be read.
    """
    with files.storage_errors(path, "read"):
        try:
            # Not blocking: a hostile run may have a pipe here.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise damaged(path, "it is missing") from None
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise damaged(path, "it is no regular file")
            text = file.read(_LARGEST_FILE + 1)
    try:
        data = from_text(text) if len(text) <= _LARGEST_FILE else None
    except ValueError as error:
        raise damaged(path, str(error)) from None
    if not isinstance(data, dict):
        raise damaged(path, "it is no JSON object")
    return data
