"""The digits sweep on a real SLURM cluster goes as it does here."""

from __future__ import annotations

from pathlib import Path

import pytest

from metta.sweep.executors import SLURMExecutor
from tests.clusters.digits import PLANS, Plan, check_equal, locally, sweep

pytest.importorskip("torch")
pytest.importorskip("optuna")

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("slurm_cluster")]


@PLANS
def test_the_digits_sweep_is_the_same(plan: Plan, tmp_path: Path) -> None:
    with SLURMExecutor("main", poll_interval=1.0) as executor:
        found = sweep(plan, executor, tmp_path / "slurm")
    check_equal(found, locally(plan, tmp_path / "local"))
