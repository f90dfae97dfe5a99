"""The digits sweep in real containers goes as it does here."""

from __future__ import annotations

from pathlib import Path

import pytest

from metta.sweep.executors import DockerExecutor
from tests.clusters.digits import PLANS, Plan, check_equal, locally, sweep
from tests.clusters.fixtures_docker import ContainerHost

pytest.importorskip("torch")
pytest.importorskip("optuna")

pytestmark = [pytest.mark.cluster]


@PLANS
def test_the_digits_sweep_is_the_same(plan: Plan, docker_host: ContainerHost, tmp_path: Path) -> None:
    executor = DockerExecutor(
        docker_host.image,
        mounts=docker_host.mounts,
        base_url=docker_host.url,
        python=docker_host.python,
        environment={"OMP_NUM_THREADS": "1"},
    )
    with executor:
        found = sweep(plan, executor, tmp_path / "docker")
    check_equal(found, locally(plan, tmp_path / "local"))
