"""Repeats: several trainings of a configuration as one trial."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import RefusedError, UsageError
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.experiments import Budget, SweepExperiment
from metta.sweep.experiments.aggregation import BestOfN, MeanAggregator, MedianAggregator
from metta.sweep.experiments.arguments import objective_of
from metta.sweep.experiments.repeats import Repeated, seed_of
from metta.sweep.goal import Objectives
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers import ASHAScheduler
from metta.sweep.space import Uniform
from metta.sweep.trial import MemoryChannel, Report, Trial, TrialState

SPACE = {"x": Uniform(0.0, 1.0)}
SEEDS = [seed_of(5, index) for index in range(3)]


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    with LocalExecutor(max_workers=2) as executor:
        yield executor


def noise(seed: int) -> float:
    return random.Random(seed).random()


def noisy(trial: Trial) -> Iterator[dict[str, float]]:
    """A curve that depends on the seed; it goes on from its state."""
    start = trial.load() or {"step": 0, "luck": noise(trial.seed)}
    for step in range(start["step"] + 1, 10):
        trial.save({"step": step, "luck": start["luck"]})
        yield {"score": step * (trial.params["x"] + start["luck"]), "loss": float(step), "cost": 2.0 * step}


def by_report(trial: Trial) -> None:
    """The same as a function that reports."""
    start = trial.load() or {"step": 0, "luck": noise(trial.seed)}
    for step in range(start["step"] + 1, 10):
        trial.save({"step": step, "luck": start["luck"]})
        trial.report({"score": step * (trial.params["x"] + start["luck"]), "loss": float(step), "cost": 2.0 * step})
        if trial.should_stop():
            return


def forgetful(trial: Trial) -> Iterator[float]:
    """The same without states."""
    for step in range(1, 10):
        yield step * (trial.params["x"] + noise(trial.seed))


def deaf(trial: Trial) -> None:
    """Never asks whether it should stop."""
    for step in range(1, 1_000_000):
        trial.report({"score": step * (trial.params["x"] + noise(trial.seed))}, step=step)


def plain(trial: Trial) -> float:
    """Called once per grant."""
    return float((trial.resource or 1) * (trial.params["x"] + noise(trial.seed)))


def repeated(objective: Any, repeats: int = 3, aggregator: Any = None, **settings: Any) -> Repeated:
    return Repeated(
        objective,
        repeats,
        aggregator or MeanAggregator(),
        settings.get("objectives", Objectives()),
        settings.get("cost_key"),
    )


class Stopping(MemoryChannel):
    """Stops the trial at a step."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def report(self, report: Report) -> None:
        super().report(report)
        self.stop = report.step >= self.at


def run(
    objective: Any, *, resource: int = 0, stop_at: int = 1000, trial: Trial | None = None, **settings: Any
) -> Trial:
    trial = trial or Trial({"x": 0.25}, 0, resource=resource, channel=Stopping(stop_at))
    trial.seed = 5
    repeated(objective, **settings)(trial)
    return trial


def mean_luck() -> float:
    return math.fsum(map(noise, SEEDS)) / 3


@pytest.mark.parametrize("objective", [noisy, by_report, forgetful])
def test_a_step_is_reported_when_all_repeats_have_reached_it(objective: Any) -> None:
    trial = run(objective)
    assert [report.step for report in trial.reports] == list(range(1, 10))
    for report in trial.reports:
        assert report.metrics["score"] == pytest.approx(report.step * (0.25 + mean_luck()))
    assert trial.reports[0].metrics["score_std"] > 0


def test_the_cost_is_summed_and_other_metrics_are_averaged() -> None:
    last = run(noisy, cost_key="cost").reports[-1].metrics
    assert (last["cost"], last["loss"]) == (3 * 18.0, 9.0)
    assert run(noisy).reports[-1].metrics["cost"] == 18.0  # not the cost: a metric like others


def test_every_repeat_has_a_seed_of_its_own_and_all_configurations_the_same_ones() -> None:
    seen: list[int] = []

    def note(trial: Trial) -> float:
        seen.append(trial.seed)
        return 1.0

    run(note)
    run(note, trial=Trial({"x": 0.75}, 7))
    assert seen == SEEDS * 2
    assert len(set(SEEDS)) == 3


@pytest.mark.parametrize("objective", [noisy, by_report])
def test_all_repeats_stop_at_the_grant_and_go_on_from_their_states(objective: Any) -> None:
    trial = run(objective, resource=3)
    assert [report.step for report in trial.reports] == [1, 2, 3]
    saved = trial.channel.load()
    assert saved is not None
    assert saved.step == 3
    assert [state["luck"] for state, _, _ in saved.state["all"]] == [noise(seed) for seed in SEEDS]
    trial.resource = 9
    run(objective, trial=trial)
    assert [report.step for report in trial.reports] == list(range(1, 10))
    assert trial.reports[-1].metrics["score"] == pytest.approx(9 * (0.25 + mean_luck()))


def test_without_states_they_start_again_and_known_steps_are_not_told_twice() -> None:
    trial = run(forgetful, resource=3)
    assert trial.channel.load() is None
    trial.resource = 9
    run(forgetful, trial=trial)
    assert [report.step for report in trial.reports] == list(range(1, 10))


def test_a_stop_between_rungs_ends_the_last_repeat_only_there() -> None:
    trial = run(noisy, stop_at=4)
    assert [report.step for report in trial.reports] == [1, 2, 3, 4]


def test_a_function_that_never_asks_is_ended_at_its_grant() -> None:
    assert [report.step for report in run(deaf, resource=5).reports] == [1, 2, 3, 4, 5]


def test_a_plain_function() -> None:
    trial = run(plain)
    assert [report.step for report in trial.reports] == [1]
    assert trial.reports[0].metrics["score"] == pytest.approx(0.25 + mean_luck())
    trial = run(plain, resource=3)
    assert trial.reports[-1].metrics["score"] == pytest.approx(3 * (0.25 + mean_luck()))
    assert trial.step == 3


def test_a_repeat_that_ends_earlier_counts_with_its_last_report() -> None:
    def uneven(trial: Trial) -> Iterator[float]:
        for step in range(1, 3 + SEEDS.index(trial.seed)):
            yield float(step)

    assert [report.metrics["score"] for report in run(uneven).reports] == [1.0, 2.0, (2 + 3 + 3) / 3, (2 + 3 + 4) / 3]

    def falling(trial: Trial) -> Iterator[float]:
        for step in range(1, 5 - SEEDS.index(trial.seed)):
            yield float(step)

    assert [(report.step, report.metrics["score"]) for report in run(falling).reports] == [
        (1, 1.0),
        (2, 2.0),
        (4, (4 + 3 + 2) / 3),
    ]


def test_one_repeat_that_diverges_is_a_failure() -> None:
    def diverging(trial: Trial) -> float:
        return math.inf if trial.seed == SEEDS[1] else 1.0

    assert math.isnan(run(diverging, aggregator=BestOfN()).reports[-1].metrics["score"])


def test_nothing_reported_stays_nothing() -> None:
    assert run(lambda trial: None).reports == []


@pytest.mark.parametrize(
    ("aggregator", "maximized", "minimized"),
    [
        (MeanAggregator(), 4.0, 4.0),
        (MedianAggregator(), 3.0, 3.0),
        (BestOfN(), 8.0, 1.0),
        (BestOfN(n=2), 3.0, 1.0),
    ],
)
def test_aggregators(aggregator: Any, maximized: float, minimized: float) -> None:
    assert aggregator.aggregate([1.0, 3.0, 8.0], maximize=True) == maximized
    assert aggregator.aggregate([1.0, 3.0, 8.0], maximize=False) == minimized


def test_each_objective_is_aggregated_in_its_own_direction() -> None:
    def two(trial: Trial) -> Mapping[str, float]:
        return {"accuracy": float(SEEDS.index(trial.seed)), "latency": float(SEEDS.index(trial.seed))}

    objectives = Objectives.of({"accuracy": "maximize", "latency": "minimize"})
    metrics = run(two, aggregator=BestOfN(), objectives=objectives).reports[-1].metrics
    assert (metrics["accuracy"], metrics["latency"]) == (2.0, 0.0)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"repeats": 0}, "repeats=0: expected a whole number"),
        ({"repeats": 2.5}, "repeats=2.5"),
        ({"repeats": True}, "repeats=True"),
        ({"repeats": 2, "aggregate": MeanAggregator}, r"write aggregate=MeanAggregator\(\)"),
        ({"repeats": 2, "aggregate": max}, "expected MeanAggregator"),
        ({"repeats": 2, "aggregate": BestOfN(n=3)}, "fewer repeats than it counts"),
    ],
)
def test_wrong_arguments_are_refused_at_once(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        SweepExperiment(noisy, search_space=SPACE, **arguments)


def test_best_of_none_is_refused() -> None:
    with pytest.raises(UsageError, match=r"BestOfN\(n=0\)"):
        BestOfN(n=0)


def sweep(objective: Any, executor: LocalExecutor, **arguments: Any) -> SweepExperiment:
    settings: dict[str, Any] = {
        "search_space": SPACE,
        "optimizer": RandomOptimizer(),
        "seed": 3,
        "store": None,
        "repeats": 3,
        "executor": executor,
    }
    return SweepExperiment(objective, **{**settings, **arguments})


@pytest.mark.parametrize("objective", [noisy, by_report, plain])
@pytest.mark.parametrize("mode", ["promotion", "stopping"])
def test_with_asha_each_rung_is_judged_by_the_aggregate(objective: Any, mode: Any, executor: LocalExecutor) -> None:
    result = sweep(
        objective,
        executor,
        scheduler=ASHAScheduler(max_epochs=9, grace_period=1, reduction_factor=3, mode=mode),
    ).run(budget=6)
    assert len(result.trials) == 6
    assert not result.failures, str(result)
    assert result.recomputed == 0 or objective is plain
    seeds = [seed_of(seed_of(3), index) for index in range(3)]
    luck = math.fsum(map(noise, seeds)) / 3
    for trial in result.trials:
        assert trial.step in (1, 3, 9)
        for report in trial.reports:
            assert report.metrics["score"] == pytest.approx(report.step * (trial.params["x"] + luck))
    assert any(trial.step == 9 and trial.state is TrialState.COMPLETED for trial in result.trials)


def test_a_step_counts_once_in_the_budget(executor: LocalExecutor) -> None:
    result = sweep(plain, executor).run(budget=Budget(resource=4))
    assert sum(trial.step for trial in result.trials) == 4


def test_the_number_of_repeats_cannot_change_in_a_run(executor: LocalExecutor, tmp_path: Path) -> None:
    result = sweep(plain, executor, store=tmp_path).run(budget=2)
    assert result.run_id is not None
    longer = sweep(plain, executor, store=tmp_path).run(budget=3, resume=result.run_id)
    assert len(longer.trials) == 3
    with pytest.raises(RefusedError, match="number of repeats"):
        _ = sweep(plain, executor, store=tmp_path, repeats=4).run(budget=4, resume=result.run_id).trials


def test_an_experiment_is_given_the_seed() -> None:
    from metta.sweep.experiments import Experiment, Pipeline

    class Seeded(Experiment[float]):
        def __init__(self) -> None:
            self.seed = 0

        def pipeline(self) -> Pipeline:
            return Pipeline().stage("score", self.score).through(float)

        def score(self) -> float:
            return float(self.seed)

    objective = objective_of(Seeded(), None, repeats=2, aggregator=BestOfN(), objectives=Objectives(), cost_key=None)
    trial = Trial({}, 0)
    trial.seed = 5
    objective(trial)
    assert trial.reports[-1].metrics["score"] == max(SEEDS[:2])
