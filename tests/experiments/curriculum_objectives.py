"""A cheap experiment whose tasks differ as real ones do: harder ones score lower, related ones peak near each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import Experiment, Pipeline
from metta.sweep.experiments.curriculum.experiment import CurriculumExperiment
from metta.sweep.experiments.curriculum.tasks import Task
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers import SynchronousBatchScheduler
from metta.sweep.space import Distribution, Uniform

TASKS = (
    Task("easy", {"steepness": 0.1}, mastery_threshold=0.95),
    Task("middle", {"steepness": 1.0}, mastery_threshold=0.95, patience=2),
    Task("hard", {"steepness": 1.0, "top": 0.5}, mastery_threshold=0.95, patience=2),
)


@dataclass(frozen=True)
class Peak(Experiment[float]):
    """Scores `top` at x = 0.3, and `steepness` less for every unit that x is away from it."""

    x: float = 0.5
    steepness: float = 1.0
    top: float = 1.0

    def pipeline(self) -> Pipeline:
        return Pipeline().stage("measure", self.measure).through(float)

    def measure(self) -> float:
        return self.top - self.steepness * abs(self.x - 0.3)

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        return {"x": Uniform(0.0, 1.0)}


def curriculum(**changes: Any) -> CurriculumExperiment:
    """A small curriculum that repeats exactly."""
    settings: dict[str, Any] = {
        "base_experiment": Peak,
        "optimizer": RandomOptimizer(),
        "sweep_scheduler": SynchronousBatchScheduler(2),
        "sweep_budget": 4,
        "executor": lambda: LocalExecutor(max_workers=1),
        "seed": 1,
    }
    return CurriculumExperiment(changes.pop("tasks", TASKS), **(settings | changes))
