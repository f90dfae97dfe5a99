"""A Gaussian process: linear plus Matern-3/2 kernel with a length scale per parameter, fitted by maximum a posteriori.

    k(a, b) = v1 (bias + a.b) + v2 (1 + s) exp(-s),   s^2 = 3 sum_j (a_j - b_j)^2 / length_j^2

The columns of one parameter share its length scale. See Rasmussen & Williams (2006), chapters 4.2 and 5.4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_FIXED = 4
"""The hyperparameters before the length scales: v1, bias, v2, noise."""

_BOUND = math.log(1e4)
"""The logarithms of hyperparameters stay within this distance of their prior's centre."""


@dataclass(frozen=True, slots=True)
class Prior:
    """LogNormal priors of the hyperparameters, and the jitter.

    Attributes:
        noise, noise_sd: median of the noise variance, and the standard deviation of its logarithm.
        length, length_sd: the same for the length scales.
        variance, variance_sd: the same for v1, bias and v2; `linear` is the median of v1.
        jitter: added to the diagonal; grows tenfold when a factorization fails.
    """

    noise: float = 1e-2
    noise_sd: float = 0.5
    length: float = 1.0
    length_sd: float = 1.0
    variance: float = 1.0
    variance_sd: float = 1.0
    linear: float = 1.0
    jitter: float = 1e-3

    def centre(self, lengths: int) -> Array:
        """The logarithms of the medians: where a fit starts."""
        fixed = (self.linear, self.variance, self.variance, self.noise)
        return np.asarray(np.log(np.array([*fixed, *[self.length] * lengths])))

    def spread(self, lengths: int) -> Array:
        """The standard deviations of the logarithms."""
        return np.array([*[self.variance_sd] * 3, self.noise_sd, *[self.length_sd] * lengths])


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """The covariance function.

    Attributes:
        theta: logarithms of v1, bias, v2, noise variance and the length scales.
        groups: the number of the length scale of every column.
    """

    theta: Array
    groups: NDArray[np.int64]

    @property
    def noise(self) -> float:
        """The variance of the noise."""
        return float(math.exp(self.theta[3]))

    def covariance(self, a: Array, b: Array) -> Array:
        """The covariances of the noise-free function at rows `a` and `b`, shape (len(a), len(b))."""
        v1, bias, v2 = np.exp(self.theta[:3])
        result = _matern(_scaled_distances(a, b, self._lengths))
        result *= v2
        result += v1 * (a @ b.T)
        result += v1 * bias
        return result

    def variance(self, a: Array) -> Array:
        """The variance of the noise-free function at rows `a`, shape (len(a),)."""
        v1, bias, v2 = np.exp(self.theta[:3])
        return np.asarray(v1 * (bias + np.einsum("ij,ij->i", a, a)) + v2)

    @property
    def _lengths(self) -> Array:
        return np.asarray(np.exp(self.theta[_FIXED:][self.groups]))


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """The Cholesky factor of the covariance of noisy observations.

    Attributes:
        rows: where they are, shape (n, columns).
        lower: the lower triangle, shape (n, n).
        jitter: what was added to the diagonal besides the noise.
    """

    kernel: Kernel
    rows: Array
    lower: Array
    jitter: float

    @classmethod
    def of(cls, kernel: Kernel, rows: Array, jitter: float) -> Factor:
        """Factorize; the jitter grows until that succeeds."""
        lower, jitter = factorized(kernel.covariance(rows, rows), kernel.noise, jitter)
        return cls(kernel, rows, lower, jitter)

    def extended(self, rows: Array) -> Factor:
        """The factor of these rows and more, without factorizing the old ones again: O(n^2 m) for m new rows."""
        if not len(rows):
            return self
        from scipy.linalg import LinAlgError, cholesky, solve_triangular

        across = solve_triangular(self.lower, self.kernel.covariance(self.rows, rows), lower=True, check_finite=False)
        corner = self.kernel.covariance(rows, rows) - across.T @ across
        corner[np.diag_indices(len(rows))] += self.kernel.noise + self.jitter
        both = np.vstack([self.rows, rows])
        try:
            corner = cholesky(corner, lower=True, check_finite=False)
        except LinAlgError:
            return Factor.of(self.kernel, both, 10 * self.jitter)
        old, new = len(self.rows), len(rows)
        lower = np.zeros((old + new, old + new), order="F")
        lower[:old, :old] = self.lower
        lower[old:, :old] = across.T
        lower[old:, old:] = corner
        return Factor(self.kernel, both, lower, self.jitter)

    def posterior(self, targets: Array) -> Posterior:
        """The process given the targets at the rows, shape (n,)."""
        from scipy.linalg import cho_solve

        return Posterior(self, cho_solve((self.lower, True), targets, check_finite=False))


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """A Gaussian process given observations.

    Attributes:
        factor: of the covariance of the observations.
        weights: its inverse times the targets.
    """

    factor: Factor
    weights: Array

    @property
    def noise_sd(self) -> float:
        """The standard deviation of the noise of an observation."""
        return math.sqrt(self.factor.kernel.noise)

    def mean(self, rows: Array) -> Array:
        """The expected noise-free values at rows, shape (len(rows),)."""
        return np.asarray(self.factor.kernel.covariance(rows, self.factor.rows) @ self.weights)

    def mean_and_sd(self, rows: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the noise-free values at rows."""
        from scipy.linalg import solve_triangular

        kernel = self.factor.kernel
        cross = kernel.covariance(rows, self.factor.rows).T  # in Fortran order, which LAPACK takes as it is
        mean = self.weights @ cross
        explained = solve_triangular(self.factor.lower, cross, lower=True, check_finite=False, overwrite_b=True)
        variance = kernel.variance(rows) - np.einsum("ij,ij->j", explained, explained)
        return mean, np.sqrt(np.maximum(variance, 1e-12))


def factorized(covariance: Array, noise: float, jitter: float) -> tuple[Array, float]:
    """The lower Cholesky factor of a covariance with noise, and the jitter it took.

    Raises:
        LinAlgError: a jitter of 1e6 times the first one was not enough; the covariance is not finite.
    """
    from scipy.linalg import LinAlgError, cholesky

    diagonal = np.diag_indices(len(covariance))
    for power in range(7):
        tried = covariance.copy()
        tried[diagonal] += noise + jitter * 10**power
        try:
            return cholesky(tried, lower=True, check_finite=False, overwrite_a=True), jitter * 10**power
        except LinAlgError:
            if power == 6:
                raise
    raise AssertionError("unreachable")


def fit(
    rows: Array, targets: Array, groups: NDArray[np.int64], prior: Prior, start: Array | None = None, steps: int = 50
) -> Kernel:
    """The kernel with the highest posterior density, found by L-BFGS from the prior's centre and from `start`.

    Args:
        rows: shape (n, columns).
        targets: standardized, shape (n,).
        groups: the number of the length scale of every column.
        prior: of the hyperparameters.
        start: the `theta` of an earlier fit; with more than 200 rows the search begins there only.
        steps: the most iterations per start.
    """
    from scipy.optimize import minimize

    lengths = int(groups.max()) + 1
    centre = prior.centre(lengths)
    starts = [centre] if start is None else [start] if len(rows) > 200 else [start, centre]
    bounds = [(middle - _BOUND, middle + _BOUND) for middle in centre]
    found: list[Any] = [
        minimize(
            negative_log_posterior,
            theta,
            args=(rows, targets, groups, prior),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": steps},
        )
        for theta in starts
    ]
    best = min(found, key=lambda result: float(result.fun))
    return Kernel(np.asarray(best.x, dtype=float), groups)


def negative_log_posterior(
    theta: Array, rows: Array, targets: Array, groups: NDArray[np.int64], prior: Prior
) -> tuple[float, Array]:
    """Minus the logarithm of likelihood times prior, up to a constant, and its gradient by `theta`."""
    from scipy.linalg import LinAlgError, cho_solve
    from scipy.linalg.lapack import dpotri

    v1, bias, v2, noise = np.exp(theta[:_FIXED])
    lengths = np.exp(theta[_FIXED:])
    s = _scaled_distances(rows, rows, lengths[groups])
    decay = np.exp(-s)
    matern = v2 * (1 + s) * decay
    products = rows @ rows.T
    try:
        lower, _ = factorized(matern + v1 * (bias + products), noise, prior.jitter)
    except LinAlgError:
        return 1e25, np.zeros_like(theta)
    weights = cho_solve((lower, True), targets, check_finite=False)
    away = (theta - prior.centre(len(lengths))) / prior.spread(len(lengths))
    value = 0.5 * targets @ weights + np.log(np.diag(lower)).sum() + 0.5 * away @ away

    inverse = dpotri(lower, lower=1)[0]
    outer = np.outer(weights, weights) - np.tril(inverse) - np.tril(inverse, -1).T
    gradient = np.empty_like(theta)
    gradient[1] = v1 * bias * outer.sum()
    gradient[0] = v1 * (outer * products).sum() + gradient[1]
    gradient[2] = (outer * matern).sum()
    gradient[3] = noise * np.trace(outer)
    # d matern / d log length_j = 3 v2 exp(-s) (a_j - b_j)^2 / length_j^2; the square is expanded, so that no
    # n x n x columns array is needed.
    slope = outer * decay * (3 * v2)
    per_column = 2 * (slope.sum(axis=1) @ rows**2 - np.einsum("ij,ij->j", rows, slope @ rows))
    gradient[_FIXED:] = np.bincount(groups, per_column / lengths[groups] ** 2, minlength=len(lengths))
    return float(value), -0.5 * gradient + away / prior.spread(len(lengths))


def _scaled_distances(a: Array, b: Array, lengths: Array) -> Array:
    """sqrt(3) times the distances in units of the length scales."""
    a, b = a / lengths, b / lengths
    squares = -2 * (a @ b.T)
    squares += np.einsum("ij,ij->i", a, a)[:, None]
    squares += np.einsum("ij,ij->i", b, b)
    np.maximum(squares, 0.0, out=squares)
    squares *= 3
    return np.sqrt(squares, out=squares)


def _matern(s: Array) -> Array:
    """(1 + s) exp(-s)."""
    result = np.exp(-s)
    s += 1
    result *= s
    return result
