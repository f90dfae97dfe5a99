"""Which runs there are to show, and what an address means.

A run is addressed by its id; one that another run has started by the ids of both with "~" between them, which stands in
no id. Addresses are compared with the names of folders that are there, never made into paths.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b
from math import ceil
from pathlib import Path
from threading import Lock
from typing import Final

from metta.sweep.cli.listing import Row, row_of
from metta.sweep.store.naming import is_plain
from metta.sweep.store.nested import child_runs, run_above, runs_below
from metta.sweep.store.run import RunInfo, is_run, read_info
from metta.sweep.store.runs import Store

SEPARATOR: Final = "~"
PAGE: Final = 50
"""Runs on one page of the list."""

DEEPEST: Final = 20
"""Ids in one address."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of the list of runs.

    Attributes:
        rows: with the address of each.
        page: its number, from 1, of `pages`.
        found: runs that were asked for, on all pages.
        total: all runs.
    """

    rows: tuple[tuple[str, Row], ...]
    page: int
    pages: int
    found: int
    total: int


class Library:
    """The runs of a store.

    Args:
        store: that they lie in.
        outside: the folder of one more run that lies elsewhere; None for none.
    """

    def __init__(self, store: Store, outside: Path | None = None) -> None:
        self.store: Final = store
        self._outside = outside
        self._rows: dict[Path, tuple[RunInfo, Row]] = {}
        self._lock = Lock()
        self._effort = 0.0

    def find(self, address: str) -> Path | None:
        """The folder of the run with this address; None where there is none."""
        ids = address.split(SEPARATOR)
        if len(ids) > DEEPEST or not all(map(is_plain, ids)):
            return None
        folder = self._top(ids[0])
        for id in ids[1:]:
            if folder is None:
                return None
            folder = next((child.folder for child in child_runs(folder) if child.folder.name == id), None)
        return folder

    def address_of(self, folder: Path) -> str:
        """The address of the run in a folder."""
        above = run_above(folder)
        return folder.name if above is None else f"{self.address_of(above)}{SEPARATOR}{folder.name}"

    def infos(self) -> list[RunInfo]:
        """All runs at the top, the newest first; damaged ones say what is wrong with them.

        Raises:
            StorageError: the store cannot be read.
        """
        found = self.store.all()
        return found if self._outside is None else [read_info(self._outside), *found]

    def listing(self, text: str = "", status: str = "", page: int = 1) -> Listing:
        """One page of the list.

        Args:
            text: that must stand in the id or the name; upper and lower case are the same.
            status: that they must have; "" for any.
            page: from 1; a larger one than there is means the last.

        Raises:
            StorageError: the store cannot be read.
        """
        begun = time.perf_counter()
        infos = self.infos()
        wanted = text.casefold()
        found = [
            info
            for info in infos
            if (wanted in info.id.casefold() or wanted in info.name.casefold()) and status in ("", info.status.value)
        ]
        pages = max(1, ceil(len(found) / PAGE))
        page = min(max(page, 1), pages)
        rows = tuple((info.id, self._row(info)) for info in found[(page - 1) * PAGE : page * PAGE])
        self._effort += time.perf_counter() - begun
        return Listing(rows, page, pages, len(found), len(infos))

    @property
    def effort(self) -> float:
        """Seconds spent in reading so far."""
        return self._effort

    def version(self) -> str:
        """A digest of what the list shows of all runs.

        Raises:
            StorageError: the store cannot be read.
        """
        told = "\n".join(f"{info.id} {info.status.value} {info.seq}" for info in self.infos())
        return blake2b(told.encode(), digest_size=8).hexdigest()

    def _top(self, id: str) -> Path | None:
        if self._outside is not None and id == self._outside.name:
            return self._outside
        folder = self.store.runs_folder / id
        return folder if is_run(folder) and not folder.is_symlink() else None

    def _row(self, info: RunInfo) -> Row:
        """The line of a run. It is kept as long as nothing is published: reading journals takes its time."""
        now = time.time()
        with self._lock:
            known = self._rows.get(info.folder)
        if known is None or known[0] != info:
            below = sum(1 for _ in runs_below(info.folder)) if not info.problem else 0
            known = (info, replace(row_of(info, now), below=below))
            with self._lock:
                self._rows[info.folder] = known
        row = known[1]
        return (
            row
            if row.age is None
            else replace(row, age=max(0.0, now - datetime.fromisoformat(info.created).timestamp()))
        )
