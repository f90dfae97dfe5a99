"""ASHA: many configurations start, few are trained to the end. Optuna's TPE suggests them.

Rungs lie at 1, 3 and 9 epochs. Whenever a slot is free, the best not yet promoted configuration among the top third of
a rung goes on from its saved weights; if there is none, a new one starts. Corrected against the documents:
`search_space` is written out, and 500 configurations of 100 epochs are 12 of 9. One worker, because with
asynchronous halving the order in which trainings end decides what is promoted.
"""

from __future__ import annotations

from collections import Counter

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment, TrainingExperiment
from metta.sweep.optimizers import OptunaOptimizer
from metta.sweep.schedulers import ASHAScheduler
from metta.sweep.space import Integer, LogUniform, PowerOfTwo

search_space = {
    "trainer.learning_rate": LogUniform(1e-4, 1e-1),
    "trainer.batch_size": PowerOfTwo(32, 256),
    "agent.hidden_size": Integer(8, 128, log=True),
}

experiment = SweepExperiment(
    TrainingExperiment,
    name="asha_tpe",
    optimizer=OptunaOptimizer(
        search_space=search_space,
        sampler="TPE",  # Tree-structured Parzen Estimator
    ),
    scheduler=ASHAScheduler(
        max_epochs=9,  # epochs of a full training
        reduction_factor=3,  # the top third of each rung goes on
        grace_period=1,  # epochs before the first decision
    ),
    executor=LocalExecutor(max_workers=1),
    seed=0,
)


def main() -> None:
    """How long the trainings were, and what halving has saved."""
    results = experiment.run(budget=12)
    for epochs, trainings in sorted(Counter(trial.step for trial in results.trials).items()):
        print(f"{trainings} configurations were trained for {epochs} epochs")
    spent = sum(trial.step for trial in results.trials)
    print(f"{spent} epochs instead of {9 * len(results.trials)}; {results.recomputed} were run twice")
    print(f"the best trial ran {results.best_trial.step} epochs; it is above 90 %: {results.best_score > 0.9}")


if __name__ == "__main__":
    main()
