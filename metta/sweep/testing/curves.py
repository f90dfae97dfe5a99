"""Learning curves for simulated sweeps: formulas whose optimum, noise and failures are known.

A curve maps parameters and step (from 1) to a score to maximize. All are functions of their arguments: what looks
random is drawn from the seed, the parameters and the step.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from metta.sweep.errors import UsageError
from metta.sweep.space import SearchSpace
from metta.sweep.trial import Params

if TYPE_CHECKING:
    from metta.sweep.testing.simulate import Curve

Quality = Callable[[Params], float]
"""How good parameters are, from 0 to 1: what a curve tends to."""


def bowl(space: SearchSpace | Mapping[str, object], at: float = 0.7) -> Quality:
    """A quality with one optimum.

    It is 1 where every active parameter lies at the place `at` of its unit interval, and falls with the mean squared
    distance from there; constants do not count.

    Raises:
        UsageError: `at` is not between 0 and 1.
    """
    searched = SearchSpace.of(space)
    _check("bowl", "at", at, 0, 1)
    widest = max(at, 1 - at) ** 2

    def quality(params: Params) -> float:
        values = dict(params)
        squares = [(searched[path].to_unit(values[path]) - at) ** 2 for path in searched.tunable if path in values]
        return 1 - sum(squares) / (len(squares) * widest) if squares else 1.0

    return quality


def power_law(quality: Quality, *, gap: float = 1.0, exponent: float = 0.5) -> Curve:
    """Learning as it often goes: quality - gap * step^-exponent (Domhan, Springenberg, Hutter, 2015, table 1, "pow3").

    Curves do not cross: the order after one step is the order at the end.

    Args:
        quality: of the parameters; where the curve tends to.
        gap: what is missing after one step; not negative.
        exponent: how fast the gap closes; above 0.

    Raises:
        UsageError: an argument is out of range.
    """
    _check("power_law", "gap", gap, 0, math.inf)
    _check("power_law", "exponent", exponent, math.ulp(0), math.inf)

    def curve(params: Params, step: int) -> float:
        return quality(params) - gap * math.pow(step, -exponent)

    return curve


def crossing(quality: Quality, *, fast: float = 1.0, slow: float = 10.0) -> Curve:
    """Curves that cross: the better the parameters are in the end, the slower they learn.

    The score is quality * (1 - exp(-step / pace)); the pace goes from `fast` steps at quality 0 to `slow` at quality 1,
    so that a scheduler that stops early stops the best ones.

    Raises:
        UsageError: not 0 < fast <= slow.
    """
    _check("crossing", "fast", fast, math.ulp(0), slow)

    def curve(params: Params, step: int) -> float:
        best = quality(params)
        pace = fast * (slow / fast) ** min(max(best, 0.0), 1.0)
        return best * (1 - math.exp(-step / pace))

    return curve


def noisy(curve: Curve, sigma: float, *, seed: int = 0) -> Curve:
    """`curve` with normal noise of standard deviation `sigma` on every metric, its own for every step.

    Raises:
        UsageError: `sigma` is negative.
    """
    _check("noisy", "sigma", sigma, 0, math.inf)

    def with_noise(params: Params, step: int) -> float | Mapping[str, float]:
        draws = _draws("noise", seed, params, step)
        value = curve(params, step)
        if isinstance(value, Mapping):
            return {name: number + draws.gauss(0, sigma) for name, number in value.items()}
        return value + draws.gauss(0, sigma)

    return with_noise


def failing(curve: Curve, share: float, *, by_step: int = 1, nan: bool = False, seed: int = 0) -> Curve:
    """`curve`, but a share of the configurations breaks down at a step of its own and never goes on.

    Args:
        curve: of the others.
        share: how many break down, from 0 to 1.
        by_step: they do so at a step from 1 to this one, each as likely.
        nan: they report NaN from then on, as a training that diverged; else they raise a RuntimeError.
        seed: chooses who breaks down, and when.

    Raises:
        UsageError: `share` or `by_step` is out of range.
    """
    _check("failing", "share", share, 0, 1)
    _check("failing", "by_step", by_step, 1, math.inf)

    def fragile(params: Params, step: int) -> float | Mapping[str, float]:
        draws = _draws("failure", seed, params)
        breaks = draws.random() < share
        if not breaks or step < draws.randint(1, by_step):
            return curve(params, step)
        if not nan:
            raise RuntimeError(f"it broke down at step {step}")
        value = curve(params, step)
        return dict.fromkeys(value, math.nan) if isinstance(value, Mapping) else math.nan

    return fragile


def _draws(what: str, seed: int, params: Params, step: int = 0) -> random.Random:
    # Text is hashed to a seed the same way in every process.
    return random.Random(f"{what}/{seed}/{step}/{sorted(dict(params).items(), key=lambda item: item[0])!r}")


def _check(family: str, name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise UsageError(f"{family}({name}={value!r}): expected a number from {least:g} to {most:g}")
