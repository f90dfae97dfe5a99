"""A file that is loaded to be checked or drawn is run only up to the place where it would start a run.

A script needs no `if __name__ == "__main__"` guard: what it defines above its first run is found, and the run is not
started. Whatever starts a run asks `stop_if_loading` first. Where that left something unread is noted: `noting_stops`.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple


class Stop(NamedTuple):
    """Where loading a file stopped before its end: `file` as messages show it, `line` counted from 1."""

    file: str
    line: int


_loading: ContextVar[bool] = ContextVar("_loading", default=False)
_stops: ContextVar[dict[Stop, None] | None] = ContextVar("_stops", default=None)


class RunReached(BaseException):
    """A run would start here. No Exception, so that the script's own error handling lets it pass."""


@contextmanager
def loading() -> Iterator[None]:
    """Inside the block runs do not start."""
    token = _loading.set(True)
    try:
        yield
    finally:
        _loading.reset(token)


@contextmanager
def noting_stops() -> Iterator[dict[Stop, None]]:
    """Inside the block it is noted which files were not read to their end (in order, each once)."""
    stops: dict[Stop, None] = {}
    token = _stops.set(stops)
    try:
        yield stops
    finally:
        _stops.reset(token)


def note_stop(stop: Stop) -> None:
    """Tell whoever listens that the rest of a file was not read."""
    stops = _stops.get()
    if stops is not None:
        stops[stop] = None


def stop_if_loading(main: Coroutine[Any, Any, Any] | None = None) -> None:
    """Leave the script if it is only being loaded.

    Args:
        main: what would have been run; closed, so that nobody waits for it.

    Raises:
        RunReached: it is.
    """
    if _loading.get():
        if main is not None:
            main.close()
        raise RunReached
