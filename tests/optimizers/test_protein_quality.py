"""How good the searches are: minutes, so that they run among the slow tests."""

import math
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from metta.sweep.optimizers import Optimizer, RandomOptimizer
from metta.sweep.optimizers.bayesian import BayesianOptimizer
from metta.sweep.optimizers.protein import ProteinOptimizer
from metta.sweep.space import Uniform

Array = NDArray[np.float64]

_A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)
_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])


def hartmann6(x: Array) -> float:
    """The distance of the Hartmann function in 6 dimensions from its minimum, on the unit cube."""
    return float(3.32237 - _ALPHA @ np.exp(-(_A * (x - _P) ** 2).sum(axis=1)))


def sphere(x: Array) -> float:
    return float(((x - 0.7) ** 2).sum())


def rastrigin(x: Array) -> float:
    y = 6 * (x - 0.35)
    return float((y**2 - 10 * np.cos(2 * math.pi * y) + 10).sum())


def peaks(x: Array) -> float:
    """Twenty peaks of different heights and widths, in the manner of Gallagher's functions."""
    rng = np.random.default_rng(5)
    centers, widths = rng.random((20, len(x))), rng.uniform(0.1, 0.4, 20)
    heights = np.r_[10.0, rng.uniform(1, 8, 19)]
    return float(10 - (heights * np.exp(-((x - centers) ** 2).sum(axis=1) / (2 * widths**2))).max())


def best_of(make: Callable[[int], Optimizer], function: Callable[[Array], float], trials: int, seed: int) -> float:
    optimizer = make(seed)
    best = math.inf
    for _ in range(trials):
        (trial,) = optimizer.suggest(1)
        error = function(np.array(list(dict(trial.params).values())))
        optimizer.observe(trial, error)
        best = min(best, error)
    return best


def space(dimensions: int) -> dict[str, object]:
    return {f"x{number}": Uniform(0, 1) for number in range(dimensions)}


def protein(acquisition: Any, dimensions: int) -> Callable[[int], Optimizer]:
    return lambda seed: ProteinOptimizer(
        space(dimensions), acquisition, seed=seed, goal="minimize", num_random_samples=10
    )


def bayesian(dimensions: int) -> Callable[[int], Optimizer]:
    return lambda seed: BayesianOptimizer(space(dimensions), seed=seed, goal="minimize")


@pytest.mark.slow
@pytest.mark.parametrize(("make", "limit"), [(protein("naive", 6), 0.13), (protein("ei", 6), 0.13), (bayesian(6), 0.1)])
def test_hartmann_6_in_50_trials(make: Callable[[int], Optimizer], limit: float) -> None:
    assert median(best_of(make, hartmann6, 50, seed) for seed in range(30)) <= limit


@pytest.mark.slow
@pytest.mark.parametrize("function", [sphere, rastrigin, peaks])
@pytest.mark.parametrize("make", [protein("naive", 5), protein("ei", 5), protein("ucb", 5), bayesian(5)])
def test_better_than_random(make: Callable[[int], Optimizer], function: Callable[[Array], float]) -> None:
    def random(seed: int) -> Optimizer:
        return RandomOptimizer(space(5), seed=seed, goal="minimize")

    ours = [best_of(make, function, 50, seed) for seed in range(8)]
    theirs = [best_of(random, function, 50, seed) for seed in range(8)]
    assert median(ours) < median(theirs)
    assert sum(a < b for a, b in zip(ours, theirs, strict=True)) >= 4
