"""Runs that other runs have started: where they lie, and finding them.

The store of a child lies in the folder of its run, `children/<the stage that started it>`, or in that of the trial that
started it, `trials/trial-0003/children/<number>`.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Final, NamedTuple

from metta.sweep.errors import UsageError
from metta.sweep.store import files
from metta.sweep.store.naming import is_plain, natural_order
from metta.sweep.store.run import RunInfo, is_run, read_info

CHILDREN_FOLDER: Final = "children"
"""Where a run, or a trial of one, has the runs that it started, each in a small store of its own."""

_TRIAL_FOLDER: Final = re.compile(r"trial-(\d+)")


class ChildRun(NamedTuple):
    """The folder of a run that another run has started.

    Attributes:
        folder: of the run.
        trial: the number of the trial that started it; None for a stage.
        place: the name of the store that it lies in, which says which stage it was, or which run of the trial.
    """

    folder: Path
    trial: int | None
    place: str


def run_folders(store: Path) -> Iterator[Path]:
    """The folders of the runs in a store. A link is none: it could lead anywhere; nor is what no run is called like."""
    for path in entries_of(store / "runs"):
        if is_plain(path.name) and path.is_dir() and not path.is_symlink():
            yield path


def entries_of(folder: Path) -> list[Path]:
    """The files and folders in a folder, by name; none where it does not exist.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise files.storage_error(error, folder, "read") from error


def child_runs(run: Path) -> Iterator[ChildRun]:
    """The runs that the run in `run` has started itself: those of its stages, then those of its trials, by number.

    Nothing of them is read, and what a driver starts meanwhile may be among them or not.

    Raises:
        StorageError: a folder cannot be read.
    """
    yield from _runs_in(run / CHILDREN_FOLDER, None)
    for number, children in _children_of_trials(run / "trials"):
        yield from _runs_in(children, number)


def _children_of_trials(trials: Path) -> list[tuple[int, Path]]:
    """The trials that have a folder for children, by number: one look at each, for there may be very many trials."""
    found = []
    with files.storage_errors(trials, "read"), contextlib.suppress(FileNotFoundError), os.scandir(trials) as entries:
        for entry in entries:
            name = _TRIAL_FOLDER.fullmatch(entry.name)
            children = os.path.join(entry.path, CHILDREN_FOLDER)
            if name is not None and os.path.isdir(children) and not entry.is_symlink():
                found.append((int(name[1]), Path(children)))
    return sorted(found)


def runs_below(run: Path) -> Iterator[Path]:
    """The folders of all runs that the run in `run` has started, and those that they have started.

    Raises:
        StorageError: a folder cannot be read.
    """
    for child in child_runs(run):
        yield child.folder
        yield from runs_below(child.folder)


def run_above(folder: Path) -> Path | None:
    """The folder of the run that has started the run in `folder`; None for one that nobody has started."""
    runs, _, children, owner = [*folder.parents, *[Path()] * 4][:4]
    if runs.name != "runs" or children.name != CHILDREN_FOLDER:
        return None
    is_trials = _TRIAL_FOLDER.fullmatch(owner.name) is not None and owner.parent.name == "trials"
    above = owner.parent.parent if is_trials else owner
    return above if is_run(above) else None


def top_run(folder: Path) -> Path | None:
    """The run at the top of all that led to the run in `folder`; None where that is the top itself."""
    above = run_above(folder)
    return above and (top_run(above) or above)


def _runs_in(children: Path, trial: int | None) -> Iterator[ChildRun]:
    if children.is_symlink() or not children.is_dir():
        return
    for store in sorted(entries_of(children), key=lambda store: natural_order(store.name)):
        if store.is_dir() and not store.is_symlink():
            yield from (ChildRun(folder, trial, store.name) for folder in run_folders(store))


def find_child(above: RunInfo, text: str) -> RunInfo:
    """The run that another one has started and that `text` means, see `Store.find`.

    Raises:
        UsageError: there is none, or several are meant.
    """
    found = [(child, read_info(child.folder)) for child in child_runs(above.folder)]
    for meant in (
        [info for child, info in found if text == str(child.trial)],
        [info for child, info in found if text in (info.id, info.name)],
        [info for child, info in found if info.id.startswith(text) or _is_of_stage(child, text)],
    ):
        if len(meant) == 1:
            return meant[0]
        if meant:
            ids = ", ".join(info.id for info in meant[:5])
            raise UsageError(f"{text!r} means several of the runs that {above.id} has started: write one of {ids}")
    if not found:
        raise UsageError(f"there is no run {text!r} in run {above.id}: it has started none")
    known = dict.fromkeys(info.name or info.id if child.trial is None else str(child.trial) for child, info in found)
    near = get_close_matches(text[:80], [*known, *(info.id for _, info in found)], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join([*known][:10])}"
    raise UsageError(f"there is no run {text[:80]!r} in run {above.id}: {hint}")


def _is_of_stage(child: ChildRun, text: str) -> bool:
    return child.trial is None and child.place.startswith(text)
