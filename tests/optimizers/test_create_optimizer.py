"""Optimizers by name."""

from __future__ import annotations

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.optimizers import (
    OPTIMIZERS,
    BayesianOptimizer,
    EvolutionaryStrategy,
    GridOptimizer,
    Optimizer,
    ProteinOptimizer,
    create_optimizer,
)
from metta.sweep.schedulers import SCHEDULERS, HyperbandScheduler, MedianStoppingScheduler, Scheduler, create_scheduler


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_every_registered_optimizer_is_made_without_arguments(name: str) -> None:
    assert isinstance(create_optimizer(name), Optimizer)


@pytest.mark.parametrize("name", SCHEDULERS.names())
def test_every_registered_scheduler_is_made_without_arguments(name: str) -> None:
    assert isinstance(create_scheduler(name), Scheduler)


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("bayesian", BayesianOptimizer),
        ("BayesianOptimizer", BayesianOptimizer),
        ("evolutionary strategy", EvolutionaryStrategy),
        ("grid", GridOptimizer),
        ("Protein", ProteinOptimizer),
        ("naive", ProteinOptimizer),
    ],
)
def test_names_are_read_as_people_write_them(name: str, cls: type[Optimizer]) -> None:
    assert type(create_optimizer(name)) is cls


def test_scheduler_names() -> None:
    assert type(create_scheduler("median-stopping")) is MedianStoppingScheduler
    assert type(create_scheduler("HyperbandScheduler", max_resource=9)) is HyperbandScheduler


def test_an_acquisition_is_a_name() -> None:
    by_name = create_optimizer("UCB", exploration=3.0)
    by_argument = create_optimizer(acquisition="ucb", exploration=3.0)
    for made in (by_name, by_argument):
        assert isinstance(made, BayesianOptimizer)
        assert (made.acquisition, made.exploration) == ("ucb", 3.0)


def test_what_is_not_there_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="there is no optimizer 'bayesain': did you mean 'bayesian'"):
        create_optimizer("bayesain")
    with pytest.raises(UsageError, match="there is no scheduler 'hyperbnd': did you mean 'hyperband'"):
        create_scheduler("hyperbnd")
    with pytest.raises(UsageError, match="has no argument 'acquisitoin': did you mean 'acquisition'"):
        create_optimizer("bayesian", acquisitoin="ei")
