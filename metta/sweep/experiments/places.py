"""Where the runs of an experiment are kept: what `store=` means."""

from __future__ import annotations

import os
from contextvars import ContextVar
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias, Union

from metta.sweep.errors import UsageError

if TYPE_CHECKING:
    from metta.sweep.store.runs import Store


class _Default(Enum):
    DEFAULT = "the default store"

    def __repr__(self) -> str:
        return "DEFAULT"


DEFAULT: Final = _Default.DEFAULT
"""METTA_SWEEP_HOME, else `./.metta-sweep`; inside of a durable run or of a trial a folder of that."""

StoreLike: TypeAlias = Union[str, os.PathLike[str], "Store", Literal[_Default.DEFAULT], None]
"""`store=`: a folder or the `Store` in it, None for no store, or the default one."""


KEEPS: Final[ContextVar[bool]] = ContextVar("metta_sweep_keeps", default=True)
"""Whether the default store is one: not inside of an experiment whose own run is not kept."""


class Place(NamedTuple):
    """A folder for runs.

    Attributes:
        folder: None for the default store.
        is_nested: it belongs to one stage or trial of another run: a run that is found there is gone on with.
        allow_changed: the run around was resumed although its plan has changed.
        retry_failed: the trial around had failed and is tried again.
    """

    folder: Path | None
    is_nested: bool = False
    allow_changed: bool = False
    retry_failed: bool = False


def store_place(store: StoreLike) -> Place | None:
    """Where a run that is started here is kept; None: nowhere."""
    if store is None:
        return None
    if store is not DEFAULT:
        from metta.sweep.store.runs import Store

        if isinstance(store, Store):
            return Place(store.folder)
        if not isinstance(store, str | os.PathLike):
            raise UsageError(f"store={store!r}: expected a folder, an open Store, or None for no store")
        return Place(Path(store))
    from metta.sweep.executors.nest import NEST
    from metta.sweep.runtime.scope import current_scope

    scope, nest = current_scope(), NEST.get()
    if scope is not None:
        retry_failed = nest is not None and nest.retry_failed
        return Place(scope.children(), True, scope.recorder.allow_changed, retry_failed)
    if nest is not None:
        return Place(nest.children(), True, nest.allow_changed, nest.retry_failed)
    return Place(None) if KEEPS.get() else None
