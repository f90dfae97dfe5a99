import math
import os
import subprocess
import sys
from collections.abc import Mapping
from statistics import mean, stdev
from typing import Any

import numpy as np
import pytest

from metta.sweep.errors import UsageError
from metta.sweep.space import Choice, Integer, LogUniform, SearchSpace, Uniform
from metta.sweep.testing import bowl, crossing, failing, noisy, power_law
from metta.sweep.trial import Params

SPACE = SearchSpace(
    {
        "lr": LogUniform(1e-4, 1),
        "kind": Choice(["cnn", "mlp"]),
        "cnn.layers": Integer(1, 5),
        "x": Uniform(0, 1),
        "seed": 7,
    }
)
BEST = Params({"lr": LogUniform(1e-4, 1).from_unit(0.75), "kind": "mlp", "x": 0.75, "seed": 7})
SAMPLES = [SPACE.sample(np.random.default_rng(number)) for number in range(200)]


def test_the_bowl_is_one_at_its_bottom_and_zero_at_the_farthest_corner() -> None:
    quality = bowl(SPACE, at=0.75)
    assert quality(BEST) == pytest.approx(1)
    assert all(0 <= quality(params) < 1 for params in SAMPLES)
    assert bowl({"x": Uniform(0, 1)}, at=0.75)(Params({"x": 0.0})) == pytest.approx(0)
    assert bowl({"x": 3})(Params({"x": 3})) == 1


def test_power_laws_tend_to_the_quality_and_never_cross() -> None:
    quality = bowl(SPACE)
    curve = power_law(quality, gap=0.8, exponent=0.5)
    for params in SAMPLES[:20]:
        assert curve(params, 1) == pytest.approx(quality(params) - 0.8)
        assert curve(params, 100) == pytest.approx(quality(params) - 0.08)
    orders = [sorted(range(20), key=lambda number: scalar(curve(SAMPLES[number], step))) for step in (1, 100)]
    assert orders[0] == orders[1]


def scalar(value: float | Mapping[str, float]) -> float:
    assert isinstance(value, float)
    return value


def test_crossing_curves_turn_the_order_round() -> None:
    curve = crossing(lambda params: float(params["q"]), fast=1, slow=30)
    good, bad = Params({"q": 0.9}), Params({"q": 0.4})
    assert scalar(curve(good, 1)) < scalar(curve(bad, 1))
    assert scalar(curve(good, 200)) > scalar(curve(bad, 200))
    assert scalar(curve(good, 1000)) == pytest.approx(0.9)


def test_noise_is_normal_and_belongs_to_parameters_and_step() -> None:
    quality = bowl(SPACE)
    curve, plain = noisy(power_law(quality), 0.1, seed=4), power_law(quality)
    errors = [scalar(curve(params, step)) - scalar(plain(params, step)) for params in SAMPLES for step in range(1, 6)]
    assert abs(mean(errors)) < 0.01
    assert stdev(errors) == pytest.approx(0.1, rel=0.1)
    assert len(set(errors)) == len(errors)
    assert curve(SAMPLES[0], 3) == curve(SAMPLES[0], 3)
    assert curve(SAMPLES[0], 3) != noisy(power_law(quality), 0.1, seed=5)(SAMPLES[0], 3)
    both: Any = noisy(lambda params, step: {"a": 1.0, "b": 1.0}, 0.1)(SAMPLES[0], 1)
    assert both["a"] != both["b"]


def breakdown(curve: Any, params: Params, steps: int = 10) -> int | None:
    """The first step that cannot be had, None where all can."""
    for step in range(1, steps + 1):
        try:
            curve(params, step)
        except RuntimeError:
            with pytest.raises(RuntimeError, match=f"it broke down at step {steps}"):
                curve(params, steps)
            return step
    return None


def test_a_share_of_the_trials_fails_each_at_its_own_step() -> None:
    found = [breakdown(failing(power_law(bowl(SPACE)), 0.4, by_step=6, seed=2), params) for params in SAMPLES]
    broken = [step for step in found if step is not None]
    assert 0.3 < len(broken) / len(found) < 0.5
    assert set(broken) == {1, 2, 3, 4, 5, 6}
    assert {breakdown(failing(power_law(bowl(SPACE)), 0.0), params) for params in SAMPLES} == {None}
    assert {breakdown(failing(power_law(bowl(SPACE)), 1.0), params) for params in SAMPLES} == {1}


def test_diverging_trainings_report_nan_from_then_on() -> None:
    curve = failing(power_law(bowl(SPACE)), 1.0, by_step=4, nan=True)
    for params in SAMPLES[:20]:
        found = [math.isnan(scalar(curve(params, step))) for step in range(1, 9)]
        assert found == sorted(found)
        assert found[-1]
    both: Any = failing(lambda params, step: {"a": 1.0, "b": 2.0}, 1.0, nan=True)(SAMPLES[0], 1)
    assert set(both) == {"a", "b"}
    assert all(map(math.isnan, both.values()))


def test_the_draws_are_the_same_in_every_process() -> None:
    code = (
        "from metta.sweep.testing import *\nfrom metta.sweep.trial import Params\n"
        "print(noisy(lambda params, step: 0.0, 1.0)(Params({'a': 'x', 'b': 2}), 3))"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert float(outputs[0]) == noisy(lambda params, step: 0.0, 1.0)(Params({"b": 2, "a": "x"}), 3)
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: bowl(SPACE, at=1.5),
        lambda: power_law(bowl(SPACE), gap=-1),
        lambda: power_law(bowl(SPACE), exponent=0),
        lambda: crossing(bowl(SPACE), fast=5, slow=2),
        lambda: noisy(power_law(bowl(SPACE)), -0.1),
        lambda: noisy(power_law(bowl(SPACE)), math.nan),
        lambda: failing(power_law(bowl(SPACE)), 1.1),
        lambda: failing(power_law(bowl(SPACE)), 0.5, by_step=0),
    ],
)
def test_arguments_out_of_range(wrong: Any) -> None:
    with pytest.raises(UsageError, match="expected a number from"):
        wrong()
