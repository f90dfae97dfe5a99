"""`--executor` and its options; what is checked before a run, what a dry run shows, and who takes up a job."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.cli.executors import choice_of, split_options
from metta.sweep.cli.origin import ORIGIN_FILE, Origin
from metta.sweep.errors import UsageError
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.executors.registry import EXECUTORS
from tests.cli.commands import ROOT, RUNNABLE, Commands, end
from tests.cli.runnable import note

ELSEWHERE = str(Path(__file__).with_name("elsewhere.py"))
NAMED = {"elsewhere": "tests.cli.elsewhere:Elsewhere", "queue": "tests.cli.test_executors:Queue"}


class Watched(LocalExecutor):
    """Notes that it is closed."""

    def close(self) -> None:
        note("closed")
        super().close()


class Queue:
    """Has parameters of many types; it is only ever asked for them."""

    def __init__(
        self,
        partition: str,
        *,
        nodes: int = 1,
        exclusive: bool = False,
        labels: Mapping[str, str] | None = None,
        mounts: Sequence[str] = (),
        spool: Path | None = None,
    ) -> None:
        self.given = (partition, nodes, exclusive, labels, mounts, spool)


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, target in NAMED.items():
        monkeypatch.setitem(EXECUTORS.builtin, name, target)


def test_the_executor_of_an_experiment_serves_all_sweeps_in_it(command: Commands) -> None:
    """Several sweeps one after the other, in one process that stays warm, as from Python."""
    code, _, err = command("run", f"{Path(__file__).with_name('runnable_levels.py')}:tasks")
    assert code == 0, err
    workers = command.notes.read_text().split()
    assert len(workers) >= 4
    assert len(set(workers)) == 1


# -- options -----------------------------------------------------------------------------------------------------------


def test_options_are_told_from_settings() -> None:
    assert split_options(["a=1", "executor.partition=gpu", "executor=x", "executors.b=2"]) == (
        ["executor.partition=gpu"],
        ["a=1", "executor=x", "executors.b=2"],
    )


def test_options_are_read_as_what_they_are_declared_to_be() -> None:
    texts = ("partition=1", "nodes=1e1", "exclusive=yes", 'labels={"a": "1"}', "mounts=/a,/b", "spool=/tmp/s")
    choice = choice_of("queue", [f"executor.{text}" for text in texts])
    assert choice is not None
    assert choice.options == {
        "partition": "1",
        "nodes": 10,
        "exclusive": True,
        "labels": {"a": "1"},
        "mounts": ["/a", "/b"],
        "spool": Path("/tmp/s"),
    }
    assert choice_of(None, []) is None


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("queue", [], "Queue needs partition: add executor.partition=..."),
        ("queue", ["executor.partiton=a"], "Queue has no option 'partiton': did you mean 'partition'?"),
        ("queue", ["executor.partition=a", "executor.nodes=x"], "executor.nodes=x: expected int, found 'x'"),
        ("queue", ["executor.labels.a=1"], """it is one value, such as executor.labels='{"a": ...}'"""),
        ("queue", ["executor.zzz=1"], "it takes partition, nodes, exclusive, labels, mounts, spool"),
        ("quue", [], "there is no executor 'quue': did you mean 'queue'?"),
        (None, ["executor.nodes=2"], "executor.nodes=2: this is an option of an executor: add --executor NAME"),
    ],
)
def test_options_that_are_none(name: str | None, options: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        choice_of(name, options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["run", f"{ELSEWHERE}:mixed", "--set", "x=1", "--executor", "elsewhere"],
            '.through(..., executor="elsewhere")',
        ),
        (["run", f"{RUNNABLE}:Fitting", "--executor", "local"], "--executor is for sweeps"),
        (["run", f"{ELSEWHERE}:sweep", "--set", "executor.max_jobs=2"], "add --executor NAME"),
        (["doctor", "--set", "executor.max_jobs=2"], "add --executor NAME"),
        (["doctor", "--executor", "elsewhere", "--set", "rate=2"], "doctor takes options of an executor"),
        (["doctor", "--executor", "elsewhere", "--replay"], "--replay is for runs and stores"),
        (["doctor", "--executor", "elsewhere", "absent.py"], "absent.py"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, command: Commands) -> None:
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert not command.runs()


def test_secret_options_are_not_kept() -> None:
    origin = Origin.of("sweeps.py", "sweep", ("executor.token=hunter2", "executor.queue=a"), "queue")
    assert (origin.overrides, origin.withheld) == (("executor.queue=a",), ("executor.token",))


# -- runs --------------------------------------------------------------------------------------------------------------


def test_a_sweep_elsewhere_and_resumed_there(command: Commands) -> None:
    options = ("--executor", "elsewhere", "--set", "executor.max_jobs=1")
    code, out, err = command("run", f"{ELSEWHERE}:sweep", "--budget", "1", *options)
    assert code == 0, err
    assert "1 trials (1 completed)" in out
    run = command.run_id()
    kept = json.loads((command.store / "runs" / run / ORIGIN_FILE).read_text())
    assert (kept["executor"], kept["overrides"]) == ("elsewhere", ["executor.max_jobs=1"])
    code, _, err = command("resume", run, "--budget", "2")
    assert code == 0, err
    assert f"from {ELSEWHERE}:sweep --executor elsewhere executor.max_jobs=1\n" in err
    # Each job has a worker program of its own, the parent of the process that the trial ran in.
    assert len(set(command.notes.read_text().split())) == 2
    assert f"process-{os.getpid()}" not in command.notes.read_text()
    attempts = list((command.store / "runs" / run / "trials").glob("trial-*/attempts/*"))
    assert len(attempts) == 2
    # Elsewhere the options mean nothing.
    code, _, err = command("resume", run, "--budget", "3", "--executor", "local")
    assert code == 0, err
    assert "max_jobs" not in err
    kept = json.loads((command.store / "runs" / run / ORIGIN_FILE).read_text())
    assert (kept["executor"], kept["overrides"]) == ("local", [])


def test_who_opens_closes(command: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXECUTORS.builtin, "watched", f"{__name__}:Watched")
    assert command("run", f"{RUNNABLE}:failing", "--executor", "watched", "--budget", "2")[0] == 1
    assert command.noted("closed") == 1
    assert command("run", f"{RUNNABLE}:slow_sweep", "--executor", "watched", "--dry-run")[0] == 0
    assert command.noted("closed") == 2


def test_what_cannot_run_jobs_is_refused_first(command: Commands) -> None:
    sweep = ("--executor", "elsewhere", "--set", "executor.down=no client program")
    assert command("run", f"{ELSEWHERE}:sweep", *sweep) == (3, "", "error: no client program\n")
    found = command("run", f"{ELSEWHERE}:down", "--set", "x=1")
    assert found == (3, "", "error: the engine is being moved: come back tomorrow\n")
    assert not command.runs()


def test_a_mixed_pipeline(command: Commands) -> None:
    (command.notes.parent / "go").touch()
    code, out, err = command("run", f"{ELSEWHERE}:mixed", "--set", "x=2")
    assert code == 0, err
    assert "c = 20" in out
    assert "a is 2" in out
    folder = command.store / "runs" / command.run_id() / "stages" / "slow" / "attempt-1"
    assert (folder / "log.txt").read_text() == "a is 2\n"


def killed_in_its_stage(command: Commands, target: str) -> None:
    """Run it in a child, and kill that while the stage runs elsewhere."""
    with command.child("run", target, "--set", "x=2") as child:
        try:
            command.until_noted("began", child)
        finally:
            end(child)


def test_the_job_of_a_dead_driver_is_taken_over(command: Commands) -> None:
    killed_in_its_stage(command, f"{ELSEWHERE}:mixed")
    (command.notes.parent / "go").touch()
    code, out, err = command("resume", command.run_id())
    assert code == 0, err
    assert "c = 20" in out
    assert (command.noted("began"), command.noted("ended")) == (1, 1)
    attempts = command.store / "runs" / command.run_id() / "stages" / "slow" / "attempt-1" / "attempts"
    assert len(list(attempts.iterdir())) == 1


def test_ctrl_c_ends_the_job(command: Commands) -> None:
    with command.child("run", f"{ELSEWHERE}:mixed", "--set", "x=2") as child:
        try:
            command.until_noted("began", child)
            os.kill(child.pid, signal.SIGINT)
            out, _ = child.communicate(timeout=60)
        finally:
            end(child)
    assert child.returncode == 130, out
    assert f"go on with: metta-sweep resume {command.run_id()}" in out
    assert command.remains() == []
    (command.notes.parent / "go").touch()
    code, out, err = command("resume", command.run_id())
    assert code == 0, err
    assert (command.noted("began"), command.noted("ended")) == (2, 1)


def test_a_changed_run_does_not_take_over_what_ran_before(command: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    file = command.notes.parent / "changing.py"
    text = Path(ELSEWHERE).read_text()
    file.write_text(text)
    killed_in_its_stage(command, f"{file}:mixed")
    (command.notes.parent / "go").touch()
    file.write_text(text.replace("return a * 10", "return a * 100"))
    assert command("resume", command.run_id())[0] == 4
    code, out, err = command("resume", command.run_id(), "--allow-changed")
    assert code == 0, err
    assert "c = 200" in out
    assert command.noted("began") == 2


# -- dry run -----------------------------------------------------------------------------------------------------------


def test_a_dry_run_shows_the_first_job(command: Commands) -> None:
    code, out, err = command("run", f"{ELSEWHERE}:sweep", "--executor", "elsewhere", "--dry-run")
    assert code == 0, err
    assert "executor: Elsewhere" in out
    assert "the job of trial 0:\n\ntrial 0: " in out
    assert "-m metta.sweep.worker" in out
    assert out.endswith("nothing was run (--dry-run)\n")
    jobs = command.json("run", f"{ELSEWHERE}:mixed", "--set", "x=1", "--dry-run")["jobs"]
    assert list(jobs) == ["stage slow"]
    assert str(command.store / "runs" / "RUN" / "stages" / "slow" / "attempt-1") in jobs["stage slow"]
    jobs = command.json("run", f"{ELSEWHERE}:sweep_of_sweeps", "--executor", "elsewhere", "--dry-run")["jobs"]
    assert list(jobs) == ["trial 0 of elsewhere"]
    assert not command.store.exists()
    assert not command.notes.exists()


def test_a_dry_run_shows_a_batch_script(command: Commands) -> None:
    options = ("--set", "executor.partition=gpu", "--set", 'executor.options={"constraint": "a100"}')
    code, out, err = command("run", f"{ELSEWHERE}:sweep", "--executor", "slurm", *options, "--dry-run")
    assert code == 0, err
    assert "\n#!/bin/bash\n" in out
    assert {"#SBATCH --partition=gpu", "#SBATCH --constraint=a100"} <= {*out.splitlines()}


def test_a_dry_run_needs_no_engine(command: Commands) -> None:
    code, out, _ = command("run", f"{ELSEWHERE}:down", "--set", "x=1", "--dry-run")
    assert code == 0
    assert "the job of stage slow" in out


# -- doctor ------------------------------------------------------------------------------------------------------------


def test_doctor_finds_nothing(command: Commands) -> None:
    code, out, err = command("doctor", "--executor", "elsewhere", ELSEWHERE)
    assert code == 0, err + out
    assert out.endswith("no problems found with Elsewhere\n")
    facts = {line.split("  ")[1].strip(): line for line in out.splitlines()[1:-1]}
    assert {"host", "python", "metta-sweep", "module tests.cli.elsewhere", "folder of the store"} <= facts.keys()
    assert not any(line.startswith("!") for line in facts.values())
    assert not list(command.store.glob("probe-*"))


def test_doctor_knows_what_travels_by_value(command: Commands, tmp_path: Path) -> None:
    (tmp_path / "a script.py").write_text("import helper_of_the_script\n")
    (tmp_path / "helper_of_the_script.py").write_text("")
    found: Any = command.json("doctor", "--executor", "local", str(tmp_path / "a script.py"))
    assert [row["fact"] for row in found["facts"] if "module" in row["fact"]] == ["module helper_of_the_script"]


def test_doctor_says_what_is_wrong(command: Commands) -> None:
    down = ("--set", "executor.down=the engine is being moved")
    assert command("doctor", "--executor", "elsewhere", *down) == (3, "error: the engine is being moved\n", "")
    found: Any = command.json("doctor", "--executor", "elsewhere", *down, code=3)
    assert found == {
        "problems": [{"severity": "error", "what": "the engine is being moved", "remedy": ""}],
        "facts": [],
    }


def test_help_says_so(command: Commands) -> None:
    assert "executor.partition=gpu" in command("run", "--help")[1].replace("\n", " ")
    assert ROOT.is_dir()
