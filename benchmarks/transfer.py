"""What results of low rungs and of other tasks are worth to a search.

    python benchmarks/transfer.py [--check] [--seeds N] [--workers N]

Training is a formula, so a search takes a second and its best configuration is known. Under Hyperband
`MultiFidelityOptimizer`, which models every rung, is compared with a model of one rung and with random search. And
`TransferOptimizer` is compared with the same optimizer without earlier tasks: after 10 trials where a task is related,
after 25 where the earlier task says the opposite of the truth. All by sign tests over the seeds. `--check` makes a
broken promise the exit code 1; otherwise it is 0.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scipy.stats import binomtest

from benchmarks.problems import hartmann6
from benchmarks.report import Row, failed, table
from metta.sweep.optimizers import BayesianOptimizer, Optimizer, RandomOptimizer
from metta.sweep.optimizers.multi_fidelity.optimizer import MultiFidelityOptimizer
from metta.sweep.optimizers.transfer.optimizer import TransferOptimizer
from metta.sweep.schedulers import HyperbandScheduler
from metta.sweep.space import Integer, LogUniform, SearchSpace, Uniform
from metta.sweep.testing import Curve, Quality, bowl, crossing, noisy, power_law, simulate
from metta.sweep.trial import Observation, Params, Result, TrialState

EPOCHS = 27
SPACE = SearchSpace(
    {
        "lr": LogUniform(1e-4, 1e-1),
        "decay": LogUniform(1e-6, 1e-2),
        "dropout": Uniform(0, 0.5),
        "width": Integer(8, 256, log=True),
    }
)
HARTMANN = hartmann6()


def hartmann(params: Params) -> float:
    """Hartmann-6 as a quality: 1 at best."""
    return 1 - HARTMANN.error(params) / 3.32237


class Problem(NamedTuple):
    """A space, and how good its configurations are: 1 at best."""

    space: SearchSpace
    quality: Quality


BOWL, HARTMANN_6 = Problem(SPACE, bowl(SPACE)), Problem(HARTMANN.space, hartmann)

NOISY = "noisy curves"

CURVES: dict[str, tuple[Problem, Curve]] = {
    "curves that do not cross": (BOWL, power_law(BOWL.quality)),
    NOISY: (BOWL, noisy(power_law(BOWL.quality), 0.05)),
    "the best learn slowest": (BOWL, crossing(BOWL.quality)),
    "Hartmann-6": (HARTMANN_6, power_law(hartmann)),
    "Hartmann-6, the best learn slowest": (HARTMANN_6, crossing(hartmann)),
}
OPTIMIZERS: dict[str, type[Optimizer]] = {
    "all rungs": MultiFidelityOptimizer,
    "one rung": BayesianOptimizer,
    "random": RandomOptimizer,
}


def opposite(params: Params) -> float:
    """The better the worse."""
    return -BOWL.quality(params)


EARLIER: dict[str, tuple[Quality, int]] = {"related": (bowl(SPACE, 0.75), 10), "opposite": (opposite, 25)}
"""An earlier task, and after how many trials of the new one it is judged."""


class Job(NamedTuple):
    """One search: on which curves by what, or after which earlier task ("" for none) with how many trials."""

    problem: str
    how: str
    seed: int
    trials: int = 0


def search(job: Job) -> float:
    """How far the best configuration that was found is from the best there is."""
    return _transfer(job) if job.trials else _rungs(job)


def _rungs(job: Job) -> float:
    problem, curve = CURVES[job.problem]
    optimizer = OPTIMIZERS[job.how](problem.space, seed=job.seed)
    done = simulate(optimizer, HyperbandScheduler(EPOCHS), curve, seed=job.seed, steps=EPOCHS)
    trained = [(trial.score, trial.params) for trial in done.trials if trial.step == EPOCHS]
    # What a user would take: the best by what was reported, judged by what it is.
    _, params = max(trained, key=lambda pair: pair[0] if isinstance(pair[0], float) else -1)
    return 1 - problem.quality(params)


def _transfer(job: Job) -> float:
    if not job.how:
        return 1 - max(_scores(BayesianOptimizer(SPACE, seed=job.seed), BOWL.quality, job.trials))
    earlier, _ = EARLIER[job.how]
    drawn = RandomOptimizer(SPACE, seed=1000 + job.seed).suggest(30)
    previous = {job.how: [Observation(trial, Result(earlier(trial.params))) for trial in drawn]}
    return 1 - max(_scores(TransferOptimizer(SPACE, previous, seed=job.seed), BOWL.quality, job.trials))


def _scores(optimizer: Optimizer, quality: Quality, trials: int) -> list[float]:
    scores = []
    for _ in range(trials):
        (trial,) = optimizer.suggest(1)
        trial.state = TrialState.COMPLETED
        scores.append(quality(trial.params))
        optimizer.observe(trial, scores[-1])
    return scores


def jobs(seeds: int) -> list[Job]:
    """All searches."""
    by_rungs = [Job(problem, how, seed) for problem in CURVES for how in OPTIMIZERS for seed in range(seeds)]
    transfers = [
        Job(task, how, seed, trials)
        for task, (_, trials) in EARLIER.items()
        for how in (task, "")
        for seed in range(seeds)
    ]
    return [*by_rungs, *transfers]


def rows(found: dict[Job, float]) -> list[Row]:
    """A row per comparison."""
    seeds = sorted({job.seed for job in found})

    def row(what: str, one: Job, other: Job, wanted: str) -> Row:
        ours = [found[one._replace(seed=seed)] for seed in seeds]
        theirs = [found[other._replace(seed=seed)] for seed in seeds]
        wins = sum(a < b for a, b in zip(ours, theirs, strict=True))
        losses = sum(a > b for a, b in zip(ours, theirs, strict=True))
        promise, holds = {
            "better": ("better, p < 0.01", _p(wins, losses) < 0.01),
            "not worse": ("not worse, p > 0.05", _p(losses, wins) > 0.05),
            "near": ("within 0.01", median(ours) <= median(theirs) + 0.01),
        }[wanted]
        ratio = f"{wins} wins, {losses} losses"
        return Row(what, f"{median(ours):.4f}", f"{median(theirs):.4f}", ratio, promise, holds)

    by_rungs = []
    for problem in CURVES:
        ours, one_rung, random = (Job(problem, how, 0) for how in OPTIMIZERS)
        # Noise decides which of the last few trainings is taken, whoever suggested them.
        by_rungs.append(
            row(f"{problem}: all rungs, random", ours, random, "not worse" if problem == NOISY else "better")
        )
        by_rungs.append(row(f"{problem}: all rungs, one rung", ours, one_rung, "not worse"))
    transfers = []
    for task, (_, trials) in EARLIER.items():
        wanted = "better" if task == "related" else "near"
        warm, cold = Job(task, task, 0, trials), Job(task, "", 0, trials)
        transfers.append(row(f"after {trials} trials: {task} task, none", warm, cold, wanted))
    return [*by_rungs, *transfers]


def _p(wins: int, losses: int) -> float:
    """One-sided sign test: how likely so many wins are by luck."""
    return float(binomtest(wins, wins + losses, alternative="greater").pvalue) if wins + losses else 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, print the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 where a promise does not hold")
    parser.add_argument("--seeds", type=int, default=30, help="searches of each kind")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    options = parser.parse_args(arguments)
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")  # each of the processes has a core to itself
    wanted = jobs(options.seeds)
    with ProcessPoolExecutor(options.workers, get_context("forkserver")) as pool:
        found = rows(dict(zip(wanted, pool.map(search, wanted, chunksize=5), strict=True)))
    print(table(found, took="regret", beside="beside"))
    print(f"\nMedians of {options.seeds} seeds; wins and losses are paired by seed.")
    return int(options.check and failed(found))


if __name__ == "__main__":
    sys.exit(main())
