"""Round numbers to write at an axis, and how to write them."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from metta.sweep.report.text import duration


class Tick(NamedTuple):
    """A value at an axis and its text; an empty text is a line without a number."""

    value: float
    label: str


DURATIONS: Final = (
    *(1, 2, 5, 10, 15, 30),
    *(60 * minutes for minutes in (1, 2, 5, 10, 15, 30)),
    *(3600 * hours for hours in (1, 2, 3, 6, 12)),
    *(86400 * days for days in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)),
)
"""Steps of time in seconds that people count in."""


def linear_ticks(lo: float, hi: float, count: int, *, whole: bool = False) -> tuple[Tick, ...]:
    """About `count` multiples of 1, 2 or 5 times a power of ten from `lo` to `hi`; `whole` numbers only if asked."""
    span = hi - lo
    step = _round_step(span / max(1, count)) if math.isfinite(span) else math.inf
    if math.isinf(step):  # there is no rounder number in floating point
        return tuple(Tick(value, _short(value)) for value in dict.fromkeys((lo, 0.0, hi)))
    if whole:
        step = max(1.0, step)
    values = _multiples(step, lo, hi)
    return tuple(Tick(value, label) for value, label in zip(values, _labels(values, step), strict=True))


def log_ticks(lo: float, hi: float, count: int) -> tuple[Tick, ...]:
    """Powers of ten from `lo` to `hi`, with their multiples where there are less than three of them."""
    first, last = math.ceil(math.log10(lo) - 1e-9), math.floor(math.log10(hi) + 1e-9)
    powers = range(first, last + 1)
    if len(powers) >= 3:
        every = math.ceil(len(powers) / max(2, count))
        return tuple(Tick(10.0**power, _short(10.0**power)) for power in powers[::every])
    finer = [
        value
        for power in range(first - 1, last + 1)
        for factor in (1, 2, 5)
        if lo * (1 - 1e-9) <= (value := float(f"{factor}e{power}")) <= hi * (1 + 1e-9) and math.isfinite(value)
    ]
    if len(finer) >= 2:
        return tuple(Tick(value, _short(value)) for value in finer)
    return linear_ticks(lo, hi, min(count, 3))


def duration_ticks(hi: float, count: int) -> tuple[Tick, ...]:
    """About `count` round times from 0 to `hi` seconds."""
    wanted = hi / max(1, count)
    if wanted <= 0.5:
        return tuple(Tick(value, f"{label} s") for value, label in linear_ticks(0.0, hi, count))
    step = next((step for step in DURATIONS if step >= wanted), None) or _round_step(wanted / 86400) * 86400
    return tuple(Tick(value, duration(value)) for value in _multiples(float(step), 0.0, hi))


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below `least`."""
    power = math.floor(math.log10(least)) if least > 0 else 0
    for factor in (1, 2, 5, 10):
        # Read from text: 10.0 ** -5 is not 1e-5, and its multiples would show it.
        step = float(f"{factor}e{power}")
        if step >= least * (1 - 1e-9):
            return step
    return float(f"1e{power + 1}")


def _multiples(step: float, lo: float, hi: float) -> list[float]:
    first, last = math.ceil(lo / step - 1e-9), math.floor(hi / step + 1e-9)
    return [index * step for index in range(first, min(last, first + 50) + 1)]


def _labels(values: list[float], step: float) -> list[str]:
    largest = max((abs(value) for value in values), default=0.0)
    if largest >= 1e6 or step < 1e-4:
        digits = 1
        if largest > 0:
            digits = min(16, max(0, math.floor(math.log10(largest)) - math.floor(math.log10(step))))
        return ["0" if value == 0 else _exponent(f"{value:.{digits}e}") for value in values]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{value + 0.0:.{decimals}f}" for value in values]


def _short(value: float) -> str:
    """A round number: written out where that is short."""
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        return f"{value:.6g}"
    return _exponent(f"{value:.3e}")


def _exponent(written: str) -> str:
    """ "2.500e+06" as "2.5e6"."""
    mantissa, _, exponent = written.partition("e")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(exponent)}"
