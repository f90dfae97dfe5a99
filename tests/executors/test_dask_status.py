from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.executors.dask import guard
from metta.sweep.executors.dask.status import abstract_resources, status_of
from metta.sweep.executors.dask.task import DaskJob, environment_for
from metta.sweep.executors.remote.engine import EngineRefused, JobStatus, Phase
from metta.sweep.trial import FailureReason, Resources

HERE = "tcp://10.0.0.1:1"
JOB = DaskJob("label-1", 7, ("python", "-m", "metta.sweep.worker"), "/f", "/w", ("/a", "/b"), None, 2.0)


class KilledWorker(Exception):
    """Of the name that Dask's has."""


@pytest.mark.parametrize(
    ("state", "record", "failure", "expected"),
    [
        (None, {}, None, None),
        ("queued", {}, None, JobStatus(Phase.QUEUED)),
        ("processing", {}, None, JobStatus(Phase.QUEUED)),  # it may still wait on its worker
        ("no-worker", {}, None, JobStatus(Phase.QUEUED, None, "no Dask worker fits")),
        (
            "processing",
            {"worker": HERE},
            None,
            JobStatus(Phase.RUNNING, None, f"Dask worker {HERE}", f"Dask worker {HERE}"),
        ),
        # Dask has forgotten it, or began it anew, but its first worker lives
        (None, {"worker": HERE}, None, JobStatus(Phase.RUNNING, None, f"Dask worker {HERE}", f"Dask worker {HERE}")),
        (
            "queued",
            {"worker": "tcp://gone:1"},
            None,
            JobStatus(
                Phase.ENDED,
                FailureReason.NODE_LOST,
                "the Dask worker tcp://gone:1 died or lost its connection",
                "Dask worker tcp://gone:1",
            ),
        ),
        (
            "memory",
            {"worker": "tcp://gone:1", "end": {"reason": None, "message": "exit code 0"}},
            None,
            JobStatus(Phase.ENDED, None, "Dask worker tcp://gone:1: exit code 0", "Dask worker tcp://gone:1"),
        ),
        (
            None,
            {"worker": HERE, "cancel": True, "end": {"reason": "cancelled", "message": "cancelled"}},
            None,
            JobStatus(Phase.ENDED, FailureReason.CANCELLED, f"Dask worker {HERE}: cancelled", f"Dask worker {HERE}"),
        ),
        (
            "queued",
            {"cancel": True},
            None,
            JobStatus(Phase.ENDED, FailureReason.CANCELLED, "cancelled before a Dask worker had it"),
        ),
        ("erred", {}, KilledWorker("a\nb"), JobStatus(Phase.ENDED, FailureReason.NODE_LOST, "KilledWorker: a b")),
        (
            "erred",
            {},
            ModuleNotFoundError("No module named 'metta'"),
            JobStatus(Phase.ENDED, None, "ModuleNotFoundError: No module named 'metta'"),
        ),
        ("erred", {}, None, JobStatus(Phase.ENDED, None, "its Dask task is erred, and nothing says what it did")),
    ],
)
def test_what_dask_says(
    state: str | None, record: dict[str, Any], failure: BaseException | None, expected: JobStatus | None
) -> None:
    assert status_of(state, record, {HERE}, failure) == expected


@pytest.mark.parametrize(
    ("resources", "declared", "needs"),
    [
        (Resources(cpus=4, memory="1 GiB"), [{}, {}], {}),
        (Resources(cpus=4, memory="1 GiB"), [{"CPU": 8}, {}], {"CPU": 4}),
        (Resources(cpus=1, memory=10), [{"MEMORY": 10.0, "CPU": 1}], {"CPU": 1, "MEMORY": 10.0}),
        (Resources(cpus=0, gpus=0.5), [{"GPU": 1, "CPU": 1}], {"GPU": 0.5}),
        (Resources(gpus=1), [], {"GPU": 1}),  # a cluster that grows with its tasks
    ],
)
def test_what_a_task_asks_for(resources: Resources, declared: list[dict[str, float]], needs: dict[str, float]) -> None:
    assert abstract_resources(resources, declared) == needs


@pytest.mark.parametrize(
    ("resources", "declared", "message"),
    [
        (Resources(gpus=1), [{}, {}], "no Dask worker has GPU=1; the most that one declares is GPU=0"),
        (Resources(cpus=9), [{"CPU": 4}, {"CPU": 8}], 'CPU=8: start workers with `dask worker --resources "CPU=9"`'),
        (Resources(cpus=4, gpus=2), [{"CPU": 8}, {"GPU": 2}], "no Dask worker has CPU=4, GPU=2"),
    ],
)
def test_needs_that_no_worker_meets(resources: Resources, declared: list[dict[str, float]], message: str) -> None:
    with pytest.raises(EngineRefused, match=message):
        abstract_resources(resources, declared)


def test_a_job_travels_as_text() -> None:
    assert DaskJob.from_text(JOB.to_text()) == JOB
    assert json.loads(JOB.to_text())["position"] == 7
    assert JOB.id == "label-1.7"


def test_the_environment_of_a_program() -> None:
    nanny = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    base = {"PATH": "/bin", "PYTHONPATH": "/c", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "4"}
    assert environment_for(JOB, base, nanny) == {"PATH": "/bin", "PYTHONPATH": "/a:/b:/c", "MKL_NUM_THREADS": "4"}
    assert environment_for(JOB, {}, nanny) == {"PYTHONPATH": "/a:/b"}


# The guard


def guarded(*command: str, grace: float = 5.0) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-I", "-S", guard.__file__, str(grace), *command]
    return subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.parametrize(
    ("line", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137), ("kill -TERM $$", 143)]
)
def test_the_guard_ends_as_its_program_does(line: str, code: int) -> None:
    with guarded("/bin/sh", "-c", line) as process:
        assert process.wait(20) == code


def test_a_program_that_is_not_there() -> None:
    with guarded("/no/such/python") as process:
        output, _ = process.communicate(timeout=20)
    assert (process.returncode, output) == (
        guard.EXIT_NOT_STARTED,
        "cannot start /no/such/python: No such file or directory\n",
    )


def test_the_end_of_the_input_ends_the_program() -> None:
    with guarded(
        "/bin/sh", "-c", "trap 'echo saved; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert process.communicate(timeout=20)[0] == "saved\n"
        assert process.returncode == 3


def test_a_program_that_will_not_end_is_killed_with_its_children() -> None:
    line = "trap '' TERM; sleep 600 & echo $!; while :; do sleep 0.05; done"
    with guarded("/bin/sh", "-c", line, grace=0.2) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.communicate(timeout=20)
        assert process.returncode == 128 + signal.SIGKILL
    assert is_gone(child)


def test_the_death_of_who_started_it_ends_the_program(tmp_path: Path) -> None:
    parent = (
        "import subprocess, sys, time\n"
        "process = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, start_new_session=True)\n"
        "time.sleep(600)"
    )
    pid = tmp_path / "pid"
    command = [
        sys.executable,
        "-I",
        "-S",
        guard.__file__,
        "5",
        "/bin/sh",
        "-c",
        'echo $$ > "$0"; exec sleep 600',
        str(pid),
    ]
    with subprocess.Popen([sys.executable, "-c", parent, *command]) as process:
        until = time.monotonic() + 20
        while not (pid.exists() and pid.read_text()):
            assert time.monotonic() < until
            time.sleep(0.01)
        process.kill()
    assert is_gone(int(pid.read_text()))


def is_gone(process: int, patience: float = 20.0) -> bool:
    """Whether a process ends; one that nobody has waited for yet has ended."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            os.kill(process, 0)
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.01)
    return False
