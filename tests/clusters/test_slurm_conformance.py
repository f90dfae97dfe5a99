"""The contract of executors on a real SLURM cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from metta.sweep.executors.base import Executor
from metta.sweep.executors.slurm.executor import SLURMExecutor
from metta.sweep.testing.executor_conformance import ExecutorConformance

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("slurm_cluster")]


class TestSLURMExecutor(ExecutorConformance):
    # Jobs get the environment that the driver has when sbatch is called, which is a moment later.
    passes_environment = False

    def make(self, folder: Path) -> Executor:
        return SLURMExecutor("main", spool=folder / "spool", poll_interval=1.0)
