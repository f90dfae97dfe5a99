"""How good the best configuration is that an optimizer finds, beside random search under the same seeds.

    python benchmarks/quality.py [--check] [--seeds N] [--trials N] [--problems TEXT ...] [--workers N]

For every problem of problems.py and every seed each optimizer gets the same number of trials, one after the other. Its
error is that of the configuration it would recommend, the best one it has seen. The errors are paired by seed with
those of random search, and a Wilcoxon signed-rank test (two-sided, 5 %) says whether the difference is more than
chance. The column "control" is random search once more, under other seeds: what a table looks like when there is no
difference. `--check` makes a broken promise the exit code 1; otherwise it is 0.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# One core per process: the matrices are small, and threads would only wait for one another.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import numpy as np
from numpy.typing import NDArray

from benchmarks.problems import Problem, problems
from benchmarks.report import Row, failed, table
from metta.sweep.optimizers import BayesianOptimizer, OptunaOptimizer, ProteinOptimizer, RandomOptimizer
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.trial import Result, TrialState

OPTIMIZERS: Mapping[str, Callable[[int], Optimizer]] = {
    "random": lambda seed: RandomOptimizer(seed=seed),
    "control": lambda seed: RandomOptimizer(seed=seed + 1_000_000),
    "TPE": lambda seed: OptunaOptimizer(sampler="TPE", seed=seed),
    "Protein, naive": lambda seed: ProteinOptimizer(seed=seed, num_random_samples=10),
    "Protein, ei": lambda seed: ProteinOptimizer(seed=seed, num_random_samples=10, acquisition_fn="ei"),
    "Bayesian": lambda seed: BayesianOptimizer(seed=seed),
}

Errors = NDArray[np.float64]

OURS = ("Protein, naive", "Protein, ei")
"""Never worse than random search, and better on functions."""

HARTMANN_ERROR = 0.13
"""The median error on Hartmann-6 after 50 trials."""

CHANCE = 0.05


class Search(NamedTuple):
    """One search: by whom, for what, under which seed and for how many trials."""

    optimizer: str
    problem: str
    seed: int
    trials: int


def search(job: Search) -> float:
    """The error of the configuration that the optimizer would recommend."""
    problem = _problems()[job.problem]
    optimizer = OPTIMIZERS[job.optimizer](job.seed)
    optimizer.bind(search_space=problem.space, goal="minimize", seed=job.seed)
    # The same draws for everyone: the k-th training of a table under this seed.
    rng = np.random.default_rng([job.seed, 1])
    found: list[tuple[float, float]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(job.trials):
            trial = optimizer.suggest(1)[0]
            trial.id = number
            value = problem.observe(trial.params, rng)
            trial.state = TrialState.COMPLETED
            optimizer.observe(trial, Result(value, cost=1.0))
            found.append((value, problem.error(trial.params)))
    return min(found)[1]


def rows(errors: Mapping[Search, float], chosen: Sequence[Problem]) -> list[Row]:
    """A row per problem and optimizer: its median error, that of random search, and what the test says."""
    found = []
    for problem, name in product(chosen, OPTIMIZERS):
        if name == "random":
            continue
        own, random = (_by_seed(errors, problem.name, which) for which in (name, "random"))
        verdict = compared(own, random)
        promise, holds = promised(problem, name, verdict, float(np.median(own)), len(own))
        found.append(
            Row(
                f"{problem.name}: {name}",
                f"{np.median(own):.3g}",
                f"{np.median(random):.3g}",
                f"{verdict} ({int((own < random).sum())} of {len(own)} seeds)",
                promise,
                holds,
            )
        )
    return found


def compared(own: Errors, other: Errors) -> str:
    """ "better", "worse" or "same": lower is better, pairs that are equal say nothing."""
    from scipy.stats import wilcoxon

    if not np.array_equal(own, other):
        if wilcoxon(own, other, zero_method="zsplit", alternative="less").pvalue < CHANCE / 2:
            return "better"
        if wilcoxon(own, other, zero_method="zsplit", alternative="greater").pvalue < CHANCE / 2:
            return "worse"
    return "same"


def promised(problem: Problem, name: str, verdict: str, error: float, seeds: int) -> tuple[str, bool | None]:
    """What is promised of this optimizer here, and whether it holds."""
    if name not in OURS:
        return "", None
    promise, holds = ("better", verdict == "better") if problem.is_function else ("not worse", verdict != "worse")
    if problem.name == "Hartmann-6":
        promise, holds = f"{promise}, <= {HARTMANN_ERROR}", holds and error <= HARTMANN_ERROR
    return promise, holds


def _by_seed(errors: Mapping[Search, float], problem: str, optimizer: str) -> Errors:
    jobs = sorted(job for job in errors if job.problem == problem and job.optimizer == optimizer)
    return np.array([errors[job] for job in jobs])


_known: dict[str, Problem] = {}


def _problems() -> dict[str, Problem]:
    """The problems by name, made once in each process."""
    if not _known:
        _known.update((problem.name, problem) for problem in problems())
    return _known


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, print the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 where a promise does not hold")
    parser.add_argument("--seeds", type=int, default=30, help="searches of each optimizer per problem")
    parser.add_argument("--trials", type=int, default=50, help="trials of a search")
    parser.add_argument("--problems", nargs="*", default=[""], help="parts of the names of the problems")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    options = parser.parse_args(arguments)
    chosen = [problem for name, problem in _problems().items() if any(part in name for part in options.problems)]
    jobs = [
        Search(name, problem.name, seed, options.trials)
        for problem, seed, name in product(chosen, range(options.seeds), OPTIMIZERS)
    ]
    with ProcessPoolExecutor(options.workers, get_context("forkserver")) as pool:
        errors = dict(zip(jobs, pool.map(search, jobs, chunksize=4), strict=True))
    found = rows(errors, chosen)
    print(table(found, took="error", beside="random"))
    print(f"\nMedian errors after {options.trials} trials, {options.seeds} seeds; the verdict against random search")
    return int(options.check and failed(found))


if __name__ == "__main__":
    sys.exit(main())
