"""From the name of a run to the run, open for reading."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from metta.sweep.errors import DamagedError, RunError, UsageError
from metta.sweep.experiments.records import STARTED
from metta.sweep.store.run import Run, RunInfo, RunStatus
from metta.sweep.store.runs import Store

SWEEP: Final = "sweep"
"""The kind of the run of a sweep."""


def sound(info: RunInfo) -> RunInfo:
    """The same run.

    Raises:
        DamagedError: it is damaged.
    """
    if info.status is RunStatus.DAMAGED:
        problem = info.problem.partition("; `metta-sweep doctor`")[0]
        raise DamagedError(f"{problem}: `metta-sweep doctor {info.folder}` says more", path=str(info.folder))
    return info


@contextmanager
def opened(text: str, store: str | None) -> Iterator[Run]:
    """The run that `text` means, open for reading inside the block.

    Raises:
        UsageError: there is no such run.
        DamagedError: it is damaged.
    """
    with Run.open(sound(Store.at(store).find(text)).folder, write=False) as run:
        yield run


@contextmanager
def opened_sweep(text: str, store: str | None, command: str) -> Iterator[Run]:
    """The same for what only sweeps have.

    Args:
        command: what asks for it.

    Raises:
        UsageError: there is no such run, or it is no sweep's.
        RunError: it has not begun.
        DamagedError: it is damaged.
    """
    with opened(text, store) as run:
        if run.kind != SWEEP:
            raise UsageError(
                f"{command} is for sweeps, and run {run.id} is a {run.kind}'s: see `metta-sweep status {run.id}`"
            )
        if not has_begun(run):
            raise RunError(f"sweep {run.id} has no trial yet: see `metta-sweep status {run.id}`")
        yield run


def has_begun(run: Run) -> bool:
    """Whether a sweep's journal says what it is; it may have been ended before that."""
    return next(run.journal.events(kinds={STARTED}), None) is not None
