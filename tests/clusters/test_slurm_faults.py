"""What befalls a SLURM cluster, and what becomes of the attempts on it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metta.sweep.executors.base import Answer, Reported, Started
from metta.sweep.executors.objective import Outcome
from metta.sweep.executors.remote import clerk
from metta.sweep.executors.slurm.executor import SLURMExecutor
from metta.sweep.testing.executor_session import Record, Session
from metta.sweep.trial import FailureReason, Trial
from tests.clusters.fixtures_slurm import SlurmCluster, eventually

pytestmark = [pytest.mark.cluster]

PATIENCE_S = 90.0
STEPS = 60
DRIVER = """
import sys
from pathlib import Path
from tests.clusters.test_slurm_faults import drive
drive(Path(sys.argv[1]), sys.argv[2:])
"""


def steady(trial: Trial) -> Iterator[float]:
    """Reports the number of its step, which it saves; goes on until `done` is in its folder or at the last step."""
    number = trial.load() or 0
    print(f"goes on from {number}", flush=True)
    while number < trial.params["steps"] and not Path(trial.params["done"]).exists():
        number += 1
        time.sleep(trial.params.get("pause", 0.2))
        trial.save(number)
        yield number
    print("ends", flush=True)


def an_executor(folder: Path, **options: object) -> SLURMExecutor:
    settings: dict[str, object] = {"spool": folder / "spool", "poll_interval": 1.0, "grace": 3.0, **options}
    return SLURMExecutor("main", **settings)  # type: ignore[arg-type]


def drive(folder: Path, tokens: list[str]) -> None:
    """A driver that is to be killed by a fail point. All its tasks come in one batch, however slow the machine is."""
    clerk.GATHER_S = 3.0  # type: ignore[misc]
    session = Session(an_executor(folder), folder, PATIENCE_S)
    for token in tokens:
        submit(session, folder, token=token, steps=3)
    session.wait()


def submit(
    session: Session, folder: Path, *, token: str = "", resume: Record | None = None, steps: int = STEPS
) -> Record:
    done = str(folder / "done")
    return session.submit_trial(steady, token=token, resume=resume, steps=steps, done=done)


def has_steps(number: int) -> Callable[[Record], bool]:
    return lambda record: len(record.of(Reported)) >= number


def check_whole(record: Record) -> None:
    """Every step was told once, in order, and the outcome is that of the last one."""
    outcome = record.finished.result
    assert isinstance(outcome, Outcome)
    assert record.steps == list(range(1, outcome.step + 1))
    assert len(record.of(Started)) == 1


@pytest.fixture
def executor(slurm_cluster: SlurmCluster, tmp_path: Path) -> Iterator[SLURMExecutor]:
    slurm_cluster.restore()
    executor = an_executor(tmp_path)
    yield executor
    executor.close()
    slurm_cluster.run("scancel", "--partition=main,high")
    slurm_cluster.restore()


@pytest.fixture
def session(executor: SLURMExecutor, tmp_path: Path) -> Session:
    return Session(executor, tmp_path, PATIENCE_S)


def the_job(cluster: SlurmCluster) -> tuple[str, str]:
    """Id and node of the only job that runs."""
    ((job, _, node, _),) = cluster.jobs("--states=RUNNING")
    return job, node


def test_a_requeue(session: Session, slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    """R10: the attempt goes on from its last state, and what it prints is appended."""
    record = submit(session, tmp_path)
    session.wait(record, until=has_steps(3))
    job, _ = the_job(slurm_cluster)
    slurm_cluster.run("scontrol", "requeue", job)
    eventually(lambda: slurm_cluster.jobs(f"--jobs={job}")[0][3] == "1")
    before = len(record.steps)
    session.wait(record, until=has_steps(before + 3))
    (tmp_path / "done").touch()
    session.wait()
    check_whole(record)
    starts = [line for line in record.log.splitlines() if line.startswith("goes on")]
    assert len(starts) == 2
    assert starts[0] == "goes on from 0"
    assert int(starts[1].split()[-1]) >= 3


def test_a_preemption(session: Session, slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    record = submit(session, tmp_path)
    session.wait(record, until=has_steps(2))
    job, node = the_job(slurm_cluster)
    wrap = ("--output=/dev/null", "--exclusive", f"--nodelist={node}", "--wrap=sleep 2")
    slurm_cluster.run("sbatch", "--partition=high", *wrap)
    eventually(lambda: slurm_cluster.jobs(f"--jobs={job}")[0][3] == "1")
    session.wait(record, until=has_steps(len(record.steps) + 2))
    (tmp_path / "done").touch()
    session.wait()
    check_whole(record)


def test_a_power_cut(session: Session, slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    """R8: it is noticed. The job starts again on another node, and every step counts once; or it is told as lost."""
    record = submit(session, tmp_path)
    session.wait(record, until=has_steps(3))
    _, node = the_job(slurm_cluster)
    with an_executor(tmp_path, requeue=False, options={"nodelist": node}) as once:
        other = Session(once, tmp_path, PATIENCE_S)
        lost = submit(other, tmp_path)
        other.wait(lost, until=has_steps(1))
        slurm_cluster.daemon("kill", node)
        began = time.monotonic()
        try:
            session.wait(record, until=has_steps(len(record.steps) + 5))
            other.wait()
        finally:
            slurm_cluster.daemon("start", node)
    assert time.monotonic() - began < 5 * 60, "R8: five times the promise"
    assert lost.failed(FailureReason.NODE_LOST).message.endswith(f"on {node}: NODE_FAIL (NodeDown)")
    (tmp_path / "done").touch()
    session.wait()
    check_whole(record)


def test_a_node_that_is_cut_off(session: Session, slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    """R2: SLURM starts the job again although the first one goes on. What it tells counts once; the first one ends."""
    record = submit(session, tmp_path, steps=100_000)
    session.wait(record, until=has_steps(3))
    _, node = the_job(slurm_cluster)
    slurm_cluster.daemon("pause", node)
    try:
        session.wait(record, until=lambda _: len(list(tmp_path.rglob("run-*"))) == 2)
        before = len(record.steps)
        first = next(tmp_path.rglob("run-001"))
        eventually(lambda: (first / "done.json").exists())
        session.wait(record, until=has_steps(before + 5))
        (tmp_path / "done").touch()
        session.wait()
    finally:
        slurm_cluster.daemon("resume", node)
    check_whole(record)


def test_the_controller_is_killed(session: Session, slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    """What runs goes on and is heard; what is submitted meanwhile waits."""
    first = submit(session, tmp_path)
    session.wait(first, until=has_steps(2))
    slurm_cluster.save(the_job(slurm_cluster)[0])
    slurm_cluster.daemon("kill", "slurmctld")
    try:
        session.wait(first, until=has_steps(len(first.steps) + 3))
        second = submit(session, tmp_path)
    finally:
        slurm_cluster.daemon("start", "slurmctld")
    session.wait(second, until=has_steps(2))
    (tmp_path / "done").touch()
    session.wait()
    check_whole(first)
    check_whole(second)


def test_somebody_cancels_the_job(session: Session, slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    record = submit(session, tmp_path)
    session.wait(record, until=has_steps(1))
    slurm_cluster.run("scancel", the_job(slurm_cluster)[0])
    session.wait()
    assert record.failed(FailureReason.CANCELLED)
    assert record.steps == list(range(1, len(record.steps) + 1))


def test_a_time_limit(slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    """The signal before it has the task save and end; the next attempt goes on."""
    with an_executor(tmp_path, time_limit=120, signal_before=110) as executor:
        session = Session(executor, tmp_path, PATIENCE_S)
        record = submit(session, tmp_path, steps=100_000)
        session.wait()
        assert record.failed(FailureReason.PREEMPTED)
        (tmp_path / "done").touch()
        again = submit(session, tmp_path, resume=record)
        session.wait()
        assert f"goes on from {record.steps[-1]}" in again.log


def test_a_batch_is_one_array(session: Session, slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    records = [submit(session, tmp_path, steps=1) for _ in range(12)]
    session.wait()
    numbers = {row[0].partition("_")[0] for row in slurm_cluster.jobs("--states=all")}
    assert all(record.finished for record in records)
    assert len(numbers) < 12


@pytest.mark.parametrize("point", ["remote.intended", "remote.submitted", "remote.noted"])
def test_a_driver_that_dies_while_it_submits(slurm_cluster: SlurmCluster, tmp_path: Path, point: str) -> None:
    """R9: the next driver adopts the jobs if there are any; there is exactly one for each attempt, or none."""
    tokens = [f"attempt-{number}" for number in range(3)]
    environment = {**os.environ, "METTA_SWEEP_FAIL_AT": point, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    before = {row[0] for row in slurm_cluster.jobs()}
    driver = subprocess.run([sys.executable, "-c", DRIVER, str(tmp_path), *tokens], env=environment, check=False)
    assert driver.returncode == -9
    with an_executor(tmp_path) as executor:
        session = Session(executor, tmp_path, PATIENCE_S)
        records = [session.adopt(token) for token in tokens]
        session.wait()
    started = [row for row in slurm_cluster.jobs() if row[0] not in before]
    if point == "remote.intended":
        assert all(record.failed(FailureReason.LOST_CONTACT) for record in records)
        assert started == []
        return
    assert sorted(row[0].partition("_")[2] for row in started) == ["0", "1", "2"]
    for record in records:
        check_whole(record)
        assert record.finished.result.answer is Answer.CONTINUE


def test_ids_that_are_used_again(session: Session, slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    """R9: a controller that has lost its state gives our id to another job, which is not taken for ours."""
    record = submit(session, tmp_path, steps=100_000)
    session.wait(record, until=has_steps(2))
    job, _ = the_job(slurm_cluster)
    slurm_cluster.lose_state()
    other = 0
    while other < int(job):
        held = ("--hold", "--output=/dev/null", "--partition=main", "--wrap=true")
        other = int(slurm_cluster.run("sbatch", "--parsable", *held))
    assert other == int(job)
    session.wait()
    # The nodes end what the controller does not know; when the accounts hear of it they call it cancelled.
    assert record.failed(FailureReason.LOST_CONTACT, FailureReason.PREEMPTED, FailureReason.CANCELLED)
    session.executor.close()
    assert [row[:2] for row in slurm_cluster.jobs(f"--jobs={job}")] == [[job, "PENDING"]]
