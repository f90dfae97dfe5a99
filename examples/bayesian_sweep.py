"""Classic Bayesian optimization: Ax proposes, a batch of trainings runs in parallel, Ax learns from all of them.

The results of a batch reach the optimizer together, in the order of the trials' numbers, so that with a seed the
suggestions do not depend on which training ends first. Corrected against the documents: their search space names
distributions that nobody imports; and 100 trainings of 10 at once are 6 of 3 here, of two epochs each.
"""

from __future__ import annotations

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment, TrainingExperiment
from metta.sweep.optimizers import AxOptimizer
from metta.sweep.schedulers import SynchronousBatchScheduler
from metta.sweep.space import Choice, Integer, LogUniform

experiment = SweepExperiment(
    base_experiment=TrainingExperiment(max_epochs=2),
    name="bayesian_optimization",
    optimizer=AxOptimizer(
        search_space={
            "trainer.learning_rate": LogUniform(1e-4, 1e-1),
            "trainer.batch_size": Choice([32, 64, 128, 256]),
            "agent.hidden_size": Integer(64, 512),
        },
        acquisition="EI",  # expected improvement
        initialization_budget=3,  # quasi-random trials before the model proposes
    ),
    scheduler=SynchronousBatchScheduler(
        batch_size=3,  # trials that are suggested and observed together
        max_parallel=2,  # trials that run at once
    ),
    executor=LocalExecutor(max_workers=2),
    seed=1,
)


def main() -> None:
    """The first batch spreads over the space, the second one comes from the model."""
    results = experiment.run(budget=6)
    for trial in results.trials:
        kind = "initial" if trial.id < 3 else "model"
        print(f"{kind}: " + ", ".join(f"{path} {value:.3g}" for path, value in trial.params.items()))
    print(f"{len(results.trials)} trials, the best one reads more than 80 % of the images: {results.best_score > 0.8}")


if __name__ == "__main__":
    main()
