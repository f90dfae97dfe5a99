"""Laws of every space, on spaces drawn at random."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
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

RULES = settings(derandomize=True, max_examples=80, deadline=None)

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from(["a", "b", "c"]),
    st.lists(st.integers(0, 3), max_size=2),
)


@st.composite
def distributions(draw: st.DrawFn) -> Distribution[Any]:
    """Any distribution, any bounds that it takes."""
    kind = draw(
        st.sampled_from([Uniform, LogUniform, LogitNormal, Integer, IntLogUniform, PowerOfTwo, Choice, Constant])
    )
    if kind is Constant:
        return Constant(draw(VALUES))
    if kind is Choice:
        try:
            return Choice(
                draw(st.lists(VALUES, min_size=1, max_size=5)), ordered=draw(st.sampled_from([None, True, False]))
            )
        except UsageError:
            assume(False)
    bounds: Any = {
        Uniform: st.floats(-1e300, 1e300),
        LogUniform: st.floats(1e-300, 1e300),
        LogitNormal: st.floats(1e-6, 1 - 1e-6),
        Integer: st.integers(-(2**52), 2**52),
        IntLogUniform: st.integers(1, 2**40),
        PowerOfTwo: st.integers(0, 60).map(lambda exponent: 2**exponent),
    }[kind]
    lo, hi = sorted([draw(bounds), draw(bounds)])
    assume(hi - lo > 1e-6 * max(abs(lo), abs(hi)))
    made: Distribution[Any] = kind(lo, hi)
    return made


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """Parameters of every kind, nested under one another by conditions, not always declared after their parents."""
    parameters: dict[str, Distribution[Any]] = {}
    for number in range(draw(st.integers(1, 6))):
        distribution = draw(distributions())
        parents = [path for path, known in parameters.items() if isinstance(known, Choice)]
        if draw(st.booleans()) and parents:
            parent = draw(st.sampled_from(parents))
            chosen = parameters[parent]
            assert isinstance(chosen, Choice)
            distribution = distribution.when(parent, *draw(st.permutations(chosen.values))[: draw(st.integers(1, 2))])
        parameters[f"group.p{number}"] = distribution
    paths = draw(st.permutations(list(parameters)))
    return SearchSpace({path: parameters[path] for path in paths})


@RULES
@given(distribution=distributions(), unit=st.floats(0, 1))
def test_the_unit_interval_covers_every_distribution(distribution: Distribution[Any], unit: float) -> None:
    value = distribution.from_unit(unit)
    distribution.check(value)
    back = distribution.to_unit(value)
    assert 0 <= back <= 1
    again = distribution.from_unit(back)
    if isinstance(value, float) and not isinstance(distribution, Choice | Constant):
        assert isinstance(distribution, Uniform | LogUniform | LogitNormal)
        scale = max(abs(distribution.lo), abs(distribution.hi)) if isinstance(distribution, Uniform) else abs(value)
        # A logarithm of 690 has 13 digits after the point.
        assert math.isclose(again, value, rel_tol=1e-9, abs_tol=1e-9 * scale)
    else:
        assert again == value


@RULES
@given(distribution=distributions())
def test_the_ends_of_the_unit_interval_are_the_bounds(distribution: Distribution[Any]) -> None:
    if isinstance(distribution, Uniform | LogUniform | LogitNormal | Integer | PowerOfTwo):
        assert (distribution.from_unit(0.0), distribution.from_unit(1.0)) == (distribution.lo, distribution.hi)
    if isinstance(distribution, Choice):
        assert (distribution.from_unit(0.0), distribution.from_unit(1.0)) == (
            distribution.values[0],
            distribution.values[-1],
        )


@RULES
@given(distribution=distributions(), first=st.floats(0, 1), second=st.floats(0, 1))
def test_the_unit_interval_keeps_the_order(distribution: Distribution[Any], first: float, second: float) -> None:
    if not isinstance(distribution, Choice | Constant):
        low, high = sorted([first, second])
        assert distribution.from_unit(low) <= distribution.from_unit(high)


@RULES
@given(space=spaces(), seed=st.integers(0, 2**32 - 1))
def test_a_sample_is_a_configuration_of_the_space(space: SearchSpace, seed: int) -> None:
    params = space.sample(np.random.default_rng(seed))
    assert dict(space.validate(params)) == dict(params)
    assert dict(space.complete(params)) == dict(params)
    assert space.active(params) == tuple(params)
    for path in space:
        holds = [
            condition.parameter in dict(params) and condition.holds(params[condition.parameter])
            for condition in space.conditions(path)
        ]
        assert (path in dict(params)) == all(holds)
    adapted = space.adapt(params)
    assert (dict(adapted.params), adapted.dropped, adapted.filled) == (dict(params), (), ())


@RULES
@given(space=spaces(), seed=st.integers(0, 2**32 - 1))
def test_json_gives_the_same_space_back(space: SearchSpace, seed: int) -> None:
    text = json.dumps(space.to_json(), allow_nan=False)
    again = SearchSpace.from_json(json.loads(text))
    assert again == space
    assert json.dumps(again.to_json()) == text
    first, second = (known.sample(np.random.default_rng(seed)) for known in (space, again))
    assert dict(first) == dict(second)


@RULES
@given(space=spaces())
def test_every_parameter_is_active_somewhere(space: SearchSpace) -> None:
    """What can never be active is no space, see `test_contradictory_conditions`."""
    seen: set[str] = set()
    rng = np.random.default_rng(0)
    for _ in range(400):
        seen |= set(space.sample(rng))
        if seen == set(space):
            return
    # Deep nests of rare values may be missed by chance, but not by much.
    assert len(seen) >= len(space) - 2


@RULES
@given(space=spaces(), data=st.data())
def test_a_misspelt_name_is_an_error_that_names_the_nearest(space: SearchSpace, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(list(space)))
    with pytest.raises(KeyError, match="did you mean"):
        space[f"{path}x"]
    with pytest.raises(KeyError, match="did you mean"):
        space.complete({path.replace("group", "grop"): 1})
