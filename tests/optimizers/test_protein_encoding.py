import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.errors import UsageError
from metta.sweep.optimizers.protein.encoding import ONE_HOT_LIMIT, Encoding
from metta.sweep.space import (
    Choice,
    Distribution,
    Integer,
    IntLogUniform,
    LogitNormal,
    LogUniform,
    PowerOfTwo,
    SearchSpace,
    Uniform,
)
from metta.sweep.trial import Params


class Steps(Distribution[float]):
    """A third party's distribution: multiples of 0.1 from 0 to 1."""

    def from_unit(self, unit: float) -> float:
        return round(unit * 10) / 10

    def to_unit(self, value: float) -> float:
        return value

    def check(self, value: object) -> float:
        return float(value)  # type: ignore[arg-type]


SPACE = SearchSpace(
    {
        "real": Uniform(-3, 7),
        "log": LogUniform(1e-6, 1e2),
        "gamma": LogitNormal(0, 1),
        "int": Integer(-5, 9),
        "bool_int": Integer(0, 1),
        "log_int": Integer(1, 5000, log=True),
        "log_int_2": IntLogUniform(8, 512),
        "power": PowerOfTwo(1, 4096),
        "ordered": Choice([1, 2, 8, 32]),
        "odd": Choice([True, 1, "a", [64, 64], None]),
        "many": Choice([f"value {number}" for number in range(ONE_HOT_LIMIT + 1)]),
        "one": Choice(["only"]),
        "steps": Steps(),
        "fixed": "v",
    }
)
NESTED = SearchSpace(
    {
        "kind": Choice(["cnn", "mlp"]),
        "cnn.layers": Integer(1, 9),
        "mlp.width": Integer(8, 64).when("kind", "mlp"),
        "deep.rate": Uniform(0, 1).when("cnn.layers", 7, 8, 9),
        "mode": "fixed",
        "never": Uniform(0, 1).when("mode", "fixed").when("kind", "mlp"),
    }
)


@pytest.mark.parametrize("space", [SPACE, NESTED])
@settings(derandomize=True, max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_configuration_comes_back(space: SearchSpace, seed: int) -> None:
    encoding = Encoding(space)
    params = space.sample(np.random.default_rng(seed))
    row = encoding.encode(params)
    assert row.shape == (encoding.width,) == encoding.groups.shape
    assert np.abs(row).max() <= 1
    again = dict(encoding.decode(row))
    assert again.keys() == dict(params).keys()
    for path, value in dict(params).items():
        if isinstance(value, float):
            assert again[path] == pytest.approx(value, rel=1e-9, abs=1e-9)
        else:
            assert again[path] == value
            assert type(again[path]) is type(value)


@pytest.mark.parametrize("space", [SPACE, NESTED])
def test_snapped_rows_are_those_of_their_configurations(space: SearchSpace) -> None:
    encoding = Encoding(space)
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1.2, 1.2, size=(300, encoding.width))
    snapped = encoding.snapped(rows)
    expected = np.array([encoding.encode(encoding.decode(row)) for row in rows])
    np.testing.assert_allclose(snapped, expected, atol=1e-12)
    np.testing.assert_allclose(encoding.snapped(snapped), snapped, atol=1e-12)
    for drawn in (
        encoding.around(rng, 100, snapped[:3], encoding.scales({}, 1.0)),
        encoding.uniform(rng.random((100, len(encoding.axes)))),
    ):
        np.testing.assert_allclose(drawn, encoding.snapped(drawn), atol=1e-12)


def test_inactive_parameters_sit_at_their_default() -> None:
    encoding = Encoding(NESTED)
    a = encoding.encode(Params({"kind": "cnn", "cnn.layers": 3, "mode": "fixed"}))
    columns = {axis.path: axis.columns for axis in encoding.axes}
    for path in ("mlp.width", "deep.rate", "never"):
        np.testing.assert_array_equal(a[columns[path]], encoding.default[columns[path]])
    changed = a.copy()
    changed[columns["mlp.width"]] = 0.9
    np.testing.assert_array_equal(encoding.snapped(changed[None, :])[0], a)


def test_candidates_stay_in_their_box_and_reach_every_value() -> None:
    encoding = Encoding(SPACE)
    center = encoding.encode(SPACE.complete({}))
    scales = encoding.scales({"real": 0.1, "odd": 1.0}, 1.0)
    rows = encoding.around(np.random.default_rng(1), 4000, center[None, :], scales)
    columns = {axis.path: axis.columns for axis in encoding.axes}
    assert np.abs(rows[:, columns["real"]]).max() <= 0.1
    assert np.abs(rows[:, columns["log"]]).max() <= 0.5
    assert np.abs(rows[:, columns["log"]]).max() > 0.49
    seen = {
        path: {repr(dict(encoding.decode(row))[path]) for row in rows[:800]} for path in ("bool_int", "odd", "many")
    }
    assert {path: len(values) for path, values in seen.items()} == {"bool_int": 2, "odd": 5, "many": ONE_HOT_LIMIT + 1}


def test_only_a_share_of_the_parameters_changes() -> None:
    encoding = Encoding(SearchSpace({f"x{number}": Uniform(0, 1) for number in range(50)}))
    rows = encoding.around(
        np.random.default_rng(0), 500, encoding.default[None, :], encoding.scales({}, 1.0), share=0.1
    )
    changed = (rows != encoding.default).sum(axis=1)
    assert changed.min() >= 1
    assert 4.5 < changed.mean() < 7


def test_scales() -> None:
    space = SearchSpace({"steps": LogUniform(1, 1024), "x": Uniform(-1, 1), "n": Integer(0, 1)})
    encoding = Encoding(space)
    np.testing.assert_allclose(encoding.scales({"steps": "time", "x": 0.25}, 2.0), [0.2, 0.5, 1.0])
    np.testing.assert_allclose(encoding.scales({}, 1.0), [0.5, 0.5, 0.75])
    with pytest.raises(UsageError, match=r"'x': \"time\".*has no positive bounds"):
        encoding.scales({"x": "time"}, 1.0)


def test_the_scale_of_a_logit_is_that_of_one_minus_the_value() -> None:
    encoding = Encoding(SearchSpace({"gamma": LogitNormal(0.9, 0.999)}))
    middle: dict[str, Any] = dict(encoding.decode(np.zeros(1)))
    assert middle["gamma"] == pytest.approx(1 - math.sqrt(0.1 * 0.001))
