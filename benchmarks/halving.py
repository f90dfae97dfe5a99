"""What successive halving saves: ASHA and Hyperband beside random search that trains everything to the end.

    python benchmarks/halving.py [--check] [--seeds N] [--full N] [--workers N]

The digits network is really trained, every epoch of it; only the clock is simulated, so that a search is the same each
time. Random search trains 60 configurations for 27 epochs each. ASHA and Hyperband draw theirs from the same space at
random, and have to come as far, but for one item of the validation split, with a third of the epochs. `--check` makes a
broken promise the exit code 1; otherwise it is 0.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import Row, failed, table
from metta.sweep.experiments import TrainingExperiment
from metta.sweep.experiments.digits import (
    VALIDATION_ITEMS,
    Settings,
    State,
    build,
    load_digits,
    train_epoch,
    validation_accuracy,
)
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers import ASHAScheduler, AsynchronousScheduler, HyperbandScheduler
from metta.sweep.schedulers.base import Scheduler
from metta.sweep.testing import simulate
from metta.sweep.trial import Params, Trial

EPOCHS, ETA = 27, 3
SHARE = 1 / 3
"""Of random search's epochs."""

ASHA_CONFIGURATIONS = 2.25
"""Times those of random search: each costs 3.6 epochs on average, where random search's costs 27."""

RANDOM = "random search"


class Outcome(NamedTuple):
    """Of one search: the best validation accuracy, and the epochs trained for it."""

    score: float
    epochs: int


class Search(NamedTuple):
    """One search: how, under which seed, and how many configurations random search trains."""

    how: str
    seed: int
    full: int


SCHEDULERS: dict[str, Callable[[], Scheduler]] = {
    RANDOM: lambda: AsynchronousScheduler(max_resource=EPOCHS),
    "ASHA": lambda: ASHAScheduler(max_epochs=EPOCHS, reduction_factor=ETA, grace_period=1),
    "Hyperband": lambda: HyperbandScheduler(max_resource=EPOCHS, eta=ETA),
}


class Training:
    """Trains the networks of one search, an epoch at a time, and counts the epochs."""

    def __init__(self) -> None:
        self.epochs = 0
        self._data = load_digits()
        self._states: dict[Settings, State] = {}

    def __call__(self, params: Params, step: int) -> float:
        """The validation accuracy after `step` epochs."""
        settings = Settings(params["learning_rate"], params["batch_size"], params["hidden_size"], seed=0)
        state = self._states.get(settings) or build(Trial(params), settings)
        while state.epoch < step:
            state = train_epoch(self._data, settings, state)
            self.epochs += 1
        self._states[settings] = state
        if step == EPOCHS:
            del self._states[settings]
        return validation_accuracy(self._data, settings, state)


def search(job: Search) -> Outcome:
    """Search to the end."""
    training = Training()
    optimizer = RandomOptimizer(TrainingExperiment().tunables(), seed=job.seed)
    budget = {RANDOM: job.full, "ASHA": round(ASHA_CONFIGURATIONS * job.full)}.get(job.how)
    done = simulate(optimizer, SCHEDULERS[job.how](), training, budget, workers=4, seed=job.seed, steps=EPOCHS)
    scores = [trial.score for trial in done.trials if isinstance(trial.score, float) and trial.step == EPOCHS]
    return Outcome(max(scores, default=0.0), training.epochs)


def rows(found: dict[Search, Outcome]) -> list[Row]:
    """A row per scheduler."""
    table_rows = []
    by_seed = {(job.how, job.seed): outcome for job, outcome in found.items()}
    seeds = sorted({job.seed for job in found})
    for how in SCHEDULERS:
        scores = [by_seed[how, seed].score for seed in seeds]
        behind = median(by_seed[RANDOM, seed].score - by_seed[how, seed].score for seed in seeds) * VALIDATION_ITEMS
        share = median(by_seed[how, seed].epochs / by_seed[RANDOM, seed].epochs for seed in seeds)
        promise, holds = "", None
        if how != RANDOM:
            promise = "<= 1 item behind, <= 1/3 of the epochs"
            holds = behind <= 1 + 1e-9 and share <= SHARE
        epochs = f"{median(by_seed[how, seed].epochs for seed in seeds):g} epochs"
        table_rows.append(
            Row(how, f"{median(scores):.4f}", epochs, f"{behind:+.1f} items, {share:.2f} epochs", promise, holds)
        )
    return table_rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, print the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 where a promise does not hold")
    parser.add_argument("--seeds", type=int, default=20, help="searches of each kind")
    parser.add_argument("--full", type=int, default=60, help="configurations that random search trains")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    options = parser.parse_args(arguments)
    jobs = [Search(how, seed, options.full) for seed, how in product(range(options.seeds), SCHEDULERS)]
    with ProcessPoolExecutor(options.workers, get_context("forkserver")) as pool:
        found = rows(dict(zip(jobs, pool.map(search, jobs), strict=True)))
    print(table(found, took="accuracy", beside="epochs"))
    print(f"\nMedians of {options.seeds} seeds; behind random search: items of {VALIDATION_ITEMS}, paired by seed.")
    return int(options.check and failed(found))


if __name__ == "__main__":
    sys.exit(main())
