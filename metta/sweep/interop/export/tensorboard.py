"""TensorBoard: a folder per trial with its scalars and, for the HParams page, its parameters."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Final

from metta.sweep.interop.facts import Plain, SweepFacts, TrialFacts, label
from metta.sweep.interop.libraries import errors_of, library
from metta.sweep.interop.sink import Marks, Sink, write
from metta.sweep.trial import Report

if TYPE_CHECKING:
    from metta.sweep.interop.source import ExportedSweep

MARKS_FILE: Final = "metta-sweep.json"


class TensorBoardSink(Sink):
    """Writes `<logdir>/<key of the sweep>/trial-0003/events...`.

    Args:
        logdir: the folder that TensorBoard is started on.
        sweep: the sweep.

    Raises:
        MissingExtraError: tensorboard is not installed.
        RefusedError: the folder is another sweep's.
    """

    def __init__(self, logdir: str | os.PathLike[str], sweep: SweepFacts) -> None:
        self._new_writer = _part("summary.writer.event_file_writer").EventFileWriter
        self.folder: Path = Path(logdir).absolute() / sweep.key
        self._file = Marks(self.folder / MARKS_FILE, sweep.key)
        self._writers: dict[int, Any] = {}
        super().__init__(self._file.known)

    def flush(self) -> None:
        for writer in self._writers.values():
            writer.flush()
        self._file.save(self.marks)

    def close(self, status: str) -> None:
        for number in list(self._writers):
            self._writers.pop(number).close()
        self._file.save(self.marks)

    def _start(self, trial: TrialFacts) -> None:
        self._writers[trial.number] = self._new_writer(str(self.folder / label(trial.number)))
        if trial.number not in self.marks:
            params = {path: _hparam(value) for path, value in trial.params.items()}
            began = {} if trial.began is None else {"start_time_secs": trial.began}
            self._add(
                trial.number,
                _part("plugins.hparams.summary_v2").hparams_pb(params, trial_id=trial.label, **began),
                0,
                trial.began,
            )

    def _report(self, number: int, report: Report, at: float) -> None:
        self._add(number, _scalars(report.metrics), report.step, at)

    def _end(self, trial: TrialFacts) -> None:
        if trial.is_over:
            self._add(trial.number, _scalars(trial.final()), trial.step, trial.ended)
            self._add(trial.number, _session_end(trial), 0, trial.ended)
        self._writers.pop(trial.number).close()

    def _add(self, number: int, summary: Any, step: int, at: float | None) -> None:
        timed = {} if at is None else {"wall_time": at}
        event = _part("compat.proto.event_pb2").Event(summary=summary, step=step, **timed)
        self._writers[number].add_event(event)


def export_tensorboard(sweep: ExportedSweep, *, path: str | os.PathLike[str] = "tensorboard") -> str:
    """Write a sweep for TensorBoard; see `export_run`.

    Args:
        sweep: what to write.
        path: the folder that TensorBoard is started on; the sweep gets one of its own in it.
    """
    with errors_of("TensorBoard's folder"):
        sink = TensorBoardSink(path, sweep.facts)
        write(sweep.snapshot, sink, sweep.began)
    count = len(sweep.snapshot.trials)
    return f"{count} trials are in {sink.folder}; to see them: tensorboard --logdir {quote(os.fspath(path))}"


def _hparam(value: Plain) -> bool | float | str:
    """A parameter as the HParams plugin takes it."""
    return "none" if value is None else value


def _scalars(metrics: Mapping[str, float]) -> Any:
    summary = _part("compat.proto.summary_pb2").Summary
    return summary(value=[summary.Value(tag=name, simple_value=value) for name, value in metrics.items()])


def _session_end(trial: TrialFacts) -> Any:
    """The end of a trial for the HParams plugin, whose own function for this needs TensorFlow."""
    plugin, api, metadata = (_part(f"plugins.hparams.{name}") for name in ("plugin_data_pb2", "api_pb2", "metadata"))
    status = api.STATUS_FAILURE if trial.state in ("failed", "cancelled") else api.STATUS_SUCCESS
    data = plugin.HParamsPluginData(
        session_end_info=plugin.SessionEndInfo(status=status, end_time_secs=trial.ended or 0.0)
    )
    summary = _part("compat.proto.summary_pb2").Summary
    told = metadata.create_summary_metadata(data)
    return summary(value=[summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=told)])


def _part(module: str) -> Any:
    return library(f"tensorboard.{module}", "writing for TensorBoard", "tensorboard")
