"""How a member of a population explores: the parameters that it copies, moved a little or drawn anew.

Pure functions of a space, a configuration and a generator of random numbers. What they return is always a
configuration of the space, and every value lies inside its bounds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from metta.sweep.errors import UsageError
from metta.sweep.space import Choice, Constant, Distribution, Integer, LogitNormal, LogUniform, PowerOfTwo, Uniform
from metta.sweep.space.constraints import MAX_TRIES
from metta.sweep.space.search_space import SearchSpace


def perturb(
    space: SearchSpace,
    params: Mapping[str, Any],
    rng: random.Random,
    *,
    factor: float = 0.2,
    resample_probability: float = 0.25,
) -> dict[str, Any]:
    """`params` with every value moved by one step, up or down with equal chances; see `moved`.

    A parameter that becomes active because its parent changed, or whose value the space does not know, is drawn.

    Args:
        space: the search space; parameters that it does not have are kept as they are.
        params: the configuration to start from.
        rng: where the chances come from.
        factor: see `moved`.
        resample_probability: see `moved`.

    Returns:
        A configuration that meets the constraints; `params` itself where 1,000 tries gave none.
    """

    def pick(path: str, distribution: Distribution[Any]) -> object:
        if path in params and is_value(distribution, params[path]):
            return moved(distribution, params[path], rng, factor, resample_probability)
        return distribution.from_unit(rng.random())

    return fitting(space, params, pick)


def resample(space: SearchSpace, params: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """A new draw of every parameter of the space; the others in `params` are kept.

    Returns:
        A configuration that meets the constraints; `params` itself where 1,000 tries gave none.
    """
    return fitting(space, params, lambda path, distribution: distribution.from_unit(rng.random()))


def moved(
    distribution: Distribution[Any], value: Any, rng: random.Random, factor: float, resample_probability: float
) -> Any:
    """`value`, one step up or down with equal chances.

    - real numbers: times 1 + factor or 1 - factor, clipped to the bounds (`LogitNormal`: their distance from 1 is);
    - whole numbers: likewise, rounded, and by at least 1;
    - both with a lower bound of 0 or less: `factor` of the unit interval up or down;
    - powers of two and ordered choices: to the neighbor;
    - other choices: drawn anew with `resample_probability`.

    Whole numbers, powers of two and ordered choices always move: at a bound there is one way only. Real numbers
    that are clipped may stay.

    Args:
        distribution: of the parameter.
        value: one of its values.
        rng: where the chances come from.
        factor: the size of a step, in (0, 1).
        resample_probability: of choices without an order.
    """
    match distribution:
        case Constant():
            return value
        case Choice() if distribution.is_ordered:
            return distribution.values[_neighbor(distribution.index(value), len(distribution.values), rng)]
        case Choice():
            return distribution.from_unit(rng.random()) if rng.random() < resample_probability else value
        case PowerOfTwo():
            lo, hi = distribution.exponents
            return 1 << (lo + _neighbor(distribution.check(value).bit_length() - 1 - lo, hi - lo + 1, rng))
        case Integer():
            return _moved_integer(distribution, distribution.check(value), rng, factor)
    sign = 1 if rng.random() < 0.5 else -1
    if isinstance(distribution, LogitNormal):
        return _clipped(distribution, 1 - (1 - value) * (1 - sign * factor))
    if isinstance(distribution, Uniform | LogUniform) and distribution.lo > 0:
        return _clipped(distribution, value * (1 + sign * factor))
    return _shifted(distribution, value, sign * factor)


def is_value(distribution: Distribution[Any], value: object) -> bool:
    """Whether it is one of the values of `distribution`."""
    try:
        distribution.check(value)
    except UsageError:
        return False
    return True


def fitting(
    space: SearchSpace,
    params: Mapping[str, Any],
    pick: Callable[[str, Distribution[Any]], object],
    tries: int = MAX_TRIES,
) -> dict[str, Any]:
    """What `pick` gives for the active parameters, tried until the constraints hold; after `tries` `params`.

    Parameters that the space does not have are taken from `params`.
    """
    known = set(space)
    kept = {path: params[path] for path in params if path not in known}
    for _ in range(tries):
        built = space.build(pick)
        if space.broken(built) is None:
            return {**built, **kept}
    return dict(params)


def _neighbor(index: int, count: int, rng: random.Random) -> int:
    """The index one up or down among `count`; at an end the only neighbor there is."""
    up = rng.random() < 0.5
    if count == 1:
        return index
    if index in (0, count - 1):
        up = index == 0
    return index + (1 if up else -1)


def _moved_integer(distribution: Integer, value: int, rng: random.Random, factor: float) -> int:
    up = rng.random() < 0.5
    if value in (distribution.lo, distribution.hi):
        up = value == distribution.lo
    sign = 1 if up else -1
    if distribution.lo > 0:
        target = round(value * (1 + sign * factor))
    else:
        target = _shifted(distribution, value, sign * factor)
    target = max(target, value + 1) if up else min(target, value - 1)
    return min(max(target, distribution.lo), distribution.hi)


def _shifted(distribution: Distribution[Any], value: Any, shift: float) -> Any:
    """The value that lies `shift` further in the unit interval, or at its end."""
    return distribution.from_unit(min(max(distribution.to_unit(value) + shift, 0.0), 1.0))


def _clipped(distribution: Uniform | LogUniform | LogitNormal, value: float) -> float:
    return min(max(value, distribution.lo), distribution.hi)
