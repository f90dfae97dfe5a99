"""A Kubernetes cluster of one node on this machine, and executors for it."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.executors.kubernetes.executor import KubernetesExecutor
from tests.clusters.start import SCRIPTS, started

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class KubernetesCluster:
    """A running cluster.

    Attributes:
        lab: the folder of its state.
        image: one that its node has.
    """

    lab: Path
    image: str

    @property
    def shared(self) -> Path:
        """A folder at the same path here and in pods."""
        folder = self.lab / "shared"
        folder.mkdir(exist_ok=True)
        return folder

    def new_folder(self, purpose: str) -> Path:
        """A new folder in `shared`."""
        folder = self.shared / f"{purpose}-{uuid.uuid4().hex[:8]}"
        folder.mkdir()
        return folder

    def executor(self, spool: Path | None = None, **options: Any) -> KubernetesExecutor:
        """An executor whose pods see this machine's Python and this project, read-only, and can write to `shared`."""
        defaults: dict[str, Any] = {
            "volumes": [f"{path}:ro" for path in readable_folders()] + [str(self.shared)],
            "pull_policy": "Never",
            "host_network": True,
            "user": f"{os.geteuid()}:{os.getegid()}",
            "python": sys.executable,
            "tasks_per_core": 4,
            "spool": spool or self.new_folder("spool"),
        }
        return KubernetesExecutor(self.image, **{**defaults, **options})

    def kubectl(self, *arguments: str) -> str:
        """What kubectl prints."""
        done = subprocess.run(["kubectl", *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def signal(self, program: str, number: int) -> None:
        """Send a signal to a program of the cluster: "kubelet", "apiserver"."""
        os.kill(int((self.lab / "pid" / program).read_text()), number)

    def pause_containers(self, *, go_on: bool = False) -> None:
        """Stop all processes of all pods where they are, as on a node that is cut off; or let them go on."""
        docker = ["docker", "-H", f"unix://{self.lab / 'docker.sock'}"]
        found = subprocess.run([*docker, "ps", "-q"], capture_output=True, text=True, timeout=60, check=True)
        what = "unpause" if go_on else "pause"
        # Not all can be: some have ended meanwhile.
        subprocess.run([*docker, what, *found.stdout.split()], capture_output=True, timeout=60, check=False)

    def start(self, program: str) -> None:
        """Start "kubelet" or "apiserver" again."""
        subprocess.run(["bash", SCRIPTS / "kubernetes_up.sh", program], check=True, timeout=120, env=_environment(self))


def readable_folders() -> list[str]:
    """What a pod needs for this Python and this project: no image has them."""
    wanted = {"/usr", "/lib", "/lib64", sys.base_prefix, sys.prefix, str(PROJECT)}
    found = sorted(path for path in wanted if Path(path).is_dir())
    return [path for path in found if not any(path.startswith(f"{other}/") for other in found)]


def _environment(cluster: KubernetesCluster) -> Mapping[str, str]:
    return {**os.environ, "METTA_SWEEP_LAB": str(cluster.lab.parent)}


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[KubernetesCluster]:
    """The cluster, as long as the tests of this process run."""
    with started("kubernetes") as variables:
        yield KubernetesCluster(Path(variables["KUBERNETES_LAB"]), variables["KUBERNETES_IMAGE"])


@pytest.fixture
def kubernetes_executor(kubernetes: KubernetesCluster) -> Iterator[Callable[..., KubernetesExecutor]]:
    """Makes executors, and closes them."""
    made: list[KubernetesExecutor] = []

    def make(**options: Any) -> KubernetesExecutor:
        made.append(kubernetes.executor(**options))
        return made[-1]

    yield make
    for executor in made:
        executor.close()
