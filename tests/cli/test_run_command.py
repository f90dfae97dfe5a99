"""`metta-sweep run` and `resume`: what is chosen, set, kept, and said; in this process."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from secrets import token_hex

import pytest

from metta.sweep.cli.origin import ORIGIN_FILE
from tests.cli.commands import ROOT, RUNNABLE, Commands

GIVEN = ("--set", "rate=0.5", "--set", "mode=exact")
PIPELINE = f"{RUNNABLE}:pipeline"
FAILS = ("run", PIPELINE, "--set", "rate=2", "--set", "mode=fast")


def test_a_pipeline(command: Commands) -> None:
    code, out, err = command("run", PIPELINE, *GIVEN)
    assert code == 0, err
    assert "mode = <Mode.EXACT: 'exact'>" in out
    assert "score = 1.5" in out
    lines = err.splitlines()
    run = command.run_id()
    assert lines[0] == f"run {run} in {command.store / 'runs' / run}"
    # That a stage began is only told where it has not ended at the next look.
    told = [line.partition("] ")[2].partition(" in ")[0] for line in lines[1:] if not line.endswith("started")]
    assert told == ["begin done", "epoch done", "epoch (pass 2) done", "epoch (pass 3) done", "judge done"]


def test_a_pipeline_as_json_keeps_standard_output_to_itself(command: Commands) -> None:
    data = command.json("run", PIPELINE, *GIVEN)
    assert data["status"] == "completed"
    assert data["run"] == command.run_id()
    assert data["result"] == {
        "rate": 0.5,
        "mode": "exact",
        "fit": {"rate": 0.5, "epoch": 3},
        "score": 1.5,
    }


def test_a_run_that_is_not_kept(command: Commands) -> None:
    code, out, err = command("run", PIPELINE, *GIVEN, "--store", "none")
    assert (code, err) == (0, "")
    assert "score = 1.5" in out
    assert not command.store.exists()


def test_a_failure_says_why_and_what_next(command: Commands) -> None:
    code, out, err = command(*FAILS)
    assert code == 1
    assert "score" not in out
    run = command.run_id()
    trace, _, rest = err.partition("error: ")
    assert f'File "{RUNNABLE}"' in trace
    assert "metta/sweep/runtime" not in trace
    assert err.count("metta-sweep resume") == 1
    assert "metta/sweep/runtime" not in rest
    assert rest == (
        'stage "judge" failed (user_error): ValueError: the rate 2.0 is too large\n'
        f"go on with: metta-sweep resume {run}\n"
    )
    told = command("status", run)[1]
    assert told.startswith(f"pipeline {run}: failed\n")
    assert 'stage "judge" failed (user_error): ValueError: the rate 2.0 is too large' in told
    assert f'File "{RUNNABLE}"' in told
    status = command.json("status", run)
    stages = {stage["name"]: (stage["states"], stage["failures"]) for stage in status["stages"]}
    assert stages == {"begin": ({"done": 1}, 0), "epoch": ({"done": 3}, 0), "judge": ({"failed": 1}, 2)}
    assert status["failure"]["stage"] == "judge"


def test_a_broken_contract_says_where_it_is_explained(command: Commands, tmp_path: Path) -> None:
    script = tmp_path / "parsing.py"
    script.write_text(
        "from typing import Any\nfrom metta.sweep import Pipeline\ndef parse(text: str) -> Any:\n    return text\n"
        "pipeline = Pipeline(text=str).stage('parse', parse).through(number=float)\n"
    )
    code, _, err = command("run", str(script), "text=1")
    assert code == 1
    assert err.splitlines()[-3:] == [
        'error: stage "parse" broke its contract number: float: number: expected float, found str ("1")',
        "what it means: metta-sweep explain contract-violation",
        f"go on with: metta-sweep resume {command.run_id()}",
    ]


def test_resume_goes_on_with_what_was_set(command: Commands) -> None:
    assert command(*FAILS)[0] == 1
    run = command.run_id()
    code, out, err = command("resume", run)
    assert code == 0, err
    assert err.startswith(f"going on with {run} from {PIPELINE} rate=2 mode=fast\n")
    assert "score = 6.0" in out
    assert command.noted("begin") == 1
    assert command.json("resume", run)["result"]["score"] == 6.0  # it is finished: its result
    assert command.noted("begin") == 1


def test_resume_refuses_another_input_unless_it_may_change(command: Commands) -> None:
    assert command(*FAILS)[0] == 1
    code, _, err = command("resume", command.run_id(), "--set", "rate=0.5")
    assert code == 4
    assert 'the input "rate" is another' in err
    code, out, _ = command("resume", command.run_id(), "--set", "rate=0.5", "--allow-changed")
    assert code == 0
    assert "score = 1.5" in out


def test_the_one_value_of_a_pipeline(command: Commands) -> None:
    assert command("run", f"{RUNNABLE}:of_a_value", "--set", "value=3")[0] == 1
    code, _, err = command("resume", command.run_id(), "--set", "value=5")
    assert (code, "is another" in err) == (4, True)
    assert command("resume", command.run_id())[1] == "1.5\n"
    code, _, err = command("run", f"{RUNNABLE}:of_a_value")
    assert (code, err) == (2, "error: of_a_value needs value: add value=...\n")


def test_resume_refuses_changed_code(command: Commands, tmp_path: Path) -> None:
    file = tmp_path / "changing.py"
    shutil.copy(RUNNABLE, file)
    assert command("run", f"{file}:pipeline", "--set", "rate=2", "--set", "mode=fast")[0] == 1
    file.write_text(file.read_text().replace("now.fit.epoch < 3", "now.fit.epoch < 4"))
    code, _, err = command("resume", command.run_id())
    assert code == 4
    assert 'stage "loop" has changed' in err
    assert "Traceback" not in err


def test_an_experiment_with_a_parameter(command: Commands) -> None:
    code, out, err = command("run", f"{RUNNABLE}:Fitting", "--set", "rate=0.75")
    assert code == 0, err
    assert "score = 1.5" in out
    code, _, err = command("run", f"{RUNNABLE}:Fitting", "--set", "rat=1")
    assert code == 2
    assert err.startswith("error: Fitting has no parameter 'rat'")


def test_a_sweep(command: Commands) -> None:
    data = command.json("run", f"{RUNNABLE}:failing", "--budget", "4", "--set", "seed=5", code=1)
    assert data["counts"] == {"completed": 3, "failed": 1}
    assert data["failures"][0]["failure"] == {"reason": "user_error", "message": "ValueError: bad luck"}
    run = command.run_id()
    status = command.json("status", run)
    assert (status["counts"], status["best"]["id"]) == (data["counts"], data["best"]["id"])
    (row,) = command.json("ls")
    assert (row["status"], row["counts"], row["total"], row["best"]) == (
        "completed",
        data["counts"],
        4,
        data["best"]["score"],
    )
    assert "1 failed (user_error), trial 1: ValueError: bad luck" in command("status", run)[1]
    code, _, err = command("resume", run)
    assert (code, "--budget N extends it" in err) == (2, True)
    assert command.json("resume", run, "--retry-failed")["counts"] == {"completed": 4}
    assert command.json("resume", run, "--budget", "6")["counts"] == {"completed": 6}
    assert command("doctor", run, "--replay")[0] == 0


def test_fail_fast(command: Commands) -> None:
    code, _, err = command("run", f"{RUNNABLE}:failing", "--budget", "500", "--fail-fast")
    assert code == 1
    assert "error: trial 1 failed (user_error): ValueError: bad luck; the sweep was stopped there (--fail-fast)" in err
    assert command.json("status", command.run_id())["counts"]["failed"] == 1
    assert len(command.json("status", command.run_id())["failures"]) == 1


def test_logs(command: Commands) -> None:
    command.notes.write_text("sleep\n")
    assert command("run", f"{RUNNABLE}:slow_sweep", "--budget", "2")[0] == 0
    run = command.run_id()
    assert command("logs", f"{run}/1")[1] == "trial 1 speaks\n"
    both = "==> trials/trial-0000 <==\ntrial 0 speaks\n==> trials/trial-0001 <==\ntrial 1 speaks\n"
    assert command("logs", run)[1] == both
    assert command("logs", run, "-f")[1] == both
    code, _, err = command("logs", f"{run}/trial-7")
    assert (code, err) == (2, f'error: run {run} has no log of trial-7: did you mean "trial-0001"?\n')


def test_logs_of_stages(command: Commands) -> None:
    code, _, err = command("run", f"{RUNNABLE}:talking", "--set", "rate=2")
    assert code == 0, err
    run = command.run_id()
    said = "the rate is 2.0\n"
    both = f"==> stages/aloud/attempt-1 <==\n{said}==> stages/aloud/attempt-2 <==\n{said}"
    assert command("logs", run)[1] == both
    assert command("logs", f"{run}/aloud")[1] == both
    assert command("logs", f"{run}/aloud/attempt-2")[1] == said
    code, _, err = command("logs", f"{run}/aloud/attempt-3")
    assert (code, 'did you mean "attempt-' in err) == (2, True)
    code, _, err = command("logs", f"{run}/aluod")
    assert (code, 'did you mean "aloud"' in err) == (2, True)


def test_a_pipeline_without_workers_has_no_logs(command: Commands) -> None:
    assert command("run", PIPELINE, *GIVEN)[0] == 0
    code, _, err = command("logs", command.run_id())
    assert (code, "only stages in worker processes have some" in err) == (2, True)


def test_the_command_that_goes_on_can_be_copied(command: Commands, tmp_path: Path) -> None:
    """The store's folder may be called anything."""
    store = tmp_path / "my $(touch canary) store; false"
    code, _, err = command(*FAILS, "--store", str(store))
    assert code == 1
    (copied,) = (line.partition("go on with: ")[2] for line in err.splitlines() if line.startswith("go on with"))
    (run,) = (store / "runs").iterdir()
    assert shlex.split(copied) == ["metta-sweep", "resume", run.name, "--store", str(store)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", RUNNABLE], "choose one, as in"),
        (["run", PIPELINE], "pipeline needs rate, mode: add rate=... mode=..."),
        (["run", PIPELINE, "--set", "rate=x"], "rate=x: expected float, found 'x'"),
        (["run", PIPELINE, "--set", "mdoe=x"], 'pipeline has no input "mdoe": did you mean "mode"?'),
        (["run", f"{RUNNABLE}:pipelin"], '(did you mean "pipeline"?)'),
        (["run", PIPELINE, *GIVEN, "--budget", "3"], "--budget is for sweeps"),
        (["run", PIPELINE, *GIVEN, "--executor", "local"], "--executor is for sweeps"),
        (["run", PIPELINE, *GIVEN, "--keep-going"], "--fail-fast and --keep-going are for sweeps"),
        (
            ["run", f"{RUNNABLE}:slow_sweep", "--executor", "lokal"],
            "there is no executor 'lokal': did you mean 'local'?",
        ),
        (
            ["run", f"{RUNNABLE}:slow_sweep", "--budget", "0"],
            "--budget: expected a whole number of at least 1, found '0'",
        ),
        (["run", "absent.py"], "there is no file absent.py"),
        (["resume", "absent"], "there is no run 'absent'"),
        (["status", "absent"], "there is no run 'absent'"),
        (["rm", "absent"], "there is no run 'absent'"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, command: Commands) -> None:
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert not command.runs()


def test_a_dry_run_keeps_nothing(command: Commands) -> None:
    code, out, _ = command("run", PIPELINE, *GIVEN, "--dry-run")
    assert code == 0
    assert "inputs: rate=0.5, mode=<Mode.EXACT: 'exact'>" in out
    assert "stages: begin, loop, epoch, judge" in out
    data = command.json("run", f"{RUNNABLE}:slow_sweep", "--budget", "7", "--executor", "local", "--dry-run")
    assert (data["kind"], data["budget"], data["executor"], data["goal"]) == (
        "sweep",
        "7",
        "LocalExecutor",
        {"score": "maximize"},
    )
    assert not command.store.exists()
    assert not command.notes.exists()


def test_secrets_are_not_kept(command: Commands, tmp_path: Path) -> None:
    file = tmp_path / "secret.py"
    file.write_text(
        "from metta.sweep.experiments import SweepExperiment\n"
        "from metta.sweep.space import Uniform\n"
        "def objective(trial):\n    return 1.0\n"
        "class Mine(SweepExperiment):\n    api_token: str = ''\n"
        "mine = Mine(objective, name='mine', search_space={'x': Uniform(0.0, 1.0)})\n"
    )
    secret = token_hex(8)
    assert command("run", f"{file}:mine", "--budget", "1", "--set", f"api_token={secret}")[0] == 0
    run = command.run_id()
    for kept in (command.store / "runs" / run).rglob("*"):
        assert not kept.is_file() or secret.encode() not in kept.read_bytes(), kept
    code, _, err = command("resume", run, "--budget", "2")
    assert (code, f"give run {run} api_token=... again" in err) == (2, True)
    assert command("resume", run, "--budget", "2", "--set", f"api_token={secret}")[0] == 0


# What a run folder may make us do (promise S1)


def planted(command: Commands, **changes: object) -> tuple[int, str]:
    """Resume a run whose origin somebody has changed."""
    assert command(*FAILS)[0] == 1
    (run,) = command.runs()
    origin = run / ORIGIN_FILE
    data = json.loads(origin.read_text())
    origin.write_text(json.dumps({**data, **changes}))
    code, out, err = command("resume", run.name)
    assert out == ""
    return code, err


def test_a_file_of_the_run_is_not_executed(command: Commands, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    command.store.mkdir()
    planted_file = command.store / "evil.py"
    planted_file.write_text(f"open({str(canary)!r}, 'w')\npipeline = None\n")
    code, err = planted(command, file=str(planted_file))
    assert code == 4
    assert "which lies in the store itself: if you trust it, name it" in err
    link = tmp_path / "link.py"
    link.symlink_to(planted_file)
    shutil.rmtree(command.store / "runs")
    command.notes.unlink()
    assert planted(command, file=str(link))[0] == 4
    assert not canary.exists()


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"file": "/etc/passwd"}, 4, "which is no Python file"),
        ({"file": "runnable.py"}, 4, "which is no Python file"),
        ({"file": "/absent/file.py"}, 2, "is not there any more: name the file"),
        ({"file": 7}, 3, "is damaged: it does not say what was run"),
        ({"overrides": "x"}, 3, "is damaged"),
        ({"name": "a\nb"}, 3, "is damaged"),
        ({"file": "/absent/file.py", "name": "x; touch canary"}, 2, "FILE:'x; touch canary'"),
    ],
)
def test_what_a_run_names_is_looked_at_first(
    changes: dict[str, object], code: int, message: str, command: Commands
) -> None:
    found, err = planted(command, **changes)
    assert found == code
    assert message in err


def test_a_pipe_in_place_of_a_file_is_not_opened(command: Commands, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.py"
    os.mkfifo(pipe)
    code, err = planted(command, file=str(pipe))
    assert (code, "which is no regular file" in err) == (4, True)


SCRIPT = """
import os
from typing import NamedTuple
from metta.sweep import Pipeline
class Fit(NamedTuple):
    rate: float
def begin(rate: float) -> Fit:
    return Fit(rate)
def judge(fit: Fit) -> float:
    if not os.path.exists(os.environ["NOTES"]):
        raise ValueError("no notes")
    return fit.rate
pipeline = Pipeline(rate=float).stage("begin", begin).through(fit=Fit).stage("judge", judge).through(score=float)
if __name__ == "__main__":
    pipeline.compile().with_store().run(rate=6.0)
"""


def test_a_run_of_a_script_is_resumed_with_its_file(command: Commands, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ended = subprocess.run(
        [sys.executable, str(script)], env=command.environment, cwd=ROOT, capture_output=True, check=False
    )
    assert ended.returncode == 1
    run = command.run_id()
    code, out, err = command("resume", run)
    assert (code, out) == (2, "")
    assert f"run {run} was started by `{sys.executable} {script}`" in err
    assert f'run(resume="{run}")' in err
    assert f"metta-sweep resume {run} script.py:NAME" in err
    command.notes.touch()
    code, out, err = command("resume", run, f"{script}:pipeline")
    assert code == 0, err
    assert "score = 6.0" in out
    assert "begin" not in err.partition("script.py")[2]  # it was not entered again
