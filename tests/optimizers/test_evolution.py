from __future__ import annotations

from typing import Any

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.optimizers.evolution import EvolutionaryStrategy
from metta.sweep.optimizers.nevergrad import NevergradOptimizer
from metta.sweep.space import Choice, Integer, Uniform

SPACE = {"x": Uniform(-1, 1), "y": Uniform(-1, 1), "z": Uniform(-1, 1)}


def sphere(params: Any) -> float:
    return float(sum((value - 0.3) ** 2 for value in params.values()))


@pytest.mark.parametrize("algorithm", ["CMA", "cma-es", "DE", "PSO"])
def test_it_finds_the_minimum(algorithm: str) -> None:
    searching = EvolutionaryStrategy(SPACE, algorithm, population_size=8, seed=1, goal="minimize")
    losses = []
    for _ in range(25):
        for trial in searching.suggest(8):
            losses.append(sphere(trial.params))
            searching.observe(trial, losses[-1])
    # The best of as many random points is at 0.035 in the median.
    assert min(losses) < 0.01
    assert sum(losses[-24:]) < sum(losses[:24]) / 4


@pytest.mark.parametrize(("algorithm", "attribute"), [("CMA", "_popsize"), ("DE", "llambda"), ("PSO", "llambda")])
def test_the_population_has_the_size_that_was_asked_for(algorithm: str, attribute: str) -> None:
    for size in (5, 9):
        searching = EvolutionaryStrategy(SPACE, algorithm, population_size=size, seed=0)
        searching.suggest(1)
        assert getattr(searching._open().library, attribute) == size


def test_as_a_meta_optimizer_it_searches_whole_numbers_and_choices() -> None:
    space = {"scheduler.batch_size": Integer(1, 16), "optimizer.acquisition": Choice(["ei", "ucb"])}
    searching = EvolutionaryStrategy(space, seed=0)
    for _ in range(20):
        (trial,) = searching.suggest(1)
        assert 1 <= trial.params["batch_size"] <= 16
        searching.observe(trial, float(trial.params["batch_size"]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"algorithm": "CNA"}, "no algorithm 'CNA': did you mean 'CMA'"),
        ({"algorithm": "annealing"}, "there is CMA, DE, PSO"),
        ({"population_size": 1}, "population_size=1: expected a whole number, at least 2"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        EvolutionaryStrategy(SPACE, **arguments)


@pytest.mark.parametrize("population_size", [None, 6])
def test_one_parameter_alone_is_searched_too(population_size: int | None) -> None:
    searching = EvolutionaryStrategy({"x": Uniform(-1, 1)}, population_size=population_size, seed=1, goal="minimize")
    losses = []
    for _ in range(40):
        (trial,) = searching.suggest(1)
        losses.append(sphere(trial.params))
        searching.observe(trial, losses[-1])
    assert min(losses) < 0.001


def test_what_an_algorithm_lacks_is_told() -> None:
    searching = NevergradOptimizer({"x": Uniform(-1, 1)}, algorithm="CMA", seed=1)
    with pytest.raises(UsageError, match=r"'CMA' cannot search 1 parameters: .*fcmaes"):
        searching.suggest(1)
    # Another search of this process is none the worse for it.
    assert NevergradOptimizer(SPACE, algorithm="CMA", seed=1).suggest(1)
