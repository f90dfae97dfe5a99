from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from metta.sweep.errors import UsageError
from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import BayesianOptimizer, Optimizer, RandomOptimizer, Restored
from metta.sweep.optimizers.transfer.optimizer import PreviousTask, TransferOptimizer
from metta.sweep.space import Choice, Integer, LogUniform, SearchSpace, Uniform
from metta.sweep.testing import OptimizerConformance
from metta.sweep.testing.curves import bowl
from metta.sweep.trial import Failure, FailureReason, Observation, Params, Result, Trial, TrialState

SPACE = SearchSpace(
    {
        "lr": LogUniform(1e-4, 1e-1),
        "decay": LogUniform(1e-6, 1e-2),
        "dropout": Uniform(0, 0.5),
        "width": Integer(8, 256, log=True),
    }
)
Score = Callable[[Params], float]
task = bowl(SPACE, 0.65)
related = bowl(SPACE, 0.7)


def opposite(params: Params) -> float:
    """The better the worse."""
    return -task(params)


def search(optimizer: Optimizer, score: Score, trials: int) -> list[Observation]:
    """One trial after another."""
    found = []
    for _ in range(trials):
        (trial,) = optimizer.suggest(1)
        trial.state = TrialState.COMPLETED
        result = Result(score(trial.params))
        optimizer.observe(trial, result)
        found.append(Observation(trial, result))
    return found


def earlier(score: Score, seed: int, trials: int = 30) -> list[Observation]:
    """The observations of a random search."""
    return search(RandomOptimizer(SPACE, seed=1000 + seed), score, trials)


def best(observations: Iterable[Observation]) -> float:
    return max(float(observation.result) for observation in observations)


@pytest.mark.filterwarnings("ignore:the previous task")
class TestTransferConformance(OptimizerConformance):
    """The earlier tasks fit into some of the suite's spaces, into others hardly or not at all."""

    restore_every = 2

    def make(self) -> Optimizer:
        values = [(0.1, "relu"), (0.3, "tanh"), (0.2, "relu"), (0.4, "gelu")]
        found = [
            Observation(Trial({"lr": 10**-k, "dropout": x, "activation": act}), Result({"accuracy": x, "latency": k}))
            for k, (x, act) in enumerate(values, 1)
        ]
        numbers = [Observation(known.trial, Result(float(known.trial.params["dropout"]))) for known in found]
        return _Either(found, numbers)


class _Either(TransferOptimizer):
    """Its earlier tasks have as many objectives as the suite asks for."""

    def __init__(self, several: list[Observation], one: list[Observation]) -> None:
        super().__init__()
        self.several, self.one = several, one

    def bind(self, **known: Any) -> None:
        super().bind(**known)
        chosen = PreviousTask.of(self.one if self.objectives.is_single else self.several)
        self.previous = {"first": chosen, "second": chosen}


# Learning


def test_a_related_task_speeds_a_search_up() -> None:
    """The sign test over 20 seeds: the best of 10 trials with and without."""
    wins = 0
    for seed in range(20):
        optimizer = TransferOptimizer(SPACE, {"related": earlier(related, seed)}, seed=seed)
        warm, cold = search(optimizer, task, 10), search(BayesianOptimizer(SPACE, seed=seed), task, 10)
        wins += best(warm) > best(cold)
    assert binomtest(wins, 20, alternative="greater").pvalue < 0.01, wins


def test_an_unrelated_task_loses_its_weight_and_does_little_harm() -> None:
    weights, behind = [], []
    for seed in range(20):
        optimizer = TransferOptimizer(SPACE, {"opposite": earlier(opposite, seed)}, seed=seed)
        misled = search(optimizer, task, 20)
        weights.append(optimizer.weights["opposite"])
        behind.append(best(search(BayesianOptimizer(SPACE, seed=seed), task, 20)) - best(misled))
    assert np.median(weights) == 0
    assert max(weights) < 0.05
    assert np.median(behind) < 0.01


def test_among_several_tasks_the_related_one_counts() -> None:
    previous = {"opposite": earlier(opposite, 0), "related": earlier(task, 1), "constant": earlier(lambda _: 1.0, 2)}
    optimizer = TransferOptimizer(SPACE, previous, seed=0)
    assert optimizer.weights == pytest.approx({"opposite": 1 / 3, "related": 1 / 3, "constant": 1 / 3})
    for observation in earlier(task, 3, 6):
        optimizer.observe(observation.trial, observation.result)
    weights = optimizer.weights
    assert weights["related"] > 0.6
    assert weights["opposite"] < 0.05


def test_weights_before_observations_are_the_similarities() -> None:
    previous = {"near": earlier(related, 0), "far": earlier(opposite, 0)}
    optimizer = TransferOptimizer(SPACE, previous, similarity={"far": 0.25}, seed=0)
    assert optimizer.weights == pytest.approx({"near": 0.8, "far": 0.2})
    (first,) = TransferOptimizer(SPACE, previous, similarity={"far": 0}, seed=0).suggest(1)
    assert task(first.params) > 0.7
    unknown = TransferOptimizer(SPACE, previous, similarity={"near": 0, "far": 0}, seed=0)
    assert unknown.weights == {"near": 0, "far": 0}
    assert unknown.suggest(2)


def test_reading_the_weights_changes_nothing() -> None:
    """A process is fitted to the observations that there are at a suggestion, not to those at a look."""
    found = []
    for reads in (False, True):
        optimizer = TransferOptimizer(SPACE, {"related": earlier(related, 0)}, seed=0)
        for observation in earlier(task, 1, 25):
            optimizer.observe(observation.trial, observation.result)
            assert not reads or optimizer.weights
        (trial,) = optimizer.suggest(1)
        found.append((dict(trial.params), optimizer.state_dict()["models"]))
    assert found[0] == found[1]


def test_the_second_trial_is_not_chosen_by_the_tasks() -> None:
    optimizer = TransferOptimizer(SPACE, {"related": earlier(related, 0)}, seed=0)
    sources = []
    for _ in range(3):
        optimizer.suggest(1)
        assert optimizer.last_info is not None
        sources.append(optimizer.last_info.source)
    assert sources == ["model", "random", "model"]


@pytest.mark.parametrize("known", [0, 12])
def test_the_suggestions_of_a_batch_differ(known: int) -> None:
    """The own model takes running trials as observed, so that it is not sure of the places between them."""
    optimizer = TransferOptimizer(SPACE, {"related": earlier(related, 0)}, seed=0)
    search(optimizer, task, known)
    batch = optimizer.suggest(8)
    units = np.array([[SPACE[path].to_unit(trial.params[path]) for path in SPACE] for trial in batch])
    gaps = [np.abs(a - b).max() for place, a in enumerate(units) for b in units[:place]]
    assert min(gaps) > 0.05


def test_scores_of_another_scale_are_as_good() -> None:
    def scaled(params: Params) -> float:
        return 1e6 * related(params) - 3e6

    first, second = (TransferOptimizer(SPACE, {"a": earlier(score, 0)}, seed=0) for score in (related, scaled))
    one, other = first.suggest(1)[0].params, second.suggest(1)[0].params
    assert dict(one) == pytest.approx(dict(other), rel=0.02)


# Earlier tasks of other spaces


def test_a_task_of_a_slightly_different_space_is_fitted() -> None:
    observations = []
    for number, found in enumerate(earlier(related, 0)):
        params = {path: value for path, value in found.trial.params.items() if path != "width"}
        params["momentum"] = 0.9
        if number == 0:
            params["lr"] = 7.0
        observations.append(Observation(Trial(params), found.result))
    optimizer = TransferOptimizer(SPACE, {"old": observations}, seed=0)
    message = "'old' searched another space; dropped: momentum; set to their defaults: width; left out, 1 of 30 results"
    with pytest.warns(UserWarning, match=message):
        (first,) = optimizer.suggest(1)
    assert task(first.params) > 0.8


def test_without_a_task_that_fits_it_is_the_bayesian_optimizer() -> None:
    other = [Observation(Trial({"lr": 9.0}), Result(float(number))) for number in range(5)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = search(TransferOptimizer(SPACE, {"other": other}, seed=0), task, 9)
    theirs = search(BayesianOptimizer(SPACE, seed=0), task, 9)
    assert [dict(found.trial.params) for found in ours] == [dict(found.trial.params) for found in theirs]
    lonely = TransferOptimizer(SPACE, {"other": other}, seed=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert lonely.weights == {}
    assert any("not used: it has no two results" in str(warning.message) for warning in caught)


def test_failures_of_earlier_tasks_are_left_out() -> None:
    failed = Observation(Trial({"lr": 1e-3}), Result(failure=Failure(FailureReason.OOM, "boom")))
    diverged = Observation(Trial({"lr": 1e-3}), Result(float("nan")))
    assert len(PreviousTask.of([failed, diverged, *earlier(related, 0, 3)]).results) == 3


# States


def test_earlier_tasks_are_part_of_the_configuration_and_not_of_the_state() -> None:
    def make() -> TransferOptimizer:
        return TransferOptimizer(SPACE, {"related": earlier(related, 0)}, seed=0)

    whole = search(make(), task, 10)
    first = make()
    search(first, task, 5)
    text = json.dumps(first.state_dict(), allow_nan=False)
    assert len(text) < 5_000
    second = make()
    second.load_state_dict(json.loads(text))
    rest = search(second, task, 5)
    assert [dict(found.trial.params) for found in rest] == [dict(found.trial.params) for found in whole[5:]]


def objective(trial: Trial) -> float:
    return task(trial.params)


def test_a_sweep_is_resumed_by_the_optimizer_made_again(tmp_path: Path) -> None:
    def sweep(executor: LocalExecutor) -> SweepExperiment:
        optimizer = TransferOptimizer(SPACE, {"related": earlier(related, 0)}, similarity={"related": 0.5})
        return SweepExperiment(objective, optimizer=optimizer, executor=executor, seed=0, store=tmp_path)

    with LocalExecutor(max_workers=1) as executor:
        first = sweep(executor).run(4)
        whole = sweep(executor).run(8)
        resumed = sweep(executor).run(8, resume=str(first.run_id))
        assert resumed.resumed is Restored.STATE
        assert [dict(trial.params) for trial in resumed.trials] == [dict(trial.params) for trial in whole.trials]


def two_objectives(seed: int = 0) -> TransferOptimizer:
    """Every x from 0.2 on is a compromise between them."""
    space = SearchSpace({"x": Uniform(0, 1), "kind": Choice(["a", "b"])})
    drawn = RandomOptimizer(space, seed=3).suggest(20)
    found = [Observation(trial, Result(both(trial))) for trial in drawn]
    return TransferOptimizer(space, {"a": found}, goal={"up": "maximize", "down": "minimize"}, seed=seed)


def both(trial: Trial) -> dict[str, float]:
    return {"up": float(trial.params["x"]), "down": float((trial.params["x"] - 0.2) ** 2)}


def test_two_objectives_are_weighted_anew_for_every_suggestion() -> None:
    places = [two_objectives(seed).suggest(1)[0].params["x"] for seed in range(8)]
    assert min(places) > 0.1
    assert max(places) - min(places) > 0.3


def test_the_state_of_a_search_with_two_objectives() -> None:
    first, second = two_objectives(), two_objectives()
    for _ in range(4):
        (trial,) = first.suggest(1)
        first.observe(trial, both(trial))
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert [dict(trial.params) for trial in first.suggest(4)] == [dict(trial.params) for trial in second.suggest(4)]


@pytest.mark.parametrize(
    ("previous", "similarity", "message"),
    [
        ([1], {}, r"previous=list: expected a mapping such as \{\"mnist\""),
        ({"a": [1.0]}, {}, "expected observations, as `load_observations` or `result.observations` give them"),
        ({"mnist": []}, {"minst": 1}, r"similarity=\{'minst': ...\} is of no previous task: did you mean 'mnist'\?"),
        ({}, {"a": 1}, "there is none"),
        ({"a": []}, {"a": 1.5}, r"similarity=\{'a': 1.5\}: expected a number from 0 to 1"),
    ],
)
def test_bad_arguments(previous: Any, similarity: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TransferOptimizer(SPACE, previous, similarity=similarity)
