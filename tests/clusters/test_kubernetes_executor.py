"""Tasks on a real cluster, and what becomes of them when parts of it fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from metta.sweep.executors.base import Answer, Event, Failed, Finished, Reported, Started, StateSaved, Task
from metta.sweep.executors.kubernetes.executor import KubernetesExecutor
from metta.sweep.executors.kubernetes.manifest import NODE_PATIENCE
from metta.sweep.executors.objective import trial_task
from metta.sweep.testing import executor_tasks as tasks
from metta.sweep.trial import FailureReason, Resources, Trial
from tests.clusters.fixtures_kubernetes import PROJECT, KubernetesCluster

pytestmark = [pytest.mark.cluster]

Make = Callable[..., KubernetesExecutor]


@dataclass
class Run:
    """One task, and what has come of it."""

    executor: KubernetesExecutor
    folder: Path
    token: str
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stream = self.executor.events()

    def read(self, *wanted: type[Event], patience: float = 90.0) -> Event:
        """Read until an event of one of these kinds; reports are answered."""
        end = time.monotonic() + patience
        while True:
            event = self.stream.get(max(0.1, end - time.monotonic()))
            self.events.append(event)
            if isinstance(event, Reported):
                self.executor.answer(event, Answer.CONTINUE)
            if isinstance(event, wanted):
                return event
            assert not isinstance(event, Finished | Failed), f"it ended with {event} before {wanted}"

    def finished(self) -> Finished:
        event = self.read(Finished, Failed)
        assert isinstance(event, Finished), event
        return event

    def failed(self, patience: float = 90.0) -> Failed:
        event = self.read(Finished, Failed, patience=patience)
        assert isinstance(event, Failed), event
        return event


def start(
    executor: KubernetesExecutor,
    cluster: KubernetesCluster,
    fn: Callable[..., object],
    *args: object,
    resources: Resources | None = None,
    timeout: float | None = None,
) -> Run:
    run = _run(executor, cluster)
    task = Task(run.token, fn, args, resources=resources or Resources(), timeout=timeout, log_folder=run.folder)
    executor.submit(task, run.stream)
    return run


def start_trial(
    executor: KubernetesExecutor, cluster: KubernetesCluster, objective: Callable[[Trial], object], **params: object
) -> Run:
    run = _run(executor, cluster)
    executor.submit(trial_task(objective, Trial(params, id=1), token=run.token, folder=run.folder), run.stream)
    return run


def _run(executor: KubernetesExecutor, cluster: KubernetesCluster) -> Run:
    token = f"token-{uuid.uuid4().hex[:8]}"
    return Run(executor, cluster.shared / token, token)


@pytest.fixture(autouse=True)
def no_jobs_before(kubernetes: KubernetesCluster) -> None:
    """What executors of other tests had no time to remove is not looked for here."""
    kubernetes.kubectl("delete", "jobs", "-l", "app.kubernetes.io/managed-by=metta-sweep", "--ignore-not-found")


def jobs_left(cluster: KubernetesCluster) -> str:
    return cluster.kubectl("get", "jobs", "-l", "app.kubernetes.io/managed-by=metta-sweep", "-o", "name")


def wait_until(condition: Callable[[], bool], patience: float = 30.0) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.2)


def test_a_task(kubernetes: KubernetesCluster, kubernetes_executor: Make) -> None:
    executor = kubernetes_executor()
    assert list(executor.engine.problems()) == []
    run = start(executor, kubernetes, tasks.echo, {"a": [1, 2.5]})
    assert run.finished().result == {"a": [1, 2.5]}
    assert [type(event) for event in run.events] == [Started, Finished]
    assert list((run.folder / "attempts").iterdir())
    wait_until(lambda: jobs_left(kubernetes) == "")


def test_a_trial(kubernetes: KubernetesCluster, kubernetes_executor: Make) -> None:
    run = start_trial(kubernetes_executor(), kubernetes, tasks.count, steps=3)
    assert run.finished().result.metrics == {"score": 3.0}
    assert [event.report.step for event in run.events if isinstance(event, Reported)] == [1, 2, 3]
    assert [event.step for event in run.events if isinstance(event, StateSaved)] == [1, 2, 3]


def test_cancel(kubernetes: KubernetesCluster, kubernetes_executor: Make) -> None:
    executor = kubernetes_executor()
    run = start_trial(executor, kubernetes, tasks.pulse)
    run.read(Reported)
    executor.cancel(run.token)
    assert run.failed().reason is FailureReason.CANCELLED
    wait_until(lambda: jobs_left(kubernetes) == "")


def test_memory(kubernetes: KubernetesCluster, kubernetes_executor: Make) -> None:
    limited = Resources(cpus=0.5, memory="300MB")
    run = start(kubernetes_executor(), kubernetes, tasks.fill_memory, 2 << 30, resources=limited)
    assert run.failed().reason is FailureReason.OOM


def test_time_limit(kubernetes: KubernetesCluster, kubernetes_executor: Make) -> None:
    run = start(kubernetes_executor(), kubernetes, tasks.wait_long, timeout=1.0)
    failed = run.failed()
    assert failed.reason is FailureReason.TIMEOUT
    assert failed.seconds >= 1.0


def test_no_such_image(kubernetes: KubernetesCluster, kubernetes_executor: Make) -> None:
    executor = kubernetes_executor(image_patience=1.0)
    run = start(executor, kubernetes, tasks.echo, 1, resources=Resources(image="nobody/nothing:0"))
    failed = run.failed()
    assert failed.reason is FailureReason.USER_ERROR
    assert "nobody/nothing:0" in failed.message


def test_no_such_interpreter(kubernetes: KubernetesCluster, kubernetes_executor: Make) -> None:
    run = start(kubernetes_executor(python="/nowhere/python"), kubernetes, tasks.echo, 1)
    assert "/nowhere/python" in run.failed().message


def test_a_folder_that_is_not_mounted(kubernetes_executor: Make, tmp_path: Path) -> None:
    executor = kubernetes_executor()
    stream = executor.events()
    executor.submit(Task("a", tasks.echo, (1,), log_folder=tmp_path), stream)
    failed = stream.get(30)
    assert isinstance(failed, Failed)
    assert f"cannot write to {tmp_path}" in failed.message
    assert "volumes=" in failed.message


def test_its_pod_is_deleted(kubernetes: KubernetesCluster, kubernetes_executor: Make) -> None:
    """The task is asked to stop, saves, and its replacement goes on from there, or the next attempt may."""
    run = start_trial(kubernetes_executor(), kubernetes, tasks.stream, steps=60, pause=0.1)
    run.read(Reported)
    kubernetes.kubectl("delete", "pods", "-l", "app.kubernetes.io/managed-by=metta-sweep", "--wait=false")
    last = run.read(Finished, Failed)
    assert isinstance(last, Finished) or (isinstance(last, Failed) and last.reason is FailureReason.PREEMPTED), last


def test_its_job_is_deleted(kubernetes: KubernetesCluster, kubernetes_executor: Make) -> None:
    run = start_trial(kubernetes_executor(), kubernetes, tasks.stream, steps=1000, pause=0.1)
    run.read(Reported)
    kubernetes.kubectl("delete", "jobs", "-l", "app.kubernetes.io/managed-by=metta-sweep", "--wait=false")
    assert run.failed().reason is FailureReason.CANCELLED


def test_the_server_dies_and_comes_back(kubernetes: KubernetesCluster, kubernetes_executor: Make) -> None:
    """Reports and results do not pass through it; what is submitted meanwhile waits for it."""
    executor = kubernetes_executor()
    running = start_trial(executor, kubernetes, tasks.stream, steps=30, pause=0.1)
    running.read(Reported)
    kubernetes.signal("apiserver", signal.SIGKILL)
    try:
        waiting = start(executor, kubernetes, tasks.echo, "later")
        assert running.finished().result.metrics
    finally:
        kubernetes.start("apiserver")
    assert waiting.finished().result == "later"


_DRIVER = """
import sys
from pathlib import Path
from metta.sweep.executors.base import Task
from metta.sweep.testing import executor_tasks as tasks
from tests.clusters.fixtures_kubernetes import KubernetesCluster

lab, image, folder = sys.argv[1:]
executor = KubernetesCluster(Path(lab), image).executor(spool=Path(folder))
stream = executor.events()
executor.submit(Task("token", tasks.echo, ("found",)), stream)
stream.get(60)
"""


@pytest.mark.parametrize("place", ["remote.intended", "remote.submitted"])
def test_a_driver_dies_when_it_submits(kubernetes: KubernetesCluster, kubernetes_executor: Make, place: str) -> None:
    """Before the server is asked, or before its answer is noted: there is no Job, or the one there is is adopted."""
    folder = kubernetes.new_folder("died")
    command = [sys.executable, "-c", _DRIVER, str(kubernetes.lab), kubernetes.image, str(folder)]
    environment = {**os.environ, "METTA_SWEEP_FAIL_AT": place, "PYTHONPATH": str(PROJECT)}
    driver = subprocess.run(command, env=environment, timeout=120, check=False)
    assert driver.returncode == -signal.SIGKILL
    executor = kubernetes_executor(spool=folder)
    run = Run(executor, folder, "token")
    assert executor.reattach("token", run.stream)
    if place == "remote.intended":
        assert run.failed().reason is FailureReason.LOST_CONTACT
        assert jobs_left(kubernetes) == ""
    else:
        assert run.finished().result == "found"
        wait_until(lambda: jobs_left(kubernetes) == "")


def test_the_node_is_lost(kubernetes: KubernetesCluster, kubernetes_executor: Make) -> None:
    """With its kubelet and its task. The cluster says so before a heart-beat could; later tasks run again."""
    executor = kubernetes_executor(lost_after=300.0)
    run = start_trial(executor, kubernetes, tasks.stream, steps=10_000, pause=0.1)
    run.read(Reported)
    running = ("get", "pods", "-l", "app.kubernetes.io/managed-by=metta-sweep", "-o", "jsonpath={..status.phase}")
    wait_until(lambda: kubernetes.kubectl(*running) == "Running")  # the kubelet tells a moment after it is true
    kubernetes.signal("kubelet", signal.SIGKILL)
    try:
        kubernetes.pause_containers()
        assert run.failed(patience=5 * NODE_PATIENCE).reason is FailureReason.NODE_LOST
    finally:
        kubernetes.pause_containers(go_on=True)
        kubernetes.start("kubelet")
    assert start(executor, kubernetes, tasks.echo, "after").finished().result == "after"
