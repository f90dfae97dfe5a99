"""Allocation policies: who gets how much of a fixed amount of resource."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.errors import UsageError
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.goal import Objectives
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers.allocation import (
    AdaptiveBandit,
    AllocationPolicy,
    EqualAllocation,
    ProportionalToPromise,
    apportioned,
    forecast,
)
from metta.sweep.schedulers.base import Action, Done, Launch, Prune, Resume, Scheduler, Verdict, View, Wait
from metta.sweep.space import SearchSpace, Uniform
from metta.sweep.testing import Curve, SchedulerConformance, Simulation, bowl, crossing, failing, noisy, power_law
from metta.sweep.testing import simulate as simulated
from metta.sweep.trial import Report, Trial, TrialState

SPACE = SearchSpace({"x": Uniform(0, 1), "y": Uniform(0, 1)})
QUALITY = bowl(SPACE)
POLICIES: list[type[AllocationPolicy]] = [EqualAllocation, ProportionalToPromise, AdaptiveBandit]
IDLE = View([], free_slots=4, active=0)
BUSY = View([], free_slots=0, active=1)


class TestEqualConformance(SchedulerConformance):
    def make(self) -> Scheduler:
        return EqualAllocation(population=6, max_resource=27)


class TestProportionalConformance(SchedulerConformance):
    def make(self) -> Scheduler:
        return ProportionalToPromise(population=6, max_resource=27)


class TestBanditConformance(SchedulerConformance):
    def make(self) -> Scheduler:
        return AdaptiveBandit(population=6, max_resource=27)


class TestBanditInBatchesConformance(SchedulerConformance):
    def make(self) -> Scheduler:
        return AdaptiveBandit(population=6, max_resource=27, batch_size=3)


def run(policy: Scheduler, curve: Curve, seed: int = 0, budget: int | None = None, workers: int = 4) -> Simulation:
    return simulated(RandomOptimizer(SPACE), policy, curve, budget, workers, seed, steps=10**6)


def total(run: Simulation) -> int:
    return sum(trial.step for trial in run.trials)


def started(policy: AllocationPolicy, count: int) -> AllocationPolicy:
    """`policy` when its first `count` trials have been launched."""
    policy.bind(objectives=Objectives(), seed=0)
    decision = policy.next(View([], free_slots=4, active=0, remaining=count))
    assert isinstance(decision, Launch)
    policy.on_launch(decision, [Trial({}, number) for number in range(decision.count)])
    return policy


def arrive(policy: AllocationPolicy, number: int, step: int, score: float) -> Verdict:
    return policy.on_report(Trial({}, number), Report(step, {"score": score}))


def round_of(policy: AllocationPolicy) -> dict[int, int | None]:
    """The grants of a round, by number."""
    grants: dict[int, int | None] = {}
    while isinstance(decision := policy.next(BUSY if grants else IDLE), Resume):
        grants[decision.trial] = decision.until
    return grants


# The sum


@pytest.mark.parametrize("kind", POLICIES)
@settings(derandomize=True, max_examples=30, deadline=None)
@given(
    population=st.integers(1, 12),
    mean=st.integers(1, 12),
    unit=st.integers(1, 12),
    above=st.integers(0, 20),
    workers=st.integers(1, 5),
)
def test_what_was_asked_is_spent(
    kind: type[AllocationPolicy], population: int, mean: int, unit: int, above: int, workers: int
) -> None:
    policy = kind(population, max_resource=mean + above, mean_resource=mean, unit=unit)
    result = run(policy, noisy(power_law(QUALITY), 0.1), workers=workers)
    assert len(result.trials) == population == policy.natural_budget
    assert total(result) == population * mean
    assert max(trial.step for trial in result.trials) <= mean + above


@pytest.mark.parametrize("kind", POLICIES)
def test_what_the_dead_leave_goes_to_the_others(kind: type[AllocationPolicy]) -> None:
    result = run(kind(population=8, max_resource=24, mean_resource=6, unit=2), failing(power_law(QUALITY), 0.5))
    dead = [trial for trial in result.trials if trial.state is TrialState.FAILED]
    assert 0 < len(dead) < 8
    assert 48 - 8 < total(result) <= 48  # what equal shares leave over is less than one unit each


@pytest.mark.parametrize("kind", POLICIES)
def test_another_population_shares_as_much_and_a_small_one_less(kind: type[AllocationPolicy]) -> None:
    result = run(kind(population=6, max_resource=12, mean_resource=4, unit=1), power_law(QUALITY), budget=14)
    assert [sum(trial.step for trial in result.trials[part]) for part in (slice(6), slice(6, 12), slice(12, 14))] == [
        24,
        24,
        8,
    ]


@pytest.mark.parametrize("kind", POLICIES)
def test_how_many_workers_there_are_changes_nothing(kind: type[AllocationPolicy]) -> None:
    one, many = (run(kind(), noisy(power_law(QUALITY), 0.1), workers=workers) for workers in (1, 16))
    assert [(trial.params, trial.step) for trial in one.trials] == [(trial.params, trial.step) for trial in many.trials]


# Equal


def test_equal_shares_are_equal_in_every_round() -> None:
    policy = started(EqualAllocation(population=3, max_resource=12, mean_resource=5, unit=2), 3)
    for until in (2, 4):
        for number in range(3):
            assert arrive(policy, number, until, 0.1) == Verdict(Action.PAUSE, until)
        assert round_of(policy) == dict.fromkeys(range(3), min(until + 2, 5))
    assert arrive(policy, 0, 4, 0.1) == Verdict()
    for number in range(3):
        assert arrive(policy, number, 5, 0.1) == Verdict(Action.COMPLETE, 5)
    assert policy.next(View([], free_slots=4, active=0, remaining=0)) == Done()


# Proportional


def test_shares_follow_the_promise() -> None:
    policy = started(ProportionalToPromise(population=4, max_resource=100, mean_resource=50, unit=10), 4)
    for number, score in enumerate([0.2, 0.9, math.nan, 0.5]):
        arrive(policy, number, 10, score)
    # exp(-4 q) for q = 0, 1/3, 2/3, 1 is 1, 0.264, 0.069, 0.018: of 4 units 2.96, 0.78, 0.21, 0.05.
    assert round_of(policy) == {1: 40, 3: 20}


def test_no_share_goes_beyond_a_full_training() -> None:
    policy = started(
        ProportionalToPromise(population=2, max_resource=12, mean_resource=12, unit=5, temperature=0.01), 2
    )
    arrive(policy, 0, 5, 0.1)
    arrive(policy, 1, 5, 0.2)
    assert round_of(policy) == {1: 12}
    assert policy.left == 7


def test_a_high_temperature_is_equal() -> None:
    policy = started(ProportionalToPromise(population=4, max_resource=100, unit=10, temperature=1e6), 4)
    for number, score in enumerate([0.2, 0.9, 0.1, 0.5]):
        arrive(policy, number, 10, score)
    assert round_of(policy) == dict.fromkeys((1, 3, 0, 2), 20)


def test_those_passed_over_are_pruned_in_the_end() -> None:
    policy = started(
        ProportionalToPromise(population=2, max_resource=20, mean_resource=10, unit=5, temperature=0.01), 2
    )
    arrive(policy, 0, 5, 0.1)
    arrive(policy, 1, 5, 0.2)
    assert round_of(policy) == {1: 15}
    assert arrive(policy, 1, 15, 0.2) == Verdict(Action.COMPLETE, 15)
    assert policy.next(View([], free_slots=4, active=0, remaining=0)) == Prune((0,))


@given(
    weights=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=12),
    units=st.integers(0, 50),
)
@settings(derandomize=True, max_examples=100)
def test_apportionment_keeps_within_the_quota(weights: list[float], units: int) -> None:
    shares = apportioned(weights, units)
    assert sum(shares) == units
    for share, weight in zip(shares, weights, strict=True):
        quota = units * weight / math.fsum(weights)
        assert math.floor(quota - 1e-9) <= share <= math.ceil(quota + 1e-9)


# Bandit


def test_the_forecast_follows_the_tangent() -> None:
    curve = [(1, (-0.1,)), (2, (-0.4,)), (3, (-0.5,))]
    assert forecast(curve, 10, window=0.25) == pytest.approx((-1.2,))  # 0.5 now, 0.1 more with each of 7 steps
    assert forecast(curve, 3, window=0.25) == pytest.approx((-0.5,))


def test_the_forecast_of_a_noisy_curve_is_that_of_means() -> None:
    curve = [(step, (-(step // 2) * 0.2,)) for step in range(1, 9)]  # 0, .2, .2, .4, .4, .6, .6, .8
    # The last two and the two before them: 0.7 at step 7.5, 0.5 at step 5.5.
    assert forecast(curve, 12, window=0.25) == pytest.approx((-(0.7 + 0.1 * 4.5),))


def test_a_score_that_falls_is_forecast_to_stay() -> None:
    assert forecast([(1, (-0.9,)), (2, (-0.5,))], 10, window=0.25) == (-0.5,)


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ([(1, (0.5,))], -math.inf),  # nothing is known yet: try it
        ([(1, (0.5,)), (2, (math.inf,))], math.inf),  # it has diverged: leave it
        ([(1, (math.inf,)), (2, (0.5,))], -math.inf),
    ],
)
def test_forecasts_without_numbers(curve: list[tuple[int, tuple[float, ...]]], expected: float) -> None:
    assert forecast(curve, 10, window=0.25) == (expected,)


@settings(derandomize=True, max_examples=50)
@given(
    increments=st.lists(st.floats(0, 1), min_size=2, max_size=20).map(lambda values: sorted(values, reverse=True)),
    seen=st.integers(2, 20),
    window=st.floats(0.05, 0.5),
)
def test_no_concave_curve_rises_above_its_forecast(increments: list[float], seen: int, window: float) -> None:
    levels = [sum(increments[: index + 1]) for index in range(len(increments))]
    curve = [(step, (-level,)) for step, level in enumerate(levels, 1)]
    assert -forecast(curve[:seen], len(levels), window)[0] >= levels[-1] - 1e-9


def test_the_steepest_goes_first_and_at_the_end_the_best() -> None:
    policy = started(AdaptiveBandit(population=3, max_resource=30, mean_resource=10, unit=2), 3)
    for step, scores in ((1, (0.6, 0.0, 0.0)), (2, (0.61, 0.2, 0.1))):
        for number, score in enumerate(scores):
            arrive(policy, number, step, score)
    assert round_of(policy) == {1: 4}
    # With 2 units left the 0.61 of now is more than what the others may still reach.
    late = AdaptiveBandit(population=3, max_resource=30, mean_resource=10, unit=2)
    curves = {0: [(1, (-0.6,)), (2, (-0.61,))], 1: [(1, (-0.0,)), (2, (-0.2,))]}
    assert late.divide(curves, 24) == {1: 2}
    assert late.divide(curves, 2) == {0: 2}


def test_a_batch_gets_a_unit_each() -> None:
    policy = AdaptiveBandit(unit=3, batch_size=2)
    curves = {number: [(1, (0.0,)), (2, (-number / 10,))] for number in range(4)}
    assert policy.divide(curves, 20) == {3: 3, 2: 3}


# Against each other


FAMILIES: dict[str, tuple[Curve, float]] = {
    "power law": (power_law(QUALITY), 0.0),
    "noisy": (power_law(QUALITY), 0.05),
    "crossing": (crossing(QUALITY, slow=5), 0.02),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", [ProportionalToPromise, AdaptiveBandit])
def test_they_beat_equal_shares_of_the_same_sum(kind: type[AllocationPolicy], family: str) -> None:
    """What the configuration that comes out is really worth. Sign test: 15 of 20 seeds, p < 0.05 on both sides."""
    curve, noise = FAMILIES[family]

    def worth(policy: AllocationPolicy, seed: int) -> float:
        result = run(policy, noisy(curve, noise, seed=seed), seed=seed)
        assert total(result) == 81
        farthest = max(trial.step for trial in result.trials)
        best = max((t for t in result.trials if t.step == farthest), key=lambda t: float(t.score))  # type: ignore[arg-type]
        value = curve(best.params, best.step)
        assert isinstance(value, float)
        return value

    wins = sum(worth(kind(), seed) > worth(EqualAllocation(), seed) for seed in range(20))
    assert wins >= 15


# Arguments and state


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (EqualAllocation, {"population": 0}, "population=0: expected a whole number, at least 1"),
        (EqualAllocation, {"unit": 0}, "unit=0: expected"),
        (EqualAllocation, {"max_resource": 0}, "max_resource=0: expected"),
        (EqualAllocation, {"max_resource": 9, "mean_resource": 10}, "mean_resource=10 is above max_resource=9"),
        (ProportionalToPromise, {"temperature": 0.0}, "temperature=0.0: expected a number above 0"),
        (AdaptiveBandit, {"window": 0.6}, "window=0.6: expected a number above 0, at most 0.5"),
        (AdaptiveBandit, {"batch_size": 0}, "batch_size=0: expected"),
    ],
)
def test_bad_arguments(kind: type[AllocationPolicy], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        kind(**arguments)


def test_the_defaults_share_a_third() -> None:
    policy = EqualAllocation()
    assert (policy.population, policy.mean_resource, policy.unit, policy.natural_budget) == (9, 9, 3, 9)
    assert (EqualAllocation(max_resource=2).mean_resource, EqualAllocation(max_resource=2).unit) == (1, 1)


@pytest.mark.parametrize("kind", POLICIES)
def test_every_tunable_setting_is_accepted(kind: type[AllocationPolicy]) -> None:
    policy = kind(population=4, max_resource=12)
    for at in (0.0, 0.5, 1.0):
        settings = {name: distribution.from_unit(at) for name, distribution in policy.tunables().items()}
        assert total(run(policy.with_arguments(**settings), power_law(QUALITY))) == 16


def test_a_policy_of_ones_own_has_to_divide() -> None:
    class Idle(AllocationPolicy):
        pass

    with pytest.raises(TypeError, match="divide"):
        Idle()  # type: ignore[abstract]


def test_the_state_keeps_a_round_that_has_begun() -> None:
    policy = started(AdaptiveBandit(population=3, max_resource=30, unit=1, batch_size=3), 3)
    for number in range(3):
        arrive(policy, number, 1, math.nan if number == 1 else 0.1 * number)
    first = policy.next(IDLE)
    again = AdaptiveBandit(population=3, max_resource=30, unit=1, batch_size=3)
    again.bind(objectives=Objectives(), seed=0)
    again.load_state_dict(json.loads(json.dumps(policy.state_dict(), allow_nan=False)))
    assert isinstance(first, Resume)
    assert round_of(again) == round_of(policy) != {}
    assert again.next(BUSY) == Wait()


def test_trials_of_another_scheduler_end_at_their_grant() -> None:
    policy = EqualAllocation()
    policy.bind(objectives=Objectives(), seed=0)
    stranger = Trial({}, 7, resource=4)
    assert policy.on_report(stranger, Report(3, {"score": 0.1})) == Verdict()
    assert policy.on_report(stranger, Report(4, {"score": 0.1})) == Verdict(Action.COMPLETE, 4)


# A real sweep


def learn(trial: Trial) -> Iterator[float]:
    step = trial.load() or 0
    while True:
        step += 1
        trial.save(step)
        yield float(trial.params["x"]) * (1 - 0.5**step)


@pytest.mark.parametrize("kind", POLICIES)
def test_a_real_sweep(kind: type[AllocationPolicy]) -> None:
    with LocalExecutor(max_workers=2) as executor:
        result = SweepExperiment(
            learn,
            optimizer=RandomOptimizer({"x": Uniform(0, 1)}),
            scheduler=kind(population=4, max_resource=8, mean_resource=3, unit=1),
            executor=executor,
            seed=1,
            store=None,
        ).run()
        assert sum(trial.step for trial in result.trials) == 12
    assert result.recomputed == 0
    assert not result.failures
    if kind is not EqualAllocation:
        assert result.best_params["x"] == max(trial.params["x"] for trial in result.trials)
