"""What every optimizer and scheduler of ours says may be tuned: it can be constructed, and passes a short sweep."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from metta.sweep.goal import Objectives
from metta.sweep.optimizers import (
    OPTIMIZERS,
    AxOptimizer,
    BayesianOptimizer,
    EvolutionaryStrategy,
    GridOptimizer,
    NevergradOptimizer,
    Optimizer,
    OptunaOptimizer,
    ProteinOptimizer,
    RandomOptimizer,
    create_optimizer,
)
from metta.sweep.schedulers import (
    SCHEDULERS,
    ASHAScheduler,
    AsynchronousScheduler,
    HyperbandScheduler,
    MedianStoppingScheduler,
    PB2Scheduler,
    PBTScheduler,
    Scheduler,
    SynchronousBatchScheduler,
    create_scheduler,
)
from metta.sweep.space import Distribution, SearchSpace, Uniform
from metta.sweep.testing import simulate
from metta.sweep.trial import Params, TrialState

SPACE = SearchSpace({"x": Uniform(0, 1), "y": Uniform(0, 1)})
DRAWS = 40

NOTHING_TO_TUNE = {"random", "sobol", "asynchronous", "equal_allocation"}
"""Their arguments say where they start and how many run at once, not how well they search."""

NO_BATCHES = {"hyperband", "adaptive_bandit", "equal_allocation", "proportional_to_promise"}
"""Synchronous ones whose rounds are no batches of a size."""


def curve(params: Params, step: int) -> float:
    return 1 - abs(float(params["x"]) - 0.3) - abs(float(params["y"]) - 0.7) - 1 / (step + 1)


def draws(tunables: Mapping[str, Distribution[Any]]) -> list[dict[str, Any]]:
    """Each alone and all together, with the ends of every range."""
    rng = np.random.default_rng(0)
    units = [dict.fromkeys(tunables, unit) for unit in (0.0, 1.0)]
    units += [{name: float(rng.random()) for name in tunables} for _ in range(DRAWS)]
    together = [{name: tunables[name].from_unit(unit) for name, unit in drawn.items()} for drawn in units]
    return [*together, *({name: value} for drawn in together for name, value in drawn.items())]


def has(part: Optimizer | Scheduler, arguments: Mapping[str, Any]) -> bool:
    settings = getattr(part, "settings", part)
    return {name: getattr(settings, name) for name in arguments} == arguments


def optimizer(name: str) -> Optimizer:
    return create_optimizer(name, search_space=SPACE, seed=3)


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_whatever_is_drawn_for_an_optimizer_constructs(name: str) -> None:
    original = optimizer(name)
    assert (original.tunables() == {}) == (name in NOTHING_TO_TUNE)
    for arguments in draws(original.tunables()):
        made = original.with_arguments(**arguments)
        assert (type(made), made.search_space, made.seed) == (type(original), SPACE, 3)
        assert has(made, arguments)


@pytest.mark.parametrize("name", SCHEDULERS.names())
@pytest.mark.parametrize("max_resource", [None, 1, 2, 9, 100])
def test_whatever_is_drawn_for_a_scheduler_constructs(name: str, max_resource: int | None) -> None:
    settings = {} if max_resource is None else {"max_resource": max_resource}
    original = create_scheduler(name, **settings, **({"grace_period": 1} if name == "asha" else {}))
    assert (original.tunables() == {}) == (name in NOTHING_TO_TUNE)
    for arguments in draws(original.tunables()):
        made = original.with_arguments(**arguments)
        assert made.max_resource == original.max_resource
        assert has(made, arguments)


@pytest.mark.parametrize("brackets", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("reduction_factor", [2, 3, 8])
@pytest.mark.parametrize("grace_period", [1, 2, 10])
def test_what_is_drawn_for_asha_leaves_every_bracket_a_rung(
    brackets: int, reduction_factor: int, grace_period: int
) -> None:
    most = math.floor(math.log(99 / grace_period, reduction_factor)) + 2
    original = ASHAScheduler(100, reduction_factor, grace_period, brackets=min(brackets, most))
    for arguments in draws(original.tunables()):
        made = original.with_arguments(**arguments)
        assert len(made.rung_resources) >= made.brackets == original.brackets
        assert len(made.rung_resources) >= 2


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_the_constructor_s_own_settings_of_an_optimizer_can_be_drawn(name: str) -> None:
    assert_defaults_can_be_drawn(optimizer(name))


@pytest.mark.parametrize("name", SCHEDULERS.names())
def test_the_constructor_s_own_settings_of_a_scheduler_can_be_drawn(name: str) -> None:
    assert_defaults_can_be_drawn(create_scheduler(name))


def assert_defaults_can_be_drawn(part: Optimizer | Scheduler) -> None:
    parameters = inspect.signature(type(part)).parameters
    for name, distribution in part.tunables().items():
        default = parameters[name].default
        if default is not None:
            assert distribution.check(default) == default


@pytest.mark.parametrize("name", SCHEDULERS.names())
def test_every_scheduler_with_batches_offers_their_size(name: str) -> None:
    scheduler = create_scheduler(name)
    if hasattr(scheduler, "batch_size"):
        size = scheduler.tunables()["batch_size"]
        assert [size.from_unit(0.0), size.from_unit(1.0)] == [1, 16]
    else:
        assert not scheduler.synchronous or name in NO_BATCHES


CHEAP = ["nevergrad", "evolutionary_strategy", "grid", "bayesian", "protein"]


@pytest.mark.parametrize("name", CHEAP)
def test_a_drawn_optimizer_searches(name: str) -> None:
    original = optimizer(name)
    for arguments in draws(original.tunables())[:5]:
        made = original.with_arguments(**arguments)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            done = simulate(made, AsynchronousScheduler(max_resource=2), curve, budget=12, steps=2)
        # A coarse grid is over before the budget is.
        assert len(done.trials) == (12 if name != "grid" else min(12, arguments["resolution"] ** 2))
        assert all(trial.state is TrialState.COMPLETED for trial in done.trials)


def test_every_sampler_and_algorithm_that_is_offered_searches() -> None:
    for original, name in ((OptunaOptimizer(SPACE), "sampler"), (NevergradOptimizer(SPACE), "algorithm")):
        for value in values(original.tunables()[name]):
            made = original.with_arguments(**{name: value})
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                done = simulate(made, AsynchronousScheduler(max_resource=1), curve, budget=4, workers=1, steps=1)
            assert [trial.state for trial in done.trials] == [TrialState.COMPLETED] * 4


@pytest.mark.parametrize("name", SCHEDULERS.names())
def test_a_drawn_scheduler_schedules(name: str) -> None:
    original = create_scheduler(name, max_resource=30)
    count = 2 if name == "pb2" else 10  # that one asks a Gaussian process for every fork
    for arguments in draws(original.tunables())[:count]:
        made = original.with_arguments(**arguments)
        done = simulate(RandomOptimizer(SPACE), made, curve, budget=40, steps=30)
        assert len(done.trials) >= min(40, original.natural_budget or 40)
        shared = getattr(made, "mean_resource", 30)  # of a policy that shares resource out
        assert max(trial.step for trial in done.trials) > min(15, shared - 1)
        assert not {trial.state for trial in done.trials} & {TrialState.PENDING, TrialState.RUNNING, TrialState.PAUSED}


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_another_optimizer_is_the_one_constructed_by_hand(name: str) -> None:
    original = optimizer(name)
    arguments = draws(original.tunables())[3]
    by_hand = create_optimizer(name, search_space=SPACE, seed=3, **arguments)
    for part in (original, copy.deepcopy(original), pickle.loads(pickle.dumps(original)), original.copy()):
        made = part.with_arguments(**arguments)
        assert vars(made).keys() == vars(by_hand).keys()
        assert made.state_dict() == by_hand.state_dict()
        assert public(made) == public(by_hand)


@pytest.mark.parametrize("name", SCHEDULERS.names())
def test_another_scheduler_is_the_one_constructed_by_hand(name: str) -> None:
    original = create_scheduler(name, max_resource=30, seed=3)
    arguments = draws(original.tunables())[3]
    by_hand = create_scheduler(name, max_resource=30, seed=3, **arguments)
    for part in (original, copy.deepcopy(original), pickle.loads(pickle.dumps(original)), original.copy()):
        made = part.with_arguments(**arguments)
        assert made.state_dict() == by_hand.state_dict()
        assert public(made) == public(by_hand)


def public(part: Optimizer | Scheduler) -> dict[str, Any]:
    return {name: value for name, value in vars(part).items() if not name.startswith("_")}


def test_another_optimizer_goes_the_same_way_as_one_constructed_by_hand() -> None:
    made = BayesianOptimizer(SPACE, seed=3).with_arguments(acquisition="ucb", exploration=1.5)
    by_hand = BayesianOptimizer(SPACE, "ucb", seed=3, exploration=1.5)
    tables = [simulate(each, AsynchronousScheduler(max_resource=1), curve, 10).table() for each in (made, by_hand)]
    assert tables[0] == tables[1]


# What depends on the instance


def values(distribution: Distribution[Any]) -> list[Any]:
    return list(getattr(distribution, "values"))  # noqa: B009


def test_only_samplers_that_take_the_arguments_and_the_objectives_are_offered() -> None:
    assert values(OptunaOptimizer(SPACE).tunables()["sampler"]) == ["TPE", "CMA-ES", "GP", "NSGA-II", "QMC", "random"]
    startup = OptunaOptimizer(SPACE, n_startup_trials=5)
    assert values(startup.tunables()["sampler"]) == ["TPE", "CMA-ES", "GP"]
    several = OptunaOptimizer(SPACE, goal={"a": "maximize", "b": "minimize"})
    assert "CMA-ES" not in values(several.tunables()["sampler"])
    assert OptunaOptimizer(SPACE, "random").tunables().keys() == {"sampler"}
    assert OptunaOptimizer(SPACE, qmc_type="halton", sampler="QMC").tunables() == {}


def test_only_acquisitions_that_take_the_objectives_are_offered() -> None:
    assert values(AxOptimizer(SPACE).tunables()["acquisition"]) == ["EI", "NEI", "PI", "UCB"]
    assert values(AxOptimizer(SPACE, objectives=["a"]).tunables()["acquisition"]) == ["EI", "NEI", "PI", "UCB"]
    for several in (
        AxOptimizer(SPACE, goal={"a": "maximize", "b": "maximize"}),
        AxOptimizer(SPACE, objectives=["a", "b"]),
    ):
        assert values(several.tunables()["acquisition"]) == ["EI", "NEI"]


def test_a_grid_with_a_resolution_for_each_parameter_keeps_it() -> None:
    assert GridOptimizer(SPACE).tunables().keys() == {"resolution"}
    assert GridOptimizer(SPACE, {"x": 3}).tunables() == {}


def test_a_t_test_is_offered_for_one_objective_only() -> None:
    scheduler = PBTScheduler()
    assert "t_test" in values(scheduler.tunables()["exploit_method"])
    scheduler.search_space = SPACE
    scheduler.bind(objectives=Objectives.of({"a": "maximize", "b": "minimize"}), seed=1)
    assert values(scheduler.tunables()["exploit_method"]) == ["truncation", "binary_tournament"]


def test_grace_periods_are_over_by_the_middle_of_a_training() -> None:
    assert ASHAScheduler(50).tunables()["grace_period"].from_unit(1.0) == 25
    assert ASHAScheduler(81, grace_period=1, brackets=4).tunables()["grace_period"].from_unit(1.0) == 80 // 6**2
    assert "grace_period" not in ASHAScheduler(3, grace_period=1).tunables()
    assert MedianStoppingScheduler(max_epochs=9).tunables()["grace_period"].from_unit(1.0) == 4
    assert "grace_period" not in MedianStoppingScheduler(max_epochs=2).tunables()


def test_generations_are_offered_where_the_training_has_a_length() -> None:
    for kind in (PBTScheduler, PB2Scheduler):
        assert "num_generations" not in kind().tunables()
        assert kind(max_resource=12).tunables()["num_generations"].from_unit(1.0) == 12


def test_what_each_offers() -> None:
    parts: list[Optimizer | Scheduler] = [
        BayesianOptimizer(),
        EvolutionaryStrategy(),
        ProteinOptimizer(),
        SynchronousBatchScheduler(),
        HyperbandScheduler(),
        PBTScheduler(),
        PB2Scheduler(),
    ]
    assert {type(part).__name__: [*part.tunables()] for part in parts} == {
        "BayesianOptimizer": ["acquisition", "exploration", "initial_samples"],
        "EvolutionaryStrategy": ["algorithm", "population_size"],
        "ProteinOptimizer": [
            "acquisition_fn",
            "ucb_beta",
            "expansion_rate",
            "randomize_acquisition",
            "num_random_samples",
            "global_search_scale",
            "random_design",
        ],
        "SynchronousBatchScheduler": ["batch_size"],
        "HyperbandScheduler": ["eta"],
        "PBTScheduler": ["perturbation_factor", "exploit_method", "explore_method", "quantile_fraction"],
        "PB2Scheduler": ["quantile_fraction"],
    }
