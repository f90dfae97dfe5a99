"""A Gaussian process for rewards that drift while a population trains.

The kernel is that of TV-GP-UCB (Bogunovic et al., "Time-Varying Gaussian Process Bandit Optimization", 2016, section
4): a squared exponential of the features times (1 - epsilon)^(|t - t'| / 2), so that old results count less and less.
numpy and scipy are imported where they are needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

LENGTHS: Final = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Length scales that are tried; features lie in the unit interval."""

EPSILONS: Final = (0.001, 0.03, 0.1, 0.3)
"""Rates of forgetting that are tried, per unit of time."""

NOISES: Final = (0.001, 0.01, 0.1, 1.0)
"""Variances of the noise that are tried, as multiples of the signal's."""

FEWEST: Final = 5
"""With fewer points the middle of the grid is taken: their likelihood says little."""

FIRST_JITTER: Final = 1e-9
"""What a first failed Cholesky adds to the diagonal; each further failure adds ten times more."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """Hyperparameters, relative to the variance of the signal.

    Attributes:
        length: of the squared exponential, the same for all features.
        epsilon: the rate of forgetting, in [0, 1).
        noise: variance of the noise.
    """

    length: float
    epsilon: float
    noise: float

    def __call__(self, times: Array, features: Array, other_times: Array, other_features: Array) -> Array:
        """The correlations [n, m] of n points with m others; times [n], features [n, d]."""
        import numpy as np

        # One exponential of both, and matrix products for the distances: most of the time of a fit is spent here.
        squares = (features**2).sum(axis=1)[:, None] + (other_features**2).sum(axis=1) - 2 * features @ other_features.T
        ages = np.abs(times[:, None] - other_times)
        decay = np.log1p(-self.epsilon) / 2
        correlations: Array = np.exp(decay * ages - np.maximum(squares, 0.0) / (2 * self.length**2))
        return correlations


@dataclass(frozen=True, slots=True, eq=False)
class Process:
    """A process fitted to n points. See `fit`.

    Attributes:
        kernel: its hyperparameters.
        times: [n].
        features: [n, d].
        factor: lower Cholesky factor [n, n] of the correlations with noise.
        weights: [n]; the mean at a point is its correlations with the n points times these.
        variance: of the signal.
        center: mean of the targets.
    """

    kernel: Kernel
    times: Array
    features: Array
    factor: Array
    weights: Array
    variance: float
    center: float

    def mean(self, times: Array, features: Array) -> Array:
        """The expected targets [m] at m points."""
        expected: Array = self.center + self.kernel(times, features, self.times, self.features) @ self.weights
        return expected

    def deviation(self, times: Array, features: Array, pending_times: Array, pending_features: Array) -> Array:
        """The standard deviations [m] of the signal at m points, as if the pending points [p] were known already.

        The variance of a Gaussian process does not depend on targets, so pending points shrink it where they are
        without anybody guessing their results (hallucination; Desautels et al., GP-BUCB, 2014).
        """
        import numpy as np
        from scipy.linalg import solve_triangular

        known_times = np.concatenate([self.times, pending_times])
        known = np.concatenate([self.features, pending_features])
        factor = self.factor
        if len(pending_times):
            factor = cholesky(_with_noise(self.kernel, known_times, known))
        reduced = solve_triangular(factor, self.kernel(known_times, known, times, features), lower=True)
        deviations: Array = np.sqrt(self.variance * np.maximum(1 - (reduced**2).sum(axis=0), 0.0))
        return deviations


def fit(times: Array, features: Array, targets: Array) -> Process:
    """The process on a grid of hyperparameters under which the targets are likeliest.

    The variance of the signal is the one of maximum likelihood, in closed form.

    Args:
        times: [n], in units of which `EPSILONS` is the rate.
        features: [n, d], in the unit interval.
        targets: [n], finite; n may be 0.
    """
    import numpy as np
    from scipy.linalg import solve_triangular

    center = float(targets.mean()) if len(targets) else 0.0
    centered = targets - center
    spread = float((centered**2).mean()) if len(targets) else 0.0
    kernels = [Kernel(*values) for values in product(LENGTHS, EPSILONS, NOISES)]
    if len(targets) < FEWEST or spread == 0:
        kernels = [Kernel(0.4, 0.03, 0.1)]
    best: tuple[float, Process] | None = None
    for kernel in kernels:
        factor = cholesky(_with_noise(kernel, times, features))
        whitened = solve_triangular(factor, centered, lower=True)
        variance = float((whitened**2).mean()) if spread > 0 else 1.0
        likelihood = -0.5 * len(targets) * np.log(variance) - float(np.log(np.diag(factor)).sum())
        if best is None or likelihood > best[0]:
            weights = solve_triangular(factor, whitened, lower=True, trans="T")
            best = likelihood, Process(kernel, times, features, factor, weights, variance, center)
    assert best is not None
    return best[1]


def cholesky(matrix: Array) -> Array:
    """The lower Cholesky factor; a matrix that has none gets more and more added to its diagonal until it has."""
    import numpy as np

    jitter = 0.0
    while True:
        try:
            return np.linalg.cholesky(matrix + jitter * np.eye(len(matrix))).astype(np.float64, copy=False)
        except np.linalg.LinAlgError:
            jitter = 10 * jitter or FIRST_JITTER


def _with_noise(kernel: Kernel, times: Array, features: Array) -> Array:
    import numpy as np

    correlations = kernel(times, features, times, features)
    correlations[np.diag_indices_from(correlations)] += kernel.noise
    return correlations
