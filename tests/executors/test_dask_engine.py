"""Against a real scheduler and two real workers, each a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.executors.dask.engine import DaskEngine
from metta.sweep.executors.remote.engine import EngineRefused, EngineUnavailable, Job, JobStatus, Phase
from metta.sweep.trial import FailureReason, Resources
from tests.executors.dask_cluster import ROOT, DaskCluster
from tests.executors.test_dask_status import is_gone
from tests.golden import check_golden


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with DaskCluster(tmp_path_factory.mktemp("dask")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def engine(cluster: DaskCluster) -> Iterator[DaskEngine]:
    engine = DaskEngine(cluster.address)
    until = time.monotonic() + 60
    while engine.problems():
        assert time.monotonic() < until
        time.sleep(0.02)
    yield engine
    engine.close()


def job(where: Path, line: str, **options: Any) -> Job:
    """A job that runs a shell line in its folder."""
    fields: dict[str, Any] = {
        "token": "run/trial-1",
        "name": "train",
        "folder": where,
        "command": ("/bin/sh", "-c", line),
        "work_folder": where,
        "paths": (),
        "reads": (),
        "writes": (),
        "resources": Resources(),
        "time_limit": None,
        "grace": 2.0,
    }
    return Job(**(fields | options))


WAIT = 'echo $$ > pid-$0; while [ ! -e go ]; do sleep 0.02; done; echo "$0 ran" >> ran'


def until_true(condition: Callable[[], Any], patience: float = 30.0) -> Any:
    """What is true at last."""
    end = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def pid_in(path: Path) -> int:
    """The process id that a program writes into a file."""
    return int(until_true(lambda: path.exists() and path.read_text()))


def ended(engine: DaskEngine, job_id: str, label: str) -> JobStatus:
    def look() -> JobStatus | None:
        status = engine.status({job_id: label})[job_id]
        return status if status.phase is Phase.ENDED else None

    found: JobStatus = until_true(look)
    return found


def test_jobs_wait_run_and_end(engine: DaskEngine, tmp_path: Path) -> None:
    jobs = [job(tmp_path, WAIT.replace("$0", str(number))) for number in range(3)]
    ids = engine.submit(jobs, "waits")
    assert ids == ["waits.0", "waits.1", "waits.2"]
    labels = dict.fromkeys(ids, "waits")
    until_true(lambda: len(list(tmp_path.glob("pid-*"))) == 2)
    phases = sorted(status.phase for status in engine.status(labels).values())
    assert phases == [Phase.QUEUED, Phase.RUNNING, Phase.RUNNING]
    assert engine.find("waits") == ids
    assert engine.find("wait") is None
    (tmp_path / "go").touch()
    for job_id in ids:
        status = ended(engine, job_id, "waits")
        assert (status.reason, status.message) == (None, f"{status.worker}: exit code 0")
        assert status.worker.startswith("Dask worker tcp://")
    assert len((tmp_path / "ran").read_text().splitlines()) == 3
    engine.forget({ids[0]: "waits"})
    until_true(lambda: set(engine.status(labels)) == set(ids[1:]))
    assert engine.find("waits") == ids
    engine.forget(labels)
    until_true(lambda: not engine.status(labels))
    assert engine.find("waits") is None


def test_a_program_sees_its_folders(engine: DaskEngine, tmp_path: Path) -> None:
    line = 'pwd; echo "$PYTHONPATH"; echo problem >&2'
    [job_id] = engine.submit([job(tmp_path, line, paths=(Path("/some/code"),))], "sees")
    ended(engine, job_id, "sees")
    output = (tmp_path / "output.txt").read_text().splitlines()
    assert output == [str(tmp_path), f"/some/code:{ROOT}", "problem"]


@pytest.mark.parametrize(
    ("line", "options", "reason", "message"),
    [
        ("exit 3", {}, None, "exit code 3"),
        ("kill -KILL $$", {}, FailureReason.KILLED, "the worker program was ended by SIGKILL"),
        ("sleep 600", {"time_limit": 0.2}, FailureReason.TIMEOUT, "was ended after its time limit of 0.2 s"),
        ("true", {"folder": Path("/no/such/folder")}, None, "need to see this folder"),
        ("true", {"command": ("/no/such/python",)}, None, "exit code 127"),
        ("true", {"work_folder": Path("/no/such/folder")}, None, "exit code 0"),
    ],
)
def test_how_programs_end(
    engine: DaskEngine, tmp_path: Path, line: str, options: dict[str, Any], reason: FailureReason | None, message: str
) -> None:
    label = f"ends-{tmp_path.name}".replace("_", "-")
    [job_id] = engine.submit([job(tmp_path, line, **options)], label)
    status = ended(engine, job_id, label)
    assert (status.reason, status.message[-len(message) :]) == (reason, message)


def test_cancel(engine: DaskEngine, tmp_path: Path) -> None:
    jobs = [job(tmp_path, WAIT.replace("$0", str(number))) for number in range(4)]
    ids = engine.submit(jobs, "cancels")
    labels = dict.fromkeys(ids, "cancels")
    until_true(lambda: len(list(tmp_path.glob("pid-*"))) == 2)
    processes = [pid_in(path) for path in tmp_path.glob("pid-*")]
    engine.cancel({ids[0]: "another", "unknown": "cancels", "cancels.77": "cancels"})
    assert not [status for status in engine.status(labels).values() if status.phase is Phase.ENDED]
    engine.cancel(labels)
    for job_id in ids:
        assert ended(engine, job_id, "cancels").reason is FailureReason.CANCELLED
    assert all(map(is_gone, processes))
    engine.cancel(labels)
    # The workers are free again, and nothing that was cancelled begins.
    (tmp_path / "go").touch()
    more = engine.submit([job(tmp_path, "true"), job(tmp_path, "true")], "after")
    for job_id in more:
        ended(engine, job_id, "after")
    assert not (tmp_path / "ran").exists()
    assert len(list(tmp_path.glob("pid-*"))) == 2


def test_a_worker_that_hangs_does_not_hold_up_the_driver(
    engine: DaskEngine, cluster: DaskCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [job_id] = engine.submit([job(tmp_path, WAIT.replace("$0", "x"), resources=Resources(gpus=1))], "hangs")
    process = pid_in(tmp_path / "pid-x")
    cluster.workers["w0"].send_signal(signal.SIGSTOP)
    monkeypatch.setattr(DaskEngine, "timeout", 4.0)
    engine.cancel({job_id: "hangs"})
    assert engine.status({job_id: "hangs"})[job_id].phase is Phase.RUNNING
    cluster.workers["w0"].send_signal(signal.SIGCONT)
    assert ended(engine, job_id, "hangs").reason is FailureReason.CANCELLED
    assert is_gone(process)


def test_what_waits_can_be_cancelled_by_another_driver(
    engine: DaskEngine, cluster: DaskCluster, tmp_path: Path
) -> None:
    jobs = [job(tmp_path, WAIT.replace("$0", str(number))) for number in range(3)]
    ids = engine.submit(jobs, "other")
    labels = dict.fromkeys(ids, "other")
    until_true(lambda: len(list(tmp_path.glob("pid-*"))) == 2)
    other = DaskEngine(cluster.address)
    [waiting] = [job_id for job_id, status in other.status(labels).items() if status.phase is Phase.QUEUED]
    other.cancel({waiting: "other"})
    assert other.status(labels)[waiting].reason is FailureReason.CANCELLED
    other.close()
    (tmp_path / "go").touch()
    for job_id in ids:
        ended(engine, job_id, "other")
    assert len((tmp_path / "ran").read_text().splitlines()) == 2


def test_jobs_outlive_their_driver(engine: DaskEngine, cluster: DaskCluster, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from metta.sweep.executors.dask.engine import DaskEngine\n"
        "from tests.executors.test_dask_engine import WAIT, job\n"
        "engine = DaskEngine(sys.argv[1])\n"
        "folder = Path(sys.argv[2])\n"
        "engine.submit([job(folder, WAIT.replace('$0', str(number))) for number in range(3)], 'orphan')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    driver = subprocess.run([sys.executable, "-c", program, cluster.address, str(tmp_path)], cwd=ROOT)
    assert driver.returncode == -signal.SIGKILL
    ids = until_true(lambda: engine.find("orphan"))
    assert ids == ["orphan.0", "orphan.1", "orphan.2"]
    (tmp_path / "go").touch()
    for job_id in ids:
        assert ended(engine, job_id, "orphan").message.endswith("exit code 0")
    assert len((tmp_path / "ran").read_text().splitlines()) == 3
    assert engine.find("orphan") == ids, "what has ended is found, too"


def test_gpus_are_asked_for_where_they_are_declared(engine: DaskEngine, tmp_path: Path) -> None:
    until_true(lambda: len(engine._workers()) == 2)
    with pytest.raises(EngineRefused, match="no Dask worker has GPU=2; the most that one declares is GPU=1"):
        engine.submit([job(tmp_path, "true", resources=Resources(gpus=2))], "too-many")
    jobs = [job(tmp_path, "true", resources=Resources(gpus=1))] * 3
    ids = engine.submit(jobs, "gpus")
    assert len({ended(engine, job_id, "gpus").worker for job_id in ids}) == 1


def test_a_given_client_stays_open(cluster: DaskCluster, tmp_path: Path) -> None:
    from distributed import Client

    make: Any = Client
    with make(cluster.address, set_as_default=False) as client:
        engine = DaskEngine(client)
        [job_id] = engine.submit([job(tmp_path, "true")], "given")
        ended(engine, job_id, "given")
        engine.close()
        assert client.status == "running"


def test_a_dead_worker_takes_its_job_along(engine: DaskEngine, cluster: DaskCluster, tmp_path: Path) -> None:
    over = engine.submit(
        [job(tmp_path, f"touch {n}; while [ ! -e {1 - n} ]; do sleep 0.02; done") for n in (0, 1)], "over"
    )
    assert len({ended(engine, job_id, "over").worker for job_id in over}) == 2
    ids = engine.submit([job(tmp_path, WAIT.replace("$0", str(number))) for number in range(2)], "dies")
    labels = dict.fromkeys(ids, "dies")
    until_true(lambda: all(status.phase is Phase.RUNNING for status in engine.status(labels).values()))
    names = {worker["name"]: address for address, worker in engine._workers().items()}
    [lost] = [job_id for job_id, status in engine.status(labels).items() if status.worker.endswith(names["w1"])]
    [kept] = set(ids) - {lost}
    process = pid_in(tmp_path / f"pid-{lost[-1]}")
    cluster.workers["w1"].kill()
    status = ended(engine, lost, "dies")
    assert status.reason is FailureReason.NODE_LOST
    assert is_gone(process)
    # Dask gives the task to another worker, which leaves it alone.
    cluster.add_worker("w2")
    (tmp_path / "go").touch()
    assert ended(engine, kept, "dies").reason is None
    until_true(lambda: "died" in engine.status(labels)[lost].message and len(engine._workers()) == 2)
    until_true(lambda: engine._failure(lost) is None and engine._futures[lost].status == "finished")
    assert engine.status(labels)[lost].reason is FailureReason.NODE_LOST
    assert (tmp_path / "ran").read_text() == f"{kept[-1]} ran\n"
    # Dask computes again what the dead worker held of jobs that were over: that does not run them again.
    until_true(lambda: all(engine._futures[job_id].status == "finished" for job_id in over))
    for status in engine.status(dict.fromkeys(over, "over")).values():
        assert (status.reason, status.message[-11:]) == (None, "exit code 0")


def test_a_worker_that_is_told_to_go_takes_its_job_along(
    engine: DaskEngine, cluster: DaskCluster, tmp_path: Path
) -> None:
    [job_id] = engine.submit([job(tmp_path, WAIT.replace("$0", "x"), resources=Resources(gpus=1))], "goes")
    process = pid_in(tmp_path / "pid-x")
    cluster.workers["w0"].terminate()
    assert is_gone(process)
    assert ended(engine, job_id, "goes").reason is FailureReason.NODE_LOST


def test_a_scheduler_that_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with DaskCluster(tmp_path, workers=0) as cluster:
        engine = DaskEngine(cluster.address)
        [problem] = engine.problems()
        assert "has no workers" in problem
        [job_id] = engine.submit([job(tmp_path, "true")], "waits")
        assert engine.status({job_id: "waits"})[job_id].phase is Phase.QUEUED
        monkeypatch.setattr(DaskEngine, "timeout", 0.5)
        cluster.scheduler.kill()
        cluster.scheduler.wait()
        asked: list[Callable[[], object]] = [
            lambda: engine.status({job_id: "waits"}),
            lambda: engine.submit([job(tmp_path, "true")], "again"),
            lambda: engine.find("waits"),
            lambda: engine.cancel({job_id: "waits"}),
            lambda: engine.forget({job_id: "waits"}),
        ]
        for question in asked:
            with pytest.raises(EngineUnavailable, match="Dask scheduler"):
                question()
        engine.close()


def test_the_dask_task_of_a_job() -> None:
    engine = DaskEngine("tcp://10.0.0.1:8786")
    resources = Resources(cpus=2, gpus=1, memory="2 GiB")
    described = engine.describe(job(Path("/shared/attempt 1"), "$(true)", resources=resources, time_limit=60.0), "ms-1")
    check_golden(Path(__file__).parent / "golden" / "dask_task.json", described + "\n")
    engine.close()


def test_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DaskEngine, "timeout", 0.2)
    engine = DaskEngine("tcp://127.0.0.1:1")
    [problem] = engine.problems()
    assert "the Dask scheduler tcp://127.0.0.1:1" in problem
    engine.close()


def test_no_scheduler_is_named() -> None:
    with pytest.raises(UsageError, match="DASK_SCHEDULER_ADDRESS"):
        DaskEngine()


def test_distributed_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install 'metta-sweep\[dask\]'"):
        DaskEngine("tcp://127.0.0.1:1")
