"""What a real cluster says of jobs, and what the engine makes of it."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metta.sweep.executors.kubernetes.engine import KubernetesEngine
from metta.sweep.executors.kubernetes.manifest import PodSettings
from metta.sweep.executors.kubernetes.volumes import Volume
from metta.sweep.executors.remote.engine import EngineRefused, EngineUnavailable, Job, JobStatus, Phase
from metta.sweep.trial import FailureReason, Resources
from tests.clusters.fixtures_kubernetes import KubernetesCluster, readable_folders

pytestmark = [pytest.mark.cluster]

SMALL = Resources(cpus=0.1, memory="200MB")
WAIT = "import time; time.sleep(300)"


@dataclasses.dataclass
class Lab:
    """An engine, and the jobs that a test has started."""

    cluster: KubernetesCluster
    engine: KubernetesEngine
    folder: Path
    jobs: dict[str, str] = dataclasses.field(default_factory=dict)

    def job(self, program: str, resources: Resources = SMALL, limit: float | None = None, grace: float = 1.0) -> Job:
        command = (sys.executable, "-c", program)
        return Job("token", "a job", self.folder, command, Path("/"), (), (), (), resources, limit, grace)

    def start(self, program: str, resources: Resources = SMALL, limit: float | None = None, grace: float = 1.0) -> str:
        label = f"test-{uuid.uuid4().hex[:12]}"
        (name,) = self.engine.submit([self.job(program, resources, limit, grace)], label)
        self.jobs[name] = label
        return name

    def status(self, name: str) -> JobStatus | None:
        return self.engine.status({name: self.jobs[name]}).get(name)

    def until(
        self, name: str, condition: Callable[[JobStatus | None], bool], patience: float = 60.0
    ) -> JobStatus | None:
        end = time.monotonic() + patience
        seen: list[JobStatus | None] = []
        while time.monotonic() < end:
            status = self.status(name)
            if status not in seen[-1:]:
                seen.append(status)
            if condition(status):
                return status
            time.sleep(0.3)
        raise AssertionError(f"within {patience:g} s it was only {seen}")

    def runs(self, name: str) -> None:
        self.until(name, lambda status: status is not None and status.phase is Phase.RUNNING)

    def ended(self, name: str, patience: float = 60.0) -> JobStatus:
        status = self.until(name, lambda status: status is not None and status.phase is Phase.ENDED, patience)
        assert status is not None
        return status

    def pods(self, name: str) -> list[str]:
        selector = f"metta-sweep/submission={name}"
        return self.cluster.kubectl("get", "pods", "-l", selector, "-o", "name").split()


def settings(cluster: KubernetesCluster) -> PodSettings:
    return PodSettings(
        cluster.image,
        volumes=(*(Volume.parse(f"{path}:ro") for path in readable_folders()), Volume.parse(str(cluster.shared))),
        pull_policy="Never",
        host_network=True,
        user=(os.geteuid(), os.getegid()),
    )


@pytest.fixture
def lab(kubernetes: KubernetesCluster) -> Iterator[Lab]:
    engine = KubernetesEngine(settings(kubernetes), image_patience=2.0)
    made = Lab(kubernetes, engine, kubernetes.new_folder("engine"))
    yield made
    engine.cancel(made.jobs)
    engine.forget(made.jobs)
    engine.close()


def test_a_job_from_submit_to_forget(lab: Lab) -> None:
    program = f"import os, sys; open({str(lab.folder / 'found')!r}, 'w').write(f'{{os.getuid()}} {{sys.argv}}')"
    name = lab.start(program)
    label = lab.jobs[name]
    assert lab.engine.submit([lab.job(program)], label) == [name], "a submission whose answer was lost is repeated"
    assert lab.engine.find(label) == [name]
    status = lab.ended(name)
    assert (status.reason, status.message) == (None, "")
    assert status.worker.startswith(f"pod {name}")
    assert (lab.folder / "found").read_text() == f"{os.geteuid()} ['-c']"
    assert len(lab.pods(name)) == 1, "it was started twice"
    lab.engine.forget({name: label})
    lab.until(name, lambda status: status is None)
    assert lab.engine.find(label) is None


def test_pods_have_nothing_they_do_not_need(lab: Lab) -> None:
    program = (
        f"import os; out = open({str(lab.folder / 'found')!r}, 'w'); "
        "print([line for line in open('/proc/self/status') if line.startswith(('CapEff', 'NoNewPrivs'))], "
        "os.path.exists('/var/run/secrets/kubernetes.io'), file=out)"
    )
    assert lab.ended(lab.start(program)).reason is None
    assert (lab.folder / "found").read_text() == "['CapEff:\\t0000000000000000\\n', 'NoNewPrivs:\\t1\\n'] False\n"


def test_not_root(lab: Lab) -> None:
    """Another user than the driver; root only where it is asked for, whatever the image says."""
    os.chown(lab.folder, 1234, 1234)
    program = f"import os; open({str(lab.folder / 'found')!r}, 'w').write(f'{{os.getuid()}}:{{os.getgid()}}')"
    for user in ((1234, 1234), None):
        lab.engine._settings = dataclasses.replace(settings(lab.cluster), user=user)
        if user is None:
            with pytest.raises(EngineRefused, match="root"):
                lab.start(program)
        else:
            assert lab.ended(lab.start(program)).reason is None
            assert (lab.folder / "found").read_text() == "1234:1234"


def test_a_program_that_fails(lab: Lab) -> None:
    status = lab.ended(lab.start("raise ValueError('no such layer')"))
    assert (status.reason, status.message) == (None, "exit code 1: ValueError: no such layer")
    status = lab.ended(lab.start("import os; os.kill(os.getpid(), 9)"))
    # The first process of a container is immune to its own signals; it goes on and returns.
    assert status.reason is None


def test_out_of_memory(lab: Lab) -> None:
    status = lab.ended(lab.start("x = bytearray(1 << 30)", Resources(cpus=0.5, memory="50MB")))
    assert status.reason is FailureReason.OOM
    assert "memory" in status.message


def test_time_limit(lab: Lab) -> None:
    status = lab.ended(lab.start(WAIT, limit=2.0))
    assert status.reason is FailureReason.TIMEOUT
    assert "deadline" in status.message


def test_cancel(lab: Lab) -> None:
    """It is asked first, shown until it has ended, and then gone; again is no error."""
    program = (
        "import pathlib, signal, sys, time\n"
        f"folder = pathlib.Path({str(lab.folder)!r})\n"
        "def end(*_):\n    time.sleep(1); (folder / 'asked').touch(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n(folder / 'ready').touch()\ntime.sleep(300)"
    )
    name = lab.start(program, grace=10.0)
    lab.until(name, lambda _: (lab.folder / "ready").exists())
    lab.runs(name)  # of a pod that its kubelet has not seen run yet the API forgets at once
    lab.engine.cancel({name: "another-label"})
    lab.engine.cancel({name: lab.jobs[name], "unknown": "unknown"})
    seen: list[JobStatus] = []

    def gone(status: JobStatus | None) -> bool:
        seen.extend([status] if status else [])
        return status is None or status.phase is Phase.ENDED

    lab.until(name, gone)
    assert seen[0].phase is not Phase.ENDED, "it is over before it has ended"
    assert (lab.folder / "asked").exists()
    lab.engine.cancel({name: lab.jobs[name]})


def test_other_labels_are_others(lab: Lab) -> None:
    name = lab.start(WAIT)
    assert lab.engine.status({name: "another-label"}) == {}
    lab.engine.cancel({name: "another-label"})
    lab.engine.forget({name: "another-label"})
    lab.runs(name)


@pytest.mark.parametrize(
    ("image", "words"), [("nobody/nothing:0", "ErrImageNeverPull"), ("Not A Name", "InvalidImageName")]
)
def test_images_that_are_not_there(lab: Lab, image: str, words: str) -> None:
    status = lab.ended(lab.start(WAIT, dataclasses.replace(SMALL, image=image)))
    assert status.reason is FailureReason.USER_ERROR
    assert words in status.message


def test_an_image_that_cannot_be_pulled(lab: Lab) -> None:
    lab.engine._settings = dataclasses.replace(settings(lab.cluster), pull_policy="IfNotPresent")
    status = lab.ended(lab.start(WAIT, dataclasses.replace(SMALL, image="127.0.0.1:1/nobody/nothing:0")))
    assert status.reason is FailureReason.USER_ERROR
    assert "Pull" in status.message


def test_a_secret(lab: Lab) -> None:
    """One that is missing is told; one that is there is in the environment, and not in the manifest."""
    lab.engine._settings = dataclasses.replace(settings(lab.cluster), secrets=("tracking",))
    program = f"import os; open({str(lab.folder / 'found')!r}, 'w').write(os.environ['TRACKING_TOKEN'])"
    status = lab.ended(lab.start(program))
    assert status.reason is FailureReason.USER_ERROR
    assert 'secret "tracking" not found' in status.message
    lab.cluster.kubectl("create", "secret", "generic", "tracking", "--from-literal=TRACKING_TOKEN=c4n4ry-0f-tests")
    try:
        name = lab.start(program)
        assert lab.ended(name).reason is None
        assert (lab.folder / "found").read_text() == "c4n4ry-0f-tests"
        selector = f"metta-sweep/submission={name}"
        assert "c4n4ry" not in lab.cluster.kubectl("get", "jobs,pods", "-l", selector, "-o", "yaml")
    finally:
        lab.cluster.kubectl("delete", "secret", "tracking")


def test_no_node_is_large_enough(lab: Lab) -> None:
    """It waits, and says for what: clusters grow."""
    name = lab.start(WAIT, Resources(cpus=1000))
    status = lab.until(name, lambda status: status is not None and "Insufficient cpu" in status.message)
    assert status is not None
    assert status.phase is Phase.QUEUED
    assert status.reason is None


@pytest.mark.parametrize("command", [["pod"], ["pod", "--force", "--grace-period=0"], ["job"]])
def test_deleted_by_hand(lab: Lab, command: list[str]) -> None:
    """A Job is gone. A pod is replaced by this server: the new one is the job, and goes on in the same folder."""
    name = lab.start(WAIT)
    lab.runs(name)
    if command == ["job"]:
        lab.cluster.kubectl("delete", "job", name, "--wait=false")
        lab.until(name, lambda status: status is not None and status.reason is FailureReason.CANCELLED)
        return
    before = set(lab.pods(name))
    lab.cluster.kubectl("delete", *command, "-l", f"metta-sweep/submission={name}", "--wait=false")
    status = lab.until(
        name, lambda s: s is not None and s.phase is Phase.RUNNING and f"pod/{s.worker.split()[1]}" not in before
    )
    assert status is not None


def test_the_server_dies_and_comes_back(lab: Lab) -> None:
    """Meanwhile the engine says that it cannot be asked, and the job goes on."""
    name = lab.start(f"import time; time.sleep(6); open({str(lab.folder / 'done')!r}, 'w')")
    lab.runs(name)
    lab.cluster.signal("apiserver", signal.SIGKILL)
    try:
        calls: list[Callable[[], object]] = [
            lambda: lab.status(name),
            lambda: lab.engine.find(lab.jobs[name]),
            lambda: lab.engine.cancel({name: lab.jobs[name]}),
            lambda: lab.engine.forget({name: lab.jobs[name]}),
            lambda: lab.start(WAIT),
        ]
        for call in calls:
            with pytest.raises(EngineUnavailable, match="cannot be reached"):
                call()
        assert any("cannot be reached" in problem for problem in lab.engine.problems())
    finally:
        lab.cluster.start("apiserver")
    assert lab.ended(name).reason is None
    assert (lab.folder / "done").exists()
    assert list(lab.engine.problems()) == []


def test_a_job_that_nobody_forgets_is_removed(lab: Lab) -> None:
    lab.engine._settings = dataclasses.replace(settings(lab.cluster), ttl=1)
    lab.until(lab.start(""), lambda status: status is None)


def test_what_is_refused(lab: Lab) -> None:
    """The server's words arrive, and what would be missing is said before a run."""
    lab.engine._settings = dataclasses.replace(settings(lab.cluster), node_selector=(("not a label", "x"),))
    with pytest.raises(EngineRefused, match=r"422.*nodeSelector"):
        lab.start(WAIT)
    nowhere = KubernetesEngine(dataclasses.replace(settings(lab.cluster), namespace="nowhere"))
    with pytest.raises(EngineRefused, match='"nowhere" not found'):
        nowhere.submit([lab.job(WAIT)], "test-nowhere")
    nowhere.close()
    stranger = KubernetesEngine(settings(lab.cluster), context="stranger")
    assert any("stranger" in problem for problem in stranger.problems())
