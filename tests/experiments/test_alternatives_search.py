"""Searches over schedulers and over aggregators: ResourceSchedulerOptimization, AggregationOptimization."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import RefusedError, RunError, UsageError
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.experiments import SweepExperiment, SweepResult, TrainingExperiment
from metta.sweep.experiments.aggregation import BestOfN, MeanAggregator, MedianAggregator
from metta.sweep.experiments.optimizable.aggregation import AggregationOptimization, AggregationTrial
from metta.sweep.experiments.optimizable.allocation import AllocationTrial, ResourceSchedulerOptimization
from metta.sweep.experiments.optimizable.alternatives import by_name
from metta.sweep.experiments.repeats import seed_of
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers.allocation import AdaptiveBandit, AllocationPolicy, EqualAllocation, ProportionalToPromise
from metta.sweep.schedulers.base import Scheduler
from metta.sweep.space import Choice, Uniform
from metta.sweep.trial import Trial

SPACE = {"x": Uniform(0, 1)}


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    with LocalExecutor(max_workers=2) as executor:
        yield executor


def learn(trial: Trial) -> Iterator[float]:
    """Better the longer it trains; the order after one step is the order at the end."""
    step = trial.load() or 0
    while True:
        step += 1
        trial.save(step)
        yield float(trial.params["x"]) - step**-0.5


def small(*kinds: type[AllocationPolicy], mean: int = 3) -> list[Scheduler]:
    return [kind(population=4, max_resource=8, mean_resource=mean, unit=1) for kind in kinds]


# Alternatives


def test_alternatives_have_the_names_of_their_classes() -> None:
    given = [BestOfN(1), MeanAggregator(), BestOfN(2)]
    assert by_name("strategies", given) == {"BestOfN": given[0], "MeanAggregator": given[1], "BestOfN 2": given[2]}


@pytest.mark.parametrize(
    ("given", "message"),
    [([], "strategies is empty"), ([MeanAggregator], r"MeanAggregator is a class: write MeanAggregator\(\)")],
)
def test_bad_alternatives(given: list[Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        by_name("strategies", given)


# Policies


def test_every_policy_is_tried_as_often_on_the_same_configurations(executor: LocalExecutor) -> None:
    search = ResourceSchedulerOptimization(
        small(EqualAllocation, ProportionalToPromise, AdaptiveBandit),
        learn,
        search_space=SPACE,
        repeats=2,
        executor=executor,
        seed=1,
        store=None,
    )
    result = search.run()
    assert [trial.params["scheduler"] for trial in result.trials] == list(search.policies)
    for trial in result.trials:
        assert trial.reports[-1].metrics["resource"] == 12
        assert trial.reports[-1].metrics["leaf_resource"] == 2 * 12
    # Of four configurations that keep their order the best one gets more than 3 units, and that is better.
    assert result.best_params["scheduler"] != "EqualAllocation"
    equal = result.trials[0].score
    assert isinstance(equal, float)
    assert result.best_score > equal


def test_a_policy_scores_what_its_sweep_does(executor: LocalExecutor) -> None:
    template = SweepExperiment(learn, optimizer=RandomOptimizer(SPACE), goal="minimize", executor=executor, store=None)
    search = ResourceSchedulerOptimization(
        small(EqualAllocation), template, repeats=1, executor=executor, seed=5, store=None
    )
    trial = search.run().best_trial
    alone = template.with_params({"scheduler": small(EqualAllocation)[0], "seed": seed_of(5)}).run()
    assert search.goal == "minimize"
    assert trial.score == alone.best_score


def test_it_is_resumed_and_refuses_other_policies(executor: LocalExecutor, tmp_path: Path) -> None:
    def search(mean: int = 3) -> ResourceSchedulerOptimization:
        policies = small(EqualAllocation, ProportionalToPromise, mean=mean)
        return ResourceSchedulerOptimization(
            policies, learn, search_space=SPACE, repeats=1, executor=executor, seed=1, store=tmp_path
        )

    first = search().run(budget=1)
    again = search().run(budget=2, resume=first.run_id or "")
    assert [trial.score for trial in again.trials] == [trial.score for trial in search().run().trials]
    with pytest.raises(RefusedError, match="mean_resource"):
        search(mean=2).run(resume=first.run_id or "").value  # noqa: B018


def test_cancelled_in_the_middle_it_is_resumed_to_the_same_result(tmp_path: Path) -> None:
    steps = tmp_path / "steps"
    steps.mkdir()

    def marking(trial: Trial) -> Iterator[float]:
        for score in learn(trial):
            (steps / str(time.monotonic_ns())).touch()
            yield score

    def run(store: str, **options: Any) -> SweepResult:
        policies = small(EqualAllocation, ProportionalToPromise)
        search = ResourceSchedulerOptimization(
            policies, marking, search_space=SPACE, repeats=2, executor=executor, seed=1, store=tmp_path / store
        )
        return search.run(**options)

    with LocalExecutor(max_workers=1) as executor:
        first = run("cancelled")
        while len(list(steps.iterdir())) < 6 and not first.done:  # of 12 in the first of four sweeps
            time.sleep(0.001)
        first.cancel()
        with pytest.raises(RunError, match="cancelled"):
            first.value  # noqa: B018
        before = len(list(steps.iterdir()))
        again = run("cancelled", resume=True)
        scores = [trial.score for trial in again.trials]
        assert len(list(steps.iterdir())) - before < 48  # it has gone on, in the inner sweep too
        assert scores == [trial.score for trial in run("whole").trials]


def test_the_runs_of_a_sweep_belong_to_the_trials(executor: LocalExecutor, tmp_path: Path) -> None:
    template = SweepExperiment(learn, search_space=SPACE, optimizer=RandomOptimizer(), store=tmp_path / "elsewhere")
    search = ResourceSchedulerOptimization(
        small(EqualAllocation), template, repeats=2, executor=executor, store=tmp_path / "here"
    )
    result = search.run()
    assert result.best_score < 1
    assert not (tmp_path / "elsewhere").exists()
    assert result.folder is not None
    assert len(list(result.folder.glob("**/runs/sweep-*"))) == 2


def test_the_defaults_are_those_of_the_digits() -> None:
    policies, aggregators = ResourceSchedulerOptimization(), AggregationOptimization()
    assert list(policies.policies) == ["EqualAllocation", "ProportionalToPromise", "AdaptiveBandit"]
    for search in (policies, aggregators):
        assert isinstance(search.base_experiment, AllocationTrial | AggregationTrial)
        assert search.base_experiment.sweep.base_experiment == TrainingExperiment()
    assert (policies.budget, aggregators.budget) == (3, 5)


@pytest.mark.slow
def test_policies_on_a_real_training(executor: LocalExecutor) -> None:
    policies = [
        kind(population=2, max_resource=2, mean_resource=1, unit=1) for kind in (EqualAllocation, AdaptiveBandit)
    ]
    result = ResourceSchedulerOptimization(
        policies, TrainingExperiment(), repeats=1, executor=executor, seed=0, store=None
    ).run(budget=1)
    assert result.best_score > 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policies": [EqualAllocation(), *small(AdaptiveBandit)]}, r"EqualAllocation 81, AdaptiveBandit 12"),
        ({"policies": [MeanAggregator()]}, r"policies=MeanAggregator\(\): expected a Scheduler"),
        ({"base_experiment": learn, "search_space": None}, "search space"),
        (
            {"base_experiment": SweepExperiment(learn, search_space=SPACE), "search_space": SPACE},
            'the sweep "sweep" has its own search_space',
        ),
        (
            {"base_experiment": SweepExperiment(learn, search_space=SPACE, goal={"a": "maximize", "b": "minimize"})},
            "has several objectives",
        ),
    ],
)
def test_bad_arguments_of_policies(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ResourceSchedulerOptimization(**arguments)


# Aggregators


def crashing(trial: Trial) -> float:
    """The best x is 0.5. At x above 0.8 one training in seven is lucky beyond all measure; the mean is low."""
    x = float(trial.params["x"])
    draws = random.Random(f"{trial.seed}/{x}")
    if x > 0.8:
        return 5.0 if draws.random() < 0.15 else -5.0
    return 1 - abs(x - 0.5) + draws.gauss(0, 0.01)


def test_an_aggregator_is_worth_what_its_choice_keeps(executor: LocalExecutor) -> None:
    result = AggregationOptimization(
        [BestOfN(n=3), MedianAggregator()],
        crashing,
        search_space=SPACE,
        trainings=5,
        inner_budget=12,
        validations=8,
        repeats=2,
        executor=executor,
        seed=3,
        store=None,
    ).run()
    assert not result.failures
    assert result.best_params["aggregate"] == "MedianAggregator"
    lucky, median = (trial.reports[-1].metrics for trial in result.trials)
    assert lucky["promised"] > lucky["score"] + 1
    assert median["score"] == pytest.approx(median["promised"], abs=0.02)
    assert median["score"] > 0.9


def luck(trial: Trial) -> float:
    """Nothing but chance."""
    return random.Random(trial.seed).random()


def test_the_choice_is_trained_again_under_fresh_seeds(executor: LocalExecutor) -> None:
    sweep = SweepExperiment(
        luck, search_space=SPACE, optimizer=RandomOptimizer(), executor=executor, repeats=3, budget=2
    )
    search = AggregationOptimization([MeanAggregator(), BestOfN()], sweep, validations=4)
    base = search.base_experiment
    assert isinstance(base, AggregationTrial)
    seeds = {"promised": seed_of(9), "score": seed_of(seed_of(9, 1))}
    chances = {
        name: [random.Random(seed_of(seed, index)).random() for index in range(4)] for name, seed in seeds.items()
    }
    for name, promised in (("MeanAggregator", statistics.fmean(chances["promised"][:3])), ("BestOfN", None)):
        record = base.with_params({"aggregate": name, "seed": 9}).run(store=None).value
        assert record.score == pytest.approx(statistics.fmean(chances["score"]))  # the mean, whatever has chosen
        assert record.promised == pytest.approx(promised or max(chances["promised"][:3]))


def test_a_choice_with_a_tuple_in_it_is_trained_again(executor: LocalExecutor) -> None:
    def area(trial: Trial) -> float:
        width, height = trial.params["shape"]
        return float(width * height)

    search = AggregationOptimization(
        [MeanAggregator()],
        area,
        search_space={"shape": Choice([(1, 2), (3, 4)])},
        trainings=2,
        inner_budget=4,
        validations=1,
        repeats=1,
        executor=executor,
        seed=0,
        store=None,
    )
    assert search.run().best_score == 12


def test_all_five_aggregators_on_the_defaults(executor: LocalExecutor) -> None:
    search = AggregationOptimization(
        base_experiment=crashing,
        search_space=SPACE,
        trainings=3,
        inner_budget=3,
        validations=2,
        repeats=1,
        executor=executor,
        store=None,
    )
    result = search.run()
    assert [trial.params["aggregate"] for trial in result.trials] == [
        "MeanAggregator",
        "MedianAggregator",
        "BestOfN",
        "WeightedByConfidence",
        "EnsembleVoting",
    ]
    assert not result.failures


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strategies": [BestOfN(n=7)]}, "fewer repeats than it counts"),
        ({"strategies": [max]}, "expected MeanAggregator"),
        ({"trainings": 1}, "trainings=1: expected a whole number, at least 2"),
        ({"validations": 0}, "validations=0: expected"),
        ({"inner_budget": 0}, "inner_budget=0: expected"),
        ({"base_experiment": SweepExperiment(crashing, search_space=SPACE)}, "trains every configuration once"),
    ],
)
def test_bad_arguments_of_aggregators(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        AggregationOptimization(**arguments)
