"""A wrapper adds nothing: same seed and same results, same suggestions as the bare library.

Optuna's samplers are in test_optuna_optimizer.py, but for the long run of its slow one.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import nevergrad as ng
import optuna
import pytest

from metta.sweep.optimizers.ax import AxOptimizer
from metta.sweep.optimizers.evolution import EvolutionaryStrategy
from metta.sweep.optimizers.nevergrad import NevergradOptimizer
from metta.sweep.optimizers.optuna import OptunaOptimizer
from metta.sweep.space import Choice, Integer, LogUniform, Uniform
from metta.sweep.trial import FailureReason, Result

SPACE = {
    "lr": LogUniform(1e-4, 1e-1),
    "width": Integer(4, 64),
    "act": Choice(["relu", "tanh", "gelu"]),
    "batch": Choice([16, 32, 64]),
    "drop": Uniform(0, 0.5),
}


def quality(params: Mapping[str, Any]) -> float:
    wrong = {"relu": 0.0, "tanh": 0.3, "gelu": 0.1}[params["act"]]
    return float((math.log10(params["lr"]) + 2.5) ** 2 + abs(params["width"] - 32) / 16 + params["drop"] + wrong)


def fails(number: int) -> bool:
    return number % 7 == 6


@pytest.fixture
def quiet_libraries() -> Iterator[None]:
    """The bare libraries are as loud as they are."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


# Nevergrad


def parametrization(seed: int) -> ng.p.Dict:
    made = ng.p.Dict(
        lr=ng.p.Log(lower=1e-4, upper=1e-1),
        width=ng.p.Scalar(lower=4, upper=64).set_integer_casting(),
        act=ng.p.Choice(["relu", "tanh", "gelu"]),
        batch=ng.p.TransitionChoice([16, 32, 64]),
        drop=ng.p.Scalar(lower=0, upper=0.5),
    )
    made.random_state.seed(seed)
    return made


BARE: dict[str, tuple[Callable[[], Any], Callable[[], NevergradOptimizer]]] = {
    name: (
        lambda name=name: ng.optimizers.registry[name](parametrization(5), 40, 4),  # type: ignore[misc]
        lambda name=name: NevergradOptimizer(  # type: ignore[misc]
            SPACE, name, seed=5, goal="minimize", budget=40, num_workers=4
        ),
    )
    for name in ("PSO", "DE", "CMA", "OnePlusOne", "NGOpt")
}
BARE["a population of 6"] = (
    lambda: ng.optimizers.ParametrizedCMA(popsize=6)(parametrization(5)),
    lambda: EvolutionaryStrategy(SPACE, population_size=6, seed=5, goal="minimize"),
)


@pytest.mark.usefixtures("quiet_libraries")
@pytest.mark.parametrize("name", BARE)
def test_nevergrad(name: str) -> None:
    """40 trials, four at a time; a failure is told as the worst loss so far."""
    bare, ours = BARE[name][0](), BARE[name][1]()
    worst = -math.inf
    for batch in range(10):
        candidates = [bare.ask() for _ in range(4)]
        trials = ours.suggest(4)
        assert [dict(trial.params) for trial in trials] == [candidate.value for candidate in candidates], batch
        for index, (candidate, trial) in enumerate(zip(candidates, trials, strict=True)):
            if fails(4 * batch + index):
                bare.tell(candidate, worst)
                ours.observe(trial, Result(failure=FailureReason.USER_ERROR))
            else:
                loss = quality(candidate.value)
                worst = max(worst, loss)
                bare.tell(candidate, loss)
                ours.observe(trial, loss)


@pytest.mark.usefixtures("quiet_libraries")
@pytest.mark.parametrize("algorithm", ["DE", "CMA"])
def test_nevergrad_with_two_objectives(algorithm: str) -> None:
    bare = ng.optimizers.registry[algorithm](parametrization(3))
    ours = NevergradOptimizer(SPACE, algorithm, seed=3, goal={"loss": "minimize", "speed": "maximize"})
    for number in range(30):
        candidate = bare.ask()
        (trial,) = ours.suggest(1)
        assert dict(trial.params) == candidate.value, number
        loss, speed = quality(candidate.value), 1 / candidate.value["width"]
        bare.tell(candidate, [loss, -speed])
        ours.observe(trial, {"speed": speed, "loss": loss})


# Ax


def ax_client(seed: int, objective: str, **strategy: Any) -> Any:
    import torch
    from ax.api.client import Client
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

    torch.set_num_threads(1)
    client = Client(random_seed=seed)
    client.configure_experiment(
        [
            RangeParameterConfig("lr", (1e-4, 1e-1), "float", scaling="log"),
            RangeParameterConfig("width", (4, 64), "int"),
            ChoiceParameterConfig("act", ["relu", "tanh", "gelu"], "str"),
            ChoiceParameterConfig("batch", [16, 32, 64], "int"),
            RangeParameterConfig("drop", (0, 0.5), "float"),
        ]
    )
    client.configure_optimization(objective)
    if strategy:
        client.configure_generation_strategy(**strategy)
    return client


def check_ax(client: Any, ours: AxOptimizer, trials: int) -> None:
    for number in range(trials):
        ((index, expected),) = client.get_next_trials(1).items()
        (trial,) = ours.suggest(1)
        assert dict(trial.params) == dict(expected), number
        if fails(number):
            client.mark_trial_abandoned(index)
            ours.observe(trial, Result(failure=FailureReason.USER_ERROR))
        elif ours.objectives.is_single:
            client.complete_trial(index, {"loss": quality(expected)})
            ours.observe(trial, quality(expected))
        else:
            metrics = {"loss": quality(expected), "speed": 1 / expected["width"]}
            client.complete_trial(index, metrics)
            ours.observe(trial, metrics)


@pytest.mark.usefixtures("quiet_libraries")
def test_ax() -> None:
    """Eight trials: the model proposes from the fourth on, and one fails in between."""
    client = ax_client(5, "-loss", initialization_budget=3)
    check_ax(client, AxOptimizer(SPACE, seed=5, goal="minimize", initialization_budget=3), 8)


@pytest.mark.slow
@pytest.mark.usefixtures("quiet_libraries")
def test_ax_over_30_trials() -> None:
    check_ax(ax_client(6, "-loss"), AxOptimizer(SPACE, seed=6, goal="minimize"), 30)


@pytest.mark.slow
@pytest.mark.usefixtures("quiet_libraries")
def test_ax_with_two_objectives() -> None:
    ours = AxOptimizer(SPACE, seed=6, goal={"loss": "minimize", "speed": "maximize"})
    check_ax(ax_client(6, "-loss, speed"), ours, 12)


# Optuna


@pytest.mark.slow
@pytest.mark.usefixtures("quiet_libraries")
def test_optuna_s_gaussian_process_over_30_trials() -> None:
    study = optuna.create_study(sampler=optuna.samplers.GPSampler(seed=5), direction="minimize")
    ours = OptunaOptimizer(SPACE, sampler="GP", seed=5, goal="minimize")
    for number in range(30):
        theirs = study.ask()
        expected = {
            "lr": theirs.suggest_float("lr", 1e-4, 1e-1, log=True),
            "width": theirs.suggest_int("width", 4, 64),
            "act": theirs.suggest_categorical("act", ["relu", "tanh", "gelu"]),
            "batch": theirs.suggest_categorical("batch", [16, 32, 64]),
            "drop": theirs.suggest_float("drop", 0, 0.5),
        }
        (trial,) = ours.suggest(1)
        assert dict(trial.params) == expected, number
        study.tell(theirs, quality(expected))
        ours.observe(trial, quality(expected))
