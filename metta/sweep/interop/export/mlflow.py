"""MLflow: a run of the sweep, with a child run per trial."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from shlex import quote
from typing import TYPE_CHECKING, Any, Final

from metta.sweep.interop.facts import SweepFacts, TrialFacts
from metta.sweep.interop.libraries import errors_of, library
from metta.sweep.interop.sink import Mark, Sink, write
from metta.sweep.trial import Report

if TYPE_CHECKING:
    from metta.sweep.interop.source import ExportedSweep

DEFAULT_URI: Final = "sqlite:///mlflow.db"
"""MLflow's own; its older stores of plain files are in maintenance and refuse new runs."""

LARGEST_BATCH: Final = 1_000
"""Metrics in one call, by MLflow's limit."""

MOST_PARAMS: Final = 100
"""Parameters in one call, likewise."""

PAGE: Final = 1_000
"""Runs in one answer of MLflow's."""

_STATUS: Final = {
    "pending": "SCHEDULED",
    "running": "RUNNING",
    "paused": "SCHEDULED",
    "interrupted": "KILLED",
    "completed": "FINISHED",
    "pruned": "FINISHED",
    "failed": "FAILED",
    "cancelled": "KILLED",
}
"""MLflow's status for ours; the tag "sweep.state" has ours."""


class MLflowSink(Sink):
    """Writes to a tracking server or store. What it has written it finds there again by the runs' tags.

    Args:
        sweep: the sweep.
        uri: of the server or store; None for MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db`.
        experiment: MLflow's experiment; None for the name of the sweep.

    Raises:
        MissingExtraError: mlflow is not installed.
        StorageError: the server or store cannot be reached.
    """

    def __init__(self, sweep: SweepFacts, *, uri: str | None = None, experiment: str | None = None) -> None:
        mlflow = library("mlflow", "writing to MLflow", "mlflow")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # or it prints a line for each trial
        self.uri: str = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
        self.experiment: str = experiment or sweep.name
        self._sweep = sweep
        self._waiting: dict[int, list[Any]] = {}
        self._runs: dict[int, str] = {}
        marks: dict[int, Mark] = {}
        with _quiet():
            self._entities = mlflow.entities
            self._client = mlflow.MlflowClient(tracking_uri=self.uri)
            found = self._client.get_experiment_by_name(self.experiment)
            self._place: str = found.experiment_id if found else self._client.create_experiment(self.experiment)
            parent = None
            mine, token = f"tags.`sweep.run` = '{_quoted(sweep.key)}'", None
            while True:
                page = self._client.search_runs(
                    [self._place], mine, self._entities.ViewType.ACTIVE_ONLY, PAGE, page_token=token
                )
                for run in page:
                    tags = run.data.tags
                    if "sweep.trial" not in tags:
                        parent = run.info.run_id
                        continue
                    number = int(tags["sweep.trial"])
                    self._runs[number] = run.info.run_id
                    marks[number] = Mark(int(tags.get("sweep.step", 0)), tags.get("sweep.state", ""))
                if not (token := page.token):
                    break
            self._parent: str = parent or self._create(sweep.name, sweep.began, {})
        super().__init__(marks)

    def flush(self) -> None:
        for number in list(self._waiting):
            self._send(number, {"sweep.step": self.marks[number].step, "sweep.state": self.marks[number].state})

    def close(self, status: str) -> None:
        if status != "running":
            self._client.set_terminated(self._parent, _STATUS[status])

    def _start(self, trial: TrialFacts) -> None:
        if trial.number in self._runs:
            self._client.update_run(self._runs[trial.number], "RUNNING")
            return
        tags = {"mlflow.parentRunId": self._parent, "sweep.trial": trial.number}
        run = self._runs[trial.number] = self._create(trial.label, trial.began, tags)
        params = [self._entities.Param(_name(path), str(value)) for path, value in trial.params.items()]
        for start in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(run, params=params[start : start + MOST_PARAMS])

    def _report(self, number: int, report: Report, at: float) -> None:
        self._waiting.setdefault(number, []).extend(self._metrics(report.metrics, report.step, at))

    def _end(self, trial: TrialFacts) -> None:
        at = self._sweep.began if trial.ended is None else trial.ended
        if trial.is_over:
            self._waiting.setdefault(trial.number, []).extend(self._metrics(trial.final(), trial.step, at))
        self._send(trial.number, {name.replace("/", "."): value for name, value in trial.notes().items()})
        run, status = self._runs[trial.number], _STATUS[trial.state]
        if trial.is_over:
            self._client.set_terminated(run, status, end_time=_milliseconds(at))
        else:
            self._client.update_run(run, status)

    def _send(self, number: int, tags: dict[str, Any]) -> None:
        """The metrics that wait, and with the last of them the tags: what was sent and not marked is sent again."""
        metrics, run = self._waiting.pop(number, []), self._runs[number]
        for start in range(0, len(metrics), LARGEST_BATCH):
            self._client.log_batch(run, metrics=metrics[start : start + LARGEST_BATCH])
        self._client.log_batch(run, tags=[self._entities.RunTag(name, str(value)) for name, value in tags.items()])

    def _metrics(self, values: Mapping[str, float], step: int, at: float) -> list[Any]:
        return [self._entities.Metric(_name(name), value, _milliseconds(at), step) for name, value in values.items()]

    def _create(self, name: str, began: float | None, tags: dict[str, Any]) -> str:
        told = {**tags, "sweep.run": self._sweep.key, "sweep.name": self._sweep.name}
        created = self._client.create_run(
            self._place,
            start_time=None if began is None else _milliseconds(began),
            tags={tag: str(value) for tag, value in told.items()},
            run_name=name,
        )
        return str(created.info.run_id)


def export_mlflow(sweep: ExportedSweep, *, uri: str | None = None, experiment: str | None = None) -> str:
    """Write a sweep to MLflow; see `export_run`. It takes a good part of a second per trial.

    Args:
        sweep: what to write.
        uri, experiment: see `MLflowSink`.
    """
    with errors_of("MLflow"):
        sink = MLflowSink(sweep.facts, uri=uri, experiment=experiment)
        write(sweep.snapshot, sink, sweep.began)
    see = "" if sink.uri.startswith("http") else f"; to see them: mlflow ui --backend-store-uri {quote(sink.uri)}"
    return f"{len(sweep.snapshot.trials)} trials are in MLflow's experiment {sink.experiment!r} at {sink.uri}{see}"


def _name(text: str) -> str:
    """A name as MLflow takes it."""
    return re.sub(r"[^\w./ :-]", "_", text)[:250]


def _quoted(text: str) -> str:
    return text.replace("'", "\\'")


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


@contextmanager
def _quiet() -> Iterator[None]:
    """MLflow tells of the tables that it makes."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
