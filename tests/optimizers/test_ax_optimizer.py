from __future__ import annotations

import importlib.util
import json
import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from metta.sweep.errors import MissingExtraError, UsageError
from metta.sweep.goal import Goal
from metta.sweep.optimizers import ax as adapter
from metta.sweep.optimizers.ax import AxOptimizer
from metta.sweep.optimizers.base import Restored
from metta.sweep.schedulers import ASHAScheduler
from metta.sweep.space import Choice, Integer, LogitNormal, LogUniform, PowerOfTwo, SearchSpace, Uniform, divides
from metta.sweep.testing.simulate import simulate
from metta.sweep.trial import FailureReason, Result, Trial, TrialState

SPACE = {"lr": LogUniform(1e-4, 1e-1), "width": Integer(4, 64), "act": Choice(["relu", "tanh"])}
CONDITIONAL = {
    "kind": Choice(["cnn", "mlp", "linear"]),
    "cnn.layers": Integer(1, 9),
    "cnn.pool": Choice([True, False]),
    "mlp.width": Integer(8, 64),
    "fixed": 3,
}
KNOWN_GOOD = {"lr": 0.01, "width": 8, "act": "relu"}
ONLY_INITIAL = 100
"""An initialization that no test comes to the end of: no model is fitted."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    AxOptimizer({"x": Uniform(0, 1)}).suggest(1)  # imports Ax without its warnings
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def quality(params: Mapping[str, Any]) -> float:
    return float((math.log10(params["lr"]) + 2.5) ** 2 + abs(params["width"] - 32) / 16)


def optimizer(initialization_budget: int = ONLY_INITIAL, **arguments: Any) -> AxOptimizer:
    return AxOptimizer(
        SPACE, initialization_budget=initialization_budget, **{"seed": 0, "goal": "minimize", **arguments}
    )


def suggested(of: AxOptimizer, n: int) -> list[dict[str, Any]]:
    return [dict(trial.params) for trial in of.suggest(n)]


def experiment(of: AxOptimizer) -> Any:
    client: Any = of._open().client
    return client._experiment


def shown(of: AxOptimizer) -> list[tuple[str, float | None]]:
    """What the experiment says now, as (status, value)."""
    of.suggest(1)
    data = experiment(of).lookup_data().df
    values = dict(zip(data["trial_index"], data["mean"], strict=True)) if len(data) else {}
    trials = list(experiment(of).trials.values())[:-1]
    return [(trial.status.name, values.get(trial.index)) for trial in trials]


def nodes(of: AxOptimizer) -> list[str]:
    """Which part of Ax's strategy each trial is from."""
    return [trial.generator_runs[0]._generation_node_name for trial in experiment(of).trials.values()]


def rung_result(of: AxOptimizer, trial: Trial, resource: int, score: float, state: TrialState) -> None:
    trial.resource, trial.state = resource, state
    of.observe(trial, Result(score))


# The space


def test_every_distribution_comes_back_in_its_own_terms() -> None:
    space = SearchSpace(
        {
            "p": PowerOfTwo(8, 256),
            "gamma": LogitNormal(0.9, 0.999),
            "odd": Choice([1, True, [64, 64], None]),
            "backwards": Choice([3, 2, 1], ordered=True),
            "mixed": Choice([0, 0.5]),
            "flag": Choice([True, False]),
            "log_int": Integer(1, 1000, log=True),
            "one": Choice(["only"]),
            "const": 7,
        }
    )
    searching = AxOptimizer(space, seed=0, initialization_budget=ONLY_INITIAL)
    seen: dict[str, set[str]] = {path: set() for path in space}
    for trial in searching.suggest(40):
        assert dict(space.validate(trial.params)) == dict(trial.params)
        for path, value in trial.params.items():
            seen[path].add(repr(value))
    assert {path: len(values) for path, values in seen.items() if isinstance(space[path], Choice)} == {
        "odd": 4,
        "backwards": 3,
        "mixed": 2,
        "flag": 2,
        "one": 1,
    }


def test_conditions_are_ax_s_dependent_parameters() -> None:
    searching = AxOptimizer(CONDITIONAL, seed=2, initialization_budget=ONLY_INITIAL)
    kinds = set()
    for trial in searching.suggest(9):
        params = dict(trial.params)
        kinds.add(params["kind"])
        assert ("cnn.layers" in params) == ("cnn.pool" in params) == (params["kind"] == "cnn")
        assert ("mlp.width" in params) == (params["kind"] == "mlp")
    assert kinds == {"cnn", "mlp", "linear"}
    assert experiment(searching).search_space.is_hierarchical


def test_other_conditions_are_masked() -> None:
    space = {"a": Choice(["x", "y", "z"]), "b": Uniform(0, 1).when("a", "x", "y"), "c": Uniform(0, 1)}
    searching = AxOptimizer(space, seed=0, initialization_budget=ONLY_INITIAL)
    for trial in searching.suggest(12):
        assert ("b" in dict(trial.params)) == (trial.params["a"] != "z")
    assert not experiment(searching).search_space.is_hierarchical


def test_a_small_space_ends_when_each_configuration_was_suggested() -> None:
    space = {"a": Choice(["x", "y", "z"]), "x.b": Choice([True, False]), "y.n": Integer(1, 2), "x.p": PowerOfTwo(2, 4)}
    searching = AxOptimizer(space, seed=0, initialization_budget=ONLY_INITIAL)
    everything = suggested(searching, 4)
    while more := suggested(searching, 1):
        everything += more
    # In such a space Ax may suggest a configuration twice.
    assert len({tuple(params.items()) for params in everything}) == 4 + 2 + 1


def test_constraints_reject() -> None:
    space = SearchSpace({"minibatch": Integer(1, 16), "batch": PowerOfTwo(8, 64)}).require(
        divides("minibatch", "batch")
    )
    searching = AxOptimizer(space, seed=0, initialization_budget=ONLY_INITIAL)
    trials = searching.suggest(6)
    assert len(trials) == 6
    assert all(trial.params["batch"] % trial.params["minibatch"] == 0 for trial in trials)
    statuses = [trial.status.name for trial in experiment(searching).trials.values()]
    assert statuses.count("RUNNING") == 6
    assert statuses.count("ABANDONED") == len(statuses) - 6 > 0
    # The numbers of what was rejected are not the driver's, nor in the record.
    again = AxOptimizer(space, seed=0, initialization_budget=ONLY_INITIAL)
    state = json.loads(json.dumps(searching.state_dict()))
    assert again.load_state_dict(state) is Restored.REPLAY
    state["log"][0]["suggest"][0][1]["minibatch"] = 1
    assert AxOptimizer(space, initialization_budget=ONLY_INITIAL).load_state_dict(state) is Restored.OBSERVATIONS


def test_a_narrow_constraint_is_met_and_an_impossible_one_is_an_error() -> None:
    narrow = SearchSpace({"a": Integer(0, 9), "b": Integer(0, 9)}).require(lambda p: (p["a"], p["b"]) == (3, 7))
    assert suggested(AxOptimizer(narrow, seed=0), 1) == [{"a": 3, "b": 7}]
    impossible = SearchSpace({"a": Integer(0, 99)}).require(lambda params: params["a"] > 99)
    with pytest.raises(UsageError, match="no configuration met <lambda> in 1000 tries"):
        AxOptimizer(impossible, seed=0).suggest(1)


def test_nothing_to_search() -> None:
    with pytest.raises(UsageError, match="nothing to search: every parameter of the space is fixed"):
        AxOptimizer({"a": 1}).suggest(1)


# Observations


def test_what_is_pending_is_running_and_a_failure_is_not_suggested_again() -> None:
    """With a model, which would suggest a failed trial of Ax's again."""
    searching = optimizer(3)
    trials = searching.suggest(3)
    for trial in trials:
        searching.observe(trial, quality(trial.params))
    first, second = searching.suggest(2)
    assert first.params != second.params
    searching.observe(first, Result(failure=FailureReason.OOM))
    (third,) = searching.suggest(1)
    assert third.params not in (first.params, second.params)
    statuses = [trial.status.name for trial in experiment(searching).trials.values()]
    assert statuses == ["COMPLETED"] * 3 + ["ABANDONED", "RUNNING", "RUNNING"]


def test_nan_is_a_failure() -> None:
    searching = optimizer()
    first, second, third = searching.suggest(3)
    searching.observe(first, math.nan)
    searching.observe(second, math.inf)
    searching.observe(third, 0.5)
    assert shown(searching) == [("ABANDONED", None), ("ABANDONED", None), ("COMPLETED", 0.5)]


def test_without_any_result_the_initialization_goes_on() -> None:
    searching = optimizer(2)
    for _ in range(3):
        for trial in searching.suggest(2):
            searching.observe(trial, math.nan)
    searching.suggest(3)
    assert nodes(searching) == ["CenterOfSearchSpace", *["Sobol"] * 8]


def test_initial_params_go_first_as_they_are() -> None:
    searching = optimizer(initial_params=[{"lr": 0.1}, KNOWN_GOOD])
    first, second, third = searching.suggest(3)
    assert dict(first.params) == {"lr": 0.1, "width": 34, "act": "relu"}
    assert dict(second.params) == KNOWN_GOOD
    assert dict(third.params) != KNOWN_GOOD
    broken = SearchSpace({"a": Integer(1, 9)}).require(lambda params: params["a"] > 3)
    with pytest.raises(UsageError, match="does not meet <lambda>"):
        AxOptimizer(broken, initial_params=[{"a": 2}]).suggest(1)


def test_foreign_trials_and_those_of_other_spaces() -> None:
    searching = optimizer()
    (own,) = searching.suggest(1)
    stale = Trial(KNOWN_GOOD, tag=own.tag)
    searching.observe(stale, 0.75)
    assert stale.tag != own.tag
    with pytest.warns(UserWarning, match=r"dropped: momentum; set to their defaults: act"):
        searching.observe(Trial({"lr": 0.02, "width": 8, "momentum": 0.9}), 0.5)
    with pytest.warns(UserWarning, match=r"not used: the parameter 'lr': 5\.0 is not a value"):
        searching.observe(Trial({**KNOWN_GOOD, "lr": 5.0}), 0.25)
    assert shown(searching) == [("RUNNING", None), ("COMPLETED", 0.75), ("COMPLETED", 0.5)]


def test_a_foreign_trial_of_a_conditional_space() -> None:
    searching = AxOptimizer(CONDITIONAL, seed=2, initialization_budget=ONLY_INITIAL)
    searching.observe(Trial({"kind": "mlp", "mlp.width": 9, "fixed": 3}), 0.5)
    searching.observe(Trial({"kind": "linear", "fixed": 3}), 0.25)
    assert shown(searching) == [("COMPLETED", 0.5), ("COMPLETED", 0.25)]


def test_the_model_sees_the_highest_rung_with_enough_results() -> None:
    searching = optimizer()
    trials = searching.suggest(12)
    for number, trial in enumerate(trials):
        rung_result(searching, trial, 10, float(number), TrialState.PAUSED)
    assert shown(searching) == [("COMPLETED", float(number)) for number in range(12)]
    for trial in trials[3:12]:
        rung_result(searching, trial, 30, 100.0, TrialState.PAUSED)
    # Nine results at 30 are not enough.
    assert shown(searching)[11] == ("COMPLETED", 11.0)
    rung_result(searching, trials[2], 30, 102.0, TrialState.PAUSED)
    rung_result(searching, trials[0], 10, 0.0, TrialState.PRUNED)
    states = shown(searching)
    assert states[0] == ("ABANDONED", None)
    assert states[1] == ("RUNNING", None)
    assert states[2] == ("COMPLETED", 102.0)
    assert states[3] == ("COMPLETED", 100.0)


@pytest.mark.slow
def test_a_new_client_after_the_initialization_goes_on_with_the_model() -> None:
    searching = optimizer(3)
    trials = searching.suggest(11)
    for trial in trials:
        rung_result(searching, trial, 10, quality(trial.params), TrialState.PAUSED)
    searching.suggest(1)
    assert nodes(searching)[-1] == "MBM"
    for trial in trials:
        rung_result(searching, trial, 30, quality(trial.params), TrialState.PAUSED)
    before = searching._open().client
    searching.suggest(1)
    assert searching._open().client is not before
    assert nodes(searching)[-1] == "MBM"


@pytest.mark.slow
@pytest.mark.parametrize("goal", ["maximize", {"accuracy": "maximize", "cost": "minimize"}])
def test_a_whole_search_under_asha(goal: Goal) -> None:
    """Rungs, failures, four workers, a conditional space."""

    def curve(params: Mapping[str, Any], step: int) -> Mapping[str, float]:
        width = float(params.get("mlp.width", 8))
        if width > 55:
            raise ValueError("too wide")
        return {"score": width - 1 / step, "accuracy": width - 1 / step, "cost": width**2}

    searching = AxOptimizer(CONDITIONAL, seed=3, initialization_budget=3)
    scheduler = ASHAScheduler(max_epochs=9, grace_period=1)
    done = simulate(searching, scheduler, curve, budget=12, workers=4, steps=9, goal=goal)
    assert len(done.trials) == 12
    assert all(trial.state.is_finished for trial in done.trials)


# Objectives and acquisitions


def test_the_objectives_and_thresholds_of_the_vision() -> None:
    goal: Goal = {"latency": "minimize", "accuracy": "maximize"}
    searching = AxOptimizer(
        SPACE, objectives=["accuracy", "latency"], objective_thresholds={"accuracy": 0.9, "latency": 100}
    )
    searching.bind(goal=goal, seed=0)
    assert searching.objectives.keys == ("accuracy", "latency")
    (trial,) = searching.suggest(1)
    searching.observe(trial, {"latency": 20.0, "accuracy": 0.5})
    searching.suggest(1)
    config = experiment(searching).optimization_config
    assert config.objective.expression == "objective_0, -objective_1"
    assert [str(threshold) for threshold in config.objective_thresholds] == [
        "OutcomeConstraint(objective_0 >= 0.9)",
        "OutcomeConstraint(objective_1 <= 100.0)",
    ]
    data = experiment(searching).lookup_data().df
    assert dict(zip(data["metric_name"], data["mean"], strict=True)) == {"objective_0": 0.5, "objective_1": 20.0}


def test_a_direction_that_nobody_gave_is_named() -> None:
    with pytest.warns(UserWarning, match="no direction was given for 'latency': maximized"):
        AxOptimizer(SPACE, objectives=["accuracy", "latency"], goal={"accuracy": "maximize"})
    alone = AxOptimizer(SPACE, objectives=["accuracy", "latency"])
    with pytest.warns(UserWarning, match="no direction was given for 'accuracy', 'latency'"):
        assert alone.objectives.directions == ("maximize", "maximize")
    one_for_all = AxOptimizer(SPACE, objectives=["a", "b"], goal="minimize")
    assert one_for_all.objectives.directions == ("minimize", "minimize")


@pytest.mark.parametrize(
    ("acquisition", "goal", "named"),
    [
        ("ucb", "maximize", "MBM:fast+qUpperConfidenceBound"),
        ("EI", "maximize", "MBM:fast+qLogExpectedImprovement"),
        ("EI", {"a": "maximize", "b": "minimize"}, "MBM:fast+qLogExpectedHypervolumeImprovement"),
        ("NEI", "maximize", "MBM:fast+qLogNoisyExpectedImprovement"),
        ("NEI", {"a": "maximize", "b": "minimize"}, "MBM:fast+qLogNoisyExpectedHypervolumeImprovement"),
        ("PI", "maximize", "MBM:fast+qProbabilityOfImprovement"),
        (None, "maximize", "MBM:fast"),
    ],
)
def test_acquisitions(acquisition: str | None, goal: Goal, named: str) -> None:
    searching = AxOptimizer(SPACE, acquisition=acquisition, goal=goal)
    searching.suggest(1)
    client: Any = searching._open().client
    assert client._generation_strategy.name == f"Center+Sobol+{named}"


@pytest.mark.slow
@pytest.mark.parametrize("acquisition", ["EI", "NEI", "PI", "UCB"])
def test_every_acquisition_proposes(acquisition: str) -> None:
    searching = optimizer(3, acquisition=acquisition)
    for _ in range(5):
        (trial,) = searching.suggest(1)
        searching.observe(trial, quality(trial.params))
    assert nodes(searching)[-2:] == ["MBM", "MBM"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"acquisition": "UBC"}, "no acquisition 'UBC': did you mean 'UCB'"),
        ({"acquisition": "thompson"}, "there is EI, NEI, PI, UCB"),
        ({"acquisition": "PI", "goal": {"a": "maximize", "b": "minimize"}}, "'PI' takes one objective: .* EI, NEI"),
        ({"initialization_budget": 1}, "initialization_budget=1: expected a whole number, at least 2"),
        ({"objectives": "accuracy"}, "objectives='accuracy': expected different names"),
        ({"objectives": ["a", "a"]}, "expected different names"),
        ({"objectives": ["acc", "cost"], "goal": {"ac": "maximize"}}, "no objective 'ac': did you mean 'acc'"),
        ({"objective_thresholds": {"a": math.inf}}, r"objective_thresholds\['a'\]=inf: expected a finite number"),
        ({"objective_thresholds": {"a": 1}, "goal": "maximize"}, "objective_thresholds are for several objectives"),
        ({"objective_thresholds": {"a": 1}}, "objective_thresholds are for several objectives"),
        ({"objective_thresholds": {"a": 1}, "objectives": ["a"]}, "objective_thresholds are for several objectives"),
        (
            {"objective_thresholds": {"c": 1}, "objectives": ["a", "b"]},
            "there is no objective 'c': the objectives are a, b",
        ),
        (
            {"objective_thresholds": {"al": 1}, "goal": {"all": "maximize", "b": "maximize"}},
            "there is no objective 'al': did you mean 'all'",
        ),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        AxOptimizer(SPACE, **arguments)


def test_what_does_not_fit_the_experiment_s_goal_is_found_when_it_is_bound() -> None:
    with pytest.raises(UsageError, match="goal: there is no objective 'score'"):
        AxOptimizer(SPACE, objectives=["a", "b"]).bind(goal={"score": "maximize"})
    with pytest.raises(UsageError, match="say it once, or the same on both"):
        AxOptimizer(SPACE, objectives=["a", "b"]).bind(goal="maximize")


# Copies and states


def test_a_copy_goes_its_own_way() -> None:
    searching = optimizer()
    for trial in searching.suggest(3):
        searching.observe(trial, quality(trial.params))
    twin = searching.copy()
    expected = suggested(twin, 2)
    twin.observe(Trial(KNOWN_GOOD), -100.0)
    assert len(shown(twin)) == 6
    assert suggested(searching, 2) == expected
    assert len(experiment(searching).trials) == 5


@pytest.mark.parametrize("budget", [ONLY_INITIAL, pytest.param(3, marks=pytest.mark.slow)])
def test_restored_by_replay(budget: int) -> None:
    """With a budget of 3 there are two suggestions of the model in the record."""
    searching = optimizer(budget)
    searching.observe(Trial(KNOWN_GOOD), 0.75)
    for number in range(4):
        (trial,) = searching.suggest(1)
        searching.observe(trial, math.nan if number == 1 else quality(trial.params))
    state = json.loads(json.dumps(searching.state_dict(), allow_nan=False))
    again = optimizer(budget, seed=None)
    assert again.load_state_dict(state) is Restored.REPLAY
    assert again.state_dict() == searching.state_dict()
    assert suggested(again, 1) == suggested(searching, 1)
    assert (nodes(searching)[-1] == "MBM") == (budget == 3)


def test_a_replay_that_differs_leaves_the_observations() -> None:
    searching = optimizer()
    trials = searching.suggest(5)
    for trial in trials[:4]:
        searching.observe(trial, quality(trial.params))
    state = json.loads(json.dumps(searching.state_dict()))
    state["log"][0]["suggest"][0][1]["lr"] = state["log"][1]["observe"][1]["lr"] = 0.05
    again = optimizer()
    assert again.load_state_dict(state) is Restored.OBSERVATIONS
    assert [status for status, _ in shown(again)] == ["COMPLETED"] * 4 + ["RUNNING"]
    assert experiment(again).trials[0].arm.parameters["lr"] == 0.05
    assert not any(params in [dict(trial.params) for trial in trials] for params in suggested(again, 4))
    again.observe(Trial(trials[4].params, tag=trials[4].tag), 0.125)
    assert shown(again)[4] == ("COMPLETED", 0.125)


# Manners


def test_ax_s_chatter_is_silenced_and_its_loggers_left_alone(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    logging.disable(logging.NOTSET)  # whatever another test of this process has left
    logger = logging.getLogger("ax")
    logger.addHandler(caplog.handler)
    before = list(logger.handlers), logger.propagate
    searching = AxOptimizer(CONDITIONAL, seed=0)
    for trial in searching.suggest(3):
        searching.observe(trial, 1.0)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert (logger.handlers, logger.propagate) == before
    logging.getLogger("ax.api.client").info("the user's own use of Ax")
    assert "the user's own use of Ax" in caplog.text
    logger.removeHandler(caplog.handler)


@pytest.mark.parametrize(
    ("lacking", "arguments", "message"),
    [
        ("ax", {}, r"AxOptimizer needs .* 'metta-sweep\[ax\]'"),
        ("numpyro", {"saasbo": True}, r"AxOptimizer\(saasbo=True\) needs .* 'metta-sweep\[saasbo\]'"),
    ],
)
def test_the_missing_extra(
    lacking: str, arguments: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        adapter, "find_spec", lambda name: None if name == lacking else importlib.util.find_spec("json")
    )
    with pytest.raises(MissingExtraError, match=message):
        AxOptimizer(SPACE, **arguments)
