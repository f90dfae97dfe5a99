from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.errors import UsageError
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.goal import Objectives
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.report.events import SweepEvent, TrialStarted
from metta.sweep.schedulers.base import Done, Launch, Scheduler, View, Wait
from metta.sweep.schedulers.regression import LinearModel, features_of
from metta.sweep.schedulers.resource_aware import ResourceAwareScheduler
from metta.sweep.space import Choice, LogUniform, SearchSpace, Uniform
from metta.sweep.testing import Simulation, simulate
from metta.sweep.trial import Params, Report, Trial, TrialState

SPACE = SearchSpace({"quality": Uniform(0, 1), "size": LogUniform(1, 1000)})


def curve(params: Params, step: int) -> dict[str, float]:
    """Costs are log-linear in the unit interval: as much as the size."""
    return {"score": params["quality"], "hours": params["size"] * step / 4}


def scheduler_with(space: SearchSpace | None = SPACE, **arguments: Any) -> ResourceAwareScheduler:
    scheduler = ResourceAwareScheduler("hours", **arguments)
    scheduler.search_space = space
    scheduler.bind(objectives=Objectives(), seed=0)
    return scheduler


def trial(number: int, quality: float, size: float) -> Trial:
    return Trial({"quality": quality, "size": size}, number)


def end(scheduler: ResourceAwareScheduler, done: Trial, score: float | None = None, hours: float | None = None) -> None:
    score = done.params["quality"] if score is None else score
    report = Report(4, {"score": score, "hours": done.params["size"] if hours is None else hours})
    done.reports.append(report)
    done.score = score
    scheduler.on_report(done, report)
    scheduler.on_complete(done)


def taught(scheduler: ResourceAwareScheduler, count: int = 20) -> ResourceAwareScheduler:
    """It has seen `count` trials of the curve above."""
    rng = random.Random(0)
    for number in range(count):
        done = trial(number, rng.random(), 10 ** (3 * rng.random()))
        scheduler.on_launch(Launch(1), [done])
        end(scheduler, done)
    return scheduler


# Learning


def test_costs_are_learned_log_linearly() -> None:
    scheduler = scheduler_with()
    assert scheduler.expected_cost(trial(0, 0.5, 10)) is None
    taught(scheduler, 3)  # as many as there are coefficients: the mean of the logarithms
    fallback = scheduler.expected_cost(trial(9, 0.1, 1))
    assert fallback == scheduler.expected_cost(trial(9, 0.9, 1000))
    taught(scheduler)
    for size in (1.0, 30.0, 1000.0):
        assert scheduler.expected_cost(trial(99, 0.5, size)) == pytest.approx(size, rel=1e-6)


def test_where_the_attribute_is_not_reported_the_cost_of_the_trial_counts() -> None:
    for scheduler in (scheduler_with(), ResourceAwareScheduler()):
        done = trial(0, 0.5, 10)
        done.cost, done.score = 7.0, 0.5
        scheduler.on_report(done, Report(4, {"score": 0.5}))
        scheduler.on_complete(done)
        assert scheduler.expected_cost(done) == pytest.approx(7.0)


@pytest.mark.parametrize("hours", [0.0, -1.0, math.nan, math.inf])
def test_a_cost_that_has_no_logarithm_teaches_nothing(hours: float) -> None:
    scheduler = scheduler_with()
    end(scheduler, trial(0, 0.5, 10), hours=hours)
    assert scheduler.expected_cost(trial(1, 0.5, 10)) is None


def test_a_score_that_is_not_finite_teaches_nothing() -> None:
    scheduler = taught(scheduler_with(prioritize_by="performance"))
    before = scheduler.state_dict()
    end(scheduler, trial(50, 0.5, 10), score=math.nan)
    after = scheduler.state_dict()
    assert (after["losses"], after["best"]) == (before["losses"], before["best"])


def test_failed_trials_teach_nothing() -> None:
    scheduler = scheduler_with()
    failed = trial(0, 0.5, 10)
    scheduler.on_launch(Launch(1), [failed])
    scheduler.on_report(failed, Report(1, {"score": 0.5, "hours": 5}))
    scheduler.on_failure(failed)
    assert scheduler.expected_cost(failed) is None
    assert scheduler.state_dict()["used"] == scheduler.state_dict()["suggested_at"] == []


@settings(derandomize=True, max_examples=50)
@given(
    weights=st.lists(st.floats(-5, 5), min_size=1, max_size=4),
    offset=st.sampled_from([0.0, 1e7]),
    seed=st.integers(0, 99),
)
def test_least_squares_finds_a_plane_again(weights: list[float], offset: float, seed: int) -> None:
    rng = random.Random(seed)
    model = LinearModel()
    for _ in range(40):
        point = [rng.random() for _ in weights]
        model.add(point, offset + sum(w * x for w, x in zip(weights, point, strict=True)))
    model = LinearModel.from_json(json.loads(json.dumps(model.to_json())))
    point = [rng.random() for _ in weights]
    guess = model.predict(point)
    assert guess is not None
    assert guess.mean - offset == pytest.approx(sum(w * x for w, x in zip(weights, point, strict=True)), abs=1e-6)
    assert guess.spread < 1e-3


def test_the_spread_is_that_of_the_residuals() -> None:
    model = LinearModel()
    for x, y in ((0.0, 1.0), (0.0, -1.0), (1.0, 3.0), (1.0, 1.0)):
        model.add([x], y)
    guess = model.predict([0.5])
    assert guess == pytest.approx((1.0, math.sqrt(4 / 2)))


def test_features() -> None:
    space = SearchSpace(
        {
            "kind": Choice(["a", "b"]),
            "a.depth": Choice([1, 2, 4]),
            "rate": LogUniform(1, 100),
            "fixed": 3,
        }
    )
    assert features_of({"kind": "a", "a.depth": 4, "rate": 10, "fixed": 3}, space) == pytest.approx([1, 0, 5 / 6, 0.5])
    assert features_of({"kind": "b", "rate": 1}, space) == [0, 1, 0.5, 0]
    assert features_of({"kind": "z", "rate": 1000}, space) == [0, 0, 0.5, 0.5]
    assert features_of({"kind": "a"}, None) == []


# Order


def test_before_anything_is_known_the_first_starts() -> None:
    scheduler = scheduler_with()
    assert scheduler.next_start([trial(3, 0.1, 10), trial(4, 0.9, 1)], []) == 3


@pytest.mark.parametrize(
    ("prioritize_by", "first"),
    [("performance_per_cost", 31), ("performance", 30), ("cost", 32)],
)
def test_priorities(prioritize_by: Any, first: int) -> None:
    scheduler = taught(scheduler_with(prioritize_by=prioritize_by))
    for number, noise in ((20, 0.3), (21, -0.3)):  # so that improvements are uncertain
        end(scheduler, trial(number, 0.5, 30), score=0.5 + noise)
    waiting = [trial(29, 0.5, 900), trial(30, 1.0, 900), trial(31, 0.99, 3), trial(32, 0.1, 1)]
    for each in waiting:
        scheduler.on_launch(Launch(1), [each])
    assert scheduler.next_start(waiting, []) == first


def test_several_objectives() -> None:
    scheduler = ResourceAwareScheduler(prioritize_by="performance")
    scheduler.search_space = SPACE
    scheduler.bind(objectives=Objectives.of({"accuracy": "maximize", "latency": "minimize"}), seed=0)
    rng = random.Random(1)
    for number in range(20):
        done = trial(number, rng.random(), 10 ** (3 * rng.random()))
        report = Report(
            1, {"accuracy": done.params["quality"] + 0.1 * rng.random(), "latency": done.params["size"] + rng.random()}
        )
        done.score = dict(report.metrics)
        scheduler.on_report(done, report)
        scheduler.on_complete(done)
    waiting = [trial(20, 0.1, 900), trial(21, 0.95, 2), trial(22, 0.1, 500)]
    for each in waiting:
        scheduler.on_launch(Launch(1), [each])
    assert scheduler.next_start(waiting, []) == 21


def test_a_sweep_comes_to_the_best_configuration_for_less() -> None:
    def until_best(scheduler: Scheduler, seed: int) -> float:
        """The hours that were spent when the best of 60 configurations had run."""
        run = simulate(RandomOptimizer(SPACE), scheduler, curve, 60, workers=1, seed=seed, steps=4)
        order = [run.trials[int(event.split()[2])] for event in run.events if " completed " in event]
        best = max(range(60), key=lambda place: order[place].params["quality"])
        return math.fsum(trial.params["size"] for trial in order[: best + 1])

    aware = ResourceAwareScheduler("hours", queue_size=20, max_wait=60)
    plain = sum(until_best(Scheduler(), seed) for seed in range(6))
    assert sum(until_best(aware, seed) for seed in range(6)) < 0.6 * plain


# Packing


def test_a_trial_starts_only_where_it_fits() -> None:
    scheduler = taught(scheduler_with(resource_limit=100, prioritize_by="performance"))
    running = [trial(30, 0.5, 60)]
    scheduler.on_launch(Launch(3), [*running, trial(31, 0.9, 50), trial(32, 0.8, 30)])
    assert scheduler.next_start([trial(31, 0.9, 50), trial(32, 0.8, 30)], running) == 32
    assert scheduler.next_start([trial(31, 0.9, 50)], running) is None
    assert scheduler.next_start([trial(31, 0.9, 900)], []) == 31  # it fits nowhere, so it runs alone


def test_what_a_running_trial_has_used_counts_where_it_is_more_than_predicted() -> None:
    scheduler = taught(scheduler_with(resource_limit=100))
    running = trial(30, 0.5, 60)
    scheduler.on_launch(Launch(1), [running])
    assert scheduler.next_start([trial(31, 0.9, 30)], [running]) == 31
    scheduler.on_report(running, Report(1, {"score": 0.5, "hours": 80}))
    assert scheduler.next_start([trial(31, 0.9, 30)], [running]) is None
    twin = scheduler_with(resource_limit=100)
    twin.load_state_dict(json.loads(json.dumps(scheduler.state_dict())))
    assert twin.state_dict() == scheduler.state_dict()
    assert twin.next_start([trial(31, 0.9, 30)], [running]) is None


def test_under_a_limit_the_first_trial_runs_alone() -> None:
    scheduler = scheduler_with(resource_limit=100)
    assert scheduler.next_start([trial(0, 0.5, 1)], []) == 0
    assert scheduler.next_start([trial(1, 0.5, 1)], [trial(0, 0.5, 1)]) is None


class Watched(ResourceAwareScheduler):
    """Notes what runs together once the model knows all costs, and how long anybody has waited."""

    together: list[float] = []  # noqa: RUF012
    longest = 0

    def next_start(self, waiting: Iterable[Trial], running: Iterable[Trial]) -> int | None:
        queue, running = list(waiting), list(running)
        chosen = super().next_start(queue, running)
        if self._ended > 10 and running and chosen is not None:
            sizes = {trial.id: trial.params["size"] for trial in (*queue, *running)}
            total = sum(sizes[trial.id] for trial in running) + sizes[chosen]
            self.together = [*self.together, total]
        if chosen is not None:
            self.longest = max(self.longest, self._ended - self._suggested_at[chosen])
        return chosen


@settings(derandomize=True, max_examples=15, deadline=None)
@given(seed=st.integers(0, 99), workers=st.integers(1, 6), queue_size=st.integers(1, 8), max_wait=st.integers(1, 12))
def test_the_sum_stays_under_the_limit_and_nobody_starves(
    seed: int, workers: int, queue_size: int, max_wait: int
) -> None:
    scheduler = Watched("hours", resource_limit=500, queue_size=queue_size, max_wait=max_wait)
    run = simulate(RandomOptimizer(SPACE), scheduler, curve, 80, workers, seed, steps=4)
    ended = run.scheduler
    assert isinstance(ended, Watched)
    assert {trial.state for trial in run.trials} == {TrialState.COMPLETED}
    if workers > 2 and queue_size > 2:
        assert len(ended.together) > 20
    assert all(total <= 500 * (1 + 1e-6) for total in ended.together)
    # Overdue ones start in their order: at most a whole queue is before one, and each waits for all slots once.
    assert ended.longest <= max_wait + (queue_size + workers) * workers


def test_ageing_overrules_the_priority() -> None:
    scheduler = taught(scheduler_with(max_wait=3, prioritize_by="cost"), 20)
    large = trial(30, 0.1, 1000)
    scheduler.on_launch(Launch(1), [large])
    for number in range(31, 34):
        small = trial(number, 0.9, 1)
        scheduler.on_launch(Launch(1), [small])
        assert scheduler.next_start([large, small], []) == number
        end(scheduler, small)
    small = trial(34, 0.9, 1)
    scheduler.on_launch(Launch(1), [small])
    assert scheduler.next_start([large, small], []) == 30


def test_nothing_passes_an_overdue_trial_that_has_no_room() -> None:
    scheduler = taught(scheduler_with(max_wait=3, resource_limit=100))
    large = trial(30, 0.1, 90)
    scheduler._suggested_at[30] = 0
    small, running = trial(31, 0.9, 1), trial(32, 0.5, 50)
    scheduler.on_launch(Launch(1), [small])
    assert scheduler.next_start([large, small], [running]) is None
    assert scheduler.next_start([large, small], []) == 30


# The protocol


def test_it_asks_ahead_for_candidates() -> None:
    scheduler = scheduler_with(queue_size=3)
    assert scheduler.next(View([], free_slots=2, active=0, remaining=10)) == Launch(5)
    assert scheduler.next(View([], free_slots=-3, active=5, remaining=5)) == Wait()
    assert scheduler.next(View([], free_slots=-2, active=4, remaining=5)) == Launch(1)
    assert scheduler.next(View([], free_slots=-2, active=4, remaining=0)) == Wait()
    assert scheduler.next(View([], free_slots=2, active=0, remaining=0)) == Done()


def test_names_of_arguments() -> None:
    vision = ResourceAwareScheduler(
        resource_attr="training_time", max_concurrent_trials=10, prioritize_by="performance_per_cost"
    )
    assert vision.max_parallel == 10
    assert ResourceAwareScheduler(max_parallel=4).max_parallel == 4
    assert ResourceAwareScheduler(max_epochs=4).max_resource == ResourceAwareScheduler(max_t=4).max_resource == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prioritize_by": "speed"}, "expected one of 'performance_per_cost', 'performance', 'cost'"),
        ({"resource_limit": 0}, "resource_limit=0: expected a number above 0"),
        ({"resource_limit": math.nan}, "resource_limit=nan"),
        ({"queue_size": 0}, "queue_size=0: expected a whole number, at least 1"),
        ({"max_wait": 0}, "max_wait=0"),
        ({"max_concurrent_trials": 0}, "max_concurrent_trials=0"),
        ({"max_concurrent_trials": 2, "max_parallel": 3}, "are names for one argument"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ResourceAwareScheduler(**arguments)


def mortal(params: Params, step: int) -> dict[str, float]:
    if params["quality"] > 0.9 and step == 2:
        raise RuntimeError("boom")
    return curve(params, step)


def test_a_thousand_trials_resumed_at_every_five_hundredth_event_are_the_same() -> None:
    def fresh() -> Simulation:
        scheduler = ResourceAwareScheduler("hours", resource_limit=2000)
        return Simulation(RandomOptimizer(SPACE), scheduler, mortal, 1000, 8, 3, steps=4)

    whole = fresh().run()
    broken, count = fresh(), 0
    while broken.step():
        count += 1
        if count % 500 == 0:
            broken = fresh().load_json(json.loads(json.dumps(broken.to_json())))
    assert broken.table() == whole.table()
    assert broken.events == whole.events
    assert len(whole.trials) == 1000
    assert {trial.state for trial in whole.trials} == {TrialState.COMPLETED, TrialState.FAILED}


def real_training(trial: Trial) -> Iterator[dict[str, float]]:
    for step in range(1, 5):
        yield {"score": trial.params["quality"], "hours": trial.params["size"] * step / 4}


def test_a_real_sweep_starts_them_by_cost() -> None:
    started: list[int] = []

    def hear(event: SweepEvent) -> None:
        if isinstance(event, TrialStarted):
            started.append(event.trial)

    scheduler = ResourceAwareScheduler("hours", prioritize_by="cost", queue_size=30)
    with LocalExecutor(max_workers=1) as executor:
        result = SweepExperiment(
            real_training, optimizer=RandomOptimizer(SPACE), scheduler=scheduler, executor=executor, seed=2, store=None
        ).run(20, progress=hear)
        trials = result.trials
    assert {trial.state for trial in trials} == {TrialState.COMPLETED}
    assert sorted(started) == list(range(20))
    sizes = [trials[number].params["size"] for number in started]
    # After as many as there are coefficients, and one, costs are known exactly.
    assert sizes[4:] == sorted(sizes[4:])
    assert sizes != sorted(sizes)
