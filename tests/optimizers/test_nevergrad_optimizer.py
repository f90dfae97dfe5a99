from __future__ import annotations

import builtins
import json
import math
from collections.abc import Mapping
from typing import Any

import pytest

from metta.sweep.errors import MissingExtraError, UsageError
from metta.sweep.optimizers import replaying
from metta.sweep.optimizers.base import Restored
from metta.sweep.optimizers.nevergrad import NevergradOptimizer
from metta.sweep.schedulers import ASHAScheduler
from metta.sweep.space import Choice, Integer, LogitNormal, LogUniform, PowerOfTwo, SearchSpace, Uniform, divides
from metta.sweep.testing.simulate import Simulation, simulate
from metta.sweep.trial import FailureReason, Result, Trial, TrialState

SPACE = {
    "lr": LogUniform(1e-4, 1e-1),
    "width": Integer(4, 64),
    "act": Choice(["relu", "tanh"]),
    "drop": Uniform(0, 0.5),
}
CONDITIONAL = {"kind": Choice(["cnn", "mlp"]), "cnn.layers": Integer(1, 9), "mlp.width": Integer(8, 64), "fixed": 3}
KNOWN_GOOD = {"lr": 0.01, "width": 8, "act": "relu", "drop": 0.1}


def quality(params: Mapping[str, Any]) -> float:
    return float((math.log10(params["lr"]) + 2.5) ** 2 + abs(params["width"] - 32) / 16 + params["drop"])


def optimizer(algorithm: str = "DE", **arguments: Any) -> NevergradOptimizer:
    return NevergradOptimizer(SPACE, algorithm, **{"seed": 0, "goal": "minimize", **arguments})


def suggested(of: NevergradOptimizer, n: int) -> list[dict[str, Any]]:
    return [dict(trial.params) for trial in of.suggest(n)]


def rung_result(of: NevergradOptimizer, trial: Trial, resource: int, score: float, state: TrialState) -> None:
    trial.resource, trial.state = resource, state
    of.observe(trial, Result(score))


def told(of: NevergradOptimizer) -> list[float]:
    """The losses that Nevergrad's optimizer has in its archive, once it was brought up to date."""
    of.suggest(1)
    library: Any = of._open().library
    return sorted(value.mean for value in library.archive.values())


def test_every_distribution_comes_back_in_its_own_terms() -> None:
    space = SearchSpace(
        {
            "p": PowerOfTwo(8, 256),
            "gamma": LogitNormal(0.9, 0.999),
            "odd": Choice([1, True, [64, 64]]),
            "ordered": Choice([0.1, 0.2, 0.4]),
            "log_int": Integer(1, 1000, log=True),
            "const": 7,
        }
    )
    searching = NevergradOptimizer(space, "PSO", seed=0)
    for _ in range(30):
        (trial,) = searching.suggest(1)
        assert dict(space.validate(trial.params)) == dict(trial.params)
        searching.observe(trial, float(trial.params["p"]))


def test_a_conditional_space_is_masked() -> None:
    searching = NevergradOptimizer(CONDITIONAL, "CMA", seed=2)
    kinds = set()
    for _ in range(12):
        (trial,) = searching.suggest(1)
        params = dict(trial.params)
        kinds.add(params["kind"])
        assert ("cnn.layers" in params) == (params["kind"] == "cnn") != ("mlp.width" in params)
        searching.observe(trial, 1.0)
    assert kinds == {"cnn", "mlp"}


def test_constraints_are_nevergrad_s() -> None:
    space = SearchSpace({"minibatch": Integer(1, 16), "batch": PowerOfTwo(8, 64)}).require(
        divides("minibatch", "batch")
    )
    searching = NevergradOptimizer(space, "PSO", seed=0)
    for _ in range(30):
        (trial,) = searching.suggest(1)
        assert trial.params["batch"] % trial.params["minibatch"] == 0
        searching.observe(trial, 1.0)


def test_a_narrow_constraint_is_met_and_an_impossible_one_is_an_error() -> None:
    narrow = SearchSpace({"a": Integer(0, 30), "b": Integer(0, 30)}).require(lambda p: (p["a"], p["b"]) == (3, 7))
    searching = NevergradOptimizer(narrow, "OnePlusOne", seed=1)
    assert suggested(searching, 1) == [{"a": 3, "b": 7}]
    impossible = SearchSpace({"a": Integer(0, 30)}).require(lambda params: params["a"] > 30)
    with pytest.raises(UsageError, match="no configuration met <lambda> in 1000 tries"):
        NevergradOptimizer(impossible, "OnePlusOne", seed=0).suggest(1)


def test_failures_are_the_worst_so_far_and_wait_for_a_result() -> None:
    searching = optimizer("PSO")
    first, second, third, fourth = searching.suggest(4)
    searching.observe(first, math.nan)
    searching.observe(second, Result(failure=FailureReason.OOM))
    assert told(searching) == []
    searching.observe(third, 0.5)
    assert told(searching) == [0.5, 0.5, 0.5]
    searching.observe(fourth, -0.5)
    assert told(searching) == [-0.5, 0.5, 0.5, 0.5]
    (fifth,) = searching.suggest(1)
    searching.observe(fifth, math.inf)
    assert told(searching) == [-0.5, 0.5, 0.5, 0.5, 0.5]


def test_initial_params_go_first_as_they_are() -> None:
    searching = optimizer("CMA", initial_params=[{"lr": 0.1, "width": 4}, KNOWN_GOOD])
    first, second, third = searching.suggest(3)
    assert dict(first.params) == {"lr": 0.1, "width": 4, "act": "relu", "drop": 0.25}
    assert dict(second.params) == KNOWN_GOOD
    assert dict(third.params) != KNOWN_GOOD
    for trial in (first, second, third):
        searching.observe(trial, quality(trial.params))
    assert told(searching) == sorted(quality(trial.params) for trial in (first, second, third))
    with pytest.raises(KeyError, match="no parameter 'learning_rate'"):
        optimizer(initial_params=[{"learning_rate": 0.1}]).suggest(1)


def test_a_foreign_trial_is_heard() -> None:
    searching = optimizer("DE")
    foreign = Trial(KNOWN_GOOD)
    searching.observe(foreign, 0.75)
    (own,) = searching.suggest(1)
    assert own.tag != foreign.tag
    assert told(searching) == [0.75]


def test_warm_start_across_slightly_different_spaces() -> None:
    searching = optimizer("DE")
    with pytest.warns(UserWarning, match=r"dropped: momentum; set to their defaults: drop"):
        searching.observe(Trial({"lr": 0.01, "width": 8, "act": "relu", "momentum": 0.9}), 0.5)
    with pytest.warns(UserWarning, match=r"not used: the parameter 'lr': 5\.0 is not a value"):
        searching.observe(Trial({**KNOWN_GOOD, "lr": 5.0}), 0.25)
    assert told(searching) == [0.5]


def test_a_stale_tag_does_not_credit_another_configuration() -> None:
    searching = optimizer()
    (own,) = searching.suggest(1)
    stale = Trial(KNOWN_GOOD, tag=own.tag)
    searching.observe(stale, 0.75)
    assert stale.tag != own.tag
    searching.observe(own, 0.25)
    assert told(searching) == [0.25, 0.75]


def test_an_algorithm_that_refuses_foreign_trials_goes_on_without() -> None:
    searching = optimizer("EDA")
    searching.observe(Trial(KNOWN_GOOD), 0.75)
    (own,) = searching.suggest(1)
    rung_result(searching, own, 10, 0.5, TrialState.PAUSED)
    rung_result(searching, own, 30, 0.25, TrialState.PAUSED)
    assert 0.5 in told(searching)
    assert 0.25 not in told(searching)


def test_the_algorithm_sees_the_highest_rung_with_enough_results() -> None:
    searching = optimizer("TwoPointsDE")
    trials = searching.suggest(12)
    for number, trial in enumerate(trials):
        rung_result(searching, trial, 10, float(number), TrialState.PAUSED)
    assert told(searching) == [float(number) for number in range(12)]
    before = searching._open().library
    for trial in trials[3:12]:
        rung_result(searching, trial, 30, 100.0 + float(trial.tag), TrialState.PAUSED)
    # Nine results at 30 are not enough.
    assert told(searching) == [float(number) for number in range(12)]
    rung_result(searching, trials[2], 30, 102.0, TrialState.PAUSED)
    assert told(searching) == [100.0 + number for number in range(2, 12)]
    assert searching._open().library is not before
    # One that ends below is told as the worst.
    rung_result(searching, trials[0], 10, 0.0, TrialState.PRUNED)
    assert told(searching) == [*(100.0 + number for number in range(2, 12)), 111.0]


@pytest.mark.parametrize("algorithm", ["PSO", "CMA", "EDA", "NelderMead"])
def test_a_whole_search_under_asha(algorithm: str) -> None:
    """Rungs, failures, four workers; algorithms of every kind, and the same again in a second run."""

    def curve(params: Mapping[str, Any], step: int) -> float:
        if params["width"] > 60:
            raise ValueError("too wide")
        return -quality(params) - 1 / step

    def run() -> Simulation:
        searching = NevergradOptimizer(SPACE, algorithm, seed=3)
        return simulate(searching, ASHAScheduler(max_epochs=9, grace_period=1), curve, budget=30, workers=4, steps=9)

    done = run()
    assert len(done.trials) == 30
    assert all(trial.state.is_finished for trial in done.trials)
    assert run().table() == done.table()


def test_one_pending_trial_at_a_time_where_the_algorithm_wants_it() -> None:
    searching = optimizer("NelderMead")
    (only,) = searching.suggest(4)
    assert searching.suggest(1) == []
    searching.observe(only, quality(only.params))
    assert len(searching.suggest(4)) == 1


@pytest.mark.parametrize("algorithm", ["PSO", "CMA", "Cobyla"])
def test_a_copy_goes_its_own_way(algorithm: str) -> None:
    searching = optimizer(algorithm)
    for _ in range(6):
        for trial in searching.suggest(2):
            searching.observe(trial, quality(trial.params))
    twin = searching.copy()
    expected = suggested(twin, 3)
    twin.observe(Trial(KNOWN_GOOD), -100.0)
    twin.suggest(1)
    assert suggested(searching, 3) == expected


@pytest.mark.parametrize("algorithm", ["PSO", "CMA", "DiscreteOnePlusOne", "Cobyla"])
def test_restored_by_replay(algorithm: str) -> None:
    searching = optimizer(algorithm)
    searching.observe(Trial(KNOWN_GOOD), 0.75)
    for number in range(14):
        for trial in searching.suggest(2):
            searching.observe(trial, math.nan if number == 5 else quality(trial.params))
    state = json.loads(json.dumps(searching.state_dict(), allow_nan=False))
    again = optimizer(algorithm, seed=None)
    assert again.load_state_dict(state) is Restored.REPLAY
    assert again.state_dict() == searching.state_dict()
    assert suggested(again, 3) == suggested(searching, 3)


@pytest.mark.parametrize("algorithm", ["PSO", "EDA"])
def test_a_replay_that_differs_leaves_the_observations(algorithm: str) -> None:
    searching = optimizer(algorithm)
    trials = searching.suggest(5)
    for trial in trials[:4]:
        searching.observe(trial, quality(trial.params))
    state = json.loads(json.dumps(searching.state_dict()))
    state["log"][0]["suggest"][0][1]["lr"] = state["log"][1]["observe"][1]["lr"] = 0.05
    again = optimizer(algorithm)
    assert again.load_state_dict(state) is Restored.OBSERVATIONS
    assert not any(params in [dict(trial.params) for trial in trials] for params in suggested(again, 4))
    pending = Trial(trials[4].params, tag=trials[4].tag)
    again.observe(pending, 0.125)
    assert pending.tag == trials[4].tag
    if algorithm == "PSO":
        assert len(told(again)) == 5
        assert 0.125 in told(again)


def test_a_replay_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    searching = optimizer()
    searching.observe(searching.suggest(1)[0], 0.5)
    monkeypatch.setattr(replaying, "REPLAY_LIMIT_S", -1.0)
    again = optimizer()
    assert again.load_state_dict(searching.state_dict()) is Restored.OBSERVATIONS
    assert told(again) == [0.5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"algorithm": "PSQ"}, "no algorithm 'PSQ': did you mean 'PSO'"),
        ({"algorithm": "simulated annealing"}, "there is PSO, DE, TwoPointsDE, CMA, .* and more"),
        ({"budget": 0}, "budget=0: expected a whole number, at least 1"),
        ({"algorithm": "Cobyla", "num_workers": 4}, "'Cobyla' has one pending trial at a time: num_workers must be 1"),
        ({"num_workers": 1.5}, "num_workers=1.5: expected a whole number, at least 1"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        NevergradOptimizer(SPACE, **arguments)


def test_names_are_read_in_any_case() -> None:
    assert optimizer("twopoints-de").algorithm == "TwoPointsDE"


def test_nothing_to_search() -> None:
    with pytest.raises(UsageError, match="nothing to search: every parameter of the space is fixed"):
        NevergradOptimizer({"a": 1}).suggest(1)


def test_the_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_nevergrad(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "nevergrad":
            raise ImportError(name)
        return real_import(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_nevergrad)
    with pytest.raises(MissingExtraError, match=r"metta-sweep\[nevergrad\]"):
        NevergradOptimizer(SPACE)
