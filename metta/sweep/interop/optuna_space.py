"""The parameters of a sweep as Optuna's distributions, in the values that the trials have."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metta.sweep.interop.facts import Plain, plain_params
from metta.sweep.space import Choice, Distribution, Integer, LogUniform, PowerOfTwo, SearchSpace, Uniform
from metta.sweep.space.distributions import LogitNormal

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True, slots=True)
class Shown:
    """A parameter as Optuna shows it.

    Attributes:
        distribution: Optuna's.
        encode: a plain value of ours -> a value of the distribution.
    """

    distribution: BaseDistribution
    encode: Callable[[Plain], Any]


def shown_space(
    space: Mapping[str, Mapping[str, Any]], configurations: Iterable[Mapping[str, Plain]]
) -> dict[str, Shown]:
    """How Optuna should show each parameter that some configuration has.

    Unlike the optimizer's (optimizers/optuna_space.py) these are distributions of the values themselves: powers of two
    are whole numbers on a logarithmic scale, not exponents. A range is widened where a value lies outside of it (of an
    initial configuration, say); parameters of which the space knows nothing, or something else, get the range or the
    choice of their values.

    Args:
        space: path -> the distribution as JSON.
        configurations: plain parameters of all trials.
    """
    values: dict[str, dict[tuple[type, Plain], None]] = {}
    for params in configurations:
        for path, value in params.items():
            values.setdefault(path, {})[(type(value), value)] = None
    # When a parameter is searched says nothing of its range, and where digests stand for objects it is a mere text.
    ranges = {path: {**fields, "conditions": []} for path, fields in space.items()}
    known = SearchSpace.from_json({"parameters": ranges}) if space else {}
    return {path: _shown(path, known.get(path), [value for _, value in seen]) for path, seen in values.items()}


def _shown(path: str, distribution: Distribution[Any] | None, values: list[Plain]) -> Shown:
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    is_numeric = len(numbers) == len(values) and all(map(math.isfinite, numbers))
    is_whole = all(isinstance(number, int) for number in numbers)
    match distribution:
        case Choice():
            # A choice may be a secret: it goes through the same mask as the values.
            choices = [plain_params({path: choice})[path] for choice in distribution.values]
            return _choice([*choices, *values])
        case Uniform() | LogUniform() | LogitNormal() if is_numeric:
            bounds = [distribution.lo, distribution.hi, *map(float, numbers)]
            return _real(bounds, log=isinstance(distribution, LogUniform))
        case Integer() | PowerOfTwo() if is_numeric and is_whole:
            log = isinstance(distribution, PowerOfTwo) or distribution.log
            return _whole([distribution.lo, distribution.hi, *map(int, numbers)], log=log)
    if is_numeric and len(set(numbers)) > 1:
        return _whole(list(map(int, numbers)), log=False) if is_whole else _real(list(map(float, numbers)), log=False)
    return _choice(values)


def _real(bounds: list[float], *, log: bool) -> Shown:
    from optuna.distributions import FloatDistribution

    return Shown(FloatDistribution(min(bounds), max(bounds), log=log and min(bounds) > 0), float)  # type: ignore[arg-type]


def _whole(bounds: list[int], *, log: bool) -> Shown:
    from optuna.distributions import IntDistribution

    return Shown(IntDistribution(min(bounds), max(bounds), log=log and min(bounds) > 0), int)  # type: ignore[arg-type]


def _choice(values: list[Plain]) -> Shown:
    from optuna.distributions import CategoricalDistribution

    unique = list(dict.fromkeys((type(value), value) for value in values))
    plain = [value for _, value in unique]
    if len(set(plain)) == len(plain):
        return Shown(CategoricalDistribution(plain), lambda value: value)
    # Optuna finds a choice by ==, and 1 == True.
    return Shown(CategoricalDistribution([repr(value) for value in plain]), repr)
