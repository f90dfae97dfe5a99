"""The distributions a parameter can have. Each maps to and from the unit interval and is a pydantic model.

A uniform draw on [0, 1) through `from_unit` is a draw from the distribution, and `from_unit(to_unit(v))` is `v`:
exactly for whole numbers and choices, up to rounding for the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from metta.sweep.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")

LOGIT_MARGIN = 1e-6
"""The bounds of `LogitNormal` keep this distance from 0 and 1."""

LARGEST_WHOLE = 2**53
"""Beyond it the unit interval has no number for every whole number."""


class Condition(BaseModel):
    """A parameter is active only where `parameter` has one of `values`."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    parameter: str
    values: tuple[Any, ...]

    def holds(self, value: object) -> bool:
        """True if the condition's parameter having `value` makes it hold."""
        return any(same_value(value, wanted) for wanted in self.values)


class Distribution(BaseModel, Generic[T]):
    """What values one parameter may take, and how they are spread. Frozen."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    conditions: tuple[Condition, ...] = ()

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UsageError(f"{type(self).__name__}({where}={first['input']!r}): {first['msg']}") from None

    def from_unit(self, unit: float) -> T:
        """The value at `unit` in [0, 1]."""
        raise TypeError(f"{type(self).__name__} is abstract: use one of the distributions in metta.sweep.space")

    def to_unit(self, value: T) -> float:
        """Where `value` lies in [0, 1].

        Raises:
            UsageError: it is not a value of this distribution.
        """
        raise TypeError(f"{type(self).__name__} is abstract: use one of the distributions in metta.sweep.space")

    def check(self, value: object) -> T:
        """`value` in the distribution's own type (numpy numbers become Python's).

        Raises:
            UsageError: it is not a value of this distribution.
        """
        raise TypeError(f"{type(self).__name__} is abstract: use one of the distributions in metta.sweep.space")

    def sample(self, rng: np.random.Generator) -> T:
        """A draw; uses exactly one uniform number of `rng`."""
        return self.from_unit(float(rng.random()))

    def default(self) -> T:
        """The value in the middle, for parameters that nobody has set."""
        return self.from_unit(0.5)

    def when(self, parameter: str, *values: object) -> Self:
        """A copy that is active only where `parameter` has one of `values`; several conditions must all hold."""
        if not values:
            raise UsageError(f'when({parameter!r}): say for which values, as in when("model_type", "cnn")')
        condition = Condition(parameter=parameter, values=values)
        return self.model_copy(update={"conditions": (*self.conditions, condition)})

    def _reject(self, value: object) -> UsageError:
        return UsageError(f"{value!r} is not a value of {self!r}")


class _Numeric(Distribution[float]):
    """Real numbers between `lo` and `hi`, uniform after the monotone map `_warp`."""

    lo: float
    hi: float

    def __init__(self, lo: float, hi: float, *, conditions: Iterable[Condition] = ()) -> None:
        checked_lo, checked_hi = _number(self, "lo", lo), _number(self, "hi", hi)
        _check_order(self, checked_lo, checked_hi)
        width = abs(self._warp(checked_hi) - self._warp(checked_lo))
        if not 0 < width < math.inf:
            problem = "close together" if width == 0 else "far apart"
            raise UsageError(f"{type(self).__name__}({lo!r}, {hi!r}): the bounds are too {problem} for floating point")
        super().__init__(lo=checked_lo, hi=checked_hi, conditions=tuple(conditions))

    def _warp(self, value: float) -> float:
        return value

    def _unwarp(self, warped: float) -> float:
        return warped

    def from_unit(self, unit: float) -> float:
        if not 0 < unit < 1:
            return self.lo if unit <= 0 else self.hi  # the bounds themselves, without the rounding of the warp
        lo, hi = self._warp(self.lo), self._warp(self.hi)
        return min(max(self._unwarp(lo + unit * (hi - lo)), self.lo), self.hi)

    def to_unit(self, value: float) -> float:
        lo, hi = self._warp(self.lo), self._warp(self.hi)
        return min(max((self._warp(self.check(value)) - lo) / (hi - lo), 0.0), 1.0)

    def check(self, value: object) -> float:
        number = _as_float(value)
        if number is None or not self.lo <= number <= self.hi:
            raise self._reject(value)
        return number

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.lo:g}, {self.hi:g})"


class Uniform(_Numeric):
    """Real numbers, uniform between `lo` and `hi`.

    Raises:
        UsageError: the bounds are not finite numbers with lo < hi.
    """

    # Type checkers make up a keyword-only constructor for a model class that has none of its own.
    def __init__(self, lo: float, hi: float, *, conditions: Iterable[Condition] = ()) -> None:
        super().__init__(lo, hi, conditions=conditions)


class LogUniform(_Numeric):
    """Positive real numbers whose logarithm is uniform between those of `lo` and `hi`.

    Raises:
        UsageError: the bounds are not finite numbers with 0 < lo < hi.
    """

    def __init__(self, lo: float, hi: float, *, conditions: Iterable[Condition] = ()) -> None:
        _check_positive(self, _number(self, "lo", lo))
        super().__init__(lo, hi, conditions=conditions)

    def _warp(self, value: float) -> float:
        return math.log(value)

    def _unwarp(self, warped: float) -> float:
        return math.exp(warped)


class LogitNormal(_Numeric):
    """Numbers in (0, 1) that crowd towards 1: log10(1 - v) is uniform. For discounts and momenta.

    Bounds are clamped to [1e-6, 1 - 1e-6].

    Raises:
        UsageError: the bounds are not numbers in [0, 1] with lo < hi.
    """

    def __init__(self, lo: float, hi: float, *, conditions: Iterable[Condition] = ()) -> None:
        bounds = {"lo": _number(self, "lo", lo), "hi": _number(self, "hi", hi)}
        for name, bound in bounds.items():
            if not 0 <= bound <= 1:
                raise UsageError(f"LogitNormal({name}={bound!r}): expected a number between 0 and 1")
        _check_order(self, bounds["lo"], bounds["hi"])
        clamped = (min(max(bound, LOGIT_MARGIN), 1 - LOGIT_MARGIN) for bound in bounds.values())
        super().__init__(*clamped, conditions=conditions)

    def _warp(self, value: float) -> float:
        return math.log10(1 - value)

    def _unwarp(self, warped: float) -> float:
        return 1 - 10**warped


class Integer(Distribution[int]):
    """Whole numbers from `lo` to `hi`, both included; with `log` their logarithm is uniform (before rounding).

    Raises:
        UsageError: the bounds are not whole numbers with lo < hi between -2**53 and 2**53, or `log` is set and lo < 1.
    """

    lo: int
    hi: int
    log: bool = False

    def __init__(self, lo: int, hi: int, log: bool = False, *, conditions: Iterable[Condition] = ()) -> None:
        checked_lo, checked_hi = _whole(self, "lo", lo), _whole(self, "hi", hi)
        _check_order(self, checked_lo, checked_hi)
        if checked_hi - checked_lo >= LARGEST_WHOLE or max(-checked_lo, checked_hi) > LARGEST_WHOLE:
            raise UsageError(f"{type(self).__name__}({lo}, {hi}): whole numbers are searched between -2**53 and 2**53")
        if log:
            _check_positive(self, checked_lo)
        super().__init__(lo=checked_lo, hi=checked_hi, log=log, conditions=tuple(conditions))

    def from_unit(self, unit: float) -> int:
        if self.log:
            lo, hi = math.log(self.lo - 0.5), math.log(self.hi + 0.5)
            value = round(math.exp(lo + unit * (hi - lo)))
        else:
            value = self.lo + math.floor(unit * (self.hi - self.lo + 1))
        return min(max(value, self.lo), self.hi)

    def to_unit(self, value: int) -> float:
        number = self.check(value)
        if self.log:
            lo, hi = math.log(self.lo - 0.5), math.log(self.hi + 0.5)
            return (math.log(number) - lo) / (hi - lo)
        return (number - self.lo + 0.5) / (self.hi - self.lo + 1)

    def check(self, value: object) -> int:
        number = _as_float(value)
        if number is None or not number.is_integer() or not self.lo <= number <= self.hi:
            raise self._reject(value)
        return int(number)

    def __repr__(self) -> str:
        return f"Integer({self.lo}, {self.hi}{', log=True' if self.log else ''})"


class IntLogUniform(Integer):
    """`Integer(lo, hi, log=True)` under the name that Metta's configurations use."""

    log: bool = True

    def __init__(self, lo: int, hi: int, log: bool = True, *, conditions: Iterable[Condition] = ()) -> None:
        if not log:
            raise UsageError("IntLogUniform(log=False): write Integer(lo, hi)")
        super().__init__(lo, hi, True, conditions=conditions)

    def __repr__(self) -> str:
        return f"IntLogUniform({self.lo}, {self.hi})"


class PowerOfTwo(Distribution[int]):
    """Powers of two from `lo` to `hi`, both included and powers of two, with equal chances.

    Raises:
        UsageError: a bound is not a power of two, or lo >= hi.
    """

    lo: int
    hi: int

    def __init__(self, lo: int, hi: int, *, conditions: Iterable[Condition] = ()) -> None:
        bounds = {"lo": _whole(self, "lo", lo), "hi": _whole(self, "hi", hi)}
        for name, bound in bounds.items():
            if not _is_power_of_two(bound):
                raise UsageError(
                    f"PowerOfTwo({name}={bound}): expected a power of two, such as {_nearest_power(bound)}"
                )
        _check_order(self, bounds["lo"], bounds["hi"])
        super().__init__(**bounds, conditions=tuple(conditions))

    @property
    def exponents(self) -> tuple[int, int]:
        """The smallest and the largest exponent."""
        return self.lo.bit_length() - 1, self.hi.bit_length() - 1

    def from_unit(self, unit: float) -> int:
        lo, hi = self.exponents
        return 1 << min(lo + math.floor(unit * (hi - lo + 1)), hi)

    def to_unit(self, value: int) -> float:
        lo, hi = self.exponents
        return (self.check(value).bit_length() - 1 - lo + 0.5) / (hi - lo + 1)

    def check(self, value: object) -> int:
        number = _as_float(value)
        if number is None or not number.is_integer() or not self.lo <= number <= self.hi:
            raise self._reject(value)
        if not _is_power_of_two(int(number)):
            raise self._reject(value)
        return int(number)

    def __repr__(self) -> str:
        return f"PowerOfTwo({self.lo}, {self.hi})"


class Choice(Distribution[T], Generic[T]):
    """One of `values`, with equal chances. Values are JSON values (None, bool, numbers, text, lists, dicts).

    Args:
        values: at least one, all different.
        ordered: whether neighbours are alike; None: if they are increasing numbers.

    Raises:
        UsageError: no value, the same value twice, NaN, an array, or a set of values.
    """

    values: tuple[T, ...]
    ordered: bool | None = None

    def __init__(
        self, values: Iterable[T], *, ordered: bool | None = None, conditions: Iterable[Condition] = ()
    ) -> None:
        if isinstance(values, str):
            raise UsageError(f"Choice({values!r}): expected a list of values, such as Choice([{values!r}])")
        if isinstance(values, set | frozenset):
            raise UsageError(f"Choice({values!r}): a set has no order that a seed could repeat; write a list")
        listed = tuple(map(_of_python, values))
        if not listed:
            raise UsageError("Choice([]): expected at least one value")
        if any(value != value for value in listed if isinstance(value, float)):
            raise UsageError(f"Choice({list(listed)!r}): NaN equals nothing, so it can be no choice")
        for index, value in enumerate(listed):
            if any(same_value(value, earlier) for earlier in listed[:index]):
                raise UsageError(f"Choice({list(listed)!r}): {value!r} is there twice")
        super().__init__(values=listed, ordered=ordered, conditions=tuple(conditions))

    @property
    def is_ordered(self) -> bool:
        """True if neighbouring values are alike, so that a step to one is a small change."""
        if self.ordered is not None:
            return self.ordered
        numbers = [_as_float(value) for value in self.values]
        return all(a is not None and b is not None and a < b for a, b in pairwise(numbers))

    def from_unit(self, unit: float) -> T:
        return self.values[min(math.floor(unit * len(self.values)), len(self.values) - 1)]

    def to_unit(self, value: T) -> float:
        return (self.index(value) + 0.5) / len(self.values)

    def default(self) -> T:
        """The first value."""
        return self.values[0]

    def check(self, value: object) -> T:
        return self.values[self.index(value)]

    def index(self, value: object) -> int:
        """The position of `value`.

        Raises:
            UsageError: it is not one of the values.
        """
        for index, known in enumerate(self.values):
            if same_value(value, known):
                return index
        raise self._reject(value)

    def __repr__(self) -> str:
        return f"Choice({list(self.values)!r})"


class Constant(Distribution[T], Generic[T]):
    """Always `value`. A plain value in a space means the same."""

    value: T

    def __init__(self, value: T, *, conditions: Iterable[Condition] = ()) -> None:
        super().__init__(value=value, conditions=tuple(conditions))

    def from_unit(self, unit: float) -> T:
        return self.value

    def to_unit(self, value: T) -> float:
        self.check(value)
        return 0.5

    def check(self, value: object) -> T:
        if not same_value(value, self.value):
            raise self._reject(value)
        return self.value

    def sample(self, rng: np.random.Generator) -> T:
        """The value; nothing is drawn."""
        return self.value

    def __repr__(self) -> str:
        return f"Constant({self.value!r})"


def same_value(a: object, b: object) -> bool:
    """Equality of parameter values: True is not 1, and a list equals the tuple it was before it was stored."""
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same_value(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same_value(a[key], b[key]) for key in a)
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return bool(a == b)


def _as_float(value: object) -> float | None:
    if isinstance(value, bool | str | bytes):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]  # numpy's numbers have __float__ too
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _of_python(value: Any) -> Any:
    """Numpy's numbers and texts as Python's own."""
    if type(value).__module__ != "numpy" or not hasattr(value, "ndim"):
        return value
    if value.ndim:
        raise UsageError(f"Choice: an array is no value of a parameter: write {value.tolist()!r} for it")
    return value.item()


def _number(owner: Distribution[Any], name: str, value: object) -> float:
    number = _as_float(value)
    if number is None:
        raise UsageError(f"{type(owner).__name__}({name}={value!r}): expected a finite number")
    return number


def _whole(owner: Distribution[Any], name: str, value: object) -> int:
    number = _as_float(value)
    if number is None or not number.is_integer():
        raise UsageError(f"{type(owner).__name__}({name}={value!r}): expected a whole number")
    return int(number)


def _check_order(owner: Distribution[Any], lo: float, hi: float) -> None:
    if not lo < hi:
        fixed = f"; a fixed value is Constant({lo:g})" if lo == hi else ""
        raise UsageError(f"{type(owner).__name__}({lo:g}, {hi:g}): the lower bound must be below the upper{fixed}")


def _check_positive(owner: Distribution[Any], lo: float) -> None:
    if lo <= 0:
        raise UsageError(f"{type(owner).__name__}(lo={lo:g}): a logarithm needs a lower bound above 0")


def _is_power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


def _nearest_power(value: int) -> int:
    return int(2 ** round(math.log2(value))) if value > 0 else 1
