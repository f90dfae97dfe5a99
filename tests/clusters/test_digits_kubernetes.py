"""The digits sweep on a real Kubernetes cluster goes as it does here."""

from __future__ import annotations

import pytest

from tests.clusters.digits import batches, check_equal, locally, sweep
from tests.clusters.fixtures_kubernetes import KubernetesCluster

pytest.importorskip("torch")
pytest.importorskip("optuna")

pytestmark = [pytest.mark.cluster]


def test_the_digits_sweep_is_the_same(kubernetes: KubernetesCluster) -> None:
    """In batches, the second one suggested by what has come of the first; containers (Docker) have Hyperband, too."""
    folder = kubernetes.new_folder("digits")
    with kubernetes.executor(environment={"OMP_NUM_THREADS": "1"}) as executor:
        found = sweep(batches, executor, folder / "kubernetes")
    check_equal(found, locally(batches, folder / "local"))
