"""Our distributions in Optuna's terms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metta.sweep.space import Choice, Distribution, Integer, LogUniform, PowerOfTwo, Uniform

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial


@dataclass(frozen=True, slots=True)
class Codec:
    """One distribution of ours as Optuna sees it.

    Attributes:
        distribution: Optuna's distribution.
        suggest: asks an Optuna trial for the parameter of this name.
        encode: our value -> Optuna's.
        decode: Optuna's value -> ours.
    """

    distribution: BaseDistribution
    suggest: Callable[[Trial, str], Any]
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def codec(distribution: Distribution[Any]) -> Codec:
    """How Optuna should see `distribution`.

    Real and whole numbers and choices become Optuna's own; powers of two are searched by their exponent; anything else
    through the unit interval.
    """
    match distribution:
        case Uniform() | LogUniform():
            return _real(distribution.lo, distribution.hi, isinstance(distribution, LogUniform), _same, _same)
        case Integer():
            return _whole(distribution.lo, distribution.hi, distribution.log, _same, _same)
        case PowerOfTwo():
            lo, hi = distribution.exponents
            return _whole(lo, hi, False, lambda value: value.bit_length() - 1, lambda exponent: 1 << exponent)
        case Choice():
            return _choice(distribution)
    return _real(0.0, 1.0, False, distribution.to_unit, distribution.from_unit)


def _same(value: Any) -> Any:
    return value


def _real(lo: float, hi: float, log: bool, encode: Callable[[Any], Any], decode: Callable[[Any], Any]) -> Codec:
    from optuna.distributions import FloatDistribution

    return Codec(
        FloatDistribution(lo, hi, log=log),
        lambda trial, name: trial.suggest_float(name, lo, hi, log=log),
        encode,
        decode,
    )


def _whole(lo: int, hi: int, log: bool, encode: Callable[[Any], Any], decode: Callable[[Any], Any]) -> Codec:
    from optuna.distributions import IntDistribution

    return Codec(
        IntDistribution(lo, hi, log=log),
        lambda trial, name: trial.suggest_int(name, lo, hi, log=log),
        encode,
        decode,
    )


def _choice(distribution: Choice[Any]) -> Codec:
    from optuna.distributions import CategoricalDistribution

    values = distribution.values
    plain = all(value is None or isinstance(value, bool | int | float | str) for value in values)
    # Optuna finds a choice by ==, so values such as 1 and True have to go by their index.
    if plain and len(set(values)) == len(values):
        return Codec(
            CategoricalDistribution(values), lambda trial, name: trial.suggest_categorical(name, values), _same, _same
        )
    indices = tuple(range(len(values)))
    return Codec(
        CategoricalDistribution(indices),
        lambda trial, name: trial.suggest_categorical(name, indices),
        distribution.index,
        values.__getitem__,
    )
