"""A meta sweep finds the better of two planted settings of the sweep below it, though single inner runs overlap.

An inner sweep asks `Planted`, which knows one of two regions; one of them is better on average, by one standard
deviation of what a trial finds there. Twenty seeds are judged by a binomial test.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import pytest

from metta.sweep.executors import Executor, LocalExecutor
from metta.sweep.experiments import SweepExperiment, SweepResult
from metta.sweep.experiments.nested.meta import MetaExperiment, MetaSweepExperiment
from metta.sweep.optimizers import BayesianOptimizer, Optimizer
from metta.sweep.schedulers import PBTScheduler, SynchronousBatchScheduler
from metta.sweep.space import Choice, Distribution, Integer, Uniform
from metta.sweep.trial import Trial

SEEDS = range(20)
LEVEL = 0.01

INNER = 3
"""Trials of an inner sweep."""

BETTER = "right"
ADVANTAGE = 1.0
"""How much better the better region is, in standard deviations of the noise of one inner trial."""


class Planted(Optimizer):
    """Draws from one half of the space, without learning.

    Args:
        region: "left" or "right"; which of them is better, if any, is a matter of the objective.
        skip: how many draws of its stream to leave out. It is another sample of the same quality.
    """

    def __init__(self, region: str = "left", skip: int = 0) -> None:
        super().__init__({"x": Uniform(0, 1)})
        self.region = region
        self.skip = skip
        self._suggested = 0

    def tunables(self) -> Mapping[str, Distribution[Any]]:
        return {"region": Choice(["left", "right"]), "skip": Integer(0, 10_000)}

    def suggest(self, n: int) -> list[Trial]:
        first, self._suggested = self._suggested, self._suggested + n
        shift = 0.5 if self.region == "right" else 0.0
        draws = (random.Random(f"{self.seed}/{self.skip}/{index}").random() for index in range(first, first + n))
        return [Trial({"x": shift + draw / 2}) for draw in draws]

    def observe(self, trial: Trial, result: Any) -> None:
        """Nothing to learn."""

    def state_dict(self) -> dict[str, Any]:
        return {"suggested": self._suggested}


def noise(x: float) -> float:
    """Standard normal, and a function of the point: a run does not depend on which worker does it, and when."""
    return random.Random(repr(x)).gauss(0.0, 1.0)


def planted(trial: Trial) -> float:
    x = float(trial.params["x"])
    return noise(x) + (ADVANTAGE if x >= 0.5 else 0.0)


def indifferent(trial: Trial) -> float:
    return noise(float(trial.params["x"]))


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    with LocalExecutor(max_workers=2) as opened:
        yield opened


class Found(NamedTuple):
    """What twenty meta sweeps have found.

    Attributes:
        regions: of the best setting, by seed.
        scores: what each inner run has found, by region.
    """

    regions: list[str]
    scores: dict[str, list[float]]

    @classmethod
    def of(cls, results: Sequence[SweepResult]) -> Found:
        scores: dict[str, list[float]] = {"left": [], "right": []}
        for result in results:
            for trial in result.trials:
                assert isinstance(trial.score, float)
                scores[trial.params["optimizer.region"]].append(trial.score)
        return cls([result.best_params["optimizer.region"] for result in results], scores)

    @property
    def p_value(self) -> float:
        """Of finding the better region so often by chance."""
        from scipy.stats import binomtest

        return float(binomtest(self.regions.count(BETTER), len(self.regions), 0.5, alternative="greater").pvalue)

    @property
    def overlap(self) -> float:
        """The chance that a run in the worse region comes out above one in the better."""
        pairs = list(product(self.scores["left"], self.scores["right"]))
        return sum(worse > better for worse, better in pairs) / len(pairs)


def inner(objective: Any) -> SweepExperiment:
    return SweepExperiment(objective, name="inner", optimizer=Planted(), store=None)


def by_model(objective: Any, executor: Executor) -> Found:
    """Eight inner runs, chosen by a Gaussian process."""
    return Found.of(
        [
            MetaExperiment(
                base=inner(objective),
                optimizer=BayesianOptimizer(initial_samples=4),
                scheduler=SynchronousBatchScheduler(batch_size=2),
                inner_budget=INNER,
                executor=executor,
                seed=seed,
                store=None,
            ).run(budget=8)
            for seed in SEEDS
        ]
    )


def by_population(objective: Any, executor: Executor) -> Found:
    """Four inner sweeps that go on together, two trials at a time; the worse ones copy the better ones."""
    scheduler = PBTScheduler(4, 3, max_resource=6, exploit_method="truncation", quantile_fraction=0.5, max_parallel=1)
    return Found.of(
        [
            MetaSweepExperiment(
                base_experiment=inner(objective), meta_optimizer=scheduler, executor=executor, seed=seed, store=None
            ).run()
            for seed in SEEDS
        ]
    )


def test_a_meta_sweep_finds_the_better_of_two_planted_settings(executor: Executor) -> None:
    found = by_model(planted, executor)
    assert 0.05 < found.overlap < 0.4
    assert found.p_value < LEVEL


def test_the_test_fails_where_neither_setting_is_better(executor: Executor) -> None:
    found = by_model(indifferent, executor)
    assert 0.4 < found.overlap < 0.6
    assert found.p_value > LEVEL


def test_a_population_of_sweeps_finds_the_better_of_two_planted_settings(executor: Executor) -> None:
    found = by_population(planted, executor)
    assert 0.05 < found.overlap < 0.4
    assert found.p_value < LEVEL


def test_a_population_finds_nothing_where_neither_setting_is_better(executor: Executor) -> None:
    assert by_population(indifferent, executor).p_value > LEVEL
