"""Warm start: a new sweep begins with what an earlier one has found out, also in a space that is not quite the same.

`load_observations` reads a finished sweep of the store by its name. An optimizer observes each result before it
suggests anything; a run works on a copy, so the same optimizer may start many sweeps. Corrected against the documents:
`SweepExperiment(optimizer=optimizer, ...)` is written out, and the observations are fitted into the new space
(`search_space=`): there `augmentations` of the earlier sweep is unknown, and `dropout` is new. A new parameter counts
as its default, the middle of its range: choose the range so that this is what was used before.
"""

from __future__ import annotations

import math
import warnings

from metta.sweep import Trial
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment, load_observations
from metta.sweep.optimizers import AxOptimizer, SobolOptimizer
from metta.sweep.schedulers import SynchronousBatchScheduler
from metta.sweep.space import Integer, LogUniform, Uniform

search_space = {"learning_rate": LogUniform(1e-4, 1e-1), "dropout": Uniform(0.0, 0.6)}


def earlier(trial: Trial) -> float:
    """Always with a dropout of 0.3; best at a learning rate of 0.003."""
    rate: float = trial.params["learning_rate"]
    return 0.8 - 0.2 * math.log10(rate / 0.003) ** 2


def now(trial: Trial) -> float:
    """The same with dropout to be tuned; less is better, but for none."""
    dropout: float = trial.params["dropout"]
    return earlier(trial) + 0.04 - (dropout - 0.1) ** 2


def main() -> None:
    """Twelve old results, four new trials: the very first of them comes from a model."""
    batches = SynchronousBatchScheduler(batch_size=2)
    with LocalExecutor(max_workers=2) as executor:
        previous = SweepExperiment(
            earlier,
            name="previous_sweep",
            search_space={"learning_rate": LogUniform(1e-4, 1e-1), "augmentations": Integer(1, 8)},
            optimizer=SobolOptimizer(),
            scheduler=batches,
            executor=executor,
            seed=0,
        ).run(budget=12)
        print(f"previous sweep: {len(previous.trials)} trials, best score {previous.best_score:.2f}")

        # Use the results of the previous sweep.
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            previous_observations = load_observations("previous_sweep", search_space=search_space)
        print(told[0].message)
        optimizer = AxOptimizer(search_space, seed=0)  # it needs its seed now: observing builds the model
        for obs in previous_observations:
            optimizer.observe(obs.trial, obs.result)

        experiment = SweepExperiment(now, optimizer=optimizer, scheduler=batches, executor=executor, seed=0)
        result = experiment.run(budget=4)
        print(f"warm start: {len(result.trials)} trials, best score {result.best_score:.2f}")
        print("first new trial:", {path: round(value, 4) for path, value in result.trials[0].params.items()})


if __name__ == "__main__":
    main()
