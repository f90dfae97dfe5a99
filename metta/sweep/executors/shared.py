"""The executors of single stages: one per process for each class or factory that a stage names, open until the end."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from typing_extensions import TypeIs

from metta.sweep.errors import UsageError
from metta.sweep.executors.registry import EXECUTORS

if TYPE_CHECKING:
    from metta.sweep.executors.base import Executor

Source: TypeAlias = "Executor | Callable[[], Executor]"
"""An executor that its owner closes, or what makes one: its class, or a function without required arguments."""

_lock = threading.Lock()
_open: dict[int, tuple[Source, Executor]] = {}
"""By the identity of what has made them; that is kept, so that its identity stays its own."""


def source_of(wanted: str | Source) -> Source | None:
    """What `executor=` of a stage means; None for the worker processes of this one, which need no executor.

    Raises:
        UsageError: there is no executor of this name, or it is neither an executor nor a name nor callable.
    """
    from metta.sweep.executors.local import LocalExecutor

    found: Any = EXECUTORS.find(wanted) if isinstance(wanted, str) else wanted
    if not callable(found) and not is_executor(found):
        raise UsageError(
            f"executor={found!r:.80}: expected the name of an executor ({', '.join(EXECUTORS.names())}), an executor "
            "such as LocalExecutor(max_workers=4), or its class"
        )
    return None if found is LocalExecutor else cast("Source", found)


def is_executor(source: object) -> TypeIs[Executor]:
    """Whether it is an executor itself, not its class or a function that makes one."""
    return not isinstance(source, type) and hasattr(source, "reattach")


def shared_executor(source: Source) -> Executor:
    """The executor itself, or the one of this process that was made by this source; made at the first call.

    Raises:
        MissingExtraError: its library is not installed.
        UsageError: it cannot be made without arguments.
    """
    if is_executor(source):
        return source
    with _lock:
        known = _open.get(id(source))
        if known is None:
            known = _open[id(source)] = source, _made(source)
        return known[1]


def close_shared() -> None:
    """Close all executors that `shared_executor` has made; the next call makes new ones."""
    with _lock:
        opened = list(_open.values())
        _open.clear()
    for _, executor in opened:
        with contextlib.suppress(Exception):  # the others are closed all the same
            executor.close()


def _made(source: Callable[[], Executor]) -> Executor:
    from inspect import Parameter, signature

    with contextlib.suppress(ValueError):  # a builtin without a signature
        missing = [
            parameter.name
            for parameter in signature(source).parameters.values()
            if parameter.default is Parameter.empty
            and parameter.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        ]
        if missing:
            name = getattr(source, "__name__", type(source).__name__)
            raise UsageError(
                f"{name} needs {', '.join(missing)}: give the stage an executor instead of a name, "
                f"executor={name}({', '.join(f'{each}=...' for each in missing)})"
            )
    return source()


def _forget() -> None:
    """A forked process opens its own."""
    global _open, _lock
    _open = {}
    _lock = threading.Lock()


atexit.register(close_shared)
os.register_at_fork(after_in_child=_forget)
