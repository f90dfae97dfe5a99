"""A Gaussian process that is fitted rarely and extended in between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metta.sweep.optimizers.protein.gp import Array, Factor, Kernel, Posterior, Prior, fit

MAX_PENDING = 250
"""The running trials a model knows of, the newest ones."""

_REFIT_AFTER = 50
"""The most new points between two fits."""

_WARM_STEPS = 15
"""The most iterations of a fit that starts where the last one ended, with more than 200 points."""


class Points(NamedTuple):
    """What a model is fitted to.

    Attributes:
        ids: a number per point, ascending in the order of arrival; a point keeps its number.
        rows: shape (n, columns).
        targets: standardized, shape (n,).
        resource: where the results were reached; another one means another function.
    """

    ids: NDArray[np.int64]
    rows: Array
    targets: Array
    resource: int | None


class Surrogate:
    """Hyperparameters of a process and the points they were fitted to; the only state of the model.

    Between two fits new points extend the Cholesky factor. A posterior depends on this state and the points alone,
    not on the calls before, so that a restored surrogate computes the very same numbers.

    Args:
        groups: the number of the length scale of every column.
        prior: of the hyperparameters.
        max_points: the most points of a fit: the newest half and a random half of the older ones.
    """

    def __init__(self, groups: NDArray[np.int64], prior: Prior, max_points: int) -> None:
        self._groups, self._prior, self._max_points = groups, prior, max_points
        self._kernel: Kernel | None = None
        self._base: NDArray[np.int64] = np.array([], dtype=np.int64)
        self._count, self._last = 0, -1
        self._resource: int | None = None
        self._factor: Factor | None = None

    def posterior(self, points: Points, rng: np.random.Generator, pending: Array | None = None) -> Posterior:
        """The process given `points`.

        Args:
            points: at least one.
            rng: draws the older points where there are too many.
            pending: rows of running trials. The process takes them as observed, with the targets that it expects there
                itself (the kriging believer of Ginsbourger et al., 2010): nothing more is to be learned there.
        """
        kernel = self._kernel
        if kernel is None or self._is_outdated(points):
            kernel = self._fit(points, rng)
        base, new = np.flatnonzero(np.isin(points.ids, self._base)), np.flatnonzero(points.ids > self._last)
        if self._factor is None:
            self._factor = Factor.of(kernel, points.rows[base], self._prior.jitter)
        factor = self._factor.extended(points.rows[new])
        targets = points.targets[np.concatenate([base, new])]
        posterior = factor.posterior(targets)
        if pending is None or not len(pending):
            return posterior
        pending = pending[-MAX_PENDING:]
        return factor.extended(pending).posterior(np.concatenate([targets, posterior.mean(pending)]))

    def to_json(self) -> dict[str, Any] | None:
        """The state as JSON values."""
        if self._kernel is None:
            return None
        return {
            "theta": self._kernel.theta.tolist(),
            "ids": self._base.tolist(),
            "count": self._count,
            "last": self._last,
            "resource": self._resource,
        }

    def load_json(self, data: Mapping[str, Any] | None) -> None:
        """Take over the state that `to_json` wrote."""
        self._factor = self._kernel = None
        if data is not None:
            self._kernel = Kernel(np.array(data["theta"], dtype=float), self._groups)
            self._base = np.array(data["ids"], dtype=np.int64)
            self._count, self._last, self._resource = data["count"], data["last"], data["resource"]

    def _is_outdated(self, points: Points) -> bool:
        if points.resource != self._resource or not np.isin(self._base, points.ids).all():
            return True
        return len(points.ids) >= self._count + max(1, min(self._count // 10, _REFIT_AFTER))

    def _fit(self, points: Points, rng: np.random.Generator) -> Kernel:
        count = len(points.ids)
        chosen = np.arange(count)
        if count > self._max_points:
            half = self._max_points // 2
            older = rng.choice(count - half, size=self._max_points - half, replace=False)
            chosen = np.concatenate([np.sort(older), chosen[count - half :]])
        rows, targets = points.rows[chosen], points.targets[chosen]
        start = None if self._kernel is None else self._kernel.theta
        steps = 50 if start is None or len(rows) <= 200 else _WARM_STEPS
        self._kernel = fit(rows, targets, self._groups, self._prior, start, steps)
        self._base, self._resource = points.ids[chosen], points.resource
        self._count, self._last = count, int(points.ids[-1])
        self._factor = None
        return self._kernel
