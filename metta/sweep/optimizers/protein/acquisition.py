"""Acquisition functions: how much a candidate promises, given a model of what is to be maximized."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SD_FLOOR = 1e-6
"""The least standard deviation a prediction is taken to have."""

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


def upper_confidence_bound(mean: Array, sd: Array, beta: float) -> Array:
    """mean + beta sd (Srinivas et al., 2010)."""
    return mean + beta * np.maximum(sd, SD_FLOOR)


def expected_improvement(mean: Array, sd: Array, best: float) -> Array:
    """E[max(0, f - best)] for normal f (Jones et al., 1998, equation 15)."""
    from scipy.special import ndtr

    sd = np.maximum(sd, SD_FLOOR)
    z = (mean - best) / sd
    return np.asarray((mean - best) * ndtr(z) + sd * np.exp(-0.5 * z * z - _LOG_SQRT_2PI))


def log_expected_improvement(mean: Array, sd: Array, best: float) -> Array:
    """The logarithm of `expected_improvement`, also where that underflows (Ament et al., 2023, section 4.1)."""
    from scipy.special import erfcx, ndtr

    sd = np.maximum(sd, SD_FLOOR)
    z = (mean - best) / sd
    near = np.maximum(z, -1.0)
    log_near = np.log(near * ndtr(near) + np.exp(-0.5 * near * near - _LOG_SQRT_2PI))
    # h(z) = phi(z) (1 - |z| Phi(z) / phi(z)), and the ratio is sqrt(pi / 2) erfcx(|z| / sqrt 2).
    far = np.clip(z, -1e4, -1.0)
    rest = 1 + far * math.sqrt(math.pi / 2) * erfcx(-far / math.sqrt(2))
    log_far = -0.5 * far * far - _LOG_SQRT_2PI + np.log(np.maximum(rest, 1e-300))
    log_farther = -0.5 * z * z - _LOG_SQRT_2PI - 2 * np.log(np.maximum(-z, 1.0))
    return np.asarray(np.log(sd) + np.where(z > -1, log_near, np.where(z > -1e4, log_far, log_farther)))


def naive(score: Array, cost: Array | float, target: float) -> Array:
    """The rating of Protein: the score, the less the further the cost is from the target.

    Args:
        score: the predicted score, larger is better, 0 for the worst and 1 for the best observed.
        cost: the predicted logarithm of the cost, 0 for the lowest and 1 for the highest observed.
        target: the cost wanted, on the same scale.
    """
    return np.asarray(score * np.maximum(0.0, 1 - np.abs(target - cost)))


def masked(rating: Array, cost: Array, limit: float) -> tuple[Array, bool]:
    """The rating with -inf where the cost is at or above the limit.

    A factor of 0 would not do: it wins against negative ratings.

    Returns:
        The rating, and whether the mask was lifted because no candidate was left.
    """
    allowed = cost < limit
    if not allowed.any():
        return rating, True
    return np.where(allowed, rating, -np.inf), False
