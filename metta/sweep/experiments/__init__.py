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
    from metta.sweep.experiments.aggregation import EnsembleVoting as EnsembleVoting
    from metta.sweep.experiments.aggregation import MeanAggregator as MeanAggregator
    from metta.sweep.experiments.aggregation import MedianAggregator as MedianAggregator
    from metta.sweep.experiments.aggregation import WeightedByConfidence as WeightedByConfidence
    from metta.sweep.experiments.base import Experiment as Experiment
    from metta.sweep.experiments.base import Pipeline as Pipeline
    from metta.sweep.experiments.budget import Budget as Budget
    from metta.sweep.experiments.curriculum.experiment import CurriculumExperiment as CurriculumExperiment
    from metta.sweep.experiments.curriculum.experiment import CurriculumResult as CurriculumResult
    from metta.sweep.experiments.curriculum.optimization import (
        CurriculumOptimizationExperiment as CurriculumOptimizationExperiment,
    )
    from metta.sweep.experiments.curriculum.optimization import (
        CurriculumOptimizationResult as CurriculumOptimizationResult,
    )
    from metta.sweep.experiments.curriculum.optimization import TaskSchedulerOptimization as TaskSchedulerOptimization
    from metta.sweep.experiments.curriculum.schedulers import AdaptiveScheduler as AdaptiveScheduler
    from metta.sweep.experiments.curriculum.schedulers import CurriculumScheduler as CurriculumScheduler
    from metta.sweep.experiments.curriculum.schedulers import DifficultyRampScheduler as DifficultyRampScheduler
    from metta.sweep.experiments.curriculum.schedulers import InterleaveScheduler as InterleaveScheduler
    from metta.sweep.experiments.curriculum.schedulers import RandomScheduler as RandomScheduler
    from metta.sweep.experiments.curriculum.tasks import Task as Task
    from metta.sweep.experiments.learned import LearnedSettings as LearnedSettings
    from metta.sweep.experiments.learned import learned_settings as learned_settings
    from metta.sweep.experiments.nested.meta import MetaExperiment as MetaExperiment
    from metta.sweep.experiments.nested.meta import MetaMetaExperiment as MetaMetaExperiment
    from metta.sweep.experiments.nested.meta import MetaSweepExperiment as MetaSweepExperiment
    from metta.sweep.experiments.observations import load_observations as load_observations
    from metta.sweep.experiments.observations import load_sweep as load_sweep
    from metta.sweep.experiments.optimizable.aggregation import AggregationOptimization as AggregationOptimization
    from metta.sweep.experiments.optimizable.allocation import (
        ResourceSchedulerOptimization as ResourceSchedulerOptimization,
    )
    from metta.sweep.experiments.optimizable.architecture import (
        PipelineArchitectureSearch as PipelineArchitectureSearch,
    )
    from metta.sweep.experiments.optimizable.refinement import RefinementSearch as RefinementSearch
    from metta.sweep.experiments.results import SweepResult as SweepResult
    from metta.sweep.experiments.run import Run as Run
    from metta.sweep.experiments.strategies.hybrid import HybridSweepExperiment as HybridSweepExperiment
    from metta.sweep.experiments.strategies.records import FittedModel as FittedModel
    from metta.sweep.experiments.strategies.records import Found as Found
    from metta.sweep.experiments.strategies.records import GaussianProcessModel as GaussianProcessModel
    from metta.sweep.experiments.strategies.records import Validation as Validation
    from metta.sweep.experiments.strategies.strategy import Strategy as Strategy
    from metta.sweep.experiments.sweep import SweepExperiment as SweepExperiment
    from metta.sweep.experiments.training import TrainingExperiment as TrainingExperiment
    from metta.sweep.experiments.training import TrainingResult as TrainingResult
    from metta.sweep.experiments.tree.run_tree import RunTree as RunTree
    from metta.sweep.experiments.tree.run_tree import run_tree as run_tree

__all__ = [
    "AdaptiveScheduler",
    "AggregationOptimization",
    "Aggregator",
    "BestOfN",
    "Budget",
    "CommandTraining",
    "CurriculumExperiment",
    "CurriculumOptimizationExperiment",
    "CurriculumOptimizationResult",
    "CurriculumResult",
    "CurriculumScheduler",
    "DifficultyRampScheduler",
    "EnsembleVoting",
    "Experiment",
    "FittedModel",
    "Found",
    "GaussianProcessModel",
    "HybridSweepExperiment",
    "InterleaveScheduler",
    "LearnedSettings",
    "MeanAggregator",
    "MedianAggregator",
    "MetaExperiment",
    "MetaMetaExperiment",
    "MetaSweepExperiment",
    "Pipeline",
    "PipelineArchitectureSearch",
    "RandomScheduler",
    "RefinementSearch",
    "ResourceSchedulerOptimization",
    "Run",
    "RunTree",
    "Strategy",
    "SweepExperiment",
    "SweepResult",
    "Task",
    "TaskSchedulerOptimization",
    "TrainingExperiment",
    "TrainingResult",
    "Validation",
    "WeightedByConfidence",
    "learned_settings",
    "load_observations",
    "load_sweep",
    "run_tree",
]

_HOMES = {
    "AdaptiveScheduler": "experiments.curriculum.schedulers",
    "AggregationOptimization": "experiments.optimizable.aggregation",
    "Aggregator": "experiments.aggregation",
    "BestOfN": "experiments.aggregation",
    "Budget": "experiments.budget",
    "CommandTraining": "executors.command",
    "CurriculumExperiment": "experiments.curriculum.experiment",
    "CurriculumOptimizationExperiment": "experiments.curriculum.optimization",
    "CurriculumOptimizationResult": "experiments.curriculum.optimization",
    "CurriculumResult": "experiments.curriculum.experiment",
    "CurriculumScheduler": "experiments.curriculum.schedulers",
    "DifficultyRampScheduler": "experiments.curriculum.schedulers",
    "EnsembleVoting": "experiments.aggregation",
    "Experiment": "experiments.base",
    "FittedModel": "experiments.strategies.records",
    "Found": "experiments.strategies.records",
    "GaussianProcessModel": "experiments.strategies.records",
    "HybridSweepExperiment": "experiments.strategies.hybrid",
    "InterleaveScheduler": "experiments.curriculum.schedulers",
    "LearnedSettings": "experiments.learned",
    "MeanAggregator": "experiments.aggregation",
    "MedianAggregator": "experiments.aggregation",
    "MetaExperiment": "experiments.nested.meta",
    "MetaMetaExperiment": "experiments.nested.meta",
    "MetaSweepExperiment": "experiments.nested.meta",
    "Pipeline": "experiments.base",
    "PipelineArchitectureSearch": "experiments.optimizable.architecture",
    "RandomScheduler": "experiments.curriculum.schedulers",
    "RefinementSearch": "experiments.optimizable.refinement",
    "ResourceSchedulerOptimization": "experiments.optimizable.allocation",
    "Run": "experiments.run",
    "RunTree": "experiments.tree.run_tree",
    "Strategy": "experiments.strategies.strategy",
    "SweepExperiment": "experiments.sweep",
    "SweepResult": "experiments.results",
    "Task": "experiments.curriculum.tasks",
    "TaskSchedulerOptimization": "experiments.curriculum.optimization",
    "TrainingExperiment": "experiments.training",
    "TrainingResult": "experiments.training",
    "Validation": "experiments.strategies.records",
    "WeightedByConfidence": "experiments.aggregation",
    "learned_settings": "experiments.learned",
    "load_observations": "experiments.observations",
    "load_sweep": "experiments.observations",
    "run_tree": "experiments.tree.run_tree",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"metta.sweep.{_HOMES[name]}"), name)
