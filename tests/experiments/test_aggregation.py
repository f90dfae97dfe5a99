"""Aggregators: what becomes of the scores of one configuration under several seeds."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.errors import UsageError
from metta.sweep.experiments.aggregation import (
    Aggregator,
    EnsembleVoting,
    MeanAggregator,
    MedianAggregator,
    WeightedByConfidence,
)

ROBUST: list[Aggregator] = [WeightedByConfidence(), EnsembleVoting()]
SYMMETRIC: list[Aggregator] = [MeanAggregator(), MedianAggregator(), *ROBUST]

eighths = st.integers(-800, 800).map(lambda number: number / 8)
"""Numbers that shifting and scaling by eighths does not round."""

samples = st.lists(eighths, min_size=1, max_size=10)


def of(aggregator: Aggregator, values: Sequence[float]) -> float:
    found = aggregator.aggregate(values, maximize=True)
    assert found == aggregator.aggregate(values, maximize=False)
    return found


@pytest.mark.parametrize("aggregator", SYMMETRIC, ids=repr)
@settings(derandomize=True, max_examples=100)
@given(values=samples, data=st.data())
def test_the_order_of_the_repeats_does_not_count(
    aggregator: Aggregator, values: list[float], data: st.DataObject
) -> None:
    assert of(aggregator, data.draw(st.permutations(values))) == of(aggregator, values)


@pytest.mark.parametrize("aggregator", SYMMETRIC, ids=repr)
@settings(derandomize=True, max_examples=100)
@given(values=samples, shift=eighths, scale=st.integers(1, 64))
def test_another_unit_changes_nothing_but_the_unit(
    aggregator: Aggregator, values: list[float], shift: float, scale: int
) -> None:
    for sign in (1, -1):
        moved = of(aggregator, [sign * scale * value + shift for value in values])
        assert moved == pytest.approx(sign * scale * of(aggregator, values) + shift, rel=1e-9, abs=1e-6 * scale)


@pytest.mark.parametrize("aggregator", SYMMETRIC, ids=repr)
@settings(derandomize=True, max_examples=100)
@given(values=st.lists(st.floats(-1e100, 1e100), min_size=1, max_size=10))
def test_it_lies_among_the_values(aggregator: Aggregator, values: list[float]) -> None:
    slack = 1e-15 * max(map(abs, values))  # the mean's own rounding
    assert min(values) - slack <= of(aggregator, values) <= max(values) + slack


@pytest.mark.parametrize("aggregator", ROBUST, ids=repr)
@pytest.mark.parametrize("value", [0.1, -3.7, 0.0, 1e-300, 1e300 / 16])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_constants_are_exact(aggregator: Aggregator, value: float, count: int) -> None:
    assert of(aggregator, [value] * count) == value


@pytest.mark.parametrize("aggregator", ROBUST, ids=repr)
def test_of_two_it_is_the_mean(aggregator: Aggregator) -> None:
    assert of(aggregator, [1.0, 4.0]) == pytest.approx(2.5, abs=1e-12)


@pytest.mark.parametrize("aggregator", ROBUST, ids=repr)
@pytest.mark.parametrize("wrong", [-1e9, -50.0, 50.0, 1e9])
def test_a_repeat_that_has_gone_wrong_hardly_counts(aggregator: Aggregator, wrong: float) -> None:
    right = [0.88, 0.9, 0.91, 0.93]
    assert of(aggregator, [*right, wrong]) == pytest.approx(statistics.fmean(right), abs=0.02)


def test_the_location_is_the_likeliest_one() -> None:
    """Against a search over location and scale."""
    values, freedom = [0.1, 0.2, 0.25, 0.3, 0.9], 4.0

    def loss(location: float, scale: float) -> float:
        deviations = (math.log1p(((value - location) / scale) ** 2 / freedom) for value in values)
        return len(values) * math.log(scale) + (freedom + 1) / 2 * sum(deviations)

    grid = [(location / 1000, scale / 200) for location in range(150, 400) for scale in range(4, 80)]
    likeliest, _ = min(grid, key=lambda point: loss(*point))
    assert of(WeightedByConfidence(), values) == pytest.approx(likeliest, abs=0.001)


def test_many_degrees_of_freedom_are_the_mean() -> None:
    values = [0.1, 0.2, 0.25, 0.3, 0.9]
    assert of(WeightedByConfidence(1e9), values) == pytest.approx(statistics.fmean(values))
    fewer = [abs(of(WeightedByConfidence(freedom), values) - 0.2) for freedom in (2, 4, 16)]
    assert fewer == sorted(fewer)


def test_values_that_are_almost_all_equal_are_that_value() -> None:
    assert of(WeightedByConfidence(), [0.5] * 4 + [0.9]) == 0.5
    assert of(WeightedByConfidence(), [0.5] * 8 + [0.5 + 1e-15, 0.9]) == pytest.approx(0.5)


@pytest.mark.parametrize("freedom", [1, 0, -2, math.inf, math.nan, True, "4"])
def test_bad_degrees_of_freedom(freedom: float) -> None:
    with pytest.raises(UsageError, match=r"degrees_of_freedom=.*: expected a number above 1"):
        WeightedByConfidence(freedom)


@pytest.mark.parametrize(
    ("values", "agreed"),
    [
        ([1.0, 2.0, 10.0], 1.5),  # the closest pair
        ([1.0, 5.0, 5.5, 6.5, 40.0], (5.0 + 5.5 + 6.5) / 3),
        ([1.0, 2.0, 4.0, 8.0], 7.0 / 3),  # half of them are no majority
        ([1.0, 2.0, 3.0, 4.0], 2.5),  # two majorities, equally close
        ([1.0, 2.0, 3.0], 2.0),
        ([0.1, 0.2, 0.3], 0.2),  # as close but for rounding
    ],
)
def test_the_closest_majority_wins(values: list[float], agreed: float) -> None:
    assert of(EnsembleVoting(), values) == pytest.approx(agreed, abs=1e-12)


@pytest.mark.parametrize("aggregator", ROBUST, ids=repr)
def test_under_heavy_tails_they_are_nearer_to_the_truth_than_the_mean(aggregator: Aggregator) -> None:
    """Nine repeats of which some crash: the squared error over 400 samples."""
    draws = random.Random(7)
    robust = mean = 0.0
    for _ in range(400):
        values = [draws.gauss(0, 1) - (20 if draws.random() < 0.08 else 0) for _ in range(9)]
        robust += of(aggregator, values) ** 2
        mean += statistics.fmean(values) ** 2
    assert robust < mean / 4
