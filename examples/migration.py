"""From the old sweep script to this: the same optimizer and the same settings, and everything else said openly.

The old way:

    ./tools/sweep_execute.py sweep_name=my_sweep sweep.protein.acquisition_fn=ucb sweep.protein.ucb_beta=2.0

The new way is this file, or the command line with this file; what is set there replaces what stands here:

    metta-sweep run examples/migration.py:experiment optimizer.ucb_beta=3.0 --budget 6
    metta-sweep ls
    metta-sweep resume my_sweep --budget 12

Corrected against the documents: with all the defaults of the old optimizer its first 50 trials are random, so
`num_random_samples` is lower here; and a sweep has a budget.
"""

from __future__ import annotations

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment, TrainingExperiment
from metta.sweep.optimizers import ProteinOptimizer
from metta.sweep.schedulers import BatchScheduler

experiment = SweepExperiment(
    base_experiment=TrainingExperiment(max_epochs=1),
    name="my_sweep",
    optimizer=ProteinOptimizer(
        acquisition_fn="ucb",
        ucb_beta=2.0,
        # Same parameters, clearer structure
        num_random_samples=4,
    ),
    scheduler=BatchScheduler(
        batch_size=3,
        # Scheduling is now explicit
    ),
    executor=LocalExecutor(max_workers=2),
    seed=0,
)


def main() -> None:
    """Six trainings of one epoch."""
    result = experiment.run(budget=6)
    print(f"{result.name}: {len(result.trials)} trials, tuned {', '.join(result.best_params)}")
    print(f"above 60 %: {result.best_score > 0.6}")


if __name__ == "__main__":
    main()
