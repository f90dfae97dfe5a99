"""Experiments: everything that has a pipeline, runs, and can be tuned.

Names are loaded when they are first used: an experiment of one's own needs none of the sweeps' libraries.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metta.sweep.executors.command import CommandTraining as CommandTraining
    from metta.sweep.experiments.aggregation import Aggregator as Aggregator
    from metta.sweep.experiments.aggregation import BestOfN as BestOfN
    from metta.sweep.experiments.aggregation import MeanAggregator as MeanAggregator
    from metta.sweep.experiments.aggregation import MedianAggregator as MedianAggregator
    from metta.sweep.experiments.base import Experiment as Experiment
    from metta.sweep.experiments.base import Pipeline as Pipeline
    from metta.sweep.experiments.budget import Budget as Budget
    from metta.sweep.experiments.observations import load_observations as load_observations
    from metta.sweep.experiments.results import SweepResult as SweepResult
    from metta.sweep.experiments.run import Run as Run
    from metta.sweep.experiments.sweep import SweepExperiment as SweepExperiment
    from metta.sweep.experiments.training import TrainingExperiment as TrainingExperiment
    from metta.sweep.experiments.training import TrainingResult as TrainingResult

__all__ = [
    "Aggregator",
    "BestOfN",
    "Budget",
    "CommandTraining",
    "Experiment",
    "MeanAggregator",
    "MedianAggregator",
    "Pipeline",
    "Run",
    "SweepExperiment",
    "SweepResult",
    "TrainingExperiment",
    "TrainingResult",
    "load_observations",
]

_HOMES = {
    "Aggregator": "experiments.aggregation",
    "BestOfN": "experiments.aggregation",
    "Budget": "experiments.budget",
    "CommandTraining": "executors.command",
    "Experiment": "experiments.base",
    "MeanAggregator": "experiments.aggregation",
    "MedianAggregator": "experiments.aggregation",
    "Pipeline": "experiments.base",
    "Run": "experiments.run",
    "SweepExperiment": "experiments.sweep",
    "SweepResult": "experiments.results",
    "TrainingExperiment": "experiments.training",
    "TrainingResult": "experiments.training",
    "load_observations": "experiments.observations",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"metta.sweep.{_HOMES[name]}"), name)
