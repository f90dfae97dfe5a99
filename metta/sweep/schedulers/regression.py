"""Linear least squares on configurations, for schedulers that guess what a trial will cost or reach."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from metta.sweep.errors import UsageError
from metta.sweep.space import Choice, SearchSpace


class Guess(NamedTuple):
    """A prediction: its mean, and the standard deviation of what was seen around such predictions."""

    mean: float
    spread: float


class LinearModel:
    """target = intercept + coefficients . features, fitted by least squares to all pairs that were added.

    It keeps sums, not the pairs, so its state does not grow. As long as there are not more pairs than coefficients it
    predicts the mean of the targets.
    """

    def __init__(self) -> None:
        self.count: int = 0
        # Sums over the rows a = (1, *features) and the targets y, counted from the first one, so that the squares of
        # large ones do not swallow their differences: a a^T, a y and y^2.
        self._origin = 0.0
        self._moments: list[list[float]] = []
        self._products: list[float] = []
        self._squares = 0.0
        self._fitted: tuple[list[float], float] | None = None

    def add(self, features: Sequence[float], target: float) -> None:
        """Learn from one pair. The number of features is the same each time."""
        row = [1.0, *features]
        if not self.count:
            self._origin = target
            self._moments = [[0.0] * len(row) for _ in row]
            self._products = [0.0] * len(row)
        relative = target - self._origin
        for index, value in enumerate(row):
            self._products[index] += value * relative
            moments = self._moments[index]
            for other, factor in enumerate(row):
                moments[other] += value * factor
        self._squares += relative * relative
        self.count += 1
        self._fitted = None

    def predict(self, features: Sequence[float]) -> Guess | None:
        """The target to expect; None before the first pair."""
        if not self.count:
            return None
        if self._fitted is None:
            self._fitted = self._fit()
        coefficients, spread = self._fitted
        mean = sum(weight * value for weight, value in zip(coefficients, [1.0, *features], strict=True))
        return Guess(self._origin + mean, spread)

    def to_json(self) -> dict[str, Any]:
        """The model as JSON values."""
        return {
            "count": self.count,
            "origin": self._origin,
            "moments": self._moments,
            "products": self._products,
            "squares": self._squares,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LinearModel:
        """The model that `to_json` wrote."""
        model = cls()
        model.count = data["count"]
        model._origin = data["origin"]
        model._moments = [list(row) for row in data["moments"]]
        model._products = list(data["products"])
        model._squares = data["squares"]
        return model

    def _fit(self) -> tuple[list[float], float]:
        """The coefficients, the intercept first, and the standard deviation of the residuals."""
        import numpy as np

        size = len(self._products)
        if self.count <= size:
            coefficients = [self._products[0] / self.count, *[0.0] * (size - 1)]
            freedom = self.count
        else:
            # The solution of least norm: one-hot features add up to the intercept, and some may never have varied.
            solution = np.linalg.lstsq(np.array(self._moments), np.array(self._products), rcond=1e-12)[0]
            coefficients = [float(weight) for weight in solution]
            freedom = self.count - size
        explained = sum(weight * product for weight, product in zip(coefficients, self._products, strict=True))
        return coefficients, math.sqrt(max(0.0, self._squares - explained) / freedom)


def features_of(params: Mapping[str, Any], space: SearchSpace | None) -> list[float]:
    """A configuration as numbers in [0, 1], always as many and in the same order.

    A parameter is its place in the unit interval, an unordered choice one number per value, 1 for the one it has. A
    parameter that is not active, or whose value the space does not know, is 0.5, or all zeros.

    Args:
        params: dot path -> value.
        space: None for no features at all.
    """
    features: list[float] = []
    known = dict(params)
    for path in () if space is None else space.tunable:
        distribution = space[path] if space is not None else None
        unit = None
        if path in known and distribution is not None:
            try:
                unit = distribution.to_unit(known[path])
            except UsageError:
                unit = None
        if isinstance(distribution, Choice) and not distribution.is_ordered:
            chosen = None if unit is None else int(unit * len(distribution.values))
            features.extend(float(index == chosen) for index in range(len(distribution.values)))
        else:
            features.append(0.5 if unit is None else unit)
    return features
