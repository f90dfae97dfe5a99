"""Examining a run or a whole store: what is damaged, what is left over, and what to do about it.

Nothing is changed and nothing printed. Damage that SQLite's own checks do not see is found by the chain of the
entries, by the digests of rows and snapshots, and by the checksums of artifacts and states.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from metta.sweep.errors import DamagedError, MettaSweepError, RefusedError, StorageError
from metta.sweep.store import connection as sql
from metta.sweep.store import container, files, filesystem, schema
from metta.sweep.store.artifacts import ArtifactStore
from metta.sweep.store.cache import Cache
from metta.sweep.store.journal import Journal
from metta.sweep.store.lock import LOCK_FILE, holder
from metta.sweep.store.manifest import MANIFEST_FILE
from metta.sweep.store.naming import is_plain
from metta.sweep.store.nested import CHILDREN_FOLDER, child_runs
from metta.sweep.store.reader import DamagedEntry
from metta.sweep.store.run import JOURNAL_FILE, STATUS_FILE, is_run, read_json

MOST_ENTRIES: Final = 20
"""Damaged entries that are named one by one."""

FROM_BACKUP: Final = "restore the file from a backup; without one, start the run again under a new name"
_GC: Final = "`metta-sweep gc` removes it"
_CACHE: Final = "it is a cache: resuming the run writes it again"


class Severity(StrEnum):
    """How bad a finding is: something is lost, something should be changed, or it is only said."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Finding(NamedTuple):
    """Something that is not as it should be.

    Attributes:
        file: the file or folder.
        what: what is wrong with it.
        remedy: what to do.
    """

    severity: Severity
    file: Path
    what: str
    remedy: str


def examine(folder: Path) -> list[Finding]:
    """Examine a run with all that it has started, or a store with all its runs; every file is read.

    Args:
        folder: that of the run or of the store.

    Returns:
        What was found, errors first; an empty list where all is well.
    """
    found = list(_examine_run(folder) if is_run(folder) else _examine_store(folder))
    return sorted(found, key=lambda finding: list(Severity).index(finding.severity))


def _examine_store(folder: Path) -> Iterator[Finding]:
    if not folder.is_dir():
        yield Finding(Severity.ERROR, folder, "there is no such store", "check the path and METTA_SWEEP_HOME")
        return
    yield from _network(folder)
    runs = folder / "runs"
    if runs.exists() and not runs.is_dir():
        yield Finding(Severity.ERROR, runs, "it is no folder, so the store can hold no runs", "move it elsewhere")
    for path in sorted(runs.glob("*")):
        if path.name.startswith("."):
            yield Finding(
                Severity.NOTE, path, "a run that was never finished being made", "`metta-sweep gc` removes it"
            )
        elif path.is_symlink() or not path.is_dir():
            yield Finding(Severity.WARNING, path, "it is no folder of a run", "remove it")
        elif not is_plain(path.name):
            what = "its name is none of a run, so no command finds it"
            yield Finding(Severity.WARNING, path, what, "rename it, in letters, digits, '_', '-' and '.'")
        else:
            yield from _examine_run(path, network=False)
    for path in Cache(folder / "cache").damaged():
        yield Finding(Severity.WARNING, path, "this cached result is damaged", "remove it: it is computed again")
    for path in sorted((folder / "trash").glob("*")):
        yield Finding(Severity.NOTE, path, "a run that was removed by half", _GC)


def _examine_run(folder: Path, *, network: bool = True) -> Iterator[Finding]:
    if network:
        yield from _network(folder)
    yield from _examine_tree(folder)
    yield from _examine_content(folder)


def _examine_content(folder: Path) -> Iterator[Finding]:
    """What a run says, and what the runs say that it has started; the names of their files tell which one it is."""
    promised: set[str] = set()
    seq = None
    if not os.path.lexists(folder / JOURNAL_FILE):
        yield Finding(Severity.ERROR, folder / JOURNAL_FILE, "it is missing", FROM_BACKUP)
    else:
        examination = _Journal(folder / JOURNAL_FILE)
        yield from examination.findings()
        promised, seq = examination.promised, examination.seq
    yield from _examine_files(folder, seq)
    yield from _examine_artifacts(folder, promised)
    yield from _examine_states(folder)
    yield from _examine_lock(folder)
    try:
        for child in child_runs(folder):
            yield from _examine_content(child.folder)
    except StorageError as error:
        yield Finding(Severity.ERROR, folder, f"the runs that it has started cannot be read: {error}", FROM_BACKUP)


class _Journal:
    """The examination of a journal; afterwards it knows the last number and the artifacts that must be there."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self.promised: set[str] = set()
        self.seq: int | None = None

    def findings(self) -> Iterator[Finding]:
        """What is wrong with it."""
        try:
            sql.refuse_links(self.path)
            with ExitStack() as stack:
                connection = sql.connect_reader(self.path, stack)
                yield from self._sqlite(connection)
                with sql.translated(self.path):
                    if schema.version(connection, self.path) < schema.VERSION:
                        connection = schema.upgraded_copy(connection, self.path, stack)
                    schema.check(connection, self.path)
                journal = stack.enter_context(Journal(self.path, connection, ExitStack()))
                yield from self._content(journal)
        except MettaSweepError as error:
            yield self._finding(error)

    def _sqlite(self, connection: sqlite3.Connection) -> Iterator[Finding]:
        """SQLite's own check of pages and indexes."""
        with sql.translated(self.path):
            for (text,) in connection.execute("PRAGMA integrity_check(20)").fetchall():
                if text != b"ok":
                    said = text.decode(errors="replace")
                    yield Finding(Severity.ERROR, self.path, f"SQLite finds: {said}", FROM_BACKUP)

    def _content(self, journal: Journal) -> Iterator[Finding]:
        for check in (self._head, self._entries, self._rows, self._snapshots, self._references):
            try:
                yield from check(journal)
            except MettaSweepError as error:
                yield self._finding(error)

    def _head(self, journal: Journal) -> Iterator[Finding]:
        self.seq = journal.last_seq
        journal.check_ends()
        yield from ()

    def _entries(self, journal: Journal) -> Iterator[Finding]:
        after = 0
        for _ in range(MOST_ENTRIES):
            try:
                for _ in journal.entries(after):
                    pass
                return
            except DamagedEntry as error:
                yield self._finding(error)
                if error.seq <= after:  # nothing to go on from
                    return
                after = error.seq

    def _rows(self, journal: Journal) -> Iterator[Finding]:
        for _ in journal.trials():
            pass
        yield from ()

    def _snapshots(self, journal: Journal) -> Iterator[Finding]:
        for snapshot in journal.snapshots():
            if isinstance(snapshot, int):
                what = f"the snapshot after entry {snapshot} is not what was written"
                yield Finding(Severity.WARNING, self.path, what, _CACHE)

    def _references(self, journal: Journal) -> Iterator[Finding]:
        self.promised = journal.digests(promised=True)
        yield from ()

    def _finding(self, error: MettaSweepError) -> Finding:
        remedy = "install that release" if isinstance(error, RefusedError) else FROM_BACKUP
        return Finding(Severity.ERROR, self.path, str(error), remedy)


def _examine_files(folder: Path, seq: int | None) -> Iterator[Finding]:
    """The manifest, and what was published against what the journal knows."""
    manifest = _problem(read_json, folder / MANIFEST_FILE)
    if manifest:
        yield Finding(Severity.ERROR, folder / MANIFEST_FILE, manifest, "restore it from a backup")
    status = folder / STATUS_FILE
    if not os.path.lexists(status):
        return
    try:
        published = int(read_json(status)["seq"])
    except (MettaSweepError, KeyError, TypeError, ValueError) as error:
        yield Finding(Severity.WARNING, status, f"it cannot be read: {error}", _CACHE)
        return
    if seq is not None and published > seq:
        what = f"its last entry is {seq}, and entry {published} was there already when {STATUS_FILE} was written"
        yield Finding(Severity.ERROR, folder / JOURNAL_FILE, what, f"was {JOURNAL_FILE}-wal removed? {FROM_BACKUP}")


def _examine_artifacts(folder: Path, promised: set[str]) -> Iterator[Finding]:
    store = ArtifactStore(folder / "artifacts")
    present = set(_entries_of(store))
    for digest in sorted(promised - present):
        yield Finding(Severity.ERROR, store.path(digest), "an event names it, and it is missing", FROM_BACKUP)
    for digest in sorted(present):
        if not store.is_intact(digest):
            is_needed = digest in promised
            severity = Severity.ERROR if is_needed else Severity.WARNING
            remedy = FROM_BACKUP if is_needed else "no event names it: remove it"
            yield Finding(severity, store.path(digest), "its content does not fit its name", remedy)


def _entries_of(store: ArtifactStore) -> Iterator[str]:
    try:
        yield from store.digests()
    except OSError:
        return  # a file where a folder should be: those that are missing are named


def _examine_states(folder: Path) -> Iterator[Finding]:
    places = files.walk(folder / "trials")
    found = (Path(place, name) for place, _, names in places for name in names if name.endswith(".safetensors"))
    for path in sorted(path for path in found if CHILDREN_FOLDER not in path.relative_to(folder).parts):
        problem = _problem(_read_state, path)
        if problem:
            yield Finding(Severity.ERROR, path, problem, "remove it: the trial goes on from an older state, or anew")


def _examine_lock(folder: Path) -> Iterator[Finding]:
    try:
        held = holder(folder)
    except StorageError as error:
        yield Finding(Severity.WARNING, folder / LOCK_FILE, str(error), "remove it while nobody drives the run")
        return
    if held is not None and not held.alive:
        what = f"its driver ({held.process or 'unknown'}) ended without letting go"
        yield Finding(Severity.NOTE, folder / LOCK_FILE, what, "nothing: resuming the run takes it over")


def _examine_tree(folder: Path) -> Iterator[Finding]:
    """Modes, links and leftovers of every file."""
    yield from _examine_mode(folder, folder.lstat())
    for place, names, others in files.walk(folder):
        too_deep = len(Path(place).parts) - len(folder.parts) >= files.DEEPEST
        for name in sorted([*names, *others]):
            path = Path(place, name)
            if too_deep and name in names:
                yield Finding(Severity.ERROR, path, "folders lie deeper in each other than in any run", "remove it")
                continue
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue  # a driver has just removed it
            if stat.S_ISLNK(status.st_mode):
                yield from _examine_link(folder, path)
            elif not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                yield Finding(Severity.ERROR, path, "it is neither a file nor a folder", "remove it")
            else:
                yield from _examine_mode(path, status)
    for path in files.temporary_files(folder):
        yield Finding(Severity.NOTE, path, "a temporary file of a killed process", _GC)


def _examine_link(folder: Path, path: Path) -> Iterator[Finding]:
    target = Path(os.path.realpath(path))
    if not target.is_relative_to(folder.resolve()):
        yield Finding(Severity.ERROR, path, f"a symbolic link that leaves the run, to {target}", "remove it")


def _examine_mode(path: Path, status: os.stat_result) -> Iterator[Finding]:
    if stat.S_IMODE(status.st_mode) & 0o077:
        right = files.FOLDER_MODE if stat.S_ISDIR(status.st_mode) else files.FILE_MODE
        what = f"others may use it (mode {stat.S_IMODE(status.st_mode):04o})"
        yield Finding(Severity.WARNING, path, what, f"chmod {right:o} it")


def _network(folder: Path) -> Iterator[Finding]:
    if filesystem.is_network(folder):
        kind = filesystem.file_system(folder)
        what = f"it lies on a network file system ({kind}), where commits are slow and locks depend on the server"
        yield Finding(Severity.WARNING, folder, what, "use a local disk where you can: store=, METTA_SWEEP_HOME")


def _read_state(path: Path) -> None:
    container.unpack(files.read_file(path))


def _problem(read: Callable[[Path], object], path: Path) -> str:
    """What is wrong with a file, empty if nothing is."""
    try:
        read(path)
    except FileNotFoundError:
        return ""  # removed meanwhile
    except (DamagedError, StorageError, RefusedError) as error:
        return str(error)
    return ""
