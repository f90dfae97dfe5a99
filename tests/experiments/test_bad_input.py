"""What is wrong is told before anything runs, in words that help."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.experiments import Budget, SweepExperiment
from metta.sweep.optimizers import AxOptimizer, RandomOptimizer
from metta.sweep.optimizers.base import Optimizer
from metta.sweep.schedulers import ASHAScheduler
from metta.sweep.space import Integer, LogUniform, SearchSpace, Uniform
from metta.sweep.trial import Resources, Trial

SPACE = {"x": Uniform(0.0, 1.0)}


def never(trial: Trial) -> float:
    raise AssertionError("something was run")


def refuse(told: str, budget: Any = 1, **arguments: Any) -> None:
    settings: dict[str, Any] = {"search_space": SPACE, "optimizer": RandomOptimizer(), "store": None}
    with pytest.raises(UsageError, match=told):
        SweepExperiment(never, **{**settings, **arguments}).run(budget=budget)


@pytest.mark.parametrize(
    ("space", "told"),
    [
        (dict, "the search space is empty"),
        (lambda: None, "has no search space: write RandomOptimizer"),
        (lambda: [1], "expected a search space"),
        (lambda: {"x": Uniform(1.0, 0.0)}, r"Uniform\(1, 0\): the lower bound must be below the upper"),
        (lambda: {"x": Integer(3, 3)}, "the lower bound must be below the upper"),
        (lambda: {"x": LogUniform(0.0, 1.0)}, "a logarithm needs a lower bound above 0"),
        (lambda: {"x": LogUniform(-1.0, 1.0)}, "a logarithm needs a lower bound above 0"),
        (lambda: {"x": Uniform(0.0, math.inf)}, "Uniform"),
        (lambda: {"x": Integer(1, 2).when("kind", 1)}, "there is no parameter 'kind'"),
        (lambda: SearchSpace.of(SPACE).require(lambda params: params["x"] > 2), "no configuration met"),
    ],
)
def test_a_space_in_which_there_is_nothing_to_find(space: Callable[[], Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        SweepExperiment(never, search_space=space(), optimizer=RandomOptimizer(), store=None).run(budget=1)


@pytest.mark.parametrize("budget", [0, -1, 1.5, math.nan, True, "ten", Budget])
def test_a_number_of_trials(budget: Any) -> None:
    refuse("budget=", budget=budget)


@pytest.mark.parametrize("limit", ["trials", "seconds", "resource", "cost", "patience", "failures"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, True, "1"])
def test_a_limit_of_a_budget(limit: str, value: Any) -> None:
    with pytest.raises(UsageError, match=rf"Budget\({limit}=.*expected a (whole )?number above 0"):
        Budget(**{limit: value})


@pytest.mark.parametrize("value", [math.nan, math.inf, "good", True])
def test_a_target(value: Any) -> None:
    with pytest.raises(UsageError, match=r"Budget\(target_score="):
        Budget(target_score=value)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"metric_key": 3}, "metric_key=3: expected a name"),
        ({"metric_key": ""}, "metric_key=''"),
        ({"cost_key": 3}, "cost_key=3: expected a name"),
        ({"seed": "x"}, "seed='x': expected a whole number"),
        ({"seed": -1}, "seed=-1"),
        ({"goal": "maximise"}, "did you mean 'maximize'"),
        ({"goal": {}}, "names no metric"),
        ({"goal": 3}, "goal=3: expected"),
        ({"goal": {"a": "up"}}, "goal of 'a'"),
        ({"executor": 3}, "executor=3: expected an executor"),
        (
            {"optimizer": ASHAScheduler()},
            r"optimizer=ASHAScheduler\(\) is a scheduler: write scheduler=ASHAScheduler\(\)$",
        ),
        (
            {"optimizer": ASHAScheduler},
            r"optimizer=ASHAScheduler is a scheduler: write scheduler=ASHAScheduler\(...\)$",
        ),
        ({"scheduler": RandomOptimizer(seed=1)}, r"is an optimizer: write optimizer=RandomOptimizer\(seed=1\)$"),
        ({"scheduler": RandomOptimizer}, r"is an optimizer: write optimizer=RandomOptimizer\(...\)$"),
        ({"optimizer": RandomOptimizer}, r"is a class: write optimizer=RandomOptimizer\(...\)$"),
        ({"optimizer": "random"}, "optimizer='random': expected an Optimizer$"),
        ({"optimizer": int}, "optimizer=int: expected an Optimizer$"),
        ({"scheduler": 3}, "scheduler=3: expected a Scheduler$"),
        ({"resources": RandomOptimizer()}, r"resources=RandomOptimizer\(\): expected a Resources$"),
        ({"resources": 4}, "resources=4: expected a Resources"),
        ({"store": 3}, "store=3: expected a folder"),
        ({"keep_checkpoints": "some"}, "keep_checkpoints"),
    ],
)
def test_arguments(arguments: dict[str, Any], told: str) -> None:
    refuse(told, **arguments)


def test_a_goal_without_a_direction_is_maximized_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="no direction for 'gain': taken as \"maximize\""):
        sweep = SweepExperiment(never, search_space=SPACE, goal={"gain": None, "loss": "minimize"}, store=None)
    assert sweep.objectives.directions == ("maximize", "minimize")


def test_the_optimizers_goal_is_the_sweeps_where_that_has_none() -> None:
    goal: Any = {"gain": "maximize", "loss": "minimize"}
    assert SweepExperiment(never, optimizer=RandomOptimizer(SPACE, goal=goal)).objectives.keys == ("gain", "loss")
    assert SweepExperiment(never, optimizer=RandomOptimizer(SPACE, goal="minimize")).goal == "minimize"
    assert SweepExperiment(never, optimizer=RandomOptimizer(SPACE)).goal == "maximize"
    refuse("say it once", optimizer=RandomOptimizer(goal="minimize"), goal="maximize")


def test_metrics_that_only_the_optimizer_names_are_objectives() -> None:
    optimizer = AxOptimizer(SPACE, objectives=["accuracy", "latency"], objective_thresholds={"latency": 100})
    with pytest.warns(UserWarning, match="no direction for 'accuracy', 'latency'"):
        assert SweepExperiment(never, optimizer=optimizer).objectives.keys == ("accuracy", "latency")
    with pytest.warns(UserWarning, match="no direction for 'accuracy'"):
        sweep = SweepExperiment(never, optimizer=optimizer, goal={"latency": "minimize"})
    assert sweep.objectives.directions == ("maximize", "minimize")
    sweep.optimizer.copy().bind(goal=sweep.goal)
    assert SweepExperiment(never, optimizer=optimizer, goal="minimize").objectives.directions == ("minimize",) * 2


def test_more_than_there_is_ends_the_sweep() -> None:
    sweep = SweepExperiment(
        never, search_space=SPACE, optimizer=RandomOptimizer(), resources=Resources(gpus=10_000), store=None
    )
    with pytest.raises(UsageError, match="wants 10000 GPUs"):
        _ = sweep.run(budget=1).trials


def test_the_nearest_head_of_a_path_is_named() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'optimizer\.acquisition'"):
        SweepExperiment(never, store=None).check_params(["optimiser.acquisition"])


def test_an_optimizer_of_ones_own_needs_no_space() -> None:
    class Own(Optimizer):
        def suggest(self, n: int) -> list[Trial]:
            return []

        def observe(self, trial: Trial, result: float) -> None:
            raise AssertionError

    assert SweepExperiment(never, optimizer=Own(), store=None).run(budget=1).trials == ()
