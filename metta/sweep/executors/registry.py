"""Executors by name."""

from __future__ import annotations

from typing import Any, Final, cast

from metta.sweep.executors.base import Executor
from metta.sweep.registry import Registry

EXECUTORS: Final = Registry(
    "executor",
    {
        "local": "metta.sweep.executors.local:LocalExecutor",
        "slurm": "metta.sweep.executors.slurm.executor:SLURMExecutor",
        "docker": "metta.sweep.executors.container.executor:DockerExecutor",
        "kubernetes": "metta.sweep.executors.kubernetes.executor:KubernetesExecutor",
        "cogweb": "metta.sweep.executors.cogweb.executor:CogwebExecutor",
        "dask": "metta.sweep.executors.dask.executor:DaskExecutor",
    },
)


def create_executor(name: str, **config: Any) -> Executor:
    """The executor registered as `name`: "local", "slurm", "docker", "kubernetes", "cogweb", "dask", or one of others.

    Other distributions register theirs as entry points of the group `metta.sweep.executors`.

    Raises:
        UsageError: no such name (the message names the nearest), or an argument that the class does not take.
    """
    return cast(Executor, EXECUTORS.create(name, config))
