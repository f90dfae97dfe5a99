"""A SLURM cluster of three nodes."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.clusters.start import LAB, SCRIPTS, started

PATIENCE_S = 60.0


@dataclass(frozen=True)
class SlurmCluster:
    """What tests do to the cluster, and know of it without the engine."""

    def daemon(self, action: str, name: str) -> None:
        """kill, pause, resume or start "slurmctld", "n1" and others: see slurm_daemon.sh."""
        environment = {**os.environ, "METTA_SWEEP_LAB": str(LAB)}
        subprocess.run(["bash", SCRIPTS / "slurm_daemon.sh", action, name], env=environment, check=True, timeout=30)

    def run(self, *command: str) -> str:
        """What one of SLURM's programs prints."""
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout

    def jobs(self, *selected: str) -> list[list[str]]:
        """Id, state, node and number of restarts of the jobs that squeue knows, array elements one by one."""
        form = "--Format=JobArrayID:|,State:|,NodeList:|,RestartCnt:"
        shown = self.run("squeue", "--noheader", "--array", "--states=all", form, *selected)
        return [[field.strip() for field in line.split("|")] for line in shown.splitlines()]

    def is_up(self) -> bool:
        """Whether the controller answers, and all nodes do their work."""
        done = subprocess.run(
            ["sinfo", "-h", "-N", "-p", "main", "-t", "idle,mix,alloc", "-o", "%N"], capture_output=True, timeout=30
        )
        return done.returncode == 0 and len(done.stdout.split()) == 3

    def save(self, job: str) -> None:
        """Have the controller write what it knows to the disk; it does so by itself within seconds of a change."""
        state = LAB / "slurm" / "state" / "job_state"
        before = state.stat().st_mtime_ns if state.exists() else 0
        self.run("scontrol", "update", f"JobId={job}", "AdminComment=a change")
        eventually(lambda: state.exists() and state.stat().st_mtime_ns > before)

    def lose_state(self) -> None:
        """Have the controller come up as one that has never had a job: its ids begin at 1 again."""
        self.daemon("kill", "slurmctld")
        shutil.rmtree(LAB / "slurm" / "state")
        (LAB / "slurm" / "state").mkdir()
        self.daemon("start", "slurmctld")
        self.restore()

    def restore(self) -> None:
        """After a test that broke it."""
        eventually(self.is_up)


def eventually(condition: Callable[[], object], patience: float = PATIENCE_S) -> None:
    """Wait until something is true.

    Raises:
        AssertionError: it did not become true.
    """
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, f"it did not become true within {patience:g} s"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[SlurmCluster]:
    with started("slurm"):
        yield SlurmCluster()
