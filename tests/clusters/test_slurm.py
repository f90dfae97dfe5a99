"""SLURM as an engine, on a real cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from metta.sweep.executors.remote.engine import EngineRefused, EngineUnavailable, Job, JobStatus, Phase
from metta.sweep.executors.slurm.engine import SlurmEngine
from metta.sweep.executors.slurm.settings import SlurmSettings
from metta.sweep.trial import FailureReason, Resources
from tests.clusters.fixtures_slurm import PATIENCE_S, SlurmCluster, eventually
from tests.executors.slurm_jobs import a_job
from tests.executors.test_slurm_script import HOSTILE

pytestmark = [pytest.mark.cluster]

SHOW = """
import json, os, sys
names = "SLURM_JOB_CPUS_PER_NODE SLURM_MEM_PER_NODE CUDA_VISIBLE_DEVICES SLURM_JOB_PARTITION OWN SET_UP".split()
print(json.dumps([os.getcwd(), sys.argv[1:], {name: os.environ.get(name) for name in names}]))
"""
WAIT = """
import signal, sys, time
def tell(number, frame):
    print("told", signal.Signals(number).name, flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, tell)
signal.signal(signal.SIGUSR1, tell)
print("began", flush=True)
time.sleep(300)
"""
END = "import os, sys; os.kill(os.getpid(), 9) if sys.argv[1] == 'kill' else sys.exit(int(sys.argv[1]))"


@dataclass
class Bench:
    """An engine, and what it was given."""

    engine: SlurmEngine
    folder: Path

    def job(self, code: str, *arguments: str, name: str = "job", resources: Resources | None = None) -> Job:
        folder = self.folder / f"{name}-{uuid4().hex[:6]}"
        folder.mkdir(parents=True)
        command = (sys.executable, "-c", code, *arguments)
        return a_job(folder=str(folder), command=command, work_folder=str(self.folder), paths=(), resources=resources)

    def submit(self, *jobs: Job, label: str = "") -> tuple[Sequence[str], dict[str, str]]:
        """The ids, and what `status` takes."""
        label = label or new_label()
        ids = self.engine.submit(jobs, label)
        return ids, dict.fromkeys(ids, label)

    def wait(self, jobs: dict[str, str], phase: Phase = Phase.ENDED, patience: float = PATIENCE_S) -> list[JobStatus]:
        """Until all are that far."""
        all_there = [phase] * len(jobs)
        eventually(lambda: [status.phase for status in self.engine.status(jobs).values()] == all_there, patience)
        found = self.engine.status(jobs)
        return [found[job] for job in jobs]


def new_label() -> str:
    return f"ms-{uuid4().hex[:20]}"


def output(job: Job) -> str:
    path = job.folder / "output.txt"
    return path.read_text() if path.exists() else ""


@pytest.fixture
def bench(slurm_cluster: SlurmCluster, tmp_path: Path) -> Iterator[Bench]:
    yield Bench(SlurmEngine(SlurmSettings(partition="main"), call_limit=10.0), tmp_path)
    slurm_cluster.run("scancel", "--partition=main")
    slurm_cluster.restore()


@pytest.fixture(scope="module")
def long_ago(
    slurm_cluster: SlurmCluster, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, str], dict[str, str]]:
    """Jobs of the beginning of this file: one over the time limit, and two that ended at once."""
    bench = Bench(SlurmEngine(SlurmSettings(partition="brief", signal_before=0)), tmp_path_factory.mktemp("early"))
    late = SlurmEngine(SlurmSettings(partition="brief", time_limit=60, signal_before=0))
    label = new_label()
    limited = dict.fromkeys(late.submit([bench.job(WAIT)], label), label)
    _, ended = bench.submit(bench.job(END, "0"), bench.job(END, "3"))
    bench.wait(ended)
    return limited, ended


@pytest.mark.usefixtures("long_ago")
def test_a_job(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWN", "from the driver")
    bench.engine = SlurmEngine(SlurmSettings(partition="high", setup=("export SET_UP='by the user'", "false")))
    wanted = Resources(cpus=1.5, gpus=0.5, memory="300MB", partition="main")
    job = bench.job(SHOW, "an argument", resources=wanted)
    ids, jobs = bench.submit(job)
    assert ids[0].isdigit()
    (status,) = bench.wait(jobs)
    assert (status.phase, status.reason) == (Phase.ENDED, None)
    assert status.worker.startswith(f"job {ids[0]} on n")
    folder, arguments, environment = json.loads(output(job))
    assert (folder, arguments) == (str(bench.folder), ["an argument"])
    assert environment.pop("CUDA_VISIBLE_DEVICES") in ("0", "1")
    assert environment == {
        "SLURM_JOB_CPUS_PER_NODE": "2",
        "SLURM_MEM_PER_NODE": "287",
        "SLURM_JOB_PARTITION": "main",
        "OWN": "from the driver",
        "SET_UP": "by the user",
    }


def test_an_array_of_hostile_names(bench: Bench) -> None:
    jobs = [bench.job(SHOW, text, name=text.replace("/", "")) for text in HOSTILE]
    ids, labels = bench.submit(*jobs)
    number = ids[0].partition("_")[0]
    assert ids == [f"{number}_{index}" for index in range(len(jobs))]
    assert bench.engine.find(labels[ids[0]]) == ids
    bench.wait(labels)
    assert [json.loads(output(job))[1] for job in jobs] == [[text] for text in HOSTILE]
    assert not list(bench.folder.rglob("pwned"))


def test_how_jobs_end(bench: Bench, slurm_cluster: SlurmCluster) -> None:
    jobs = [bench.job(END, how) for how in ("0", "3", "kill")]
    _, labels = bench.submit(*jobs)
    good, bad, killed = bench.wait(labels)
    assert (good.reason, bad.reason, killed.reason) == (None, None, FailureReason.KILLED)
    assert "FAILED" in bad.message
    waits = bench.job(WAIT)
    ids, labels = bench.submit(waits)
    eventually(lambda: output(waits) == "began\n")
    slurm_cluster.run("scancel", ids[0])  # somebody else
    (status,) = bench.wait(labels)
    assert status.reason is FailureReason.CANCELLED
    assert output(waits) == "began\ntold SIGTERM\n"
    bench.engine.cancel(labels)  # no error


def test_cancel(bench: Bench, slurm_cluster: SlurmCluster) -> None:
    jobs = [bench.job(WAIT) for _ in range(3)]
    ids, labels = bench.submit(*jobs)
    eventually(lambda: all(output(job) == "began\n" for job in jobs))
    held, label = bench.job(WAIT), new_label()
    held_ids, held_labels = bench.submit(held, label=label)
    slurm_cluster.run("scontrol", "hold", held_ids[0])
    bench.engine.cancel({ids[0]: labels[ids[0]], ids[1]: "another-label", **held_labels})
    assert [status.reason for status in bench.wait({ids[0]: labels[ids[0]], **held_labels})] == [
        FailureReason.CANCELLED
    ] * 2
    assert output(jobs[0]) == "began\ntold SIGTERM\n"
    rest = {job: labels[job] for job in ids[1:]}
    assert {status.phase for status in bench.engine.status(rest).values()} == {Phase.RUNNING}
    assert bench.engine.status({ids[1]: "another-label"}) == {}


def test_the_signal_reaches_the_program(bench: Bench, slurm_cluster: SlurmCluster) -> None:
    """It is the batch process itself: `--signal=B:` reaches nothing else."""
    job = bench.job(WAIT)
    ids, labels = bench.submit(job)
    eventually(lambda: output(job) == "began\n")
    slurm_cluster.run("scancel", "--batch", "--signal=USR1", ids[0])
    (status,) = bench.wait(labels)
    assert status.reason is None
    assert output(job) == "began\ntold SIGUSR1\n"


def test_a_suspended_job_waits(bench: Bench, slurm_cluster: SlurmCluster) -> None:
    job = bench.job(WAIT)
    ids, labels = bench.submit(job)
    bench.wait(labels, Phase.RUNNING)
    slurm_cluster.run("scontrol", "suspend", ids[0])
    (status,) = bench.wait(labels, Phase.QUEUED)
    assert "SUSPENDED" in status.message
    slurm_cluster.run("scontrol", "resume", ids[0])
    bench.wait(labels, Phase.RUNNING)


def test_a_requeued_job_appends_to_its_output(bench: Bench, slurm_cluster: SlurmCluster) -> None:
    job = bench.job(WAIT)
    ids, labels = bench.submit(job)
    eventually(lambda: output(job) == "began\n")
    slurm_cluster.run("scontrol", "requeue", ids[0])
    eventually(lambda: output(job) == "began\ntold SIGTERM\nbegan\n")
    assert bench.engine.find(labels[ids[0]]) == ids


@pytest.mark.parametrize(
    ("settings", "resources", "words"),
    [
        (SlurmSettings(partition="nope"), Resources(), "Invalid partition name"),
        (SlurmSettings(), Resources(gpus=9), "node configuration is not available"),
        (SlurmSettings(), Resources(memory="1TB"), "Memory|node configuration"),
        (SlurmSettings(gres="lustre:1"), Resources(), "gres"),
        (SlurmSettings(partition="brief", time_limit=600), Resources(), "time limit"),
        (SlurmSettings(options={"constraint": "nope"}), Resources(), "feature"),
        (SlurmSettings(options={"frobnicate": True}), Resources(), "unrecognized option"),
    ],
)
def test_what_slurm_refuses(bench: Bench, settings: SlurmSettings, resources: Resources, words: str) -> None:
    engine = SlurmEngine(settings)
    with pytest.raises(EngineRefused, match=words):
        engine.submit([bench.job(WAIT, resources=resources)], new_label())


def test_an_array_larger_than_the_cluster_allows(bench: Bench) -> None:
    jobs = [bench.job(END, "0")] * 500
    label = new_label()
    with pytest.raises(EngineUnavailable, match="Invalid job array"):
        bench.engine.submit(jobs, label)
    assert bench.engine.find(label) is None
    assert bench.engine.largest_batch == 250


def test_of_two_submissions_of_a_label_one_runs(bench: Bench, slurm_cluster: SlurmCluster) -> None:
    """A lost answer of sbatch and an impatient caller must not lead to two jobs of one attempt."""
    label = new_label()
    first, second = bench.job(WAIT), bench.job(WAIT)
    (one,), _ = bench.submit(first, label=label)
    (two,), _ = bench.submit(second, label=label)
    eventually(lambda: output(first) == "began\n")
    assert bench.engine.find(label) == [one]
    assert dict(row[:2] for row in slurm_cluster.jobs(f"--jobs={one},{two}")) == {one: "RUNNING", two: "PENDING"}
    assert "singleton" in slurm_cluster.run("scontrol", "show", "job", two)
    slurm_cluster.run("scancel", one)
    eventually(lambda: output(second) == "began\n")


def test_a_submission_whose_answer_is_lost_is_found(bench: Bench, slurm_cluster: SlurmCluster) -> None:
    """sbatch is given up while the controller hangs; the controller reads the request when it goes on."""
    impatient = SlurmEngine(SlurmSettings(partition="main"), call_limit=1.5)
    label, job = new_label(), bench.job(WAIT)
    slurm_cluster.daemon("pause", "slurmctld")
    try:
        with pytest.raises(EngineUnavailable):
            impatient.submit([job], label)
        with pytest.raises(EngineUnavailable):
            impatient.find(label)
    finally:
        slurm_cluster.daemon("resume", "slurmctld")
    eventually(lambda: bench.engine.find(label) is not None)
    ids = bench.engine.find(label)
    assert ids is not None
    bench.wait(dict.fromkeys(ids, label), Phase.RUNNING)
    assert len(slurm_cluster.jobs(f"--name={label}")) == 1


def test_problems(bench: Bench) -> None:
    (problem,) = SlurmEngine(SlurmSettings(partition="brif")).problems()
    assert "did you mean 'brief'?" in problem
    assert list(bench.engine.problems()) == []


def test_time_limit_and_accounts(
    long_ago: tuple[dict[str, str], dict[str, str]], bench: Bench, slurm_cluster: SlurmCluster
) -> None:
    limited, ended = long_ago
    (status,) = bench.wait(limited, patience=150.0)
    assert status.reason is FailureReason.TIMEOUT
    number = next(iter(ended)).partition("_")[0]

    def is_forgotten() -> bool:
        known = subprocess.run(["scontrol", "show", "job", number], capture_output=True, check=False)
        return known.returncode != 0

    eventually(is_forgotten, 120.0)
    good, bad = bench.wait(ended)
    assert good.message.endswith("COMPLETED")
    assert bad.message.endswith("FAILED (exit code 3)")
    assert bench.engine.find(next(iter(ended.values()))) == list(ended)
    assert bench.engine.find(new_label()) is None
