import math
from collections.abc import Mapping
from typing import Any

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.optimizers.bayesian import BayesianOptimizer
from metta.sweep.optimizers.multi_fidelity.optimizer import MultiFidelityOptimizer
from metta.sweep.optimizers.protein.candidates import CLOSE
from metta.sweep.space import Uniform
from metta.sweep.trial import Trial

SQUARE = {"x": Uniform(-1, 1), "y": Uniform(-1, 1)}


def peak(params: Mapping[str, Any]) -> float:
    return -float((params["x"] - 0.4) ** 2 + 3 * (params["y"] + 0.2) ** 2)


def run(optimizer: BayesianOptimizer, trials: int) -> list[Trial]:
    done = []
    for _ in range(trials):
        (trial,) = optimizer.suggest(1)
        optimizer.observe(trial, peak(trial.params))
        done.append(trial)
    return done


@pytest.mark.parametrize("acquisition", ["ei", "ucb"])
def test_it_closes_in_on_the_best_point(acquisition: Any) -> None:
    optimizer = BayesianOptimizer(SQUARE, acquisition, seed=0)
    done = run(optimizer, 25)
    assert max(peak(trial.params) for trial in done) > -1e-4
    assert optimizer.last_info is not None
    assert optimizer.last_info.rating is not None
    if acquisition == "ei":
        assert optimizer.last_info.rating < math.log(0.01), "hardly any improvement over the best is expected"


def jagged(x: float) -> float:
    """A hill whose top is broad and rough: what lies close together differs as much as what does not."""
    return min(x, 0.2) + 0.15 * math.sin(1e4 * x)


@pytest.mark.parametrize("make", [BayesianOptimizer, MultiFidelityOptimizer])
@pytest.mark.parametrize("seed", range(3))
def test_a_rough_top_is_not_tried_again_at_the_same_place(make: type[BayesianOptimizer], seed: int) -> None:
    optimizer = make({"x": Uniform(-1, 1)}, seed=seed)
    found = []
    for _ in range(30):
        (trial,) = optimizer.suggest(1)
        optimizer.observe(trial, jagged(trial.params["x"]))
        found.append(trial.params["x"])
    assert sum(x > 0 for x in found) > 20
    gaps = [min(abs(x - other) for other in found[:number]) for number, x in enumerate(found) if number]
    assert sum(gap < CLOSE for gap in gaps) <= 3, gaps


def test_it_starts_with_a_sobol_sequence() -> None:
    trials = BayesianOptimizer(SQUARE, seed=0).suggest(16)
    for name in SQUARE:
        assert len({int((trial.params[name] + 1) * 8) for trial in trials}) == 16


def test_a_model_is_asked_after_the_initial_samples() -> None:
    optimizer = BayesianOptimizer(SQUARE, seed=0)
    sources = []
    for _ in range(8):
        run(optimizer, 1)
        assert optimizer.last_info is not None
        sources.append(optimizer.last_info.source)
    assert sources == ["random"] * 5 + ["model"] * 3


@pytest.mark.parametrize("acquisition", ["ei", "ucb"])
def test_more_exploration_goes_further(acquisition: Any) -> None:
    def late_spread(exploration: float) -> float:
        done = run(BayesianOptimizer(SQUARE, acquisition, seed=0, exploration=exploration), 30)
        return float(sum(abs(trial.params["x"] - 0.4) for trial in done[15:]))

    assert late_spread(20.0) > 2 * late_spread(0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"acquisition": "eci"}, r"acquisition='eci': expected 'ei', 'ucb' \(did you mean 'ei'\?\)"),
        ({"exploration": -1.0}, "exploration=-1.0: expected a number, at least 0"),
        ({"initial_samples": 0}, "initial_samples=0: expected at least 1"),
        ({"gp_max_obs": 1}, "gp_max_obs=1: expected at least 2"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        BayesianOptimizer(SQUARE, **arguments)
