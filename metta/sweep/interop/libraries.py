"""The libraries of other tools, imported when something is written with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from metta.sweep.errors import MettaSweepError, MissingExtraError, StorageError


def library(module: str, feature: str, extra: str) -> Any:
    """A module of an optional dependency.

    Args:
        module: its name.
        feature: what needs it, for the message.
        extra: of metta-sweep, that installs it.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as missing:
        raise MissingExtraError(feature, extra) from missing


@contextmanager
def errors_of(tool: str) -> Iterator[None]:
    """Whatever the library of a tool raises, as a StorageError: no server, no key, no room."""
    try:
        yield
    except MettaSweepError:
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise StorageError(f"{tool} does not take the sweep: {type(error).__name__}: {reason}") from error


def require(package: str, feature: str, extra: str) -> None:
    """Raise MissingExtraError where a top-level package is not installed; it is not imported."""
    if find_spec(package) is None:
        raise MissingExtraError(feature, extra)
