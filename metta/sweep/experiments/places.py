"""Where the runs of an experiment are kept: what `store=` means."""

from __future__ import annotations

import os
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
"""METTA_SWEEP_HOME, else `./.metta-sweep`; inside of a durable run a folder of that run."""

StoreLike: TypeAlias = Union[str, os.PathLike[str], "Store", Literal[_Default.DEFAULT], None]
"""`store=`: a folder or the `Store` in it, None for no store, or the default one."""


class Place(NamedTuple):
    """A folder for runs.

    Attributes:
        folder: None for the default store.
        is_nested: it belongs to one stage of another run: a run that is found there is gone on with.
        allow_changed: the run around was resumed although its plan has changed.
    """

    folder: Path | None
    is_nested: bool = False
    allow_changed: bool = False


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
    from metta.sweep.runtime.scope import current_scope

    scope = current_scope()
    if scope is None:
        return Place(None)
    return Place(scope.children(), True, scope.recorder.allow_changed)
