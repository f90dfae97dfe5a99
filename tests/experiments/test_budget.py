"""Budgets: what they refuse, what they leave, what ends a sweep."""

from __future__ import annotations

from typing import Any

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.experiments.budget import Budget, Spent


@pytest.mark.parametrize("wrong", [0, -1, True, 2.5, "10"])
def test_a_budget_is_a_positive_number_of_trials(wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"budget=.*expected a number of trials above 0"):
        Budget.of(wrong)


@pytest.mark.parametrize(
    "limits",
    [
        {"trials": 0},
        {"trials": 1.5},
        {"seconds": -1},
        {"seconds": float("inf")},
        {"patience": 0},
        {"resource": True},
        {"cost": "9"},
        {"target_score": float("nan")},
    ],
)
def test_a_limit_is_positive_and_a_number(limits: dict[str, Any]) -> None:
    name, value = next(iter(limits.items()))
    with pytest.raises(UsageError, match=rf"Budget\({name}={value!r}\): expected"):
        Budget(**limits)


def test_a_target_may_be_negative() -> None:
    assert Budget(target_score=-1.5).target_score == -1.5


def test_what_may_be_given() -> None:
    assert Budget.of(7) == Budget(trials=7)
    assert Budget.of(None) == Budget()
    assert Budget.of(Budget(seconds=2)) == Budget(seconds=2)


def test_trials_and_patience_end_the_launching_only() -> None:
    budget = Budget(trials=10, patience=3)
    assert budget.remaining(Spent(trials=4, since_best=2)) == 6
    assert budget.remaining(Spent(trials=4, since_best=3)) == 0
    assert budget.remaining(Spent(trials=12)) == 0
    assert budget.end(Spent(trials=99, since_best=99)) is None
    assert Budget().remaining(Spent(trials=99)) is None


@pytest.mark.parametrize(
    ("budget", "spent", "why"),
    [
        (Budget(seconds=5), Spent(seconds=5.0), "time budget of 5 s"),
        (Budget(resource=100), Spent(resource=100), "resource budget of 100"),
        (Budget(cost=2.5), Spent(cost=2.6), "cost budget of 2.5"),
        (Budget(target_score=0.9), Spent(best=0.9), "target score 0.9"),
    ],
)
def test_the_other_limits_end_the_sweep(budget: Budget, spent: Spent, why: str) -> None:
    assert why in (budget.end(spent) or "")
    assert budget.end(Spent()) is None


def test_a_target_to_minimize() -> None:
    assert Budget(target_score=0.1).end(Spent(best=-0.2), sign=-1) is None
    assert Budget(target_score=0.1).end(Spent(best=-0.1), sign=-1) is not None
