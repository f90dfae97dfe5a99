"""Fixtures of the real engines: started when a test first wants one, by the worker process that has its group."""

from __future__ import annotations

import pytest

from tests.clusters.fixtures_docker import container_host as container_host
from tests.clusters.fixtures_docker import docker_host as docker_host
from tests.clusters.fixtures_docker import podman_host as podman_host
from tests.clusters.fixtures_kubernetes import kubernetes as kubernetes
from tests.clusters.fixtures_kubernetes import kubernetes_executor as kubernetes_executor
from tests.clusters.fixtures_slurm import slurm_cluster as slurm_cluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The SDK of Docker leaves sockets open whose engine has gone; they are found in whatever test runs then."""
    for item in items:
        if item.get_closest_marker("cluster") is not None:
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"))
