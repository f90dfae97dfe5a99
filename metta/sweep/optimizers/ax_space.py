"""Our distributions in Ax's terms, and our conditions where Ax has them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from metta.sweep.space import Choice, Distribution, Integer, LogUniform, PowerOfTwo, SearchSpace, Uniform
from metta.sweep.trial import Params

if TYPE_CHECKING:
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig
    from ax.api.types import TParameterValue

    Config = RangeParameterConfig | ChoiceParameterConfig

Dependents = Mapping[Any, Sequence[str]]
"""Encoded value of a choice -> the parameters that are active only there."""


@dataclass(frozen=True, slots=True)
class _Codec:
    """One distribution of ours as Ax sees it.

    Attributes:
        config: Ax's parameter.
        encode: our value -> Ax's.
        decode: Ax's value -> ours.
    """

    config: Config
    encode: Callable[[Any], TParameterValue]
    decode: Callable[[Any], Any]


class AxSpace:
    """A search space as Ax sees it.

    Where every condition is that a `Choice` has one certain value, they become Ax's dependent parameters; otherwise Ax
    gets the flat space, and inactive parameters are masked.

    Args:
        space: ours.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._dependents = _dependents(space) or {}
        self.is_hierarchical: bool = bool(self._dependents)
        self._codecs = {path: _codec(path, space[path], self._dependents.get(path)) for path in space.tunable}

    @property
    def configs(self) -> list[Config]:
        """The parameters for `Client.configure_experiment`."""
        return [codec.config for codec in self._codecs.values()]

    @property
    def size(self) -> float:
        """How many configurations there are for Ax; infinity with a real parameter."""
        below = {child for values in self._dependents.values() for children in values.values() for child in children}
        return math.prod(self._size_at(path) for path in self._codecs if path not in below)

    def _size_at(self, path: str) -> float:
        """How many configurations a parameter has, with those that depend on it."""
        dependents = self._dependents.get(path, {})
        with_dependents = (math.prod(map(self._size_at, children)) for children in dependents.values())
        return _count(self._space[path]) - len(dependents) + sum(with_dependents)

    def encode(self, params: Params) -> dict[str, TParameterValue]:
        """`params` in Ax's terms; in a flat space the inactive parameters get their defaults."""
        given = dict(params)  # `in params` would accept aliases
        return {
            path: codec.encode(given[path] if path in given else self._space[path].default())
            for path, codec in self._codecs.items()
            if path in given or not self.is_hierarchical
        }

    def decode(self, values: Mapping[str, Any]) -> Params:
        """What Ax suggests in our terms."""
        return self._space.build(
            lambda path, distribution: (
                self._codecs[path].decode(values[path]) if path in values else distribution.default()
            )
        )


def _dependents(space: SearchSpace) -> dict[str, Dependents] | None:
    """Parent -> what depends on its values; None where Ax has no such conditions."""
    found: dict[str, dict[Any, list[str]]] = {}
    for path in space.tunable:
        conditions = space.conditions(path)
        if not conditions:
            continue
        parent = space[conditions[0].parameter]
        if len(conditions) > 1 or len(conditions[0].values) > 1 or not isinstance(parent, Choice):
            return None
        value = _choice_terms(parent).encode(conditions[0].values[0])
        found.setdefault(conditions[0].parameter, {}).setdefault(value, []).append(path)
    return dict(found)


def _count(distribution: Distribution[Any]) -> float:
    match distribution:
        case Choice():
            return len(distribution.values)
        case Integer():
            return distribution.hi - distribution.lo + 1
        case PowerOfTwo():
            lo, hi = distribution.exponents
            return hi - lo + 1
    return math.inf


def _codec(path: str, distribution: Distribution[Any], dependents: Dependents | None) -> _Codec:
    """How Ax should see `distribution`.

    Real and whole numbers and choices become Ax's own; powers of two are searched by their exponent; anything else
    through the unit interval.
    """
    from ax.api.configs import ChoiceParameterConfig

    match distribution:
        case Uniform() | LogUniform():
            lo, hi = distribution.lo, distribution.hi
            return _Codec(_range(path, lo, hi, "float", isinstance(distribution, LogUniform)), float, _within(lo, hi))
        case Integer():
            return _Codec(_range(path, distribution.lo, distribution.hi, "int", distribution.log), int, int)
        case PowerOfTwo():
            lo, hi = distribution.exponents
            return _Codec(
                _range(path, lo, hi, "int", False),
                lambda value: int(value).bit_length() - 1,
                lambda exponent: 1 << int(exponent),
            )
        case Choice():
            terms = _choice_terms(distribution)
            config = ChoiceParameterConfig(
                path,
                terms.values,
                terms.kind,
                is_ordered=distribution.is_ordered,
                dependent_parameters=dependents,
            )
            return _Codec(config, terms.encode, terms.decode)
    unit = _within(0.0, 1.0)
    return _Codec(
        _range(path, 0.0, 1.0, "float", False), distribution.to_unit, lambda value: distribution.from_unit(unit(value))
    )


def _range(path: str, lo: float, hi: float, kind: Literal["float", "int"], log: bool) -> RangeParameterConfig:
    from ax.api.configs import RangeParameterConfig

    return RangeParameterConfig(path, (lo, hi), kind, scaling="log" if log else None)


def _within(lo: float, hi: float) -> Callable[[Any], float]:
    """Going through a logarithm and back may leave the bounds by a rounding error."""
    return lambda value: min(max(float(value), lo), hi)


@dataclass(frozen=True, slots=True)
class _ChoiceTerms:
    """The values of a choice for Ax, which has lists of one type; other values go by their index."""

    values: list[Any]
    kind: Literal["float", "int", "str", "bool"]
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def _choice_terms(distribution: Choice[Any]) -> _ChoiceTerms:
    values = list(distribution.values)
    types = {type(value) for value in values}
    if types in ({bool}, {str}):
        return _ChoiceTerms(values, "bool" if types == {bool} else "str", distribution.check, distribution.check)
    # Ax sorts numbers.
    if types and types <= {int, float} and (values == sorted(values) or not distribution.is_ordered):
        number: type[int] | type[float] = int if types == {int} else float
        return _ChoiceTerms(
            [number(value) for value in values],
            "int" if types == {int} else "float",
            lambda value: number(distribution.check(value)),
            distribution.check,
        )
    indices = list(range(len(values)))
    return _ChoiceTerms(indices, "int", distribution.index, lambda index: values[int(index)])
