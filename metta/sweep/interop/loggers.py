"""Loggers: callbacks that write a sweep to other tools while it runs::

    SweepExperiment(objective, callbacks=[TensorBoardLogger("logs"), CSVLogger("digits")])

Each writes what the exporter of the same name writes, in a thread of its own in the driver. A sweep that is resumed is
gone on with at the same place: what was written is not written again, but for what a driver that was killed had written
in its last two seconds, and what it had not written is.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from metta.sweep.interop.facts import SweepFacts
from metta.sweep.interop.libraries import require
from metta.sweep.interop.recording import Recording
from metta.sweep.interop.sink import Sink
from metta.sweep.report.events import Listener


class _Logger(ABC):
    """A callback of a sweep that writes to a sink."""

    __slots__ = ()

    _library: ClassVar[str] = ""
    """What it needs: the module, and the extra of the same name; "" for nothing."""

    def listen(self) -> Listener:
        """A listener for one run.

        Raises:
            MissingExtraError: the library is not installed.
        """
        if self._library:
            require(self._library, type(self).__name__, self._library)
        return Recording(type(self).__name__, self._sink)

    @abstractmethod
    def _sink(self, sweep: SweepFacts) -> Sink:
        """Where a sweep is written to."""


@dataclass(frozen=True, slots=True)
class TensorBoardLogger(_Logger):
    """Writes a folder per trial, for `tensorboard --logdir <logdir>`: scalars, and parameters for its HParams page.

    Args:
        logdir: where each sweep gets a folder of its own.
    """

    logdir: str | os.PathLike[str] = "tensorboard"

    _library = "tensorboard"

    def _sink(self, sweep: SweepFacts) -> Sink:
        from metta.sweep.interop.export.tensorboard import TensorBoardSink

        return TensorBoardSink(self.logdir, sweep)


@dataclass(frozen=True, slots=True)
class CSVLogger(_Logger):
    """Writes `<folder>/<run>/trials.csv`, a row per trial, every few seconds, and appends to `reports.csv`.

    Args:
        folder: where each sweep gets a folder of its own.
    """

    folder: str | os.PathLike[str] = "csv"

    def _sink(self, sweep: SweepFacts) -> Sink:
        from metta.sweep.interop.export.table import CSVSink

        return CSVSink(self.folder, sweep)


@dataclass(frozen=True, slots=True)
class WandbLogger(_Logger):
    """Makes a W&B run of each trial, in a group of the sweep's name, with the keys of Metta's sweeps in its summary.

    Those are "sweep/suggestion", "sweep/score" (with several objectives "sweep/score/<objective>") and "sweep/cost".

    Args:
        project: W&B's project; None for WANDB_PROJECT, else "metta-sweep".
        entity: the user or team; None for W&B's default.
        mode: "online", "offline" or "disabled"; None for WANDB_MODE, else "online".
        folder: where W&B keeps its files, in a folder `wandb`.
    """

    project: str | None = None
    entity: str | None = None
    mode: str | None = None
    folder: str | os.PathLike[str] = "."

    _library = "wandb"

    def _sink(self, sweep: SweepFacts) -> Sink:
        from metta.sweep.interop.export.wandb import WandbSink

        return WandbSink(sweep, project=self.project, entity=self.entity, mode=self.mode, folder=self.folder)


@dataclass(frozen=True, slots=True)
class MLflowLogger(_Logger):
    """Makes an MLflow run of the sweep with a child run per trial.

    Args:
        uri: of the tracking server or store; None for MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db`.
        experiment: MLflow's experiment; None for the name of the sweep.
    """

    uri: str | None = None
    experiment: str | None = None

    _library = "mlflow"

    def _sink(self, sweep: SweepFacts) -> Sink:
        from metta.sweep.interop.export.mlflow import MLflowSink

        return MLflowSink(sweep, uri=self.uri, experiment=self.experiment)
