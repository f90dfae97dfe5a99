"""A search space as a box of real numbers, for models.

Every parameter but an unordered choice is one column, `2 * to_unit(value) - 1` in [-1, 1]. An unordered choice is one
column of zeros and ones per value; with more than `ONE_HOT_LIMIT` values it is one column by index. An inactive
parameter sits at its default, so that configurations that differ in nothing else have equal rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metta.sweep.errors import UsageError
from metta.sweep.optimizers.protein.settings import Scale
from metta.sweep.space import (
    Choice,
    Distribution,
    Integer,
    LogitNormal,
    LogUniform,
    PowerOfTwo,
    SearchSpace,
    Uniform,
)
from metta.sweep.trial import Params

Rows = NDArray[np.float64]

ONE_HOT_LIMIT = 16
"""An unordered choice with more values than this is encoded by index."""

AUTO_SCALE = 0.5
"""Half the width of the box round a search centre, for scale "auto"."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One parameter and its columns.

    Attributes:
        path: the parameter.
        distribution: its distribution.
        start, width: its columns are `start` to `start + width - 1`.
        unordered: neighbouring values are not alike, so that a small step means nothing.
        levels: the number of values, evenly spaced on one column; None where they are not.
    """

    path: str
    distribution: Distribution[Any]
    start: int
    width: int
    unordered: bool
    levels: int | None

    @property
    def columns(self) -> slice:
        """The columns of this parameter."""
        return slice(self.start, self.start + self.width)

    @property
    def is_one_hot(self) -> bool:
        """True if there is a column per value."""
        return self.unordered and (self.levels or 0) <= ONE_HOT_LIMIT

    def encode(self, value: object) -> list[float]:
        """The columns of a value."""
        if self.is_one_hot:
            assert isinstance(self.distribution, Choice)
            index = self.distribution.index(value)
            return [float(position == index) for position in range(self.width)]
        return [2 * self.distribution.to_unit(value) - 1]

    def decode(self, columns: Rows) -> Any:
        """The value of the columns; of a one-hot choice the largest one."""
        if self.is_one_hot:
            assert isinstance(self.distribution, Choice)
            return self.distribution.values[int(np.argmax(columns))]
        return self.distribution.from_unit(min(max((float(columns[0]) + 1) / 2, 0.0), 1.0))

    def snapped(self, columns: Rows) -> Rows:
        """The columns of the nearest values, shape (n, width)."""
        if self.is_one_hot:
            return np.asarray(np.eye(self.width)[np.argmax(columns, axis=1)])
        clipped = np.clip(columns, -1.0, 1.0)
        unit = (clipped + 1) / 2
        match self.distribution:
            case Uniform() | LogUniform() | LogitNormal():
                return clipped
            case Integer(log=True, lo=lo, hi=hi):
                low, width = math.log(lo - 0.5), math.log(hi + 0.5) - math.log(lo - 0.5)
                values = np.clip(np.rint(np.exp(low + unit * width)), lo, hi)
                return np.asarray(2 * ((np.log(values) - low) / width) - 1)
            case _ if self.levels is not None:
                return 2 * ((np.minimum(np.floor(unit * self.levels), self.levels - 1) + 0.5) / self.levels) - 1
        distribution = self.distribution
        return np.array([[2 * distribution.to_unit(distribution.from_unit(u)) - 1] for u in unit[:, 0]])


class Encoding:
    """A space and its box. Immutable.

    Args:
        space: the search space; its constants have no columns.

    Attributes:
        axes: one per tunable parameter, in declared order.
        groups: for every column the number of its parameter, shape (columns,).
        default: the row of inactive parameters and of the default configuration, shape (columns,).
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        axes: list[Axis] = []
        start = 0
        for path in space.tunable:
            axis = _axis(path, space[path], start)
            axes.append(axis)
            start += axis.width
        self.axes: tuple[Axis, ...] = tuple(axes)
        self.groups: NDArray[np.int64] = np.repeat(
            np.arange(len(axes)), np.array([axis.width for axis in axes], dtype=np.int64)
        )
        self.default: Rows = np.array([x for axis in axes for x in axis.encode(axis.distribution.default())])
        self._by_path = {axis.path: axis for axis in axes}

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self.default)

    def encode(self, params: Mapping[str, Any]) -> Rows:
        """The row of a configuration, shape (columns,)."""
        given = dict(params)  # `in params` would accept aliases
        row = self.default.copy()
        for axis in self.axes:
            if axis.path in given:
                row[axis.columns] = axis.encode(given[axis.path])
        return row

    def decode(self, row: Rows) -> Params:
        """The configuration nearest to a row."""

        def pick(path: str, distribution: Distribution[Any]) -> Any:
            axis = self._by_path.get(path)
            return distribution.default() if axis is None else axis.decode(row[axis.columns])

        return self.space.build(pick)

    def snapped(self, rows: Rows) -> Rows:
        """The rows of the nearest configurations: `encode(decode(row))` for each, shape (n, columns)."""
        result = np.empty_like(rows)
        for axis in self.axes:
            result[:, axis.columns] = axis.snapped(rows[:, axis.columns])
        if self.space.is_conditional:
            active: dict[str, NDArray[np.bool_]] = {}
            for axis in self.axes:
                inactive = ~self._active(axis.path, result, active)
                result[np.ix_(inactive, np.arange(axis.start, axis.start + axis.width))] = self.default[axis.columns]
        return result

    def scales(self, scale: Mapping[str, Scale], factor: float) -> NDArray[np.float64]:
        """Half the width of the box round a centre, one number per parameter.

        Args:
            scale: parameter -> "auto" (0.5), "time" (one doubling of a parameter with positive bounds) or a number;
                "auto" for those that are not there.
            factor: multiplies all of them.

        Raises:
            UsageError: "time" for a parameter without positive bounds.
        """
        found = []
        for axis in self.axes:
            size = _scale(axis, scale.get(axis.path, "auto")) * factor
            if axis.levels is not None and not axis.unordered:
                # Enough to leave the present value's bin, or a parameter of two values would never change.
                size = max(size, 1.5 / axis.levels)
            found.append(size)
        return np.array(found)

    def around(
        self, rng: np.random.Generator, count: int, centres: Rows, scales: NDArray[np.float64], share: float = 1.0
    ) -> Rows:
        """Random configurations round centres: a centre at random, then a uniform step within its box.

        An unordered choice is drawn anew with its scale as the probability.

        Args:
            rng: the source of randomness.
            count: how many.
            centres: shape (m, columns), m >= 1.
            scales: one number per parameter, see `scales`.
            share: the chance of each parameter to be changed at all; at least one is.

        Returns:
            Rows of configurations, shape (count, columns).
        """
        origin = centres[rng.integers(len(centres), size=count)]
        step = rng.uniform(-1.0, 1.0, size=(count, len(self.axes)))
        changed = np.ones(step.shape, bool)
        if share < 1:
            changed = rng.random(step.shape) < share
            changed[np.arange(count), rng.integers(len(self.axes), size=count)] = True
        rows = origin + (step * changed * scales)[:, self.groups]
        for number, axis in enumerate(self.axes):
            if axis.unordered:
                drawn = rng.integers(axis.levels or 1, size=count)
                new = np.eye(axis.width)[drawn] if axis.is_one_hot else _levels(drawn[:, None], axis.levels or 1)
                anew = changed[:, number] & (rng.random(count) < scales[number])
                rows[:, axis.columns] = np.where(anew[:, None], new, origin[:, axis.columns])
        return self.snapped(np.clip(rows, -1.0, 1.0))

    def uniform(self, unit: NDArray[np.float64]) -> Rows:
        """The rows of configurations given by one number in [0, 1) per parameter, shape (n, parameters)."""
        rows = np.empty((len(unit), self.width))
        for number, axis in enumerate(self.axes):
            column = unit[:, number]
            if axis.is_one_hot:
                rows[:, axis.columns] = np.eye(axis.width)[np.minimum(column * axis.width, axis.width - 1).astype(int)]
            else:
                rows[:, axis.start] = 2 * column - 1
        return self.snapped(rows)

    def _active(self, path: str, rows: Rows, known: dict[str, NDArray[np.bool_]]) -> NDArray[np.bool_]:
        """Which of the rows (with snapped parents) have the parameter active."""
        if path not in known:
            active = np.ones(len(rows), bool)
            for condition in self.space.conditions(path):
                active &= self._active(condition.parameter, rows, known)
                parent = self._by_path.get(condition.parameter)
                if parent is None:
                    active &= condition.holds(self.space[condition.parameter].default())
                else:
                    wanted = np.array([parent.encode(value) for value in condition.values])
                    gap = np.abs(rows[:, None, parent.columns] - wanted).max(axis=2)
                    active &= (gap < 1e-9).any(axis=1)
            known[path] = active
        return known[path]


def _axis(path: str, distribution: Distribution[Any], start: int) -> Axis:
    match distribution:
        case Choice():
            levels = len(distribution.values)
            unordered = not distribution.is_ordered and levels > 1
            return Axis(
                path, distribution, start, levels if unordered and levels <= ONE_HOT_LIMIT else 1, unordered, levels
            )
        case Integer(log=False):
            return Axis(path, distribution, start, 1, False, distribution.hi - distribution.lo + 1)
        case PowerOfTwo():
            lo, hi = distribution.exponents
            return Axis(path, distribution, start, 1, False, hi - lo + 1)
    return Axis(path, distribution, start, 1, False, None)


def _levels(index: NDArray[np.int64], levels: int) -> Rows:
    return 2 * ((index + 0.5) / levels) - 1


def _scale(axis: Axis, scale: Scale) -> float:
    if scale == "auto":
        return AUTO_SCALE
    if scale == "time":
        lo, hi = getattr(axis.distribution, "lo", 0), getattr(axis.distribution, "hi", 0)
        if not 0 < lo < hi:
            raise UsageError(f'scale={{{axis.path!r}: "time"}}: {axis.distribution!r} has no positive bounds')
        return 1 / (math.log2(hi) - math.log2(lo))
    return float(scale)
