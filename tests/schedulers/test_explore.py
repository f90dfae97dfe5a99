"""Exploring: what a fork changes in the parameters that it copies."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.schedulers.explore import moved, perturb, resample
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
    divides,
)


def outcomes(distribution: Distribution[Any], value: Any, probability: float = 0.25, factor: float = 0.2) -> set[Any]:
    """What becomes of `value` in 60 draws."""
    return {moved(distribution, value, random.Random(seed), factor, probability) for seed in range(60)}


@pytest.mark.parametrize(
    ("distribution", "value", "expected"),
    [
        (Uniform(1, 10), 5.0, {4.0, 6.0}),
        (LogUniform(1e-4, 1.0), 0.5, {0.4, 0.6}),
        (Uniform(1, 10), 9.0, {7.2, 10.0}),  # clipped: peers leave the bounds
        (Uniform(4, 10), 4.5, {4.0, 5.4}),
        (Uniform(-1, 1), 0.0, {-0.4, 0.4}),  # 0.2 of the unit interval; a factor would leave 0 at 0 for ever
        (Uniform(0, 1), 0.0, {0.0, 0.2}),
        (Integer(1, 100), 50, {40, 60}),
        (Integer(1, 100), 2, {1, 3}),  # times 1.2 is rounded to 2: it moves by 1 at least
        (Integer(1, 100), 1, {2}),
        (Integer(1, 100), 100, {80}),
        (Integer(1, 100), 99, {79, 100}),
        (Integer(0, 10), 0, {2}),
        (Integer(-50, 49), 0, {-20, 20}),
        (IntLogUniform(1, 1000), 100, {80, 120}),
        (PowerOfTwo(8, 64), 16, {8, 32}),
        (PowerOfTwo(8, 64), 8, {16}),
        (PowerOfTwo(8, 64), 64, {32}),
        (Choice([0.1, 0.5, 2.0]), 0.5, {0.1, 2.0}),  # increasing numbers are ordered
        (Choice([0.1, 0.5, 2.0]), 2.0, {0.5}),
        (Choice(["s", "m", "l"], ordered=True), "s", {"m"}),
        (Choice([0.1, 0.5, 2.0], ordered=False), 0.5, {0.1, 0.5, 2.0}),
        (Choice([7]), 7, {7}),
        (Constant("a"), "a", {"a"}),
    ],
)
def test_one_step(distribution: Distribution[Any], value: Any, expected: set[Any]) -> None:
    found = outcomes(distribution, value)
    assert {round(each, 9) if isinstance(each, float) else each for each in found} == expected


def test_the_distance_of_a_discount_from_one_is_scaled() -> None:
    assert {round(value, 9) for value in outcomes(LogitNormal(0.9, 0.999), 0.99)} == {0.988, 0.992}


def test_a_choice_without_order_is_drawn_anew_with_its_probability() -> None:
    letters = Choice(["a", "b", "c"])
    assert outcomes(letters, "a", 0.0) == {"a"}
    assert outcomes(letters, "a", 1.0) == {"a", "b", "c"}
    stays = Counter(moved(letters, "a", random.Random(seed), 0.2, 0.3) for seed in range(3000))["a"]
    assert stays / 3000 == pytest.approx(1 - 0.3 * 2 / 3, abs=0.03)


def test_up_and_down_are_equally_likely() -> None:
    ups = sum(moved(Uniform(1, 10), 5.0, random.Random(seed), 0.2, 0.25) > 5 for seed in range(1000))
    assert 440 < ups < 560


numbers = st.floats(-1e3, 1e3, allow_nan=False)
distributions: st.SearchStrategy[Distribution[Any]] = st.one_of(
    st.tuples(numbers, st.floats(1e-3, 1e3)).map(lambda pair: Uniform(pair[0], pair[0] + pair[1])),
    st.tuples(st.floats(1e-6, 1e3), st.floats(1.01, 1e4)).map(lambda pair: LogUniform(pair[0], pair[0] * pair[1])),
    st.tuples(st.floats(0, 0.5), st.floats(0.51, 1)).map(lambda pair: LogitNormal(*pair)),
    st.tuples(st.integers(-500, 500), st.integers(1, 500)).map(lambda pair: Integer(pair[0], pair[0] + pair[1])),
    st.tuples(st.integers(1, 500), st.integers(1, 500)).map(lambda pair: Integer(pair[0], sum(pair), log=True)),
    st.tuples(st.integers(0, 8), st.integers(1, 8)).map(lambda pair: PowerOfTwo(2 ** pair[0], 2 ** sum(pair))),
    st.integers(2, 6).map(lambda count: Choice(range(count))),
    st.integers(2, 6).map(lambda count: Choice([f"c{index}" for index in range(count)])),
)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(distribution=distributions, unit=st.floats(0, 1), seed=st.integers(0, 999), factor=st.floats(0.01, 0.99))
def test_a_step_stays_inside_the_bounds_and_what_is_countable_moves(
    distribution: Distribution[Any], unit: float, seed: int, factor: float
) -> None:
    value = distribution.from_unit(unit)
    found = moved(distribution, value, random.Random(seed), factor, 0.25)
    assert distribution.check(found) == found
    assert type(found) is type(value)
    if isinstance(distribution, Integer | PowerOfTwo) or (isinstance(distribution, Choice) and distribution.is_ordered):
        assert found != value
    if isinstance(distribution, PowerOfTwo):
        assert found in (value * 2, value // 2)


CONDITIONAL = SearchSpace(
    {
        "model": Choice(["cnn", "mlp"]),
        "cnn.layers": Integer(3, 10),
        "mlp.width": PowerOfTwo(8, 64),
        "lr": LogUniform(1e-4, 1e-1),
        "epochs": 5,
    }
)


def test_a_changed_parent_brings_its_children_and_drops_the_others() -> None:
    params = {"model": "cnn", "cnn.layers": 5, "lr": 1e-2, "epochs": 5}
    seen: dict[str, set[Any]] = {"cnn": set(), "mlp": set()}
    for seed in range(200):
        found = CONDITIONAL.validate(perturb(CONDITIONAL, params, random.Random(seed), resample_probability=0.5))
        seen[found["model"]].add(found["cnn.layers" if found["model"] == "cnn" else "mlp.width"])
    assert seen == {"cnn": {4, 6}, "mlp": {8, 16, 32, 64}}


def test_resample_draws_everything_of_the_space() -> None:
    params = {"model": "cnn", "cnn.layers": 5, "lr": 1e-2, "epochs": 5, "note": "mine"}
    found = [resample(CONDITIONAL, params, random.Random(seed)) for seed in range(100)]
    assert len({each["lr"] for each in found}) == 100
    assert {each["model"] for each in found} == {"cnn", "mlp"}
    assert all(each["note"] == "mine" for each in found)


def test_constraints_hold_and_impossible_ones_keep_the_donor() -> None:
    space = SearchSpace({"batch": PowerOfTwo(8, 64), "mini": PowerOfTwo(8, 64)}).require(divides("mini", "batch"))
    params = {"batch": 16, "mini": 16}
    found = [perturb(space, params, random.Random(seed)) for seed in range(50)]
    assert {(each["batch"], each["mini"]) for each in found} == {(32, 32), (32, 8), (8, 8)}
    never = SearchSpace({"x": Uniform(0, 1)}).require(lambda params: params["x"] == 0.123)
    assert perturb(never, {"x": 0.123}, random.Random(0)) == {"x": 0.123}


def test_a_value_that_the_space_does_not_know_is_drawn() -> None:
    space = SearchSpace({"x": Uniform(0, 1)})
    found = perturb(space, {"x": 17.0, "other": 1}, random.Random(0))
    assert 0 <= found["x"] <= 1
    assert found["other"] == 1


def test_the_same_generator_gives_the_same() -> None:
    params = {"model": "mlp", "mlp.width": 16, "lr": 1e-2, "epochs": 5}
    first, again = (perturb(CONDITIONAL, params, random.Random("seed/1")) for _ in range(2))
    assert first == again
