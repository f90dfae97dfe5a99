"""The contract of executors on real Docker and real Podman."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from metta.sweep.executors.base import Executor
from metta.sweep.executors.container.executor import DockerExecutor
from metta.sweep.testing.executor_conformance import ExecutorConformance
from tests.clusters.fixtures_docker import ContainerHost

pytestmark = pytest.mark.cluster


class ContainerConformance(ExecutorConformance):
    # What a container sees is what the executor is told, never the driver's environment.
    passes_environment = False
    crowd = 8  # two cores start a container a second
    host: ContainerHost

    def make(self, folder: Path) -> Executor:
        host = self.host
        return DockerExecutor(
            host.image,
            mounts=host.mounts,
            base_url=host.url,
            pull="never",
            python=host.python,
            spool=folder / "spool",
            max_jobs=4,
            grace=3.0,
        )

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        """Open to others: code that is closed to the user of the containers is refused, with a sentence."""
        with super()._folder() as folder:
            folder.chmod(0o755)
            yield folder


class TestDocker(ContainerConformance):
    @pytest.fixture(autouse=True)
    def _host(self, docker_host: ContainerHost) -> None:
        self.host = docker_host


class TestPodman(ContainerConformance):
    refuses_too_much = False  # it takes a limit of more cores than there are

    @pytest.fixture(autouse=True)
    def _host(self, podman_host: ContainerHost) -> None:
        self.host = podman_host
