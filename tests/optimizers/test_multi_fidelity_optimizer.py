from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from scipy.stats import binomtest

from metta.sweep.errors import UsageError
from metta.sweep.optimizers import BayesianOptimizer, Optimizer, RandomOptimizer
from metta.sweep.optimizers.multi_fidelity.optimizer import MultiFidelityOptimizer
from metta.sweep.optimizers.multi_fidelity.rungs import MAX_RUNGS, all_rungs, rungs
from metta.sweep.optimizers.protein.data import Fate, Outcome, Record
from metta.sweep.schedulers import ASHAScheduler, HyperbandScheduler, MedianStoppingScheduler, PBTScheduler, Scheduler
from metta.sweep.space import Integer, LogUniform, SearchSpace, Uniform
from metta.sweep.testing import OptimizerConformance, simulate
from metta.sweep.testing.curves import bowl, crossing, failing, power_law
from metta.sweep.testing.simulate import Curve
from metta.sweep.trial import FailureReason, Params, Result, TrialState

SPACE = SearchSpace(
    {
        "lr": LogUniform(1e-4, 1e-1),
        "decay": LogUniform(1e-6, 1e-2),
        "dropout": Uniform(0, 0.5),
        "width": Integer(8, 256, log=True),
    }
)
QUALITY = bowl(SPACE)
EPOCHS = 27


class TestMultiFidelityConformance(OptimizerConformance):
    trials = 14

    def make(self) -> Optimizer:
        return MultiFidelityOptimizer(initial_samples=4)


class Wins(NamedTuple):
    """How often the one was better than the other, and the other than the one."""

    one: int
    other: int

    @property
    def p_better(self) -> float:
        """One-sided sign test: how likely so many wins are by luck."""
        return float(binomtest(self.one, self.one + self.other, alternative="greater").pvalue)

    @property
    def p_worse(self) -> float:
        return Wins(self.other, self.one).p_better


def regrets(make: Callable[[int], Optimizer], curve: Curve) -> list[float]:
    """Over 20 seeds under Hyperband: how far the best fully trained configuration is from the best there is."""
    found = []
    for seed in range(20):
        done = simulate(make(seed), HyperbandScheduler(EPOCHS), curve, seed=seed, steps=EPOCHS)
        trained = [trial for trial in done.trials if trial.step == EPOCHS and isinstance(trial.score, float)]
        best = max(trained, key=lambda trial: trial.score if isinstance(trial.score, float) else -1)
        found.append(1 - QUALITY(best.params))
    return found


def wins(one: list[float], other: list[float]) -> Wins:
    return Wins(
        sum(a < b for a, b in zip(one, other, strict=True)), sum(a > b for a, b in zip(one, other, strict=True))
    )


@pytest.mark.parametrize(("curve", "beats_one_rung"), [(power_law(QUALITY), False), (crossing(QUALITY), True)])
def test_under_hyperband_it_beats_random_search_and_is_no_worse_than_a_model_of_one_rung(
    curve: Curve, beats_one_rung: bool
) -> None:
    """Where the best learn slowest, the model of one rung believes the low rungs, and this one learns better."""
    ours = regrets(lambda seed: MultiFidelityOptimizer(SPACE, seed=seed), curve)
    at_random = wins(ours, regrets(lambda seed: RandomOptimizer(SPACE, seed=seed), curve))
    assert at_random.p_better < 0.01, at_random
    one_rung = wins(ours, regrets(lambda seed: BayesianOptimizer(SPACE, seed=seed), curve))
    assert one_rung.p_worse > 0.05, one_rung
    if beats_one_rung:
        assert one_rung.p_better < 0.05, one_rung


@pytest.mark.parametrize(
    "scheduler",
    [
        ASHAScheduler(max_epochs=9, grace_period=1),
        MedianStoppingScheduler(max_epochs=9, grace_period=1, min_trials=3),
        PBTScheduler(population_size=4, num_generations=12, max_resource=24),
    ],
    ids=lambda scheduler: type(scheduler).__name__,
)
def test_it_searches_under_any_scheduler(scheduler: Scheduler) -> None:
    curve = failing(power_law(QUALITY), 0.2, by_step=5)
    optimizer = MultiFidelityOptimizer(SPACE, seed=1, initial_samples=4)
    done = simulate(optimizer, scheduler, curve, 16, seed=1, steps=24)
    assert all(trial.state.is_finished for trial in done.trials)
    scores = [trial.score for trial in done.trials if isinstance(trial.score, float)]
    assert max(scores) > 0


def test_without_rungs_it_is_the_bayesian_optimizer() -> None:
    suggested: list[list[Params]] = []
    for kind in (MultiFidelityOptimizer, BayesianOptimizer):
        optimizer = kind(SPACE, seed=0)
        for _ in range(12):
            (trial,) = optimizer.suggest(1)
            optimizer.observe(trial, QUALITY(trial.params))
        suggested.append([record.params for record in optimizer._records])
    ours, theirs = suggested
    assert ours[:8] == theirs[:8]
    # The models see the same numbers in another unit.
    for one, other in zip(ours[8:], theirs[8:], strict=True):
        assert dict(one) == pytest.approx(dict(other), rel=0.3, abs=0.05)


def test_a_low_rung_that_says_the_opposite_is_turned_round() -> None:
    """The first rung prefers small x, the second large x."""
    optimizer = MultiFidelityOptimizer({"x": Uniform(0, 1)}, seed=0)
    trials = optimizer.suggest(20)
    for trial in trials:
        trial.resource = 1
        optimizer.observe(trial, -trial.params["x"])
    for trial in trials[:6]:
        trial.resource = 3
        optimizer.observe(trial, 2 * trial.params["x"])
    (suggested,) = optimizer.suggest(1)
    assert suggested.params["x"] > max(trial.params["x"] for trial in trials[:6])


@pytest.mark.parametrize("reached", [0, 1])
def test_where_trials_fail_none_is_suggested_again(reached: int) -> None:
    """Also where they fail on their way to a higher rung, with the best results so far."""
    optimizer = MultiFidelityOptimizer({"x": Uniform(0, 1), "y": Uniform(0, 1)}, seed=0)
    for trial in optimizer.suggest(24):
        x, failed = trial.params["x"], trial.params["x"] > 0.7
        for resource in (1, 3):
            trial.state, trial.resource = TrialState.PAUSED, resource
            if failed and resource > reached:
                trial.state = TrialState.FAILED
                optimizer.observe(trial, Result(failure=FailureReason.OOM))
                break
            optimizer.observe(trial, x)
    assert max(trial.params["x"] for trial in optimizer.suggest(4)) < 0.75


def test_the_state_knows_rungs_that_no_suggestion_has_seen() -> None:
    first, second = (MultiFidelityOptimizer({"x": Uniform(0, 1)}, seed=0, initial_samples=3) for _ in range(2))
    trials = first.suggest(4)
    for resource in (1, 3):
        for trial in trials:
            trial.state, trial.resource = TrialState.PAUSED, resource
            first.observe(trial, trial.params["x"])
        trials = [*first.suggest(1), *trials] if resource == 1 else trials
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert [dict(trial.params) for trial in first.suggest(3)] == [dict(trial.params) for trial in second.suggest(3)]


@pytest.mark.parametrize(
    ("reached", "expected"),
    [
        ([], []),
        ([[1], [1, 3], [1, 3, 0]], [1, 3, 0]),
        # Later brackets of Hyperband start higher, and the lowest rung still tells.
        ([[1, 3]] * 3 + [[3]] * 20, [1, 3]),
        # Who was stopped at 2 tells nothing of those who were not.
        ([[2]] * 5 + [[9]] * 5, [9]),
        ([[2]] * 5 + [[9]] * 2, [2, 9]),
        ([list(range(1, 21))] * 3, list(range(21 - MAX_RUNGS, 21))),
    ],
)
def test_the_rungs_of_a_model(reached: list[list[int]], expected: list[int]) -> None:
    assert rungs(reached) == expected


def test_what_has_no_result_is_above_its_results() -> None:
    def record(x: float, resources: list[int], fate: Fate) -> Record:
        results = {resource: Outcome((x,), None, number) for number, resource in enumerate(resources)}
        return Record(Params({"x": x}), {}, np.array([x]), results, fate, 9)

    records = [
        record(0.1, [1, 3], Fate.PENDING),
        record(0.2, [1], Fate.PENDING),
        record(0.3, [1], Fate.FAILED),
        record(0.4, [], Fate.FAILED),
        record(0.5, [1], Fate.WAITING),
        record(0.6, [1], Fate.ENDED),
        record(0.7, [], Fate.ENDED),
    ]
    data = all_rungs(records, [1, 3], 1)
    assert data.trials == 5
    assert sorted(map(tuple, data.rows)) == [(0.1, 0), (0.1, 1), (0.2, 0), (0.3, 0), (0.5, 0), (0.6, 0)]
    assert data.failed.tolist() == [[0.3, 1], [0.4, 0]]
    assert data.pending.tolist() == [[0.2, 1], [0.5, 1], [0.6, 1]]


def test_bad_arguments() -> None:
    with pytest.raises(UsageError, match="acquisition='eci': expected 'ei', 'ucb'"):
        MultiFidelityOptimizer(SPACE, "eci")  # type: ignore[arg-type]
