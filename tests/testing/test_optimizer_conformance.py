"""Every optimizer of ours keeps the contract; and the suite finds those that do not."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from metta.sweep.optimizers.ax import AxOptimizer
from metta.sweep.optimizers.base import Optimizer, Restored
from metta.sweep.optimizers.bayesian import BayesianOptimizer
from metta.sweep.optimizers.evolution import EvolutionaryStrategy
from metta.sweep.optimizers.grid import GridOptimizer
from metta.sweep.optimizers.nevergrad import NevergradOptimizer
from metta.sweep.optimizers.optuna import OptunaOptimizer
from metta.sweep.optimizers.protein import ProteinOptimizer
from metta.sweep.optimizers.random import RandomOptimizer
from metta.sweep.optimizers.sobol import SobolOptimizer
from metta.sweep.space import SearchSpace
from metta.sweep.testing.optimizer_conformance import OptimizerConformance
from metta.sweep.trial import Result, Trial


class TestRandom(OptimizerConformance):
    def make(self) -> Optimizer:
        return RandomOptimizer()


class TestGrid(OptimizerConformance):
    def make(self) -> Optimizer:
        return GridOptimizer(resolution=3)


class TestSobol(OptimizerConformance):
    def make(self) -> Optimizer:
        return SobolOptimizer(skip=3)


class TestTPE(OptimizerConformance):
    restore_every = 7

    def make(self) -> Optimizer:
        return OptunaOptimizer(sampler="TPE", n_startup_trials=4)


class TestNSGA2(OptimizerConformance):
    restore_every = 7

    def make(self) -> Optimizer:
        return OptunaOptimizer(sampler="NSGA-II", population_size=4)


class TestCMA(OptimizerConformance):
    restore_every = 7
    several_objectives = False

    def make(self) -> Optimizer:
        return OptunaOptimizer(sampler="CMA-ES")


class TestQMC(OptimizerConformance):
    restore_every = 7

    def make(self) -> Optimizer:
        return OptunaOptimizer(sampler="QMC")


class TestOptunaRandom(OptimizerConformance):
    restore_every = 7

    def make(self) -> Optimizer:
        return OptunaOptimizer(sampler="random")


class TestProtein(OptimizerConformance):
    restore_every = 7

    def make(self) -> Optimizer:
        return ProteinOptimizer(num_random_samples=4)


class TestBayesian(OptimizerConformance):
    restore_every = 7

    def make(self) -> Optimizer:
        return BayesianOptimizer(initial_samples=4)


class TestDE(OptimizerConformance):
    trials = 9
    restore_every = 10

    def make(self) -> Optimizer:
        return NevergradOptimizer(algorithm="TwoPointsDE", num_workers=4)


@pytest.mark.slow
class TestPSO(OptimizerConformance):
    restore_every = 7

    def make(self) -> Optimizer:
        return NevergradOptimizer(algorithm="PSO")


class TestEvolutionaryStrategy(OptimizerConformance):
    trials = 9
    restore_every = 10

    def make(self) -> Optimizer:
        return EvolutionaryStrategy(population_size=4)


@pytest.mark.slow
class TestAx(OptimizerConformance):
    trials = 5
    restore_every = 20

    def make(self) -> Optimizer:
        return AxOptimizer(initialization_budget=3)


@pytest.mark.slow
class TestGP(OptimizerConformance):
    trials = 5
    restore_every = 20

    def make(self) -> Optimizer:
        return OptunaOptimizer(sampler="GP", n_startup_trials=3)


# What the suite finds


class Right(Optimizer):
    """A small custom optimizer that keeps the contract: the basis of the wrong ones below."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.scores: list[float] = []

    def suggest(self, n: int) -> list[Trial]:
        return [self.new() for _ in range(n)]

    def new(self) -> Trial:
        self.count += 1
        # What it has learned moves the stream.
        rng = np.random.default_rng([self.seed or 0, self.count, len(self.scores)])
        return Trial(self.require_space().sample(rng), tag=self.count)

    def observe(self, trial: Trial, result: Any) -> None:
        outcome = Result.of(result)
        if outcome.is_usable:
            self.scores.extend(self.objectives.values(outcome.score or 0.0))

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "scores": list(self.scores)}

    def load_state_dict(self, state: Mapping[str, Any]) -> Restored:
        self.count, self.scores = state["count"], list(state["scores"])
        return Restored.STATE


class TestRight(OptimizerConformance):
    def make(self) -> Optimizer:
        return Right()


class Unseeded(Right):
    def new(self) -> Trial:
        return Trial(self.require_space().sample(np.random.default_rng(random.getrandbits(32))))


class Inactive(Right):
    def new(self) -> Trial:
        space = self.require_space()
        return Trial({path: space[path].default() for path in space}) if space.is_conditional else super().new()


class Unconstrained(Right):
    def new(self) -> Trial:
        self.count += 1
        return Trial(SearchSpace(dict(self.require_space())).sample(np.random.default_rng(self.count)))


class Generous(Right):
    def suggest(self, n: int) -> list[Trial]:
        return super().suggest(n + 1)


class Sparing(Right):
    def suggest(self, n: int) -> list[Trial]:
        return super().suggest(1) * n


class Lazy(Right):
    def suggest(self, n: int) -> Any:
        return (self.new() for _ in range(n))


class Trusting(Right):
    def new(self) -> Trial:
        return Trial(SearchSpace.of(self.search_space or {"x": 1}).complete({}))


class Fragile(Right):
    def observe(self, trial: Trial, result: Any) -> None:
        super().observe(trial, result)
        self.scores.append(0.0 if Result.of(result).is_usable else math.log(-1))


class Dividing(Right):
    def observe(self, trial: Trial, result: Any) -> None:
        super().observe(trial, result)
        if len(self.scores) > 1:
            self.scores[0] /= max(self.scores) - min(self.scores)


class Picky(Right):
    def observe(self, trial: Trial, result: Any) -> None:
        super().observe(trial, result.score)


class Tagged(Right):
    def observe(self, trial: Trial, result: Any) -> None:
        assert trial.tag in range(1, self.count + 1), "whose is this?"
        super().observe(trial, result)


class Shared(Right):
    def copy(self) -> Any:
        return self


class Forgetful(Right):
    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "scores": []}


class Noting(Right):
    def state_dict(self) -> dict[str, Any]:
        self.count += 1
        return super().state_dict()


class Unwritable(Right):
    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "best": math.nan}


class Silent(Right):
    def load_state_dict(self, state: Mapping[str, Any]) -> Any:
        super().load_state_dict(state)


class Restless(Right):
    def suggest(self, n: int) -> list[Trial]:
        return super().suggest(n) if n > 1 or not self.count else []


SPACE, SEED = "test_it_suggests_configurations_of_the_space", "test_the_same_seed_and_calls_give_the_same_suggestions"
STATE, COPY = "test_the_state_is_exact_between_any_two_events", "test_a_copy_is_independent"


@pytest.mark.parametrize(
    ("wrong", "found_by", "message"),
    [
        (Unseeded, SEED, "the same calls with the same seed were answered differently: trial 0"),
        (Inactive, SPACE, "is not of the search space: the parameter .* is not active here"),
        (Unconstrained, SPACE, "is not of the search space: .* does not meet"),
        (Generous, SPACE, r"Generous.suggest\(1\) returned 2 trials"),
        (Sparing, SPACE, "returned the same Trial object twice"),
        (Lazy, SPACE, "returned generator: expected a list"),
        (Trusting, "test_without_a_space_it_says_so", "should raise a UsageError: call require_space"),
        (Fragile, "test_a_search_where_everything_fails_goes_on", "math domain error"),
        (Dividing, "test_equal_scores", "division by zero"),
        (Picky, "test_a_number_is_as_good_as_a_result", "no attribute 'score'"),
        (Tagged, "test_trials_of_somebody_else", "whose is this"),
        (Shared, COPY, "a copy"),
        (Forgetful, STATE, "brought back after event .*, it went on differently: trial"),
        (Noting, STATE, "asking for its state changed the optimizer"),
        (Unwritable, STATE, "state_dict has to be of JSON values, without NaN"),
        (Silent, STATE, "load_state_dict returned None: expected one of Restored"),
        (Restless, "test_it_ends_cleanly_where_nothing_is_left", "it suggested nothing, and then something, unasked"),
    ],
)
def test_what_breaks_the_contract_is_found(wrong: type[Right], found_by: str, message: str) -> None:
    class Suite(OptimizerConformance):
        def make(self) -> Optimizer:
            return wrong()

    with pytest.raises(Exception, match=message):
        getattr(Suite(), found_by)()


def test_a_suite_without_make_says_what_to_write() -> None:
    with pytest.raises(
        TypeError, match=r"OptimizerConformance has to say how an optimizer is made: write make\(self\)"
    ):
        OptimizerConformance().test_equal_scores()
