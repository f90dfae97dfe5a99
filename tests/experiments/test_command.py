"""CommandTraining: programs as objectives, by hand and in sweeps."""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import RunError, UsageError
from metta.sweep.executors.command import CommandTraining
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers import ASHAScheduler, AsynchronousScheduler
from metta.sweep.space import Choice, Integer, Uniform
from metta.sweep.trial import FailureReason, MemoryChannel, Report, Resources, Trial, TrialState, UnknownParameter

PYTHON = sys.executable


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    with LocalExecutor(max_workers=2) as executor:
        yield executor


def program(folder: Path, text: str) -> str:
    """A Python program; its command so far."""
    path = folder / "train.py"
    path.write_text(textwrap.dedent(text))
    return f"{PYTHON} {path}"


TRAIN = """
    import json, os, pathlib, sys, time
    rate, folder = float(sys.argv[1]), pathlib.Path(os.environ["METTA_SWEEP_CHECKPOINT"])
    state = folder / "state.json"
    done = json.loads(state.read_text())["done"] if state.exists() else 0
    assert done >= int(os.environ["METTA_SWEEP_STEP"])
    print("training from", done)
    for step in range(done + 1, 5):
        (folder / "state.tmp").write_text(json.dumps({"done": step}))
        (folder / "state.tmp").rename(state)
        print(json.dumps({"score": step * rate, "step": step, "note": "text"}), flush=True)
        time.sleep(float(os.environ.get("PAUSE", 0)))
"""


# The command line


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("train --lr {learning_rate}", ["train", "--lr", "0.001"]),
        ("train --lr={trainer.learning_rate:.1e}", ["train", "--lr=1.0e-03"]),
        ("train {name!r} '{name} {name}'", ["train", "'a b; rm -rf $HOME'", "a b; rm -rf $HOME a b; rm -rf $HOME"]),
        ("train {{literal}} {trial.id} {trial.seed} {trial.resource}", ["train", "{literal}", "3", "7", "9"]),
        (["train", "--text", "two words {name}"], ["train", "--text", "two words a b; rm -rf $HOME"]),
    ],
)
def test_a_value_is_always_part_of_one_argument(command: Any, expected: list[str]) -> None:
    trial = Trial({"trainer.learning_rate": 0.001, "name": "a b; rm -rf $HOME"}, 3, resource=9)
    trial.seed = 7
    assert CommandTraining(command).arguments(trial) == expected


@pytest.mark.parametrize("command", ["", [], "train 'open", "train {", "train {}", "train }", ["train", 3]])
def test_a_malformed_command_is_refused_at_once(command: Any) -> None:
    with pytest.raises(UsageError, match="CommandTraining"):
        CommandTraining(command)


def test_a_wrong_placeholder_is_an_error_before_anything_runs() -> None:
    training = CommandTraining("train --lr {learning_rat}")
    sweep = SweepExperiment(training, search_space={"trainer.learning_rate": Uniform(0.0, 1.0)}, store=None)
    with pytest.raises(UsageError, match=r"'learning_rat': did you mean 'trainer\.learning_rate'"):
        sweep.run(budget=1)
    with pytest.raises(UnknownParameter, match="learning_rat"):
        training.arguments(Trial({"learning_rate": 1.0}))


def test_an_inactive_parameter_takes_its_option_along() -> None:
    space = {"kind": Choice(["cnn", "mlp"]), "cnn.layers": Integer(1, 5)}
    training = CommandTraining("train --kind {kind} --layers {layers} --deep={layers} -v").bound(space)
    assert training.arguments(Trial({"kind": "cnn", "cnn.layers": 3})) == [
        *("train", "--kind", "cnn", "--layers", "3", "--deep=3", "-v")
    ]
    assert training.arguments(Trial({"kind": "mlp"})) == ["train", "--kind", "mlp", "-v"]


def test_the_class_is_no_objective() -> None:
    with pytest.raises(UsageError, match="CommandTraining is a class"):
        SweepExperiment(CommandTraining)  # type: ignore[arg-type]


# By hand


def test_json_lines_are_reports_and_the_rest_is_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = program(
        tmp_path,
        """
        import sys
        print("hello")
        print('{"event": "start"}')
        print('{broken')
        print('[1, 2]')
        print('{"score": 1, "ok": true, "note": "x"}')
        print('{"score": NaN, "loss": 2.5}')
        print("careful", file=sys.stderr)
        """,
    )
    trial = Trial({})
    CommandTraining(command)(trial)
    assert [report.step for report in trial.reports] == [1, 2]
    assert trial.reports[0].metrics == {"score": 1.0}
    assert trial.reports[1].metrics.keys() == {"score", "loss"}
    out, err = capfd.readouterr()
    assert out == 'hello\n{"event": "start"}\n{broken\n[1, 2]\n'
    assert err == "careful\n"


def test_what_the_program_finds_in_its_environment(tmp_path: Path) -> None:
    command = program(
        tmp_path,
        """
        import json, os
        own = {name: os.environ[name] for name in os.environ if name.startswith("METTA_SWEEP_") or name == "MINE"}
        own["cwd"] = os.getcwd()
        open("environment.json", "w").write(json.dumps(own))
        print('{"score": 1}')
        """,
    )
    trial = Trial({"a.b": 1, "c": "x"}, 4, resource=6)
    trial.seed = 11
    CommandTraining(command, environment={"MINE": "1"}, folder=tmp_path)(trial)
    found = json.loads((tmp_path / "environment.json").read_text())
    assert json.loads(found.pop("METTA_SWEEP_PARAMS")) == {"a.b": 1, "c": "x"}
    assert not Path(found.pop("METTA_SWEEP_CHECKPOINT")).exists()  # removed when it is over
    found.pop("METTA_SWEEP_HOME", None)
    assert found == {
        "METTA_SWEEP_TRIAL": "4",
        "METTA_SWEEP_RESOURCE": "6",
        "METTA_SWEEP_SEED": "11",
        "METTA_SWEEP_STEP": "0",
        "MINE": "1",
        "cwd": str(tmp_path.resolve()),
    }


def test_a_failure_tells_the_end_of_standard_error(tmp_path: Path) -> None:
    command = program(
        tmp_path,
        """
        import sys
        for number in range(100):
            print("line", number, file=sys.stderr)
        sys.exit(3)
        """,
    )
    with pytest.raises(RunError, match=r"exited with code 3; the end of its standard error:\nline 80\n(.*\n)*line 99$"):
        CommandTraining(command)(Trial({}))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import os; os.kill(os.getpid(), 9)", "was ended by SIGKILL"),
        ("print('score 0.9')", "reported nothing: print lines such as"),
        ('print(\'{"score": 1, "step": 1.5}\')', "step=1.5: expected a whole number"),
        ('print(\'{"score": 1, "step": 0}\')', "expected a whole number, at least 1"),
    ],
)
def test_other_ways_to_fail(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises((RunError, UsageError), match=told):
        CommandTraining(program(tmp_path, text))(Trial({}))


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(RunError, match=r"no-such-program .* cannot be started"):
        CommandTraining("no-such-program --lr 1")(Trial({}))


class Stopping(MemoryChannel):
    def report(self, report: Report) -> None:
        super().report(report)
        self.stop = report.step == 2


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if (
            Path(f"/proc/{pid}/stat").exists()
            and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        ):
            return
        time.sleep(0.01)
    pytest.fail(f"process {pid} lives")


def test_the_stop_is_a_sigterm_and_what_is_saved_then_is_kept(tmp_path: Path) -> None:
    command = program(
        tmp_path,
        """
        import os, pathlib, signal, sys, time
        folder = pathlib.Path(os.environ["METTA_SWEEP_CHECKPOINT"])
        def end(*_):
            print("x" * 200_000)  # more than a pipe holds
            (folder / "last.bin").write_bytes(b"saved")
            sys.exit(5)
        signal.signal(signal.SIGTERM, end)
        for step in range(1, 100_000):
            print('{"score": 1}', flush=True)
            time.sleep(0.005)
        """,
    )
    trial = Trial({}, channel=Stopping())
    CommandTraining(command)(trial)
    assert trial.step == 2
    assert trial.load() == {"files": {"last.bin": b"saved"}, "step": 2}


def test_what_is_saved_after_the_stop_does_not_replace_what_belongs_to_its_report(tmp_path: Path) -> None:
    command = program(
        tmp_path,
        """
        import os, pathlib, signal, sys, time
        folder = pathlib.Path(os.environ["METTA_SWEEP_CHECKPOINT"])
        def end(*_):
            (folder / "state").write_text("too late")
            sys.exit()
        signal.signal(signal.SIGTERM, end)
        (folder / "state").write_text("in time")
        print('{"score": 1, "step": 2}', flush=True)
        time.sleep(600)
        """,
    )
    trial = Trial({}, channel=Stopping())
    CommandTraining(command)(trial)
    assert trial.load() == {"files": {"state": b"in time"}, "step": 2}


def test_who_does_not_listen_is_killed_with_the_children(tmp_path: Path) -> None:
    command = program(
        tmp_path,
        f"""
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import signal, time; "
            "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"])
        open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
        while True:
            print('{{"score": 1}}', flush=True)
            time.sleep(0.005)
        """,
    )
    trial = Trial({}, channel=Stopping())
    CommandTraining(command, grace=0.2)(trial)
    assert trial.step == 2
    wait_until_gone(int((tmp_path / "pid").read_text()))


def test_a_child_that_is_left_behind_does_not_keep_the_trial_waiting(tmp_path: Path) -> None:
    command = program(
        tmp_path,
        f"""
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
        print('{{"score": 1}}')
        """,
    )
    CommandTraining(command)(Trial({}))
    wait_until_gone(int((tmp_path / "pid").read_text()))


# In sweeps


def sweep(training: CommandTraining, executor: LocalExecutor, **arguments: Any) -> SweepExperiment:
    settings: dict[str, Any] = {"search_space": {"rate": Uniform(0.1, 1.0)}, "optimizer": RandomOptimizer(), "seed": 1}
    return SweepExperiment(training, executor=executor, **{"store": None, **settings, **arguments})


def test_with_asha_a_promoted_program_goes_on_from_its_files(executor: LocalExecutor, tmp_path: Path) -> None:
    training = CommandTraining(program(tmp_path, TRAIN) + " {rate}", environment={"PAUSE": "0.05"})
    result = sweep(
        training,
        executor,
        scheduler=ASHAScheduler(max_epochs=4, grace_period=1, reduction_factor=2),
        store=tmp_path / "s",
    ).run(budget=4)
    assert not result.failures, str(result)
    assert result.recomputed == 0
    assert {trial.step for trial in result.trials} == {1, 2, 4}
    for trial in result.trials:
        assert [report.metrics["score"] for report in trial.reports] == [
            pytest.approx(report.step * trial.params["rate"]) for report in trial.reports
        ]
    assert result.folder is not None
    log = (result.folder / "trials" / f"trial-{result.best_trial.id:04}" / "log.txt").read_text()
    assert "training from 0" in log
    assert re.search("training from [1-3]", log)


def test_repeats_of_a_program_have_seeds_of_their_own(executor: LocalExecutor, tmp_path: Path) -> None:
    command = program(tmp_path, "import sys; print('{\"score\": ' + sys.argv[1] + '}')")
    result = sweep(CommandTraining(f"{command} {{trial.seed}}"), executor, repeats=2).run(budget=2)
    assert result.trials[0].reports[0].metrics["score_std"] > 0
    assert result.trials[0].score == result.trials[1].score


def test_a_time_limit_ends_the_program(executor: LocalExecutor, tmp_path: Path) -> None:
    command = program(
        tmp_path,
        f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)",
    )
    result = sweep(CommandTraining(command), executor, resources=Resources(time_limit=2)).run(budget=1)
    assert list(result.failures) == [FailureReason.TIMEOUT]
    wait_until_gone(int((tmp_path / "pid").read_text()))


def test_a_failing_program_fails_its_trial_only(executor: LocalExecutor, tmp_path: Path) -> None:
    command = program(tmp_path, "import sys\nif sys.argv[1] == '0': sys.exit('no such layer')\nprint('{\"score\": 1}')")
    result = sweep(CommandTraining(f"{command} {{trial.id}}"), executor, scheduler=AsynchronousScheduler()).run(
        budget=2
    )
    assert [trial.state for trial in result.trials] == [TrialState.FAILED, TrialState.COMPLETED]
    failure = result.trials[0].failure
    assert failure is not None
    assert "exited with code 1" in failure.message
    assert "no such layer" in failure.message


def test_another_command_is_another_plan() -> None:
    from metta.sweep.experiments.plan import _objective

    assert _objective(CommandTraining("train {x}")) != _objective(CommandTraining("train --x {x}"))
