"""Where a value lies between the ends of an axis: from 0 to 1."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from metta.sweep.goal import Direction
from metta.sweep.report.drawing.ticks import Tick, linear_ticks, log_ticks

LOG_RATIO: Final = 1000.0
"""Positive values that are further apart than this are drawn on a logarithmic axis."""

FAR: Final = 8.0
"""Bad values further from the best than so many times the rest of them do not stretch an axis."""


@dataclass(frozen=True, slots=True)
class Linear:
    """An axis from `lo` to `hi`, lo < hi; with `whole` its ticks are whole numbers."""

    lo: float
    hi: float
    whole: bool = False

    def place(self, value: float) -> float:
        """Where `value` lies, from 0 at `lo` to 1 at `hi`; what is beyond is at the end."""
        half = self.hi / 2 - self.lo / 2  # halves: the width of the largest numbers is no number
        return min(1.0, max(0.0, (value / 2 - self.lo / 2) / half))

    def ticks(self, count: int) -> tuple[Tick, ...]:
        """About `count` round values."""
        return linear_ticks(self.lo, self.hi, count, whole=self.whole)


@dataclass(frozen=True, slots=True)
class Log:
    """A logarithmic axis from `lo` to `hi`, 0 < lo < hi."""

    lo: float
    hi: float

    def place(self, value: float) -> float:
        """Where `value` lies, from 0 at `lo` to 1 at `hi`; what is beyond is at the end."""
        if value <= self.lo:
            return 0.0
        low = math.log(self.lo)
        return min(1.0, (math.log(value) - low) / (math.log(self.hi) - low))

    def ticks(self, count: int) -> tuple[Tick, ...]:
        """About `count` powers of ten, or round values between them."""
        return log_ticks(self.lo, self.hi, count)


@dataclass(frozen=True, slots=True)
class NearOne:
    """An axis from `lo` to `hi` below 1 that is logarithmic in the distance to 1, for discounts and momenta."""

    lo: float
    hi: float

    def place(self, value: float) -> float:
        """Where `value` lies, from 0 at `lo` to 1 at `hi`; what is beyond is at the end."""
        low, high = math.log(1 - self.lo), math.log(1 - self.hi)
        inside = min(max(value, self.lo), self.hi)
        return (math.log(1 - inside) - low) / (high - low)

    def ticks(self, count: int) -> tuple[Tick, ...]:
        """Values whose distance to 1 is round."""
        distances = log_ticks(1 - self.hi, 1 - self.lo, count)
        return tuple(Tick(1 - distance, f"{1 - distance:.12g}") for distance, _ in reversed(distances))


@dataclass(frozen=True, slots=True)
class Bands:
    """An axis of names, in equal distances; a value is the index of its name."""

    names: tuple[str, ...]

    def place(self, value: float) -> float:
        """The middle of the band with the index `value`."""
        return (value + 0.5) / len(self.names)

    def ticks(self, count: int) -> tuple[Tick, ...]:
        """The names, every second or third one only where there are more than `count`."""
        every = math.ceil(len(self.names) / max(1, count))
        return tuple(Tick(index, name) for index, name in enumerate(self.names) if index % every == 0)


Scale = Linear | Log | NearOne | Bands


def spread(lo: float, hi: float, *, margin: float = 0.0) -> Linear:
    """A linear axis from `lo` to `hi` and a margin (a part of its width) on both sides; never without width."""
    width = hi - lo
    if math.isinf(width):
        return Linear(lo, hi)
    size = max(abs(lo), abs(hi))
    if width <= 1e-12 * size or width < 1e-290:  # the same number, as far as anyone can see
        around = size * 0.05 if size > 1e-290 else 1.0
    else:
        around = margin * width
    return Linear(max(lo - around, -sys.float_info.max), min(hi + around, sys.float_info.max))


def whole(lo: int, hi: int) -> Linear:
    """An axis for whole numbers, half a unit wider on both sides where floating point knows halves."""
    return Linear(lo - 0.5, hi + 0.5, whole=True) if max(-lo, hi) < 2**51 else spread(float(lo), float(hi))


def positive(lo: float, hi: float) -> Log | Linear:
    """A logarithmic axis from `lo` to `hi` > 0, linear where they are (nearly) the same."""
    return Log(lo, hi) if hi > lo * (1 + 1e-9) else spread(lo, hi)


def near_one(lo: float, hi: float) -> NearOne | Linear:
    """An axis that is logarithmic in the distance to 1 > `hi`, linear where it is not for numbers between 0 and 1."""
    return NearOne(lo, hi) if lo >= 0 and 1 - lo > (1 - hi) * (1 + 1e-9) else spread(lo, hi)


def score_scale(values: Iterable[float], direction: Direction) -> Scale:
    """The axis for finite scores.

    Logarithmic for losses over more than three powers of ten. Otherwise it leaves out the worst tenth where that would
    squeeze all others: one run that diverged does not hide what the rest of the sweep did.
    """
    ordered = sorted(values, reverse=direction == "maximize")  # the best first
    if not ordered:
        return Linear(0.0, 1.0)
    best, worst = ordered[0], ordered[-1]
    if direction == "minimize" and best > 0 and worst / best > LOG_RATIO:
        low, high = math.log(best), math.log(worst)
        return Log(math.exp(low - 0.04 * (high - low)) or best, worst)
    kept = worst
    if len(ordered) >= 5:
        usual = ordered[(len(ordered) - 1) * 9 // 10]
        if usual != best and abs(worst - best) > FAR * abs(usual - best):
            kept = next(value for value in reversed(ordered) if abs(value - best) <= abs(usual - best) * 2)
    return spread(min(best, kept), max(best, kept), margin=0.05)


def beyond(scale: Scale, values: Iterable[float]) -> int:
    """How many values lie outside of an axis of numbers."""
    if isinstance(scale, Bands):
        return 0
    return sum(not scale.lo <= value <= scale.hi for value in values)
