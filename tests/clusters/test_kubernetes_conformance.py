"""What holds for every executor holds for this one, on a real cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import pytest

from metta.sweep.executors.kubernetes.executor import KubernetesExecutor
from metta.sweep.testing.executor_conformance import ExecutorConformance
from tests.clusters.fixtures_kubernetes import KubernetesCluster

pytestmark = [pytest.mark.cluster]


class TestKubernetes(ExecutorConformance):
    patience: ClassVar[float] = 120.0
    refuses_too_much: ClassVar[bool] = False  # it waits for a larger node: clusters grow
    passes_environment: ClassVar[bool] = False
    crowd: ClassVar[int] = 8

    @pytest.fixture(autouse=True)
    def _shared_folder(self, kubernetes: KubernetesCluster) -> None:
        type(self).shared = kubernetes.shared

    def make(self, folder: Path) -> KubernetesExecutor:
        # Also called in another process, which has the cluster's variables but not the fixture.
        cluster = KubernetesCluster(Path(os.environ["KUBERNETES_LAB"]), os.environ["KUBERNETES_IMAGE"])
        return cluster.executor(spool=folder)
