"""Our distributions in Nevergrad's terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metta.sweep.space import Choice, Distribution, Integer, LogUniform, PowerOfTwo, SearchSpace, Uniform
from metta.sweep.trial import Params

if TYPE_CHECKING:
    import nevergrad as ng


@dataclass(frozen=True, slots=True)
class _Codec:
    """One distribution of ours as Nevergrad sees it.

    Attributes:
        make: makes Nevergrad's parameter.
        encode: our value -> Nevergrad's.
        decode: Nevergrad's value -> ours.
    """

    make: Callable[[], ng.p.Parameter]
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


class NevergradSpace:
    """A search space as Nevergrad sees it: flat, and inactive parameters are masked.

    Args:
        space: ours.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._codecs = {path: _codec(space[path]) for path in space.tunable}

    def parametrization(self) -> ng.p.Dict:
        """A new parametrization: a dict of the parameters, with our constraints as cheap ones."""
        import nevergrad as ng

        made = ng.p.Dict(**{path: codec.make() for path, codec in self._codecs.items()})
        if self._space.constraints:
            made.register_cheap_constraint(self._is_allowed)
        return made

    def encode(self, params: Params) -> dict[str, Any]:
        """`params` in Nevergrad's terms; inactive parameters get their defaults."""
        given = dict(params)  # `in params` would accept aliases
        return {
            path: codec.encode(given[path] if path in given else self._space[path].default())
            for path, codec in self._codecs.items()
        }

    def decode(self, values: Mapping[str, Any]) -> Params:
        """What Nevergrad suggests in our terms."""
        return self._space.build(
            lambda path, distribution: (
                self._codecs[path].decode(values[path]) if path in values else distribution.default()
            )
        )

    def _is_allowed(self, values: Mapping[str, Any]) -> bool:
        return self._space.broken(self.decode(values)) is None


def _codec(distribution: Distribution[Any]) -> _Codec:
    """How Nevergrad should see `distribution`.

    Real and whole numbers become Nevergrad's own; powers of two are searched by their exponent, choices by their index,
    with transitions between neighbours where these are alike; anything else through the unit interval.
    """
    match distribution:
        case Uniform():
            lo, hi = distribution.lo, distribution.hi
            return _Codec(lambda: _scalar(lo, hi), float, _within(lo, hi))
        case LogUniform():
            lo, hi = distribution.lo, distribution.hi
            return _Codec(lambda: _log(lo, hi), float, _within(lo, hi))
        case Integer():
            least, most, log = distribution.lo, distribution.hi, distribution.log
            return _Codec(lambda: (_log if log else _scalar)(least, most).set_integer_casting(), int, int)
        case PowerOfTwo():
            least, most = distribution.exponents
            return _Codec(
                lambda: _scalar(least, most).set_integer_casting(),
                lambda value: int(value).bit_length() - 1,
                lambda exponent: 1 << int(exponent),
            )
        case Choice():
            values = distribution.values
            return _Codec(
                lambda: _choice(len(values), distribution.is_ordered),
                distribution.index,
                lambda index: values[int(index)],
            )
    unit = _within(0.0, 1.0)
    return _Codec(lambda: _scalar(0.0, 1.0), distribution.to_unit, lambda value: distribution.from_unit(unit(value)))


def _scalar(lo: float, hi: float) -> ng.p.Scalar:
    import nevergrad as ng

    return ng.p.Scalar(lower=lo, upper=hi)


def _log(lo: float, hi: float) -> ng.p.Log:
    import nevergrad as ng

    return ng.p.Log(lower=lo, upper=hi)


def _choice(count: int, is_ordered: bool) -> ng.p.Choice | ng.p.TransitionChoice:
    import nevergrad as ng

    return ng.p.TransitionChoice(range(count)) if is_ordered else ng.p.Choice(range(count))


def _within(lo: float, hi: float) -> Callable[[Any], float]:
    """Going through a logarithm and back may leave the bounds by a rounding error."""
    return lambda value: min(max(float(value), lo), hi)
