"""Budgets one by one and together, failing fast, resources, and what a running sweep shows and keeps in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.executors.local import LocalExecutor
from metta.sweep.experiments import Budget, SweepExperiment, SweepResult, session
from metta.sweep.experiments.arguments import merged
from metta.sweep.experiments.sweep_journal import FEW_REPORTS
from metta.sweep.experiments.sweep_status import sweep_status
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.report.events import SweepEvent, TrialEnded, TrialReported
from metta.sweep.schedulers import ASHAScheduler, AsynchronousScheduler
from metta.sweep.space import Uniform
from metta.sweep.store.runs import Store
from metta.sweep.trial import Resources, Trial, TrialState

SPACE = {"x": Uniform(0.0, 1.0)}
STEPS = 2 * FEW_REPORTS


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    with LocalExecutor(max_workers=1) as executor:
        yield executor


def curve(trial: Trial) -> Iterator[dict[str, float]]:
    for step in range(1, 5):
        yield {"score": float(trial.id), "cost": 2.5 * step}


def falling(trial: Trial) -> float:
    return -float(trial.id)


def fails_from_two(trial: Trial) -> float:
    if trial.id >= 2:
        raise ValueError("no such layer")
    return 1.0


def long_curve(trial: Trial) -> Iterator[float]:
    for step in range(1, STEPS + 1):
        yield float(step)


def sweep(objective: Any, executor: LocalExecutor, **arguments: Any) -> SweepExperiment:
    settings: dict[str, Any] = {"search_space": SPACE, "optimizer": RandomOptimizer(), "seed": 2, "store": None}
    return SweepExperiment(objective, executor=executor, **{**settings, **arguments})


def steps(result: SweepResult) -> int:
    return sum(trial.step for trial in result.trials)


@pytest.mark.parametrize(
    ("budget", "why", "trials", "total"),
    [
        (Budget(trials=3), "budget of trials", 3, 12),
        (Budget(resource=7), "resource budget of 7", 2, 7),
        (Budget(cost=12.5), "cost budget of 12.5", 2, 5),
        (Budget(target_score=1.0), "target score 1 was reached", 2, 5),
        (Budget(trials=3, resource=100, cost=100, target_score=9, seconds=600, patience=9), "budget of trials", 3, 12),
        (Budget(trials=3, resource=7, cost=100), "resource budget", 2, 7),
        (Budget(trials=3, resource=7, cost=2.5), "cost budget", 1, 1),
    ],
)
def test_each_limit_is_exact_and_the_first_one_counts(
    budget: Budget, why: str, trials: int, total: int, executor: LocalExecutor
) -> None:
    result = sweep(curve, executor, cost_key="cost").run(budget=budget)
    assert why in result.ended
    assert (len(result.trials), steps(result)) == (trials, total)


def test_patience_counts_the_results_after_the_best_one(executor: LocalExecutor) -> None:
    result = sweep(falling, executor).run(budget=Budget(patience=3, trials=50))
    assert "3 results in a row were no better" in result.ended
    assert len(result.trials) == 4  # the first is the best


def test_patience_counts_a_rung_at_which_a_trial_pauses(executor: LocalExecutor, tmp_path: Path) -> None:
    scheduler = ASHAScheduler(max_epochs=100, grace_period=1, reduction_factor=10)
    result = sweep(falling, executor, store=tmp_path, scheduler=scheduler).run(budget=Budget(patience=3, trials=50))
    assert "3 results in a row were no better" in result.ended
    assert len(result.trials) == 4
    assert {trial.state for trial in result.trials} == {TrialState.PRUNED}
    with Store(tmp_path).open("sweep") as run:
        assert sweep_status(run).spent.since_best == 3  # and not once more when they are pruned


def test_a_sweep_goes_on_whatever_fails_or_stops_at_the_first_failure(executor: LocalExecutor, tmp_path: Path) -> None:
    going_on = sweep(fails_from_two, executor).run(budget=5)
    assert len(going_on.trials) == 5
    fast = sweep(fails_from_two, executor, store=tmp_path).run(budget=Budget(trials=5, failures=1))
    assert fast.ended == "1 trial failed"
    assert [trial.state.value for trial in fast.trials] == ["completed", "completed", "failed"]
    assert fast.run_id is not None
    more = sweep(fails_from_two, executor, store=tmp_path).run(budget=Budget(trials=9, failures=3), resume=fast.run_id)
    assert more.ended == "3 trials failed"
    assert len(more.trials) == 5
    again = sweep(fails_from_two, executor, store=tmp_path).run(
        budget=Budget(trials=9, failures=4), resume=fast.run_id, retry_failed=True, allow_changed=True
    )
    assert again.ended == "4 trials failed"  # the three count again
    assert len(again.trials) == 6


# Resources


def test_what_the_scheduler_says_counts_field_by_field() -> None:
    own = Resources(cpus=4, gpus=1, memory="8GB", time_limit=60)
    assert merged(own, Resources()) == own
    assert merged(own, Resources(gpus=2, time_limit=5)) == Resources(cpus=4, gpus=2, memory="8GB", time_limit=5)


class Hasty(AsynchronousScheduler):
    def allocate_resources(self, trial: Trial) -> Resources:
        return Resources(time_limit=0.2) if trial.id == 1 else Resources()


def sleeps(trial: Trial) -> float:
    import time

    if trial.id == 1:
        time.sleep(600)
    return 1.0


def test_the_scheduler_may_say_more_than_the_sweep(executor: LocalExecutor) -> None:
    result = sweep(sleeps, executor, scheduler=Hasty(), resources=Resources(time_limit=300)).run(budget=3)
    assert [trial.state.value for trial in result.trials] == ["completed", "failed", "completed"]


# What others see of it while it runs


def test_a_running_sweep_publishes_how_far_it_is(
    executor: LocalExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "PUBLISH_INTERVAL", 0.0)
    seen: list[dict[str, int]] = []

    def look(event: SweepEvent) -> None:
        if isinstance(event, TrialEnded):
            (path,) = tmp_path.glob("runs/*/status.json")
            published = json.loads(path.read_text())
            assert published["status"] == "running"
            seen.append(published["counts"])

    result = sweep(curve, executor, store=tmp_path).run(budget=4, progress=look)
    assert result.ended
    assert [counts.get("completed", 0) for counts in seen] == [0, 1, 2, 3]
    (path,) = tmp_path.glob("runs/*/status.json")
    published = json.loads(path.read_text())
    assert (published["counts"], published["best"]) == ({"completed": 4}, 3.0)
    assert Store(tmp_path).all()[0].best == 3.0


def test_not_more_often_than_every_interval(executor: LocalExecutor, tmp_path: Path) -> None:
    seen = set()

    def look(event: SweepEvent) -> None:
        if isinstance(event, TrialReported):
            (path,) = tmp_path.glob("runs/*/status.json")
            seen.add(path.stat().st_mtime_ns)

    result = sweep(curve, executor, store=tmp_path).run(budget=2, progress=look)
    assert len(seen) <= 1 + result.seconds / session.PUBLISH_INTERVAL


def test_a_store_may_be_given_open(executor: LocalExecutor, tmp_path: Path) -> None:
    result = sweep(curve, executor, store=Store(tmp_path)).run(budget=1)
    assert result.folder is not None
    assert result.folder.parent == tmp_path / "runs"


def test_the_reports_of_ended_trials_are_read_when_asked_for(executor: LocalExecutor, tmp_path: Path) -> None:
    result = sweep(long_curve, executor, store=tmp_path).run(budget=3)
    for trial in result.trials[:-1]:
        assert trial._reports == []
        assert trial.step == STEPS
        assert [report.step for report in trial.reports] == list(range(1, STEPS + 1))
        assert trial.score == STEPS
    without = sweep(long_curve, executor).run(budget=1)
    assert len(without.trials[0]._reports) == STEPS  # there is no journal to read them from


def test_a_paused_trial_goes_on_where_its_reports_were_put_away(executor: LocalExecutor, tmp_path: Path) -> None:
    scheduler = ASHAScheduler(max_epochs=STEPS, grace_period=FEW_REPORTS + 2, reduction_factor=2)
    result = sweep(long_curve, executor, store=tmp_path, scheduler=scheduler).run(budget=4)
    assert TrialState.COMPLETED in {trial.state for trial in result.trials}
    for trial in result.trials:
        assert [report.step for report in trial.reports] == list(range(1, trial.step + 1))
