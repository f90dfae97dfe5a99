"""Resource-aware scheduling: learn what configurations cost, and start the most promising per cost first.

Each trial reports its cost under the name that the scheduler is told (`resource_attr`). From the trials that are over
it predicts cost and score of those that wait, and orders them by expected improvement per cost. Corrected against the
documents: `max_concurrent_trials` is 1 instead of 10, so that the order is all that makes the difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from metta.sweep import Trial
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import Budget, SweepExperiment
from metta.sweep.optimizers import SobolOptimizer
from metta.sweep.schedulers import AsynchronousScheduler, ResourceAwareScheduler, Scheduler
from metta.sweep.space import Integer, LogUniform, Uniform

search_space = {
    "layers": Integer(1, 12),
    "width": Integer(16, 256, log=True),
    "dropout": Uniform(0.0, 0.5),
    "weight_decay": LogUniform(1e-5, 1e-1),
}


def train(trial: Trial) -> Mapping[str, float]:
    """Larger networks are a little better and much slower. The time is computed here, so it is the same everywhere."""
    params = trial.params
    size_penalty = 0.1 / params["layers"] + 1 / params["width"]
    regularization_penalty = 0.4 * params["dropout"] + 0.05 * (5 + math.log10(params["weight_decay"]))
    return {
        "score": 0.97 - size_penalty - regularization_penalty,
        "training_time": params["layers"] * params["width"] / 16,
    }


scheduler = ResourceAwareScheduler(
    resource_attr="training_time",
    max_concurrent_trials=1,
    prioritize_by="performance_per_cost",
)


def cost_of_a_good_one(scheduler: Scheduler, executor: LocalExecutor) -> float:
    """The training time that it takes to reach a score of 0.85."""
    experiment = SweepExperiment(
        train,
        optimizer=SobolOptimizer(search_space),
        scheduler=scheduler,
        executor=executor,
        cost_key="training_time",
        seed=2,
    )
    result = experiment.run(budget=Budget(trials=50, target_score=0.85))
    assert result.best_score >= 0.85, result.ended
    return sum(trial.cost or 0.0 for trial in result.trials)


def main() -> None:
    """The same configurations in two orders."""
    with LocalExecutor(max_workers=1) as executor:
        print(f"as suggested: {cost_of_a_good_one(AsynchronousScheduler(), executor):.0f} s of training")
        print(f"by performance per cost: {cost_of_a_good_one(scheduler, executor):.0f} s of training")


if __name__ == "__main__":
    main()
