"""Tasks through the queue of a Cogweb server keep the contract of executors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.executors import Executor
from metta.sweep.executors.base import EventStream, Failed, Finished, Started, Task
from metta.sweep.executors.cogweb.executor import CogwebExecutor
from metta.sweep.testing.executor_conformance import ExecutorConformance
from metta.sweep.trial import FailureReason
from tests.executors.cogweb_server import TOKEN, CogwebServer, Fault
from tests.executors.remote_tasks import add, wait_for

ROOT = Path(__file__).parent.parent.parent


def executor_at(address: str, spool: Path, **options: Any) -> CogwebExecutor:
    return CogwebExecutor(
        "mine",
        project="tests",
        entity="tests",
        git_hash="0" * 40,
        server=address,
        token=TOKEN,
        spool=spool,
        **({"poll_interval": 0.1, "grace": 0.5} | options),
    )


def last(stream: EventStream) -> Finished | Failed:
    until = time.monotonic() + 60
    while not isinstance(event := stream.get(until - time.monotonic()), Finished | Failed):
        assert isinstance(event, Started)
    return event


def until_true(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def touch(path: Path) -> str:
    path.touch()
    return "touched"


def submit_and_die(address: str, folder: str) -> None:
    """What the driver does that is killed at a fail point."""
    executor = executor_at(address, Path(folder) / "spool")
    stream = executor.events()
    executor.submit(Task("a", touch, (Path(folder) / "ran",), log_folder=Path(folder)), stream)
    stream.get(60)


def test_a_task_runs_under_a_run_id(tmp_path: Path) -> None:
    with CogwebServer(tmp_path, workers=1) as server:
        with executor_at(server.address, tmp_path / "spool", attributes={"team": "a"}) as executor:
            stream = executor.events()
            executor.submit(Task("a", add, (1, 2), name="adds"), stream)
            end = last(stream)
        assert isinstance(end, Finished)
        assert end.result == 3
        [sent] = server.seen("POST /tasks")
        attributes = sent["attributes"]
        assert (attributes["run_id"], attributes["name"], attributes["team"]) == ("mine.r.1", "adds", "a")
        assert sent["git_hash"] == "0" * 40
        assert TOKEN not in str(sent)


def test_a_task_whose_answer_was_lost_comes_to_one_end(tmp_path: Path) -> None:
    with CogwebServer(tmp_path, workers=2) as server:
        server.fail(Fault("POST /tasks", late=True))
        with executor_at(server.address, tmp_path / "spool") as executor:
            stream = executor.events()
            executor.submit(Task("a", wait_for, (tmp_path / "go",)), stream)
            # Both begin, and the one that began first ends: it sees the folder of the other.
            until_true(lambda: len(server.tasks) == 2 and server.tasks["t-1"].status == "done")
            assert server.tasks["t-2"].status == "running"
            (tmp_path / "go").touch()
            end = last(stream)
            assert isinstance(end, Finished)
            assert end.result == "it came"
            assert not len(stream)


def test_a_task_that_nobody_heard_of_does_not_begin(tmp_path: Path) -> None:
    program = (
        "import sys; from tests.executors.test_cogweb_executor import submit_and_die; submit_and_die(*sys.argv[1:])"
    )
    with CogwebServer(tmp_path, workers=0) as server:
        driver = subprocess.run(
            [sys.executable, "-c", program, server.address, str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, "METTA_SWEEP_FAIL_AT": "remote.submitted"},
        )
        assert driver.returncode == -signal.SIGKILL
        with executor_at(server.address, tmp_path / "spool") as executor:
            stream = executor.events()
            assert executor.reattach("a", stream, tmp_path)
            end = last(stream)
            assert isinstance(end, Failed)
            assert end.reason is FailureReason.LOST_CONTACT
        server.add_workers(1)
        until_true(lambda: server.tasks["t-1"].status not in ("unprocessed", "running"))
        assert not (tmp_path / "ran").exists()


def test_what_a_task_printed_before_it_could_start_is_told(tmp_path: Path) -> None:
    with CogwebServer(tmp_path, workers=1) as server:
        with executor_at(server.address, tmp_path / "spool", python="/no/such/python") as executor:
            stream = executor.events()
            executor.submit(Task("a", add, (1, 2)), stream)
            end = last(stream)
        assert isinstance(end, Failed)
        assert "Cogweb task t-1: error; its output ends with: " in end.message
        assert "/no/such/python" in end.message


def test_cancelling_what_waits(tmp_path: Path) -> None:
    with CogwebServer(tmp_path, workers=0) as server:
        with executor_at(server.address, tmp_path / "spool") as executor:
            stream = executor.events()
            executor.submit(Task("a", touch, (tmp_path / "ran",)), stream)
            until_true(lambda: server.tasks)
            executor.cancel("a")
            end = last(stream)
            assert isinstance(end, Failed)
            assert end.reason is FailureReason.CANCELLED
        server.add_workers(1)
        until_true(lambda: server.tasks["t-1"].status not in ("unprocessed", "running"))
        assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sweep": "a/b"}, "expected 1 to 100 letters, digits"),
        ({"sweep": ""}, "expected 1 to 100 letters, digits"),
        ({"poll_interval": 0}, "poll_interval=0"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"server": "cogweb"}, "expected an address"),
        ({"token": ""}, "is empty"),
    ],
)
def test_arguments_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    fitting: dict[str, Any] = {"sweep": "mine", "project": "p", "entity": "e", "server": "https://a.example"}
    with pytest.raises(UsageError, match=message):
        CogwebExecutor(**(fitting | {"token": "t"} | options))


# The contract


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CogwebServer]:
    with CogwebServer(tmp_path_factory.mktemp("cogweb"), workers=4) as server:
        yield server


@pytest.mark.slow
class TestCogweb(ExecutorConformance):
    crowd = 8
    passes_environment = False
    refuses_too_much = False  # it counts no cores

    address: str

    @pytest.fixture(autouse=True)
    def at(self, server: CogwebServer) -> None:
        self.address = server.address

    def make(self, folder: Path) -> Executor:
        return executor_at(self.address, folder / "spool")
