"""What the tests of nested runs run: a sweep of sweeps that notes its calls in the file NOTES names."""

from __future__ import annotations

import time

from metta.sweep.experiments import SweepExperiment
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
