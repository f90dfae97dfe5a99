"""Sweeps as Optuna studies, read back by Optuna itself."""

from __future__ import annotations

import math
import shlex
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState as OptunaState

from metta.sweep.errors import RefusedError, StorageError, UsageError
from metta.sweep.interop import export_run
from metta.sweep.interop.export.optuna import export_optuna
from metta.sweep.interop.source import ExportedSweep
from metta.sweep.report.snapshot import SweepSnapshot
from metta.sweep.trial import Report, TrialState
from tests.interop.sweeps import BEGAN, made, snapshot


def study(path: Path, name: str = "digits-1") -> optuna.Study:
    if path.suffix == ".db":
        return optuna.load_study(study_name=name, storage=RDBStorage(f"sqlite:///{path}"))
    return optuna.load_study(study_name=name, storage=JournalStorage(JournalFileBackend(str(path))))


def export(sweep: SweepSnapshot, path: Path, name: str | None = None) -> str:
    return export_optuna(ExportedSweep(sweep, BEGAN), path=path, study=name)


@pytest.mark.parametrize("file", ["sweep.log", "sweep.db"])
def test_every_state_arrives(tmp_path: Path, file: str) -> None:
    states = [
        *(TrialState.COMPLETED, TrialState.PRUNED, TrialState.FAILED, TrialState.CANCELLED),
        *(TrialState.RUNNING, TrialState.PAUSED, TrialState.PENDING),
    ]
    sweep = snapshot(*(made(number, state, steps=3 * (number < 6)) for number, state in enumerate(states)))
    told = export(sweep, tmp_path / file)
    assert told.startswith("7 trials are in the study 'digits-1' of ")
    assert f"optuna-dashboard {'sqlite:///' if file.endswith('.db') else ''}{tmp_path / file}" in told
    found = study(tmp_path / file)
    assert [trial.state.name for trial in found.trials] == [
        *("COMPLETE", "PRUNED", "FAIL", "FAIL", "RUNNING", "RUNNING", "WAITING")
    ]
    assert [trial.user_attrs["sweep/state"] for trial in found.trials] == [state.value for state in states]
    assert found.directions == [optuna.study.StudyDirection.MAXIMIZE]
    assert found.metric_names == ["score"]


def test_conditions_that_digests_stand_for_say_nothing_of_ranges(tmp_path: Path) -> None:
    space = {"x": {"type": "Uniform", "lo": 0.0, "hi": 1.0, "conditions": ["parameter='kind' values=(A,)"]}}
    export(replace(snapshot(made(0, params={"x": 0.5})), space=space), tmp_path / "sweep.log")
    (trial,) = study(tmp_path / "sweep.log").trials
    assert trial.distributions["x"] == FloatDistribution(0.0, 1.0)


def test_the_command_to_open_it_can_be_pasted(tmp_path: Path) -> None:
    told = export(snapshot(made(0)), tmp_path / "my sweeps" / "sweep.log")
    assert shlex.split(told)[-2:] == ["optuna-dashboard", str(tmp_path / "my sweeps" / "sweep.log")]


def test_numbers_times_and_attributes_arrive(tmp_path: Path) -> None:
    export(snapshot(made(0), made(1), made(2, TrialState.FAILED)), tmp_path / "sweep.log")
    _, second, third = study(tmp_path / "sweep.log").trials
    assert second.number == 1
    assert second.value == 1.3
    assert second.intermediate_values == {1: 1.1, 2: 1.2, 3: 1.3}
    assert second.datetime_start == datetime.fromtimestamp(BEGAN + 10)
    assert second.datetime_complete == datetime.fromtimestamp(BEGAN + 15)
    assert second.user_attrs["sweep/cost"] == 4.5
    assert second.user_attrs["sweep/attempts"] == 1
    assert second.user_attrs["metric/loss"] == 1 / 3
    assert third.user_attrs["sweep/failure"] == "oom: it needs 9 GB"


def test_distributions_are_those_of_the_values(tmp_path: Path) -> None:
    wide = {"learning_rate": 0.5, "layers": 2, "batch": 16, "kind": "cnn", "cnn.width": 1.5}
    export(snapshot(made(0), made(1, params=wide)), tmp_path / "sweep.log")
    first, second = study(tmp_path / "sweep.log").trials
    assert second.params == wide
    assert second.distributions == {
        "learning_rate": FloatDistribution(1e-4, 0.5, log=True),  # the value lies beyond the space
        "layers": IntDistribution(1, 8),
        "batch": IntDistribution(8, 64, log=True),
        "kind": CategoricalDistribution(["cnn", "mlp"]),
        "cnn.width": FloatDistribution(0.5, 2.0),
    }
    assert "cnn.width" not in first.params, "it is not active"


def test_parameters_that_the_space_does_not_know(tmp_path: Path) -> None:
    params: list[dict[str, object]] = [{"flag": True, "size": [1, 2], "n": 1}, {"flag": 1, "size": None, "n": 5}]
    trials = [made(number, params=given) for number, given in enumerate(params)]
    export(snapshot(*trials), tmp_path / "sweep.log")
    found = study(tmp_path / "sweep.log").trials
    assert [trial.params for trial in found] == [
        {"flag": "True", "size": "[1, 2]", "n": 1},  # Optuna takes 1 and True for one choice
        {"flag": "1", "size": None, "n": 5},
    ]
    assert found[0].distributions["n"] == IntDistribution(1, 5)


def test_secrets_stay_here(tmp_path: Path) -> None:
    export(snapshot(made(0)), tmp_path / "sweep.log")
    assert "hunter2" not in (tmp_path / "sweep.log").read_text()


def test_several_objectives(tmp_path: Path) -> None:
    trials = [made(0, several=True), made(1, TrialState.PRUNED, several=True)]
    export(snapshot(*trials, several=True), tmp_path / "sweep.log")
    found = study(tmp_path / "sweep.log")
    assert [direction.name for direction in found.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert found.metric_names == ["accuracy", "latency"]
    assert found.trials[0].values == [0.3, 5.0]
    assert found.trials[1].state is OptunaState.PRUNED
    assert [trial.number for trial in found.best_trials] == [0]


def test_numbers_that_are_none(tmp_path: Path) -> None:
    trial = made(0, TrialState.FAILED, steps=1)
    trial.add_report(Report(2, {"score": math.nan, "loss": math.inf}))
    trial.cost = math.inf
    pruned = made(1, TrialState.PRUNED)
    pruned.score = math.nan
    for file in ("sweep.log", "sweep.db"):
        export(snapshot(trial, pruned), tmp_path / file)
        found, other = study(tmp_path / file).trials
        assert other.value is None
        assert math.isnan(found.intermediate_values[2])
        assert found.user_attrs["metric/loss"] == "inf"
        assert found.user_attrs["sweep/cost"] == "inf"


@pytest.mark.parametrize("file", ["sweep.log", "sweep.db"])
def test_exported_again_it_is_brought_up_to_date(tmp_path: Path, file: str) -> None:
    waiting = made(2, TrialState.PENDING, steps=0)
    export(snapshot(made(0), made(1, TrialState.RUNNING, steps=1), waiting, status="running"), tmp_path / file)
    before = study(tmp_path / file)
    after = snapshot(made(0), made(1, steps=4), made(2, TrialState.RUNNING, steps=1), made(3), status="running")
    for _ in range(2):
        export(after, tmp_path / file)
    found = study(tmp_path / file)
    assert found._study_id == before._study_id
    assert [trial.state.name for trial in found.trials] == ["COMPLETE", "COMPLETE", "RUNNING", "COMPLETE"]
    assert found.trials[1].value == 1.4
    assert found.trials[1].intermediate_values == {1: 1.1, 2: 1.2, 3: 1.3, 4: 1.4}
    assert found.trials[1].user_attrs["sweep/step"] == 4


@pytest.mark.parametrize("file", ["sweep.log", "sweep.db"])
def test_a_trial_that_was_tried_again_makes_the_study_new(tmp_path: Path, file: str) -> None:
    export(snapshot(made(0, TrialState.FAILED), made(1)), tmp_path / file)
    export(snapshot(made(0), made(1)), tmp_path / file)
    found = study(tmp_path / file)
    assert [trial.state.name for trial in found.trials] == ["COMPLETE", "COMPLETE"]
    assert "sweep/failure" not in found.trials[0].user_attrs


def test_two_sweeps_share_a_storage(tmp_path: Path) -> None:
    export(snapshot(made(0)), tmp_path / "sweep.log")
    export(snapshot(made(0), made(1), run_id="digits-2"), tmp_path / "sweep.log")
    assert len(study(tmp_path / "sweep.log", "digits-1").trials) == 1
    assert len(study(tmp_path / "sweep.log", "digits-2").trials) == 2


def test_after_an_export_that_was_cut_short_the_next_one_is_whole(tmp_path: Path) -> None:
    """Optuna would write behind half a line, and then read neither."""
    sweep, path = snapshot(*map(made, range(3))), tmp_path / "sweep.log"
    export(sweep, path)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    begins = [sum(map(len, lines[:count])) for count in range(len(lines))]
    for begin, line in zip(begins, lines, strict=True):
        for cut in {begin + 1, begin + len(line) // 2, begin + len(line) - 1, begin + len(line)}:
            path.write_bytes(whole[:cut])
            export(sweep, path)
            found = study(path)
            assert [trial.value for trial in found.trials] == [0.3, 1.3, 2.3], cut
            assert found.user_attrs["sweep/run"] == "digits-1"
            assert found.metric_names == ["score"]


def test_a_study_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "sweep.log")))
    optuna.create_study(study_name="mine", storage=storage)
    with pytest.raises(RefusedError, match=r"'mine' there was not exported by metta-sweep: write to another file"):
        export(snapshot(made(0)), tmp_path / "sweep.log", "mine")
    export(snapshot(made(0)), tmp_path / "sweep.log", "ours")
    with pytest.raises(RefusedError, match=r"'ours' there is of the sweep 'digits-1': .*give study= another name"):
        export(snapshot(made(0), run_id="digits-2"), tmp_path / "sweep.log", "ours")
    assert study(tmp_path / "sweep.log", "mine").trials == []


def test_what_is_no_storage_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unpickling"):
        export_run(snapshot(made(0)), "optuna", path="redis://localhost")
    with pytest.raises(StorageError, match="cannot be opened"):
        export_run(snapshot(made(0)), "optuna", path="nosuch://localhost/x")
    (tmp_path / "notes.txt").write_text("dear diary\n")
    with pytest.raises(StorageError, match="cannot be opened"):
        export_run(snapshot(made(0)), "optuna", path=tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "dear diary\n"
    (tmp_path / "notes.txt").write_text("no line's end")
    with pytest.raises(StorageError, match="cannot be opened"):
        export_run(snapshot(made(0)), "optuna", path=tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "no line's end"
