"""Docker and Podman, started by `docker_up.sh` and `podman_up.sh`, as fixtures."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clusters.start import LAB, started, unavailable

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class ContainerHost:
    """An engine that answers.

    Attributes:
        name: "docker" or "podman".
        url: where it listens.
        image: an image with this machine's Python, without any packages.
    """

    name: str
    url: str
    image: str

    @property
    def python(self) -> str:
        """The interpreter of the virtual environment of these tests, which has to be mounted."""
        return sys.executable

    @property
    def mounts(self) -> dict[str, str]:
        """That environment, and the project."""
        return {folder: folder for folder in dict.fromkeys((sys.prefix, str(ROOT)))}


@pytest.fixture(scope="session")
def docker_host() -> Iterator[ContainerHost]:
    _need_sdk()
    with _alone(), started("docker") as variables:
        yield ContainerHost("docker", variables["DOCKER_HOST"], variables["METTA_SWEEP_IMAGE"])


@pytest.fixture(scope="session")
def podman_host() -> Iterator[ContainerHost]:
    _need_sdk()
    with _alone(), started("podman") as variables:
        yield ContainerHost("podman", variables["CONTAINER_HOST"], variables["METTA_SWEEP_PODMAN_IMAGE"])


@pytest.fixture(params=["docker", "podman"])
def container_host(request: pytest.FixtureRequest) -> ContainerHost:
    """Each of the two."""
    host = request.getfixturevalue(f"{request.param}_host")
    assert isinstance(host, ContainerHost)
    return host


def _need_sdk() -> None:
    if importlib.util.find_spec("docker") is None:
        unavailable("the docker SDK is not installed: pip install docker")


class _Alone:
    """Both engines for this process alone: the tests kill daemons and remove containers."""

    def __init__(self) -> None:
        self._users = 0
        self._lock = -1

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Wait until no other process has them; the last one of this process to leave gives them free."""
        if not self._users:
            LAB.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(LAB / "containers.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.lockf(self._lock, fcntl.LOCK_EX)
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                os.close(self._lock)


_alone = _Alone()
