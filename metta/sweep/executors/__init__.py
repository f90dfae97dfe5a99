"""Where tasks run: worker processes of this machine, and whatever other distributions register."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metta.sweep.executors.base import Answer as Answer
    from metta.sweep.executors.base import Event as Event
    from metta.sweep.executors.base import EventStream as EventStream
    from metta.sweep.executors.base import Executor as Executor
    from metta.sweep.executors.base import Failed as Failed
    from metta.sweep.executors.base import Finished as Finished
    from metta.sweep.executors.base import Logged as Logged
    from metta.sweep.executors.base import Reported as Reported
    from metta.sweep.executors.base import Started as Started
    from metta.sweep.executors.base import StateSaved as StateSaved
    from metta.sweep.executors.base import Task as Task
    from metta.sweep.executors.local import LocalExecutor as LocalExecutor
    from metta.sweep.executors.objective import Outcome as Outcome
    from metta.sweep.executors.objective import trial_task as trial_task
    from metta.sweep.executors.registry import create_executor as create_executor

__all__ = [
    "Answer",
    "Event",
    "EventStream",
    "Executor",
    "Failed",
    "Finished",
    "LocalExecutor",
    "Logged",
    "Outcome",
    "Reported",
    "Started",
    "StateSaved",
    "Task",
    "create_executor",
    "trial_task",
]

_HOMES = {
    "LocalExecutor": "local",
    "Outcome": "objective",
    "create_executor": "registry",
    "trial_task": "objective",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'base')}"), name)
