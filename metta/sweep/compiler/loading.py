"""A file that is loaded to be checked or drawn is run only up to the place where it would start a run.

A script needs no `if __name__ == "__main__"` guard: what it defines above its first run is found, and the run is not
started. Whatever starts a run asks `stop_if_loading` first.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_loading: ContextVar[bool] = ContextVar("_loading", default=False)


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
