"""Parameters as JSON values and back."""

from __future__ import annotations

import enum
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.errors import DamagedError, UsageError
from metta.sweep.optimizers.params import ParamsCodec
from metta.sweep.space import Choice, SearchSpace


class Color(enum.Enum):
    RED = 1
    BLUE = 2


SPACE = SearchSpace({"color": Choice([Color.RED, Color.BLUE]), "shape": Choice([(1, 2), "wide"])})

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text("abc"), inner),
    max_leaves=8,
)


@settings(derandomize=True, max_examples=200)
@given(st.dictionaries(st.text(), VALUES))
def test_json_values_and_tuples_come_back(params: dict[str, Any]) -> None:
    codec = ParamsCodec(None)
    stored = json.loads(json.dumps(codec.encode(params), allow_nan=False))
    found = codec.decode(stored)
    assert found == params
    assert repr(found) == repr(params)


def test_nan_comes_back() -> None:
    codec = ParamsCodec(None)
    assert math.isnan(codec.decode(codec.encode({"x": math.nan}))["x"])


def test_a_choice_comes_back_as_the_object_of_the_space() -> None:
    codec = ParamsCodec(SPACE)
    params = {"color": Color.BLUE, "shape": (1, 2)}
    stored = json.loads(json.dumps(codec.encode(params)))
    assert codec.decode(stored) == params
    assert ParamsCodec(None).decode(stored) == {"color": "<Color.BLUE: 2>", "shape": (1, 2)}


def test_a_choice_that_the_space_has_no_more_is_damage() -> None:
    stored = ParamsCodec(SPACE).encode({"color": Color.BLUE})
    smaller = SearchSpace({"color": Choice([Color.RED])})
    with pytest.raises(DamagedError, match=r"'color' was <Color.BLUE: 2>, which the search space no longer has"):
        ParamsCodec(smaller).decode(stored)


def test_numbers_of_numpy_become_pythons() -> None:
    found = ParamsCodec(None).encode(
        {"a": np.float32(0.5), "b": np.int64(3), "c": np.float64(0.25), "d": np.bool_(True)}
    )
    assert {name: (type(value), value) for name, value in found.items()} == {
        "a": (float, 0.5),
        "b": (int, 3),
        "c": (float, 0.25),
        "d": (bool, True),
    }


def test_anything_else_is_named() -> None:
    with pytest.raises(
        UsageError, match=r"'layers' is a builtins\.object, which cannot be stored: search it with Choice"
    ):
        ParamsCodec(SPACE).encode({"layers": [1, object()]})
    with pytest.raises(UsageError, match=r"'a' is a builtins\.set"):
        ParamsCodec(None).encode({"a": {1, 2}})
