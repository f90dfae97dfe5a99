"""A store: the folder that holds runs. Making, finding, listing and removing them."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, NamedTuple

from metta.sweep.errors import DamagedError, RefusedError, UsageError
from metta.sweep.store import files
from metta.sweep.store.artifacts import ArtifactStore
from metta.sweep.store.cache import Cache
from metta.sweep.store.failpoints import fail_point
from metta.sweep.store.journal import Journal, make_journal
from metta.sweep.store.lock import RunLock, holder
from metta.sweep.store.manifest import Manifest
from metta.sweep.store.naming import is_plain, slug
from metta.sweep.store.nested import entries_of, find_child, run_folders, runs_below, top_run
from metta.sweep.store.removal import remove_tree, tree_size
from metta.sweep.store.run import JOURNAL_FILE, Run, RunInfo, RunStatus, is_run, read_info

HOME_VARIABLE: Final = "METTA_SWEEP_HOME"
DEFAULT_FOLDER: Final = ".metta-sweep"

ABANDONED_AFTER: Final = 3600.0
"""Seconds after which a run that was never finished being made counts as left by a killed process."""

_UNFINISHED: Final = ".new-"


class Leftover(NamedTuple):
    """Something in a store that nobody needs.

    Attributes:
        path: the file or folder.
        bytes: of all its files.
        what: what it is, as a phrase.
    """

    path: Path
    bytes: int
    what: str


class Store:
    """The store in `folder`, which is made when the first run is."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder

    @classmethod
    def at(cls, path: str | os.PathLike[str] | None = None) -> Store:
        """The store at `path`, by default at METTA_SWEEP_HOME or `./.metta-sweep`."""
        chosen = path if path is not None else os.environ.get(HOME_VARIABLE) or DEFAULT_FOLDER
        return cls(Path(chosen).expanduser().absolute())

    @property
    def runs_folder(self) -> Path:
        """Where the folders of the runs are."""
        return self.folder / "runs"

    @property
    def cache_folder(self) -> Path:
        """Where results are that runs share."""
        return self.folder / "cache"

    @property
    def trash_folder(self) -> Path:
        """Where a run is while it is being removed."""
        return self.folder / "trash"

    def create(self, name: str, kind: str, details: Mapping[str, Any] | None = None) -> Run:
        """Make a new run and open it for writing. It is there as a whole, or not at all.

        Args:
            name: what the user calls it; any text.
            kind: what kind of run it is, such as "sweep".
            details: JSON values for the manifest: seeds, settings.

        Raises:
            StorageError: the store cannot be written.
        """
        self._make()
        while True:
            id = f"{slug(name)}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{token_hex(2)}"
            unfinished, folder = self.runs_folder / f"{_UNFINISHED}{id}", self.runs_folder / id
            with files.storage_errors(unfinished, "make"):
                unfinished.mkdir(mode=files.FOLDER_MODE)
            fail_point("run.folder_made")
            lock = RunLock(unfinished)
            lock.acquire()
            try:
                fail_point("run.locked")
                make_journal(unfinished / JOURNAL_FILE)
                fail_point("run.journal_made")
                manifest = Manifest({"id": id, "name": name, "kind": kind}, details or {})
                manifest.write(unfinished)
                fail_point("run.described")
                if self._rename(unfinished, folder):
                    lock.folder = folder
                    fail_point("run.renamed")
                    return Run.open(folder, write=True, lock=lock, manifest=manifest)
            except BaseException:
                lock.release()
                shutil.rmtree(unfinished, ignore_errors=True)
                raise
            lock.release()  # somebody has just made a run of this id
            shutil.rmtree(unfinished, ignore_errors=True)

    def open(self, text: str, *, write: bool = False) -> Run:
        """Open a run, see `find` and `Run.open`."""
        return Run.open(self.find(text).folder, write=write)

    def find(self, text: str) -> RunInfo:
        """The run that `text` means: its id, a name (then the newest run of it), the start of one id, or a path.

        Behind a slash follows which of the runs that it has started, and so on: the number of the trial that started
        it, its name, or the start of its id or of the stage that started it. "levels/3/inner" is one that trial 3 of
        the newest run of "levels" has started.

        Raises:
            UsageError: there is none, or several ids start so; the message names the nearest.
        """
        folders = {folder.name: folder for folder in self._folders()}
        if text in folders:
            return read_info(folders[text])
        if (named := self.latest(text, unfinished=False)) is not None:
            return named
        starting = sorted(id for id in folders if text and id.startswith(text))
        if len(starting) == 1:
            return read_info(folders[starting[0]])
        if starting:
            raise UsageError(f"{text!r} is the start of several runs: write one of {', '.join(starting[:5])}")
        if os.sep in text and "\0" not in text and is_run(Path(text)):
            folder = Path(text).resolve()
            if not is_plain(folder.name):
                raise UsageError(
                    f"{folder.name!r} is no name of a run: rename it, in letters, digits, '_', '-' and '.'"
                )
            return read_info(folder)
        above, _, child = text.strip("/").rpartition("/")
        if above and child and not text.startswith((os.sep, os.curdir)):
            return find_child(self.find(above), child)
        raise UsageError(self._unknown(text, list(folders)))

    def latest(self, name: str, *, unfinished: bool = True) -> RunInfo | None:
        """The newest run of this name, or the newest that has not been completed; None where there is none."""
        start = f"{slug(name)}-"
        found = [read_info(folder) for folder in self._folders() if folder.name.startswith(start)]
        wanted = [info for info in found if info.name == name and info.status is not RunStatus.DAMAGED]
        if unfinished:
            wanted = [info for info in wanted if info.status is not RunStatus.COMPLETED]
        return max(wanted, key=_age, default=None)

    def all(self) -> list[RunInfo]:
        """Every run, the newest first; damaged ones say what is wrong with them."""
        return sorted(map(read_info, self._folders()), key=_age, reverse=True)

    def remove(self, text: str) -> RunInfo:
        """Remove a run and everything of it.

        Raises:
            UsageError: there is none in this store.
            RefusedError: a driver holds it.
            StorageError: it cannot be removed.
        """
        info = self.find(text)
        if info.folder.parent != self.runs_folder:
            if (above := top_run(info.folder)) is not None:
                raise UsageError(f"run {info.id} is a part of run {above.name}: remove that one, with all its parts")
            raise UsageError(f"{info.folder} is no run of {self.folder}: remove it with the store that holds it")
        aside = self.trash_folder / f"{info.id}-{token_hex(4)}"
        files.make_folder(self.trash_folder)
        with RunLock(info.folder) as lock, files.storage_errors(info.folder, "remove"):
            os.rename(info.folder, aside)
            lock.folder = aside
            files.sync_folder(info.folder.parent)
            fail_point("run.set_aside")
        remove_tree(aside)
        return info

    def gc(self, *, cache_bytes: float = math.inf, cache_age: float = math.inf) -> int:
        """Remove what nobody needs: what killed processes left, and artifacts that no event names.

        Runs that somebody drives, and damaged ones, stay as they are.

        Args:
            cache_bytes: what the cache may keep.
            cache_age: seconds since a result of the cache was used last, after which it goes.

        Returns:
            How many bytes that freed.

        Raises:
            StorageError: something cannot be removed.
        """
        freed = sum(map(remove_tree, self._abandoned()))
        for folder in self._folders():
            with contextlib.suppress(RefusedError, DamagedError), RunLock(folder):
                for run in (folder, *runs_below(folder)):
                    with contextlib.suppress(DamagedError):
                        freed += ArtifactStore(run / "artifacts").sweep(_referenced(run))
        return freed + Cache(self.cache_folder).prune(max_bytes=cache_bytes, max_age=cache_age)

    def leftovers(self, *, cache_bytes: float = math.inf, cache_age: float = math.inf) -> list[Leftover]:
        """What `gc` would remove now. Nothing is changed, and no run is held for it. Arguments as those of `gc`.

        Raises:
            StorageError: something cannot be read.
        """
        found = [Leftover(path, tree_size(path), "left by a killed process") for path in self._abandoned()]
        for folder in self._folders():
            held = holder(folder)
            if held is not None and held.alive:
                continue
            for run in (folder, *runs_below(folder)):
                with contextlib.suppress(DamagedError):
                    spare = ArtifactStore(run / "artifacts").unreferenced(_referenced(run))
                    found += [Leftover(path, size, "an artifact that no event names") for path, size in spare]
        old = Cache(self.cache_folder).spare(max_bytes=cache_bytes, max_age=cache_age)
        return [*found, *(Leftover(path, size, "a cached result") for path, size in old)]

    def _abandoned(self) -> list[Path]:
        """Runs that were removed by half or never finished being made, and what killed writers left elsewhere."""
        earliest = time.time() - ABANDONED_AFTER
        places = ((Path(place), names) for place, names, _ in files.walk(self.folder))
        new = (place / name for place, names in places if place.name == "runs" for name in names)
        half_made = (path for path in new if path.name.startswith(_UNFINISHED))
        found = [*entries_of(self.trash_folder), *(path for path in half_made if path.lstat().st_mtime <= earliest)]
        temporary = files.temporary_files(self.folder)
        return [*found, *(path for path in temporary if not any(map(path.is_relative_to, found)))]

    def _make(self) -> None:
        files.make_folder(self.runs_folder)
        ignore = self.folder / ".gitignore"
        if not ignore.exists():
            files.write_file(ignore, [b"*\n"])

    def _rename(self, unfinished: Path, folder: Path) -> bool:
        with files.storage_errors(folder, "make"):
            try:
                os.rename(unfinished, folder)
            except OSError as error:
                if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                    return False
                raise
            files.sync_folder(self.runs_folder)
        return True

    def _folders(self) -> Iterator[Path]:
        return run_folders(self.folder)

    def _unknown(self, text: str, ids: list[str]) -> str:
        shown = repr(text if len(text) <= 80 else text[:80] + "…")
        names = {info.name for info in self.all()} - {""}  # that of a damaged run is not known
        near = get_close_matches(text[:80], [*ids, *names], n=1, cutoff=0.5)
        if near:
            return f"there is no run {shown} in {self.folder}: did you mean {near[0]!r}?"
        hint = "`metta-sweep ls` lists them" if ids else "it holds no runs"
        return f"there is no run {shown} in {self.folder}: {hint}"


def _age(info: RunInfo) -> tuple[str, str]:
    return info.created, info.id


def _referenced(folder: Path) -> set[str]:
    with Journal.open(folder / JOURNAL_FILE, write=False) as journal:
        return journal.digests()
