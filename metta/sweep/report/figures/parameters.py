"""The axis of a parameter: from its distribution, or from the values that were tried where nobody knows that."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metta.sweep.report.drawing.scales import LOG_RATIO, Bands, Scale, near_one, positive, spread, whole
from metta.sweep.report.text import value_text
from metta.sweep.trial import Trial

ABSENT = object()
"""Stands for the value of a parameter that a trial does not have."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The axis of one parameter.

    Attributes:
        path: of the parameter.
        scale: of its values.
        indices: by the key of a value, for names; empty for numbers.
    """

    path: str
    scale: Scale
    indices: Mapping[str, int]

    def place(self, value: object) -> float | None:
        """Where a value lies, from 0 to 1; None where there is no value."""
        if value is ABSENT:
            return None
        if self.indices:
            return self.scale.place(self.indices[_key(value)])
        found = as_number(value)
        return None if found is None else self.scale.place(found)


def varied(trials: Sequence[Trial], space: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The parameters that are searched, in the order of the space: all but constants."""
    paths = dict.fromkeys([*space, *(path for trial in trials for path in trial.params)])
    return [path for path in paths if not _is_constant(path, trials, space)]


def _is_constant(path: str, trials: Sequence[Trial], space: Mapping[str, Mapping[str, Any]]) -> bool:
    if path in space:
        return space[path].get("type") == "Constant"
    return len(trials) > 1 and len({_key(values_in(trial, [path])[0]) for trial in trials}) == 1


def values_in(trial: Trial, paths: Sequence[str]) -> list[object]:
    """The values of parameters, by their full paths."""
    # Not those of `Params`, which takes the end of another path for a parameter that is not there.
    own = dict(trial.params)
    return [own.get(path, ABSENT) for path in paths]


def axis_of(path: str, values: Iterable[object], distribution: Mapping[str, Any]) -> Axis:
    """The axis of a parameter.

    Args:
        path: of the parameter.
        values: those that trials have; the axis holds all of them, also those that the space does not know.
        distribution: its distribution as JSON; empty where it is not known.
    """
    tried = [value for value in values if value is not ABSENT]
    kind = distribution.get("type", "")
    numbers = [as_number(value) for value in tried]
    bounds = [found for name in ("lo", "hi") if (found := as_number(distribution.get(name))) is not None]
    finite = [*(found for found in numbers if found is not None), *bounds]
    if (
        kind == "PowerOfTwo"
        and None not in numbers
        and len(bounds) == 2
        and all(map(_is_power_of_two, (*bounds, *finite)))
    ):
        first, last = (round(math.log2(bound)) for bound in (min(finite), max(finite)))
        return _names(path, [2**exponent for exponent in range(first, last + 1)])
    listed = distribution.get("values")
    names = listed if isinstance(listed, list | tuple) else ()
    if names or None in numbers or not finite:
        return _names(path, [*names, *(tried if distribution else sorted(tried, key=_order))])
    lo, hi = min(finite), max(finite)
    is_log = kind in ("LogUniform", "IntLogUniform") or bool(distribution.get("log"))
    if not distribution and lo > 0 and hi / lo >= LOG_RATIO:
        is_log = True
    if is_log and lo > 0:
        return Axis(path, positive(lo, hi), {})
    if kind == "LogitNormal" and hi < 1:
        return Axis(path, near_one(lo, hi), {})
    if all(isinstance(value, int) for value in tried) and kind in ("Integer", "") and hi - lo < 1e9:
        return Axis(path, whole(int(lo), int(hi)), {})
    return Axis(path, spread(lo, hi), {})


def _names(path: str, values: Sequence[object]) -> Axis:
    names = {_key(value): _name(value) for value in values} or {"": "-"}
    return Axis(path, Bands(tuple(names.values())), {key: index for index, key in enumerate(names)})


def as_number(value: object) -> float | None:
    """A finite number as a float; None for anything else, truth values too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _is_power_of_two(value: float) -> bool:
    return math.frexp(value)[0] == 0.5  # its logarithm is rounded


def _key(value: object) -> str:
    """What two values share that are the same: a tuple comes back from a store as a list, True is not 1."""
    if value is ABSENT:
        return ""
    number = as_number(value)
    if number is not None:
        return f"{number!r}"
    return json.dumps(value, sort_keys=True, default=repr, skipkeys=True)


def _name(value: object) -> str:
    return f'"{value}"' if value == "" or value != value else value_text(value)


def _order(value: object) -> tuple[int, float, str]:
    number = as_number(value)
    return (0, number, "") if number is not None else (1, 0.0, _key(value))
