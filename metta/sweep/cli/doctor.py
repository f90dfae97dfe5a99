"""`metta-sweep doctor`: what is damaged in a run or a store, and what to do about it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from metta.sweep.cli.output import show
from metta.sweep.cli.shown import show_json
from metta.sweep.errors import MettaSweepError, StorageError, UsageError
from metta.sweep.experiments.verify import verify_sweep
from metta.sweep.store.doctor import Finding, Severity, examine
from metta.sweep.store.nested import runs_below
from metta.sweep.store.run import Run, RunStatus, is_run, read_info
from metta.sweep.store.runs import Store

DAMAGED = 3


def examine_all(text: str | None, *, store: str | None, replay: bool, as_json: bool) -> int:
    """Do what the command asks; the exit code.

    Args:
        text: a run, or the folder of a store; None for the store.

    Raises:
        UsageError: there is no such run or folder.
    """
    folder = _folder(text, store)
    found = examine(folder)
    if replay:
        found += [finding for run in _runs(folder) for finding in _replayed(run)]
    if as_json:
        show_json([finding._asdict() for finding in found])
    else:
        for finding in found:
            show(f"{finding.severity.value}: {finding.file}: {finding.what}\n  {finding.remedy}")
        if not found:
            show(f"no problems found in {folder}")
    return DAMAGED if any(finding.severity is Severity.ERROR for finding in found) else 0


def _folder(text: str | None, store: str | None) -> Path:
    place = Store.at(store)
    if text is None:
        if not place.folder.is_dir():
            raise UsageError(f"there is no store at {place.folder}: name a run, or the folder of a store")
        return place.folder
    path = Path(text).expanduser()
    if path.is_dir() and (is_run(path) or (path / "runs").is_dir()):
        return path.absolute()
    return place.find(text).folder


def _runs(folder: Path) -> Iterator[Path]:
    """The run or those of the store, with what they have started."""
    for top in [folder] if is_run(folder) else [info.folder for info in Store(folder).all()]:
        yield top
        with contextlib.suppress(StorageError):  # the examination has told it
            yield from runs_below(top)


def _replayed(folder: Path) -> list[Finding]:
    """Whether the optimizer and the scheduler of a sweep decide again what they have decided."""
    info = read_info(folder)
    if info.status is RunStatus.DAMAGED or info.kind != "sweep":
        return []
    try:
        with Run.open(folder, write=False) as run:
            differences = verify_sweep(run)
    except UsageError as error:
        return [Finding(Severity.NOTE, folder, f"its decisions were not compared: {error}", "nothing")]
    except MettaSweepError as error:
        return [Finding(Severity.ERROR, folder, str(error), "see what `metta-sweep doctor` says of it")]
    remedy = "was the library upgraded, or the code changed, since? A resumed run says how it goes on"
    return [Finding(Severity.ERROR, folder, f"a decision is not reproduced: {each}", remedy) for each in differences]
