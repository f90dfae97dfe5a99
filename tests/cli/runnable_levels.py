"""What the tests of nested runs run: a sweep of sweeps, and a curriculum. The file NOTES names has their calls."""

from __future__ import annotations

import os
import time
from functools import partial

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import Experiment, Pipeline, SweepExperiment
from metta.sweep.experiments.curriculum.experiment import CurriculumExperiment
from metta.sweep.experiments.curriculum.schedulers import InterleaveScheduler
from metta.sweep.experiments.curriculum.tasks import Task
from metta.sweep.experiments.nested.meta import MetaSweepExperiment
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers import SynchronousBatchScheduler
from metta.sweep.space import Uniform
from metta.sweep.trial import Trial
from tests.cli.runnable import LONG, note


def score(trial: Trial) -> float:
    if note("called") == 3 and note("sleep") == 1:
        time.sleep(LONG)
    return float(trial.params["x"])


levels = MetaSweepExperiment(
    SweepExperiment(
        score,
        name="inner",
        search_space={"x": Uniform(0.0, 1.0)},
        optimizer=RandomOptimizer(),
        scheduler=SynchronousBatchScheduler(batch_size=1),
    ),
    RandomOptimizer(),
    name="levels",
    inner_budget=2,
    scheduler=SynchronousBatchScheduler(batch_size=1),
    budget=2,
    seed=1,
)


class Training(Experiment[float]):
    """Notes in which process it is."""

    def __init__(self, x: float = 0.5, length: int = 1) -> None:
        self.x, self.length = x, length

    def pipeline(self) -> Pipeline:
        return Pipeline().stage("train", self.train).through(float)

    def train(self) -> float:
        note(f"pid-{os.getpid()}")
        return self.x


tasks = CurriculumExperiment(
    [Task("short", {"length": 1}, mastery_threshold=2, patience=2)],
    base_experiment=Training(),
    scheduler=InterleaveScheduler(),
    search_space={"x": Uniform(0.0, 1.0)},
    optimizer=RandomOptimizer(),
    sweep_scheduler=SynchronousBatchScheduler(batch_size=2),
    sweep_budget=2,
    executor=partial(LocalExecutor, max_workers=1),
    name="tasks",
)
