"""Loggers: what they write while a sweep runs is what its exporter writes afterwards, also of a resumed one."""

from __future__ import annotations

import csv
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import MissingExtraError
from metta.sweep.experiments.results import SweepResult
from metta.sweep.goal import Objectives
from metta.sweep.interop import CSVLogger, MLflowLogger, TensorBoardLogger, WandbLogger, export_run
from metta.sweep.interop.export.table import CSVSink
from metta.sweep.interop.export.tensorboard import TensorBoardSink
from metta.sweep.interop.facts import SweepFacts, TrialFacts
from metta.sweep.interop.recording import Recording
from metta.sweep.interop.sink import Mark
from metta.sweep.report.events import (
    Callback,
    SweepEnded,
    SweepEvent,
    SweepStarted,
    TrialEnded,
    TrialPaused,
    TrialReported,
    TrialStarted,
)
from metta.sweep.trial import Report
from tests.interop.sweeps import snapshot, sweep
from tests.interop.test_tensorboard import scalars


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return sorted(csv.DictReader(file), key=lambda row: [int(row[name]) for name in ("trial", "step")])


def trial_tags(folder: Path, result: SweepResult) -> dict[int, dict[str, list[tuple[int, float]]]]:
    found: dict[int, dict[str, list[tuple[int, float]]]] = {}
    for trial in result.trials:
        place = folder / str(result.run_id) / f"trial-{trial.id:04d}"
        # A trial that was paused has a file for each time it ran; those of one second are read in any order.
        found[trial.id] = {tag: sorted(points) for tag, points in scalars(place).items()}
    return found


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepResult, Path]:
    """A sweep whose first 8 trials one driver ran, and 4 more the next one, with two loggers; and another one's."""
    folder = tmp_path_factory.mktemp("logged")
    loggers = (CSVLogger(folder / "csv"), TensorBoardLogger(folder / "tb"))
    first = sweep(folder / "store", *loggers, trials=8)
    assert first.ended == "the budget of trials was used up"
    return sweep(folder / "store", *loggers, trials=12, resume=first.run_id), folder


def test_a_resumed_sweep_is_logged_once(logged: tuple[SweepResult, Path], tmp_path: Path) -> None:
    result, folder = logged
    assert len(result.trials) == 12
    export_run(result, "csv", path=tmp_path / "trials.csv", reports=tmp_path / "reports.csv")
    assert sorted(map(str, table(folder / "csv" / str(result.run_id) / "reports.csv"))) == sorted(
        map(str, table(tmp_path / "reports.csv"))
    )
    export_run(result, "tensorboard", path=tmp_path)
    assert trial_tags(folder / "tb", result) == trial_tags(tmp_path, result)


def test_a_logger_says_what_the_exporter_says(logged: tuple[SweepResult, Path], tmp_path: Path) -> None:
    result, folder = logged
    export_run(result, "csv", path=tmp_path / "trials.csv")
    assert table(folder / "csv" / str(result.run_id) / "trials.csv") == table(tmp_path / "trials.csv")


def test_the_journal_may_be_ahead_of_what_is_heard(tmp_path: Path) -> None:
    """A resumed driver goes on while its logger still reads: what it then hears is partly written already."""
    told: list[SweepEvent] = []
    result = sweep(tmp_path / "store", told.append)
    started = told[0]
    assert isinstance(started, SweepStarted)
    for logger in (CSVLogger(tmp_path / "csv"), TensorBoardLogger(tmp_path / "tb")):
        recording = logger.listen()
        recording(replace(started, resumed=True))
        for event in told[1:]:
            recording(event)
    export_run(result, "csv", path=tmp_path / "trials.csv", reports=tmp_path / "reports.csv")
    export_run(result, "tensorboard", path=tmp_path / "exported")
    assert table(tmp_path / "csv" / str(result.run_id) / "reports.csv") == table(tmp_path / "reports.csv")
    assert table(tmp_path / "csv" / str(result.run_id) / "trials.csv") == table(tmp_path / "trials.csv")
    assert trial_tags(tmp_path / "tb", result) == trial_tags(tmp_path / "exported", result)


def test_a_logger_that_comes_later_has_what_was_before(tmp_path: Path) -> None:
    first = sweep(tmp_path / "store", trials=3)
    result = sweep(tmp_path / "store", CSVLogger(tmp_path), trials=4, resume=first.run_id)
    assert len(result.trials) == 4
    rows = table(tmp_path / str(result.run_id) / "reports.csv")
    assert sorted({int(row["trial"]) for row in rows}) == [trial.id for trial in result.trials if trial.step]
    assert len(rows) == sum(2 * len(trial.reports) for trial in result.trials)


@pytest.mark.parametrize("run_ids", [("digits-1", "digits-2"), (None, None)])
def test_two_runs_are_told_apart(tmp_path: Path, run_ids: tuple[str | None, str | None]) -> None:
    """The second run is not taken for the first one gone on with, with a store or without."""
    for run_id in run_ids:
        recording = CSVLogger(tmp_path).listen()
        recording(SweepStarted(0.0, "../my digits", Objectives(), run_id=run_id))
        recording(TrialStarted(1.0, 0, {"x": 1}))
        recording(TrialReported(2.0, 0, 1, 0.5, {"score": 0.5}))
        recording(TrialEnded(3.0, 0, "completed", 1, 0.5))
        recording(SweepEnded(4.0))
    tables = [table(folder / "reports.csv") for folder in tmp_path.iterdir()]
    assert len(tables) == 2
    assert tables[0] == tables[1] == [{"trial": "0", "step": "1", "metric": "score", "value": "0.5"}]


FACTS = SweepFacts("digits", "digits-1", Objectives(), 100.0)


def test_a_driver_that_was_killed_left_half_a_line(tmp_path: Path) -> None:
    """Only what stands there counts: neither a mark of what was never written, nor a line without its end."""
    sink = CSVSink(tmp_path, FACTS)
    trial = TrialFacts(0, {"x": "=1"}, "running")
    sink.start(trial)
    sink.report(0, Report(1, {"score": 0.5}), 101.0)
    sink.flush()
    sink.report(0, Report(2, {"score": 0.6}), 102.0)
    reports = tmp_path / "digits-1" / "reports.csv"
    reports.write_text(reports.read_text() + "0,2,sco")
    again = CSVSink(tmp_path, FACTS)
    assert again.marks == {0: Mark(1, "running")}
    again.start(trial)
    again.report(0, Report(2, {"score": 0.6}), 102.0)
    again.end(TrialFacts(0, {"x": "=1"}, "completed", 2, {"score": 0.6}))
    again.start(TrialFacts(1, {"x": "=2"}, "running"))
    again.flush()
    again.close("completed")
    assert [row["value"] for row in table(reports)] == ["0.5", "0.6"]
    third = CSVSink(tmp_path, FACTS)
    third.flush()
    assert [row["x"] for row in table(tmp_path / "digits-1" / "trials.csv")] == ["'=1", "'=2"]


def test_writers_are_closed_while_a_trial_is_paused(tmp_path: Path) -> None:
    """Thousands of trials may be paused, and a file for each of them open would be too many."""
    kept: list[TensorBoardSink] = []

    def make(facts: SweepFacts) -> TensorBoardSink:
        kept.append(TensorBoardSink(tmp_path, facts))
        return kept[-1]

    recording = Recording("TensorBoardLogger", make)
    recording(SweepStarted(0.0, "digits", Objectives()))
    for number in range(3):
        recording(TrialStarted(1.0, number, {"x": 1}))
        recording(TrialReported(2.0, number, 1, 0.5, {"score": 0.5}))
        recording(TrialPaused(3.0, number, 1, 0.5))
    assert kept[0]._writers == {}
    recording(TrialStarted(4.0, 1, {"x": 1}, step=1, resumed=True, attempt=2))
    recording(TrialReported(5.0, 1, 2, 0.75, {"score": 0.75}))
    recording(TrialEnded(6.0, 1, "completed", 2, 0.75, cost=3.0))
    recording(TrialEnded(6.0, 2, "pruned", 1, 0.5))
    recording(TrialEnded(6.0, 9, "cancelled", 0, None))  # it never began
    recording(SweepEnded(7.0))
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("digits-")
    found = scalars(folder / "trial-0001")
    assert found == {"score": [(1, 0.5), (2, 0.75)], "sweep/score": [(2, 0.75)], "sweep/cost": [(2, 3.0)]}
    assert not (folder / "trial-0009").exists()


def test_a_folder_that_cannot_be_written_costs_the_log_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING, "metta.sweep"):
        assert len(sweep(None, CSVLogger(tmp_path / "file" / "logs"), trials=2).trials) == 2
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("the callback CSVLogger failed and is switched off, the sweep goes on: ")


@pytest.mark.parametrize(
    ("logger", "extra"), [(TensorBoardLogger(), "tensorboard"), (WandbLogger(), "wandb"), (MLflowLogger(), "mlflow")]
)
def test_a_library_that_is_missing_is_told_before_anything_runs(
    logger: Callback, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metta.sweep.interop.libraries.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=rf"{type(logger).__name__} needs .*metta-sweep\[{extra}\]"):
        sweep(None, logger)


@pytest.mark.parametrize("to", ["wandb", "mlflow", "tensorboard", "parquet"])
def test_an_exporter_whose_library_is_missing(to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("metta.sweep.interop.libraries.import_module", missing)
    with pytest.raises(MissingExtraError, match=rf"pip install 'metta-sweep\[{to}\]'"):
        export_run(snapshot(), to)
