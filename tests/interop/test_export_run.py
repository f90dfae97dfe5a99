"""What can be exported, and how it is named."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.experiments.results import SweepResult
from metta.sweep.interop import EXPORTERS, export_run
from metta.sweep.interop.source import exported
from metta.sweep.report.snapshot import SweepSnapshot
from metta.sweep.store.run import Run, read_info
from metta.sweep.store.runs import Store
from metta.sweep.trial import Report, Trial
from tests.interop.sweeps import made, snapshot, sweep


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    found = sweep(tmp_path_factory.mktemp("store"), trials=3)
    assert len(found.trials) == 3
    return found


def test_a_run_goes_by_many_names(result: SweepResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert result.folder is not None
    monkeypatch.setenv("METTA_SWEEP_HOME", str(result.folder.parent.parent))
    with Run.open(result.folder, write=False) as run:
        texts = set()
        for source in (result, run, result.snapshot(), result.folder, str(result.folder), result.run_id, "digits"):
            assert source is not None
            export_run(source, "csv", path=tmp_path / "trials.csv")
            texts.add((tmp_path / "trials.csv").read_text())
    (text,) = texts
    assert [row["trial"] for row in csv.DictReader(text.splitlines())] == ["0", "1", "2"]


def test_times_count_from_when_the_run_was_made(result: SweepResult) -> None:
    assert result.folder is not None
    created = datetime.fromisoformat(read_info(result.folder).created).timestamp()
    assert exported(result).began == exported(result.folder).began == created
    assert abs(created - time.time()) < 3600


def test_a_sweep_without_a_store(tmp_path: Path) -> None:
    found = sweep(None, trials=2)
    told = export_run(found, "csv", path=tmp_path / "trials.csv", reports=tmp_path / "reports.csv")
    assert told.startswith("2 trials are in")
    rows = list(csv.DictReader((tmp_path / "reports.csv").read_text().splitlines()))
    assert len(rows) == sum(2 * len(trial.reports) for trial in found.trials)


@pytest.mark.parametrize(
    ("source", "to", "message"),
    [
        (snapshot(), "optnua", r"there is no exporter 'optnua': did you mean 'optuna'\?"),
        (
            snapshot(),
            "excel",
            r"there is no exporter 'excel': there is csv, mlflow, optuna, parquet, tensorboard, wandb",
        ),
        (snapshot(), "csv", r"export_csv has no argument 'reprots': did you mean 'reports'\?"),
        (3, "csv", r"export_run\(3\): expected the result of a sweep"),
        ("nosuch", "csv", "nosuch"),
        ("nosuch", "optnua", "no exporter 'optnua'"),  # before a run is looked for
    ],
)
def test_what_cannot_be_exported(source: Any, to: str, message: str) -> None:
    options = {"reprots": "x"} if "reprots" in message else {}
    with pytest.raises(UsageError, match=message):
        export_run(source, to, **options)


def test_a_run_that_is_no_sweep(tmp_path: Path) -> None:
    with Store.at(tmp_path).create("double", "pipeline") as run:
        for source in (run, run.folder):
            with pytest.raises(UsageError, match="is a pipeline, not a sweep: only sweeps have trials to export"):
                export_run(source, "csv")


def test_every_exporter_is_there_and_takes_a_sweep_and_options() -> None:
    from inspect import Parameter, signature

    assert EXPORTERS.names() == ("csv", "mlflow", "optuna", "parquet", "tensorboard", "wandb")
    for name in EXPORTERS.names():
        first, *options = signature(EXPORTERS.find(name)).parameters.values()
        assert first.name == "sweep"
        assert all(option.kind is Parameter.KEYWORD_ONLY for option in options)


def test_reports_are_read_trial_by_trial_and_not_kept(tmp_path: Path) -> None:
    """A sweep of many reports must not be in memory as a whole."""
    reading: list[int] = []

    def later(number: int) -> Trial:
        source, trial = made(number), made(number)

        def read() -> list[Report]:
            reading.append(number)
            return source.reports

        trial.read_reports_later(3, read)
        return trial

    every: dict[str, Callable[[SweepSnapshot], str]] = {
        "csv": lambda sweep: export_run(sweep, "csv", path=tmp_path / "t.csv", reports=tmp_path / "r.csv"),
        "tensorboard": lambda sweep: export_run(sweep, "tensorboard", path=tmp_path),
        "optuna": lambda sweep: export_run(sweep, "optuna", path=tmp_path / "o.log"),
    }
    for export in every.values():
        trials = [later(number) for number in range(3)]
        export(snapshot(*trials))
        assert reading == [0, 1, 2]
        reading.clear()
        assert [len(trial.reports) for trial in trials] == [3, 3, 3]
        assert reading == [0, 1, 2], "they were not kept"
        reading.clear()
