"""Tasks in real containers, and what becomes of them when containers and engines are killed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from metta.sweep.executors.base import EventStream, Executor, Failed, Finished, Started
from metta.sweep.executors.container.client import Client
from metta.sweep.executors.container.executor import DockerExecutor
from metta.sweep.trial import FailureReason, Resources
from tests.clusters.fixtures_docker import ContainerHost
from tests.clusters.start import LAB, SCRIPTS
from tests.executors.helpers import eventually, last, run, start
from tests.executors.remote_tasks import add, wait_for

pytestmark = pytest.mark.cluster

# A connection that cannot be made is a socket that the SDK leaves open.
leaves_sockets = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def containers(container_host: ContainerHost, tmp_path: Path) -> Iterator[DockerExecutor]:
    with make(container_host, tmp_path) as executor:
        yield executor


def make(host: ContainerHost, folder: Path) -> DockerExecutor:
    return DockerExecutor(
        host.image, mounts=host.mounts, base_url=host.url, pull="never", python=host.python, spool=folder / "spool",
        max_jobs=2, grace=3.0,
    )  # fmt: skip


def waiting(executor: Executor, folder: Path) -> EventStream:
    """A task that has started, and ends when there is a file `gate` in the folder."""
    _, stream = start(executor, wait_for, folder / "gate", 600.0, log_folder=folder)
    assert isinstance(stream.get(60.0), Started)
    return stream


def test_killed_by_hand(containers: DockerExecutor, container_host: ContainerHost, tmp_path: Path) -> None:
    stream = waiting(containers, tmp_path / "log")
    client = Client(container_host.url)
    (entry,) = client.containers("metta-sweep.label")
    os.kill(int(client.inspect(entry["Id"])["State"]["Pid"]), signal.SIGKILL)
    end = last(stream)  # within a minute, which is less than 5 times what is promised
    assert isinstance(end, Failed)
    assert end.reason is FailureReason.KILLED
    assert entry["Id"][:12] in end.message
    assert "SIGKILL" in end.message
    assert run(containers, add, 1, 2) == 3
    assert eventually(lambda: client.containers("metta-sweep.label") == []), "containers that are over are left"
    client.close()


def test_removed_by_hand(containers: DockerExecutor, container_host: ContainerHost, tmp_path: Path) -> None:
    stream = waiting(containers, tmp_path / "log")
    client = Client(container_host.url)
    (entry,) = client.containers("metta-sweep.label")
    client.remove(entry["Id"])
    client.close()
    end = last(stream)
    assert isinstance(end, Failed)
    # Podman asks it to end first, which the worker program tells.
    assert end.reason in (FailureReason.LOST_CONTACT, FailureReason.KILLED, FailureReason.PREEMPTED)


def test_what_is_refused_is_told_at_once(containers: DockerExecutor) -> None:
    end = last(start(containers, add, 1, 2, resources=Resources(image="localhost:1/no/image:1"))[1])
    assert isinstance(end, Failed)
    assert "no image 'localhost:1/no/image:1'" in end.message


def test_files_belong_to_the_user_of_the_containers(
    containers: DockerExecutor, container_host: ContainerHost, tmp_path: Path
) -> None:
    assert run(containers, add, 1, 2, log_folder=tmp_path / "log") == 3
    log = tmp_path / "log" / "log.txt"
    assert log.stat().st_uid == (os.getuid() or 65534)
    assert log.read_text() == "1 + 2\n"


def kill_daemon() -> None:
    os.kill(int((LAB / "docker" / "dockerd.pid").read_text()), signal.SIGKILL)


def start_daemon(live_restore: str = "false") -> None:
    environment = {**os.environ, "METTA_SWEEP_LAB": str(LAB), "DOCKER_LIVE_RESTORE": live_restore}
    subprocess.run(
        ["bash", SCRIPTS / "docker_up.sh"], env=environment, stdout=subprocess.DEVNULL, timeout=120, check=True
    )


@leaves_sockets
def test_the_daemon_is_killed_and_restarted(docker_host: ContainerHost, tmp_path: Path) -> None:
    """A new daemon ends the containers that it finds: they are told so, and tell us."""
    with make(docker_host, tmp_path) as executor:
        stream = waiting(executor, tmp_path / "log")
        kill_daemon()
        _, later = start(executor, add, 1, 2)
        try:
            assert len(later) == 0
        finally:
            start_daemon()
        end = last(stream)
        assert isinstance(end, Failed)
        assert end.reason in (FailureReason.PREEMPTED, FailureReason.KILLED)
        good = last(later)
        assert isinstance(good, Finished)
        assert good.result == 3


@leaves_sockets
def test_containers_outlive_a_daemon_with_live_restore(docker_host: ContainerHost, tmp_path: Path) -> None:
    with make(docker_host, tmp_path) as executor:
        stream = waiting(executor, tmp_path / "log")
        kill_daemon()
        start_daemon(live_restore="true")
        (tmp_path / "log" / "gate").touch()
        end = last(stream)
        assert isinstance(end, Finished), end
        assert end.result == "it came"


@leaves_sockets
def test_a_task_ends_while_the_daemon_is_away(docker_host: ContainerHost, tmp_path: Path) -> None:
    """What tasks tell goes through their folder: the engine is not needed for it."""
    with make(docker_host, tmp_path) as executor:
        stream = waiting(executor, tmp_path / "log")
        kill_daemon()
        try:
            (tmp_path / "log" / "gate").touch()
            end = last(stream)
            assert isinstance(end, Finished), end
        finally:
            start_daemon()
        assert run(executor, add, 1, 2) == 3
