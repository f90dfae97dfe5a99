"""PB2Scheduler, and the Gaussian process that it asks."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from metta.sweep.errors import UsageError
from metta.sweep.goal import Objectives
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers import time_varying_gp as gp
from metta.sweep.schedulers.base import Fork, Launch, Resume, View
from metta.sweep.schedulers.pb2 import C1, WINDOW, Change, PB2Scheduler, to_units
from metta.sweep.schedulers.pbt import PBTScheduler
from metta.sweep.space import (
    Choice,
    Constant,
    Integer,
    LogitNormal,
    LogUniform,
    PowerOfTwo,
    SearchSpace,
    Uniform,
    divides,
)
from metta.sweep.testing import Simulation, simulate
from metta.sweep.trial import Params, Report, Trial, TrialState

MIXED = SearchSpace(
    {
        "lr": LogUniform(1e-5, 1e-1),
        "gamma": LogitNormal(0.9, 0.999),
        "layers": Integer(1, 4),
        "batch": PowerOfTwo(8, 64),
        "kind": Choice(["cnn", "mlp"]),
        "cnn.width": Integer(3, 300, log=True),
        "note": Constant("fixed"),
    }
)

# The process


def points(count: int, seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    features = rng.random((count, 2))
    times = np.sort(rng.integers(0, 10, count)).astype(float)
    return times, features, np.sin(5 * features[:, 0]) + 0.01 * rng.standard_normal(count)


def test_the_kernel_is_the_paper_s() -> None:
    kernel = gp.Kernel(length=0.5, epsilon=0.3, noise=0.1)
    near, far = np.array([[0.1, 0.2]]), np.array([[0.4, 0.6]])
    found = kernel(np.array([3.0]), near, np.array([8.0]), far)
    # SE of the features, times (1 - epsilon)^(|t - t'| / 2).
    assert found[0, 0] == pytest.approx(math.exp(-0.25 / (2 * 0.25)) * 0.7**2.5)
    assert kernel(np.array([3.0]), near, np.array([3.0]), near)[0, 0] == 1


def test_mean_and_deviation_are_those_of_the_closed_form() -> None:
    times, features, targets = points(12)
    process = gp.fit(times, features, targets)
    kernel, at = process.kernel, np.random.default_rng(1).random((5, 2))
    when = np.full(5, 9.0)
    known = kernel(times, features, times, features) + kernel.noise * np.eye(12)
    cross = kernel(when, at, times, features)
    center = targets.mean()
    mean = center + cross @ np.linalg.solve(known, targets - center)
    variance = process.variance * (1 - np.einsum("ij,ji->i", cross, np.linalg.solve(known, cross.T)))
    nothing = np.empty(0), np.empty((0, 2))
    assert process.mean(when, at) == pytest.approx(mean)
    assert process.deviation(when, at, *nothing) == pytest.approx(np.sqrt(variance))


def test_pending_points_shrink_the_deviation_where_they_are() -> None:
    times, features, targets = points(12)
    process = gp.fit(times, features, targets)
    at, when = np.array([[0.95, 0.05], [0.05, 0.95]]), np.full(2, 20.0)
    before = process.deviation(when, at, np.empty(0), np.empty((0, 2)))
    after = process.deviation(when, at, when[:1], at[:1])
    assert after[0] < 0.8 * before[0]
    assert after[1] > after[0]


def test_it_learns_what_drifts_and_what_does_not() -> None:
    rng = np.random.default_rng(3)
    times = np.repeat(np.arange(15.0), 4)
    features = rng.random((60, 1))
    steady = gp.fit(times, features, np.sin(6 * features[:, 0]))
    drifting = gp.fit(times, features, np.sin(6 * features[:, 0] + 0.7 * times))
    assert steady.kernel.epsilon < drifting.kernel.epsilon
    noisy = gp.fit(times, features, rng.standard_normal(60))
    assert noisy.kernel.noise > steady.kernel.noise


def test_a_failed_cholesky_adds_jitter_and_goes_on() -> None:
    singular = np.ones((4, 4))
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(singular - 1e-12 * np.eye(4))
    factor = gp.cholesky(singular - 1e-12 * np.eye(4))
    assert factor @ factor.T == pytest.approx(singular, abs=1e-6)
    indefinite = np.array([[1.0, 2.0], [2.0, 1.0]])
    assert np.isfinite(gp.cholesky(indefinite)).all()
    # The same point a hundred times, with and without noise in its targets.
    same = np.zeros(100), np.full((100, 2), 0.5)
    for targets in (np.zeros(100), np.ones(100), np.arange(100.0)):
        process = gp.fit(*same, targets)
        assert process.mean(np.zeros(1), np.full((1, 2), 0.5))[0] == pytest.approx(targets.mean(), abs=1e-6)


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_few_points(count: int) -> None:
    process = gp.fit(*points(count))
    at = np.random.default_rng(0).random((3, 2))
    assert np.isfinite(process.mean(np.zeros(3), at)).all()
    assert np.isfinite(process.deviation(np.zeros(3), at, np.zeros(1), at[:1])).all()


# The scheduler


def bound(space: SearchSpace, goal: Any = "maximize", members: int = 4, **arguments: Any) -> PB2Scheduler:
    scheduler = PB2Scheduler(members, 10, **arguments)
    scheduler.search_space = space
    scheduler.bind(objectives=Objectives.of(goal), seed=0)
    return scheduler


def test_the_first_forks_spread_over_the_space() -> None:
    """Without any data the bound is largest where nobody is: forks that start together do not get the same."""
    space = SearchSpace({"x": Uniform(0, 1), "y": Uniform(0, 1)})
    scheduler = bound(space, members=10, quantile_fraction=0.5)
    trials = [Trial({"x": 0.5 + number / 100, "y": 0.5}, number) for number in range(10)]
    launch = scheduler.next(View(trials, 10, 0, 10))
    assert isinstance(launch, Launch)
    scheduler.on_launch(launch, trials)
    for number, trial in enumerate(trials):
        trial.add_report(Report(1, {"score": float(number >= 5)}))
        scheduler.on_report(trial, trial.reports[0])
    forks = []
    for _ in range(10):
        decision = scheduler.next(View(trials, 1, 1, 0))
        if isinstance(decision, Fork):
            assert decision.params is not None
            trials.append(Trial(decision.params, len(trials), parent=decision.parent))
            scheduler.on_launch(decision, trials[-1:])
            forks.append(np.array([decision.params["x"], decision.params["y"]]))
    assert len(forks) == 5
    distances = [np.linalg.norm(one - other) for number, one in enumerate(forks) for other in forks[:number]]
    assert min(distances) > 0.3


def test_a_change_is_per_interval_and_begins_at_the_donor_s_result() -> None:
    scheduler = bound(SearchSpace({"lr": LogUniform(1e-4, 1.0)}), "minimize", members=2, max_resource=100)
    trials = [Trial({"lr": 0.01}, 0), Trial({"lr": 0.01}, 1)]
    scheduler.on_launch(Launch(2, 10), trials)
    for trial, loss in zip(trials, (5.0, 3.0), strict=True):
        scheduler.on_report(trial, Report(10, {"score": loss}))
    fork = scheduler.next(View(trials, 1, 1, 0))
    assert isinstance(fork, Fork)
    assert fork.parent == 1
    assert scheduler.state_dict()["changes"] == []  # what the first interval began at is not known
    trials.append(Trial({"lr": 1.0}, 2, parent=1))
    scheduler.on_launch(fork, trials[2:])
    assert isinstance(scheduler.next(View(trials, 1, 1, 0)), Resume)
    scheduler.on_report(trials[2], Report(15, {"score": 99.0}))
    scheduler.on_report(trials[2], Report(30, {"score": 1.0}))
    scheduler.on_report(trials[1], Report(20, {"score": math.nan}))
    # From 3 to 1 in two intervals; the reward is what a larger one of is better; NaN is no change.
    assert scheduler.state_dict()["changes"] == [(1.0, (-3.0,), (1.0,), (1.0,))]


def test_it_keeps_the_last_changes_only() -> None:
    scheduler = bound(SearchSpace({"x": Uniform(0, 1)}))
    scheduler._changes.extend(Change(0.0, (0.0,), (0.5,), (float(number),)) for number in range(WINDOW + 7))
    fresh = bound(SearchSpace({"x": Uniform(0, 1)}))
    fresh.load_state_dict(scheduler.state_dict())
    assert len(fresh._changes) == WINDOW
    assert fresh._changes[0].gains == (7.0,)
    assert fresh.state_dict() == scheduler.state_dict()


def test_what_is_not_active_or_not_known_is_seen_in_the_middle() -> None:
    params = {"lr": 1e-3, "gamma": 0.99, "layers": 1, "batch": 8, "kind": "mlp", "note": "fixed"}
    assert to_units(MIXED, params) == pytest.approx((0.5, 0.5, 0.125, 0.125, 0.75, 0.5))
    assert to_units(MIXED, {**params, "layers": 99})[2] == 0.5
    assert to_units(MIXED, {**params, "kind": "cnn", "cnn.width": 300})[5] > 0.9


def test_every_kind_of_parameter_stays_inside_its_bounds() -> None:
    def curve(params: Params, step: int) -> float:
        return float(-abs(math.log10(params["lr"]) + 3) + params["layers"] * step + (params["kind"] == "cnn"))

    run = simulate(RandomOptimizer(MIXED), PB2Scheduler(6, 8), curve, None, 3, 0, steps=1000)
    forks = [trial for trial in run.trials if trial.parent is not None]
    assert len(forks) > 10
    for trial in forks:
        MIXED.validate(trial.params)
    late = [trial.params["layers"] for trial in forks[len(forks) // 2 :]]
    assert sum(late) / len(late) > 2.5


def test_constraints_and_two_objectives() -> None:
    space = SearchSpace({"batch": Integer(8, 64), "mini": Integer(8, 64)}).require(divides("mini", "batch"))

    def curve(params: Params, step: int) -> dict[str, float]:
        return {"good": params["batch"] * step, "bad": params["mini"] + step}

    goal: Any = {"good": "maximize", "bad": "minimize"}
    run = simulate(RandomOptimizer(space), PB2Scheduler(4, 5), curve, None, 2, 0, goal=goal, steps=1000)
    assert sum(trial.state is TrialState.COMPLETED for trial in run.trials) == 4
    for trial in run.trials:
        space.validate(trial.params)


def test_beta_grows_with_the_data() -> None:
    from metta.sweep.schedulers.pb2 import _Context

    change = Change(0.0, (0.0,), (0.5,), (0.0,))
    betas = [_Context.of([change] * count, [], 1.0, (0.0,), 1).beta for count in (0, 1, 2, 3, 10, 100)]
    expected = [C1, C1, C1, C1 + math.log(1.2), C1 + math.log(4), C1 + math.log(40)]
    assert betas == pytest.approx(expected)


def test_bad_arguments() -> None:
    with pytest.raises(UsageError, match="population_size=0"):
        PB2Scheduler(0)
    with pytest.raises(UsageError, match=r"PB2Scheduler explores the search space, and there is none"):
        PB2Scheduler().bind(objectives=Objectives(), seed=0)


# Quality

MOVING = SearchSpace({"lr": LogUniform(1e-4, 1.0), "mix": Uniform(0.0, 1.0)})


def moving(scheduler: PBTScheduler, seed: int) -> float:
    """How far the best weights get where progress needs a rate that falls while they are trained, and a mix that rises.

    The progress of a step depends on how near the parameters are to the best ones of that step; a score is the sum over
    the lineage, as weights are.
    """
    inner = random.Random(seed)
    phase = inner.uniform(-0.5, 0.5)
    sums: dict[tuple[int, int], float] = {}
    run: Simulation

    def gain(params: Params, step: int) -> float:
        rate = math.log10(params["lr"]) - (phase - 0.06 * step)
        mix = params["mix"] - (0.2 + 0.02 * step)
        return math.exp(-(rate**2) / 0.5 - mix**2 / 0.1)

    class Weights:
        """The objective is called with parameters and step only: the trial is found by its parameters' identity."""

        def __call__(self, params: Params, step: int) -> float:
            trial = next(trial for trial in reversed(run.trials) if trial.params is params)
            before = (trial.id, step - 1)
            if before not in sums and trial.parent is not None:
                before = (trial.parent, step - 1)
            sums[trial.id, step] = sums.get(before, 0.0) + gain(params, step)
            return sums[trial.id, step]

    run = Simulation(RandomOptimizer(MOVING), scheduler, Weights(), None, 4, seed, steps=1000)
    run.run()
    return max(trial.score for trial in run.trials if isinstance(trial.score, float))


@pytest.mark.slow
def test_it_follows_a_moving_optimum_better_than_random_perturbation() -> None:
    """The mean of 20 seeds; the standard error of the difference is shown where it fails."""
    pairs = [(moving(PB2Scheduler(6, 20), seed), moving(PBTScheduler(6, 20), seed)) for seed in range(20)]
    differences = np.array([bandit - perturbed for bandit, perturbed in pairs])
    error = differences.std(ddof=1) / math.sqrt(len(differences))
    assert differences.mean() > 2 * error, (differences.mean(), error)
