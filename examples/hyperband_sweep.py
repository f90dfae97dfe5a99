"""Hyperband: brackets of successive halving, from many short trainings to few long ones. Particle swarms suggest.

How early one may stop is itself unknown: the first bracket judges after one unit of training, the last one not at all.
Corrected against the documents: `search_space` is written out, and a full training is 9 units instead of 81. The
objective is a small regression by gradient descent with momentum; a unit is ten steps of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from metta.sweep import Trial
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import NevergradOptimizer
from metta.sweep.schedulers import HyperbandScheduler
from metta.sweep.space import LogUniform, Uniform

search_space = {"learning_rate": LogUniform(1e-4, 1.0), "momentum": Uniform(0.0, 0.99)}


def train(trial: Trial) -> Iterator[dict[str, float]]:
    """Least squares; what it yields is the loss after each unit, what it saves lets a promotion go on from there."""
    random = np.random.default_rng(0)
    x = random.normal(size=(64, 5)) * np.array([1.0, 0.7, 0.5, 0.3, 0.2])
    y = x @ random.normal(size=5)
    weights, velocity = trial.load() or (np.zeros(5), np.zeros(5))
    while True:  # the scheduler ends it
        for _ in range(10):
            gradient = x.T @ (x @ weights - y) / len(y)
            velocity = trial.params["momentum"] * velocity - trial.params["learning_rate"] * gradient
            weights = weights + velocity
        trial.save((weights, velocity))
        yield {"loss": float(np.mean((x @ weights - y) ** 2))}


experiment = SweepExperiment(
    train,
    name="hyperband_optimization",
    optimizer=NevergradOptimizer(
        search_space=search_space,
        algorithm="PSO",  # particle swarm optimization
    ),
    scheduler=HyperbandScheduler(
        max_resource=9,  # units of a full training
        eta=3,  # a third of a rung goes on
    ),
    executor=LocalExecutor(max_workers=2),
    metric_key="loss",
    goal="minimize",
    seed=0,
)


def main() -> None:
    """The plan, then one pass over it: the natural end without a budget."""
    for number, bracket in enumerate(HyperbandScheduler(max_resource=9, eta=3).brackets()):
        print(f"bracket {number}: {bracket}")
    results = experiment.run()
    used = sum(trial.step for trial in results.trials)
    print(f"{len(results.trials)} configurations, {used} units instead of {9 * len(results.trials)}")
    print(f"best loss {results.best_score:.1g} with momentum {results.best_params['momentum']:.2f}")


if __name__ == "__main__":
    main()
