"""Where tasks run: worker processes of this machine, clusters, containers, and whatever others register."""

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
    from metta.sweep.executors.cogweb.executor import CogwebExecutor as CogwebExecutor
    from metta.sweep.executors.container.executor import DockerExecutor as DockerExecutor
    from metta.sweep.executors.dask.executor import DaskExecutor as DaskExecutor
    from metta.sweep.executors.kubernetes.executor import KubernetesExecutor as KubernetesExecutor
    from metta.sweep.executors.local import LocalExecutor as LocalExecutor
    from metta.sweep.executors.objective import Outcome as Outcome
    from metta.sweep.executors.objective import trial_task as trial_task
    from metta.sweep.executors.registry import create_executor as create_executor
    from metta.sweep.executors.remote.executor import RemoteExecutor as RemoteExecutor
    from metta.sweep.executors.remote.probe import ExecutorUnready as ExecutorUnready
    from metta.sweep.executors.remote.probe import Problem as Problem
    from metta.sweep.executors.remote.probe import check_executor as check_executor
    from metta.sweep.executors.slurm.executor import SLURMExecutor as SLURMExecutor

__all__ = [
    "Answer",
    "CogwebExecutor",
    "DaskExecutor",
    "DockerExecutor",
    "Event",
    "EventStream",
    "Executor",
    "ExecutorUnready",
    "Failed",
    "Finished",
    "KubernetesExecutor",
    "LocalExecutor",
    "Logged",
    "Outcome",
    "Problem",
    "RemoteExecutor",
    "Reported",
    "SLURMExecutor",
    "Started",
    "StateSaved",
    "Task",
    "check_executor",
    "create_executor",
    "trial_task",
]

_HOMES = {
    "CogwebExecutor": "cogweb.executor",
    "DaskExecutor": "dask.executor",
    "DockerExecutor": "container.executor",
    "ExecutorUnready": "remote.probe",
    "KubernetesExecutor": "kubernetes.executor",
    "LocalExecutor": "local",
    "Outcome": "objective",
    "Problem": "remote.probe",
    "RemoteExecutor": "remote.executor",
    "SLURMExecutor": "slurm.executor",
    "check_executor": "remote.probe",
    "create_executor": "registry",
    "trial_task": "objective",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'base')}"), name)
