"""Defects of other libraries' schedulers, each with one line on what the peer does, as tests of ours.

Optuna is 5.0, Ray Tune 2.60, Syne Tune 0.16. Those about populations stand with the schedulers of populations.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.goal import Objectives
from metta.sweep.optimizers import OptunaOptimizer, RandomOptimizer
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.schedulers import ASHAScheduler
from metta.sweep.schedulers.base import Action, Launch, Scheduler, Verdict, View
from metta.sweep.schedulers.hyperband import HyperbandScheduler, plan_brackets
from metta.sweep.schedulers.median import MedianStoppingScheduler
from metta.sweep.schedulers.resource_aware import ResourceAwareScheduler
from metta.sweep.space import Uniform
from metta.sweep.testing import Simulation, simulate
from metta.sweep.trial import Params, Report, Trial, TrialState

SPACE = {"x": Uniform(0, 1), "y": Uniform(0, 1)}

SCHEDULERS: dict[str, Callable[[], Scheduler]] = {
    "asha": lambda: ASHAScheduler(max_epochs=27, grace_period=1),
    "asha-brackets": lambda: ASHAScheduler(max_epochs=27, grace_period=1, brackets=3),
    "asha-stopping": lambda: ASHAScheduler(max_epochs=27, grace_period=1, mode="stopping"),
    "hyperband": lambda: HyperbandScheduler(max_resource=27),
    "hyperband-table1": lambda: HyperbandScheduler(max_resource=27, rule="table1"),
    "median": lambda: MedianStoppingScheduler(max_resource=27),
    "resource-aware": lambda: ResourceAwareScheduler(max_resource=27, resource_limit=30),
}
everywhere = pytest.mark.parametrize("name", SCHEDULERS)
halving = pytest.mark.parametrize("name", ["asha", "hyperband", "hyperband-table1"])


def bound(name: str) -> Scheduler:
    scheduler = SCHEDULERS[name]()
    scheduler.bind(objectives=Objectives(), seed=0)
    return scheduler


def launched(scheduler: Scheduler, count: int) -> list[Trial]:
    """So many new trials, one after the other or at once."""
    trials: list[Trial] = []
    while len(trials) < count:
        left = count - len(trials)
        decision = scheduler.next(View(trials, free_slots=left, active=len(trials), remaining=left))
        assert isinstance(decision, Launch)
        new = [Trial({}, len(trials) + index) for index in range(decision.count)]
        scheduler.on_launch(decision, new)
        trials += new
    return trials


def reports(scheduler: Scheduler, trial: Trial, step: int, score: float) -> Verdict:
    report = Report(step, {"score": score})
    trial.reports.append(report)
    trial.score = score
    return scheduler.on_report(trial, report)


def curve(params: Params, step: int) -> float:
    return float(params["x"]) * (1 - 0.9**step)


# Hyperband's plan


@pytest.mark.parametrize(("halvings", "eta"), [(k, eta) for eta in (2, 3, 4, 5, 10) for k in range(1, 12)])
def test_no_bracket_is_lost_to_rounding(halvings: int, eta: int) -> None:
    """Optuna takes floor(math.log(R, eta)): 5 brackets instead of 6 for R = 243 and eta = 3."""
    assert len(plan_brackets(eta**halvings, eta)) == halvings + 1
    assert len(plan_brackets(eta**halvings - 1, eta)) == halvings


@pytest.mark.parametrize("max_resource", [1, 2, 27, 100, 729, 1000, 6561])
@pytest.mark.parametrize("eta", [2, 3, 4])
def test_no_bracket_starts_at_resource_zero(max_resource: int, eta: int) -> None:
    """Ray computes r = 0 for the most exploratory bracket of R = 729, and loses it."""
    for rule in ("algorithm1", "table1"):
        plan = plan_brackets(max_resource, eta, rule)
        assert min(resource for bracket in plan for _, resource in bracket) >= 1
        assert plan[0][0][1] < eta


def test_an_under_filled_bracket_halves_the_trials_it_has() -> None:
    """Ray halves the number it had planned: of four trials in a bracket for 81 it keeps four to the end."""
    run = simulate(RandomOptimizer(SPACE), HyperbandScheduler(), curve, budget=4, steps=81)
    assert sorted(trial.step for trial in run.trials) == [1, 1, 1, 81]


# The dead


@everywhere
@settings(derandomize=True, max_examples=8, deadline=None)
@given(deadly=st.integers(1, 27), share=st.sampled_from([0.3, 0.8, 1.0]), workers=st.integers(1, 5))
def test_the_dead_block_nobody(name: str, deadly: int, share: float, workers: int) -> None:
    """A rung that waits for all its members waits for ever for one that has died."""

    def mortal(params: Params, step: int) -> float:
        if step == deadly and params["y"] < share:
            raise RuntimeError("boom")
        return curve(params, step)

    run = simulate(RandomOptimizer(SPACE), SCHEDULERS[name](), mortal, budget=40, workers=workers, steps=27)
    assert len(run.trials) == 40
    for trial in run.trials:
        assert trial.state in (TrialState.COMPLETED, TrialState.PRUNED, TrialState.FAILED)
        dies = trial.params["y"] < share
        assert trial.step < deadly or not dies
        assert trial.state is not TrialState.FAILED or (dies and trial.step == deadly - 1)


# Sparse reporters


@halving
def test_a_sparse_reporter_does_not_pollute_the_rungs_below(name: str) -> None:
    """Optuna and Ray enter its late, good result at all rungs below too, and fresh trials are measured by it."""
    scheduler = bound(name)
    sparse, *fresh = launched(scheduler, 4)
    assert reports(scheduler, sparse, 26, 0.99) == Verdict(Action.PAUSE, 9)
    for trial in fresh:
        assert reports(scheduler, trial, 1, 0.1 + 0.1 * trial.id) == Verdict(Action.PAUSE, 1)
    # Had the sparse one been entered at the first rung it would be the best of four there: nobody else would go on.
    decision = scheduler.next(View([], free_slots=1, active=0, remaining=0))
    if name != "asha":
        decision = scheduler.next(View([], free_slots=1, active=0, remaining=0))  # the first prunes two of them
    assert getattr(decision, "trial", None) == fresh[-1].id


def test_a_sparse_reporter_does_not_get_fresh_trials_stopped() -> None:
    """The same in the mode that stops: Optuna and Ray measure every fresh trial by it at the first rung."""
    scheduler = bound("asha-stopping")
    sparse, *fresh = launched(scheduler, 4)
    reports(scheduler, sparse, 26, 0.99)
    assert reports(scheduler, fresh[0], 1, 0.1).action is Action.CONTINUE


def test_the_median_knows_those_that_report_at_other_steps() -> None:
    """Optuna compares with trials that have reported at exactly this step: others might as well not be there."""
    scheduler = bound("median")
    *sparse, fresh = launched(scheduler, 6)
    for trial in sparse:
        for step in (5, 10, 27):
            reports(scheduler, trial, step, 0.5)
    assert reports(scheduler, fresh, 4, 0.1).action is Action.CONTINUE
    assert reports(scheduler, fresh, 7, 0.1).action is Action.STOP


def test_the_median_is_one_of_running_averages() -> None:
    """Optuna takes the median of the values at this step, so one bad epoch of the others lets everything pass."""
    scheduler = bound("median")
    *completed, fresh = launched(scheduler, 6)
    for trial in completed:
        for step, score in ((1, 0.5), (2, 0.5), (3, 0.0), (27, 0.5)):
            reports(scheduler, trial, step, score)
    assert reports(scheduler, fresh, 3, 0.1).action is Action.STOP


# NaN and ties


@halving
def test_nan_is_the_worst_value(name: str) -> None:
    """Optuna prunes what reports NaN at once, so the rung never counts it; ours counts it last."""
    scheduler = bound(name)
    trials = launched(scheduler, 6)
    for trial in trials:
        reports(scheduler, trial, 1, math.nan if trial.id in (0, 2, 3, 4) else 0.1 * trial.id)
    # Six results, so two go on.
    assert first_resumed(scheduler, 2) == [5, 1]


def test_nan_stops_where_the_rung_has_somebody_better() -> None:
    scheduler = bound("asha-stopping")
    trials = launched(scheduler, 3)
    assert reports(scheduler, trials[0], 1, 0.0).action is Action.CONTINUE
    assert reports(scheduler, trials[1], 1, math.nan).action is Action.STOP
    assert reports(scheduler, trials[2], 1, 0.0).action is Action.CONTINUE


def test_nan_is_part_of_an_average() -> None:
    """Optuna leaves NaN out of its median: trials that diverged half of the time pass for good ones."""
    scheduler = bound("median")
    *completed, fresh = launched(scheduler, 6)
    for trial in completed:
        reports(scheduler, trial, 1, 0.9 if trial.id < 2 else math.nan)
        reports(scheduler, trial, 27, 0.9)
    assert reports(scheduler, fresh, 1, 0.5).action is Action.CONTINUE


@halving
def test_ties_break_by_the_number_of_the_trial(name: str) -> None:
    """Where they break by the order of arrival the trials differ from run to run."""
    scheduler = bound(name)
    for trial in reversed(launched(scheduler, 6)):
        reports(scheduler, trial, 1, 0.5)
    assert first_resumed(scheduler, 2) == [0, 1]


def first_resumed(scheduler: Scheduler, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        decision = scheduler.next(View([], free_slots=1, active=len(found), remaining=0))
        number = getattr(decision, "trial", None)
        if number is not None:
            found.append(number)
    return found


# Cells that peers forbid


@everywhere
def test_two_objectives(name: str) -> None:
    """Optuna's pruners refuse studies with two objectives."""

    def two(params: Params, step: int) -> dict[str, float]:
        return {"accuracy": curve(params, step), "latency": params["y"] * step}

    goal: Any = {"accuracy": "maximize", "latency": "minimize"}
    run = simulate(RandomOptimizer(SPACE), SCHEDULERS[name](), two, budget=30, steps=27, goal=goal)
    assert all(trial.state in (TrialState.COMPLETED, TrialState.PRUNED) for trial in run.trials)
    done = [trial for trial in run.trials if trial.state is TrialState.COMPLETED]
    assert done
    if name.startswith(("asha", "hyperband")):
        assert len(done) < 30


@everywhere
@pytest.mark.parametrize("sampler", ["TPE", "CMA-ES", "QMC"])
def test_any_optimizer_goes_with_any_scheduler(name: str, sampler: str) -> None:
    """Ray and Syne Tune take some of their schedulers with random search only."""
    optimizer: Optimizer = (
        OptunaOptimizer(SPACE, sampler=sampler, n_startup_trials=5)
        if sampler == "TPE"
        else (OptunaOptimizer(SPACE, sampler=sampler))
    )
    run = simulate(optimizer, SCHEDULERS[name](), curve, budget=12, steps=27)
    assert len(run.trials) == 12
    assert all(trial.state in (TrialState.COMPLETED, TrialState.PRUNED) for trial in run.trials)


# Restarts


@everywhere
def test_a_restored_sweep_goes_on_with_its_scheduler(name: str) -> None:
    """Ray restores the trials and makes a new scheduler, which knows nothing of rungs, results or brackets."""

    def fresh() -> Simulation:
        return Simulation(RandomOptimizer(SPACE), SCHEDULERS[name](), curve, 60, 4, 1, steps=27)

    whole = fresh().run()
    broken, count = fresh(), 0
    while broken.step():
        count += 1
        if count % 29 == 0:
            broken = fresh().load_json(json.loads(json.dumps(broken.to_json())))
    assert broken.events == whole.events
    assert broken.table() == whole.table()
