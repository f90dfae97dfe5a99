import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.errors import UsageError
from metta.sweep.space import (
    Choice,
    Constant,
    Distribution,
    Integer,
    IntLogUniform,
    LogitNormal,
    LogUniform,
    PowerOfTwo,
    SearchSpace,
    Uniform,
)

EVERY_KIND: list[Distribution[Any]] = [
    Uniform(-2, 3.5),
    LogUniform(1e-4, 1e-1),
    LogitNormal(0.9, 0.9999),
    Integer(-3, 12),
    Integer(1, 1000, log=True),
    IntLogUniform(2, 64),
    PowerOfTwo(8, 512),
    Choice(["cnn", "transformer", None, True, 1, 0.5]),
    Choice([[64, 64], [128]]),
    Constant("fixed"),
]


@pytest.mark.parametrize("distribution", EVERY_KIND, ids=repr)
@settings(derandomize=True, max_examples=40)
@given(unit=st.floats(0, 1))
def test_the_unit_interval_round_trip(distribution: Distribution[Any], unit: float) -> None:
    value = distribution.from_unit(unit)
    assert distribution.check(value) == value
    back = distribution.to_unit(value)
    assert 0 <= back <= 1
    again = distribution.from_unit(back)
    assert again == (pytest.approx(value) if isinstance(value, float) else value)
    if isinstance(distribution, Uniform | LogUniform | LogitNormal):
        assert back == pytest.approx(unit, abs=1e-6)


@pytest.mark.parametrize("distribution", EVERY_KIND, ids=repr)
def test_json_round_trip(distribution: Distribution[Any]) -> None:
    again = type(distribution).model_validate_json(distribution.model_dump_json())
    assert again == distribution
    space = SearchSpace({"x": distribution})
    assert SearchSpace.from_json(json.loads(json.dumps(space.to_json()))).to_json() == space.to_json()


def test_known_values() -> None:
    assert Uniform(0, 10).from_unit(0.25) == 2.5
    assert LogUniform(1e-4, 1).from_unit(0.5) == pytest.approx(1e-2)
    assert LogitNormal(0.9, 0.999).from_unit(0.5) == pytest.approx(0.99)
    assert Integer(1, 4).from_unit(0.26) == 2
    assert Integer(1, 4).from_unit(1.0) == 4
    assert PowerOfTwo(8, 64).from_unit(0.3) == 16
    assert PowerOfTwo(8, 64).from_unit(1.0) == 64
    assert Choice(["a", "b"]).from_unit(0.5) == "b"
    assert Choice(["a", "b"]).default() == "a"
    assert LogUniform(1e-4, 1).default() == pytest.approx(1e-2)


def test_samples_are_spread_as_promised() -> None:
    rng = np.random.default_rng(0)
    logs = [math.log10(LogUniform(1e-4, 1).sample(rng)) for _ in range(2000)]
    assert np.mean(logs) == pytest.approx(-2, abs=0.1)
    counts = np.bincount([Integer(0, 3).sample(rng) for _ in range(4000)])
    assert counts.min() > 900
    powers = [PowerOfTwo(1, 8).sample(rng) for _ in range(4000)]
    assert min(powers.count(value) for value in (1, 2, 4, 8)) > 900
    ints = [Integer(1, 1000, log=True).sample(rng) for _ in range(2000)]
    assert 20 < np.median(ints) < 45


def test_sampling_is_repeatable_and_a_constant_draws_nothing() -> None:
    first, second = np.random.default_rng(5), np.random.default_rng(5)
    Constant(3).sample(first)
    assert Uniform(0, 1).sample(first) == Uniform(0, 1).sample(second)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(2, 1), r"Uniform\(2, 1\): the lower bound must be below the upper"),
        (lambda: Uniform(1, 1), r"a fixed value is Constant\(1\)"),
        (lambda: Uniform(math.nan, 1), "expected a finite number"),
        (lambda: Uniform("a", 1), "lo='a'"),  # type: ignore[arg-type]
        (lambda: LogUniform(0, 1), "a logarithm needs a lower bound above 0"),
        (lambda: LogitNormal(0.5, 1.5), "expected a number between 0 and 1"),
        (lambda: LogitNormal(0.9, 0.5), "the lower bound must be below"),
        (lambda: Integer(0, 10, log=True), "a logarithm needs a lower bound above 0"),
        (lambda: Integer(1, 2.5), "expected a whole number"),  # type: ignore[arg-type]
        (lambda: Integer(3, 3), "the lower bound must be below the upper"),
        (lambda: IntLogUniform(1, 4, log=False), r"write Integer\(lo, hi\)"),
        (lambda: PowerOfTwo(3, 8), r"PowerOfTwo\(lo=3\): expected a power of two, such as 4"),
        (lambda: PowerOfTwo(8, 8), "the lower bound must be below"),
        (lambda: Choice([]), "expected at least one value"),
        (lambda: Choice(["a", "a"]), "'a' is there twice"),
        (lambda: Choice("cnn"), "expected a list of values"),
        (lambda: Choice[int](["x"]), "valid integer"),  # type: ignore[list-item]
        (lambda: Uniform(0, 1).when("model"), "say for which values"),
        (lambda: Uniform(-1e308, 1e308), "the bounds are too far apart for floating point"),
        (
            lambda: LogUniform(1e300, math.nextafter(1e300, math.inf)),
            "the bounds are too close together for floating point",
        ),
        (lambda: Integer(0, 2**60), r"whole numbers are searched between -2\*\*53 and 2\*\*53"),
        (lambda: Integer(-(2**53), 2**53), r"whole numbers are searched between -2\*\*53 and 2\*\*53"),
        (lambda: Integer(0, 10**400), "expected a whole number"),
        (lambda: Choice([1.0, math.nan]), "NaN equals nothing"),
        (lambda: Choice({"cnn", "mlp"}), "a set has no order"),
        (lambda: Choice([np.zeros(2), np.ones(2)]), r"an array is no value of a parameter: write \[0.0, 0.0\]"),
    ],
)
def test_bad_bounds(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


@pytest.mark.parametrize("distribution", EVERY_KIND, ids=repr)
def test_foreign_values_are_rejected(distribution: Distribution[Any]) -> None:
    for value in (1e9, "no such value", object()):
        with pytest.raises(UsageError, match="is not a value of"):
            distribution.check(value)


def test_numpy_numbers_become_pythons() -> None:
    assert type(Integer(0, 9).check(np.int64(3))) is int
    assert type(Uniform(0, 9).check(np.float32(3))) is float
    with pytest.raises(UsageError, match=r"True is not a value of Integer\(0, 9\)"):
        Integer(0, 9).check(True)
    with pytest.raises(UsageError, match="12 is not a value of"):
        PowerOfTwo(8, 64).check(12)


def test_the_largest_whole_numbers_are_exact() -> None:
    wide = Integer(-1, 2**53 - 2)
    for value in (-1, 0, 2**53 - 3, 2**53 - 2):
        assert wide.check(value) == value
        assert wide.from_unit(wide.to_unit(value)) == value
    assert PowerOfTwo(1, 2**60).from_unit(1.0) == 2**60


def test_numpy_values_of_a_choice_become_pythons() -> None:
    choice = Choice[Any]([np.int64(1), np.float32(0.5), np.str_("a"), np.bool_(True)])
    assert [type(value) for value in choice.values] == [int, float, str, bool]
    assert Choice[Any](np.arange(3)).values == (0, 1, 2)


def test_true_is_not_one_in_a_choice() -> None:
    nested = Choice([{"bias": True}, {"bias": 1}])
    assert nested.index({"bias": 1}) == 1
    choice = Choice[Any]([1, True, 1.5])
    assert choice.index(True) == 1
    assert choice.index(1) == 0


def test_ordered_choices() -> None:
    assert Choice([32, 64, 128]).is_ordered
    assert not Choice([32, 128, 64]).is_ordered
    assert not Choice(["a", "b"]).is_ordered
    assert not Choice([32, 64], ordered=False).is_ordered
    assert Choice(["low", "high"], ordered=True).is_ordered


def test_distributions_are_frozen_values() -> None:
    assert Uniform(0, 1) == Uniform(0, 1)
    assert Uniform(0, 1) != Uniform(0, 2)
    with pytest.raises(ValueError, match="frozen"):
        Uniform(0, 1).lo = 3
