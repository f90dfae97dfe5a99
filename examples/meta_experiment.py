"""Optimizing the optimizer: a meta experiment searches the settings of a sweep, here with population based training.

The concise document's block: `MetaExperiment(base=SweepExperiment, optimizer=PBTScheduler())`. A scheduler in the place
of the optimizer works with random search. The unit of resource is one inner trial: PBT compares its members after every
few of them, and a member that copies another one copies what that has observed. Budgets are small here.
"""

from __future__ import annotations

import math

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import MetaExperiment, MetaSweepExperiment, SweepExperiment
from metta.sweep.optimizers import BayesianOptimizer, RandomOptimizer
from metta.sweep.schedulers import PBTScheduler
from metta.sweep.space import LogUniform, Uniform
from metta.sweep.trial import Trial

SEARCH_SPACE = {"learning_rate": LogUniform(1e-5, 1e-1), "dropout": Uniform(0.0, 0.6)}


def train(trial: Trial) -> float:
    """A smooth valley: the best learning rate is 3e-3, the best dropout 0.2."""
    distance = (math.log10(trial.params["learning_rate"] / 3e-3)) ** 2 + 4 * (trial.params["dropout"] - 0.2) ** 2
    return math.exp(-distance)


def levels() -> None:
    """Level 1 searches the hyperparameters, level 2 how level 1 searches."""
    with LocalExecutor(max_workers=2) as workers:
        sweep = SweepExperiment(train, search_space=SEARCH_SPACE, optimizer=BayesianOptimizer(), seed=0)
        alone = sweep.run(budget=6)
        print(f"one sweep: {alone.best_score:.2f}")

        meta_sweep = MetaExperiment(
            base=SweepExperiment,
            # Each member runs two generations of three inner trials.
            optimizer=PBTScheduler(population_size=4, num_generations=2, max_resource=6),
            base_experiment=train,  # from here on arguments of the base
            search_space=SEARCH_SPACE,
            seed=0,
            executor=workers,
        )
        found = meta_sweep.run()
        settings = ", ".join(sorted(path.removeprefix("optimizer.") for path in found.best_params))
        print(f"tuned: {settings}")
        print(f"at least as good: {found.best_score >= alone.best_score - 0.05}")


def templates() -> None:
    """A sweep that is made already serves as a template; any path of it may be searched."""
    template = SweepExperiment(train, search_space=SEARCH_SPACE, optimizer=BayesianOptimizer(), seed=3)
    meta_sweep = MetaSweepExperiment(
        base_experiment=template,
        meta_optimizer=RandomOptimizer({"optimizer.exploration": Uniform(0.0, 2.0)}),
        inner_budget=4,
        seed=1,
    )
    result = meta_sweep.run(budget=3)
    leaves = sum(trial.reports[-1].metrics["leaf_resource"] for trial in result.trials)
    print(f"{len(result.trials)} sweeps, {leaves:.0f} trainings")


if __name__ == "__main__":
    levels()
    templates()
