"""Executors by name."""

from __future__ import annotations

from typing import Any, Final, cast

from metta.sweep.executors.base import Executor
from metta.sweep.registry import Registry

EXECUTORS: Final = Registry("executor", {"local": "metta.sweep.executors.local:LocalExecutor"})


def create_executor(name: str, **config: Any) -> Executor:
    """The executor registered as `name`: "local", or one that another distribution registers as an entry point of
    the group `metta.sweep.executors`.

    Raises:
        UsageError: no such name (the message names the nearest), or an argument that the class does not take.
    """
    return cast(Executor, EXECUTORS.create(name, config))
