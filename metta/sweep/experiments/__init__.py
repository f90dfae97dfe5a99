"""Experiments: everything that has a pipeline, runs, and can be tuned.

Names are loaded when they are first used: an experiment of one's own needs none of the sweeps' libraries.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metta.sweep.experiments.base import Experiment as Experiment
    from metta.sweep.experiments.base import Pipeline as Pipeline
    from metta.sweep.experiments.budget import Budget as Budget
    from metta.sweep.experiments.results import SweepResult as SweepResult
    from metta.sweep.experiments.run import Run as Run
    from metta.sweep.experiments.sweep import SweepExperiment as SweepExperiment
    from metta.sweep.experiments.training import TrainingExperiment as TrainingExperiment
    from metta.sweep.experiments.training import TrainingResult as TrainingResult

__all__ = [
    "Budget",
    "Experiment",
    "Pipeline",
    "Run",
    "SweepExperiment",
    "SweepResult",
    "TrainingExperiment",
    "TrainingResult",
]

_HOMES = {
    "Budget": "budget",
    "Experiment": "base",
    "Pipeline": "base",
    "Run": "run",
    "SweepExperiment": "sweep",
    "SweepResult": "results",
    "TrainingExperiment": "training",
    "TrainingResult": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
