"""Exporters: what a sweep is written to, by name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from metta.sweep.registry import Registry

if TYPE_CHECKING:
    from metta.sweep.experiments.results import SweepResult
    from metta.sweep.report.snapshot import SweepSnapshot
    from metta.sweep.store.run import Run

_HERE: Final = "metta.sweep.interop.export"

EXPORTERS: Final = Registry(
    "exporter",
    {
        "csv": f"{_HERE}.table:export_csv",
        "mlflow": f"{_HERE}.mlflow:export_mlflow",
        "optuna": f"{_HERE}.optuna:export_optuna",
        "parquet": f"{_HERE}.table:export_parquet",
        "tensorboard": f"{_HERE}.tensorboard:export_tensorboard",
        "wandb": f"{_HERE}.wandb:export_wandb",
    },
)
"""Functions of an `ExportedSweep` and keyword options, which return a text: where it went and how to open it.

Others register theirs as entry points of the group `metta.sweep.exporters`."""


def export_run(run: SweepResult | Run | SweepSnapshot | str | os.PathLike[str], to: str, **options: Any) -> str:
    """Write a sweep to where another tool opens it; it may still be running, and may be exported again::

        print(export_run("digits", "optuna", path="digits.log"))

    Args:
        run: the result of a sweep (waits for its end), a snapshot, an open run, or a run's id, name or folder.
        to: the name of an exporter: "csv", "mlflow", "optuna", "parquet", "tensorboard" or "wandb".
        **options: of the exporter.

    Returns:
        Where it went, and how to open it.

    Raises:
        UsageError: there is no such exporter, option, or run, or the run is no sweep.
        MissingExtraError: the library behind it is not installed.
        RefusedError: what is there already is of another sweep.
        StorageError: it cannot be written.
    """
    from metta.sweep.interop.source import exported

    EXPORTERS.find(to)  # a wrong name is told before a large run is read
    return str(EXPORTERS.create(to, {"sweep": exported(run), **options}))
