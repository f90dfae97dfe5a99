"""Experiments: everything that has a pipeline, runs and can be tuned."""

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
