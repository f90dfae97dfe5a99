"""The smallest sweep: what to try, how to run it. The rest has defaults, and any part is exchanged by one line.

Corrected against the documents: `search_space` is what the experiment itself says may be tuned of it, and `run` has a
small budget. It is the default experiment: a real network on the digits data.
"""

from __future__ import annotations

from metta.sweep.experiments import SweepExperiment, TrainingExperiment
from metta.sweep.optimizers import AxOptimizer
from metta.sweep.schedulers import ASHAScheduler

search_space = TrainingExperiment().tunables()


def main() -> None:
    """Five configurations, at most four epochs each."""
    experiment = SweepExperiment(
        optimizer=AxOptimizer(search_space),  # what to try
        scheduler=ASHAScheduler(max_epochs=4, grace_period=1),  # how to run it
        seed=0,
    )
    results = experiment.run(budget=5)
    print("tuned:", ", ".join(results.best_params))
    print(f"{len(results.trials)} trials; the best one reads more than half of the images: {results.best_score > 0.5}")


if __name__ == "__main__":
    main()
