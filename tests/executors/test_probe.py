"""What is found wrong with an executor before anything is handed in: by the engine, by a probe, by comparing."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.executors.base import EventStream, Task
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.executors.remote.engine import EngineUnavailable, Job
from metta.sweep.executors.remote.executor import RemoteExecutor
from metta.sweep.executors.remote.probe import (
    ExecutorUnready,
    Problem,
    check_executor,
    compared,
    differences,
    engine_problems,
    examine_executor,
    look_around,
    refuse_if_unready,
)
from metta.sweep.store.doctor import Severity
from tests.executors.helpers import PATIENCE
from tests.executors.process_engine import ProcessEngine, ProcessExecutor

FACTS: dict[str, Any] = {
    "python": "3.12.4",
    "machine": "x86_64",
    "host": "laptop",
    "packages": {"metta-sweep": "0.1.0", "numpy": "2.3.0"},
    "work_folder": True,
    "modules": {"mine": True, "_by_value": False},
    "asked": "nonce",
    "clock": 0.01,
}


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[ProcessExecutor]:
    with ProcessExecutor(tmp_path / "engine", poll_interval=0.05) as opened:
        assert isinstance(opened, ProcessExecutor)
        yield opened


# -- comparing ---------------------------------------------------------------------------------------------------------


def found(**there: Any) -> list[tuple[str, str]]:
    problems = differences(FACTS, {**FACTS, "host": "n1", **there}, folder="/store")
    return [(problem.severity.value, problem.what) for problem in problems]


def test_nothing_differs() -> None:
    assert found() == []
    assert found(python="3.12.9", clock=4.0, machine="aarch64") == []


@pytest.mark.parametrize(
    ("there", "severity", "what"),
    [
        ({"python": "3.11.2"}, "error", "Python is 3.12.4 here and 3.11.2 there"),
        (
            {"packages": {"metta-sweep": "0.2.0", "numpy": "2.3.0"}},
            "error",
            "metta-sweep is 0.1.0 here and 0.2.0 there",
        ),
        ({"packages": {"metta-sweep": "0.1.0", "numpy": "2.2.0"}}, "warning", "numpy is 2.3.0 here and 2.2.0 there"),
        ({"packages": {"metta-sweep": "0.1.0"}}, "error", "numpy is 2.3.0 here and not installed there"),
        ({"work_folder": False}, "error", "the working folder is not there (n1)"),
        ({"modules": {"mine": False}}, "error", "the module mine cannot be imported there"),
        ({"asked": ""}, "error", "/store is not shared: a job does not see what is written here"),
        ({"clock": None}, "error", "/store is not shared: a job cannot write there"),
        ({"clock": 90.2}, "warning", "the clock there is 90 s ahead"),
        ({"clock": -60.0}, "warning", "the clock there is 60 s behind"),
    ],
)
def test_what_differs(there: dict[str, Any], severity: str, what: str) -> None:
    ((how_bad, text),) = found(**there)
    assert how_bad == severity
    assert text.startswith(what)


def test_the_table() -> None:
    rows = compared(FACTS, {**FACTS, "host": "n1", "packages": {"metta-sweep": "0.1.0"}, "work_folder": False})
    assert [tuple(row) for row in rows] == [
        ("host", "laptop", "n1"),
        ("machine", "x86_64", "x86_64"),
        ("python", "3.12.4", "3.12.4"),
        ("metta-sweep", "0.1.0", "0.1.0"),
        ("numpy", "2.3.0", ""),
        ("working folder", "there", "missing"),
        ("module mine", "found", "found"),
        ("module _by_value", "not found", "not found"),
    ]


def test_looking_around(tmp_path: Path) -> None:
    (tmp_path / "asked").write_text("nonce")
    seen = look_around(
        str(tmp_path), str(tmp_path), ["no-such-distribution"], ["json", "no_such_module", "no_such.part"]
    )
    assert (tmp_path / "answered").read_text() == seen["asked"] == "nonce"
    assert seen["packages"] == {"no-such-distribution": ""}
    assert seen["modules"] == {"json": True, "no_such_module": False, "no_such.part": False}
    assert (seen["python"], seen["work_folder"]) == (platform.python_version(), True)
    assert abs(seen["clock"]) < 60
    elsewhere = look_around(str(tmp_path / "absent"), str(tmp_path / "absent"), [], [])
    assert (elsewhere["asked"], elsewhere["clock"], elsewhere["work_folder"]) == ("", None, False)


# -- asking the engine -------------------------------------------------------------------------------------------------


def test_the_engine_is_asked(executor: ProcessExecutor, tmp_path: Path) -> None:
    refuse_if_unready(executor)
    executor.engine.down = "nobody answers: start it"
    with pytest.raises(ExecutorUnready, match=r"^nobody answers: start it$") as caught:
        refuse_if_unready(executor)
    assert (caught.value.exit_code, caught.value.problems) == (3, ("nobody answers: start it",))
    assert check_executor(executor, folder=tmp_path) == [Problem(Severity.ERROR, "nobody answers: start it")]
    assert executor.engine.submissions == []


def test_several_problems_are_listed() -> None:
    assert str(ExecutorUnready("X", ["a", "b"])) == "error: X cannot run jobs:\n  a\n  b"


def test_an_engine_that_cannot_be_asked(tmp_path: Path) -> None:
    class Silent(ProcessEngine):
        def problems(self) -> Sequence[str]:
            raise EngineUnavailable("connection refused")

    with RemoteExecutor(Silent(tmp_path / "engine"), spool=tmp_path) as executor:
        assert engine_problems(executor) == ["processes cannot be reached: connection refused"]


def test_a_local_one_has_no_engine() -> None:
    with LocalExecutor(1) as executor:
        assert engine_problems(executor) == []


# -- probing -----------------------------------------------------------------------------------------------------------


def test_a_job_finds_all_as_it_is_here(executor: ProcessExecutor, tmp_path: Path) -> None:
    found = examine_executor(executor, folder=tmp_path / "store", modules=["tests.executors.tasks"], timeout=PATIENCE)
    assert found.problems == ()
    facts = {row.fact: (row.here, row.there) for row in found.rows}
    assert facts["host"] == (platform.node(), platform.node())
    assert facts["module tests.executors.tasks"] == ("found", "found")
    assert facts["folder of the store"] == ("shared", "shared")
    assert os.listdir(tmp_path / "store") == []


def test_local_workers_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METTA_SWEEP_HOME", str(tmp_path))
    with LocalExecutor(1) as executor:
        assert check_executor(executor, timeout=PATIENCE) == []
    assert os.listdir(tmp_path) == []


def test_a_job_that_cannot_start(tmp_path: Path) -> None:
    engine = ProcessEngine(tmp_path / "engine", poll_interval=0.05)
    with RemoteExecutor(engine, spool=tmp_path, python="/bin/false") as executor:
        (problem,) = check_executor(executor, folder=tmp_path, timeout=PATIENCE)
    assert problem.severity is Severity.ERROR
    assert problem.what.startswith("the probe failed (")
    assert problem.remedy.startswith(f"do jobs see {tmp_path} under the same path")


def test_a_queue_that_is_too_long(tmp_path: Path) -> None:
    class Full(ProcessEngine):
        def submit(self, jobs: Sequence[Job], label: str) -> Sequence[str]:
            raise EngineUnavailable("the queue is full")

    with RemoteExecutor(Full(tmp_path / "engine", poll_interval=0.05), spool=tmp_path) as executor:
        (problem,) = check_executor(executor, folder=tmp_path, timeout=0.3)
    assert problem.what == "the probe has not begun after 0.3 s"
    assert str(problem).endswith("ask for less, or see what the queue says")


def test_a_store_that_is_a_copy_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Apart(LocalExecutor):
        def submit(self, task: Task, events: EventStream) -> None:
            there = shutil.copytree(task.args[0], tmp_path / "there")
            super().submit(replace(task, args=(str(there), *task.args[1:])), events)

    monkeypatch.setattr("metta.sweep.executors.remote.probe.ANSWER_PATIENCE_S", 0.0)
    with Apart(1) as executor:
        (problem,) = check_executor(executor, folder=tmp_path, timeout=PATIENCE)
    assert problem.what == f"{tmp_path} is not shared: what a job writes there does not come back"


def test_a_store_that_cannot_be_written(executor: ProcessExecutor, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (problem,) = check_executor(executor, folder=tmp_path / "file")
    assert str(tmp_path / "file") in problem.what
