"""MLflow's store, read back by its client."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.interop import MLflowLogger, export_run
from metta.sweep.trial import TrialState
from tests.interop.sweeps import BEGAN, made, snapshot, sweep

pytest.importorskip("mlflow")
pytest.importorskip("sqlalchemy")
pytestmark = [
    pytest.mark.slow,  # a new database takes seconds
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


def client(uri: str) -> Any:
    return import_module("mlflow").MlflowClient(tracking_uri=uri)


def runs(uri: str, experiment: str) -> tuple[Any, dict[int, Any]]:
    """The run of the sweep, and those of its trials by number."""
    place = client(uri).get_experiment_by_name(experiment).experiment_id
    found = client(uri).search_runs([place])
    (parent,) = [run for run in found if "sweep.trial" not in run.data.tags]
    children = {int(run.data.tags["sweep.trial"]): run for run in found if run is not parent}
    assert len(children) == len(found) - 1
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {parent.info.run_id}
    return parent, children


def test_a_run_per_trial_and_one_around_them(uri: str, capfd: pytest.CaptureFixture[str]) -> None:
    running = made(1, TrialState.RUNNING, steps=1)
    export_run(snapshot(made(0), running, status="running"), "mlflow", uri=uri)
    parent, children = runs(uri, "digits")
    assert (parent.info.status, children[1].info.status) == ("RUNNING", "RUNNING")
    after = snapshot(made(0), made(1), made(2, TrialState.FAILED), made(3, TrialState.CANCELLED))
    for _ in range(2):
        told = export_run(after, "mlflow", uri=uri)
    assert told == (
        f"4 trials are in MLflow's experiment 'digits' at {uri}; to see them: mlflow ui --backend-store-uri {uri}"
    )
    assert capfd.readouterr() == ("", "")
    parent, children = runs(uri, "digits")
    assert (parent.info.status, parent.data.tags["mlflow.runName"]) == ("FINISHED", "digits")
    assert [children[number].info.status for number in range(4)] == ["FINISHED", "FINISHED", "FAILED", "KILLED"]
    run = children[1]
    assert run.data.params == {"learning_rate": "0.01", "layers": "2", "batch": "16", "kind": "mlp", "api_token": "***"}
    assert run.data.metrics["sweep/score"] == 1.3
    assert run.data.metrics["sweep/cost"] == 4.5
    assert run.data.tags["sweep.state"] == "completed"
    history = client(uri).get_metric_history(run.info.run_id, "score")
    assert sorted((metric.step, metric.value) for metric in history) == [(1, 1.1), (2, 1.2), (3, 1.3)], "nothing twice"
    assert children[2].data.tags["sweep.failure"] == "oom: it needs 9 GB"


def test_times_are_those_of_the_sweep(uri: str) -> None:
    from metta.sweep.interop.export.mlflow import export_mlflow
    from metta.sweep.interop.source import ExportedSweep

    export_mlflow(ExportedSweep(snapshot(made(0), run_id="digits-2"), BEGAN), uri=uri, experiment="timed")
    parent, children = runs(uri, "timed")
    assert parent.info.start_time == children[0].info.start_time == BEGAN * 1000
    assert children[0].info.end_time == (BEGAN + 5) * 1000


def test_a_logger_goes_on_where_the_last_one_was(uri: str, tmp_path: Path) -> None:
    logger = MLflowLogger(uri=uri, experiment="logged")
    first = sweep(tmp_path, logger, trials=2)
    result = sweep(tmp_path, logger, trials=3, resume=first.run_id)
    assert len(result.trials) == 3
    parent, children = runs(uri, "logged")
    assert parent.info.status == "FINISHED"
    assert {number: run.data.metrics.get("sweep/score") for number, run in children.items()} == {
        trial.id: trial.score for trial in result.trials
    }
    for trial in result.trials:
        history = client(uri).get_metric_history(children[trial.id].info.run_id, "score")
        assert sorted(metric.step for metric in history) == [report.step for report in trial.reports]
