"""How much each model of an ensemble is worth, by how well it ranks what was observed.

Feurer, Letham, Hutter and Bakshy (2018), "Practical Transfer Learning for Bayesian Optimization", as RGPE: the ranking
loss of a model is the number of pairs of observations that it puts in the wrong order; the model of the observations
themselves is judged by its leave-one-out predictions. Each model's weight is how often it has the least loss over
bootstrap samples of the observations.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metta.sweep.optimizers.protein.data import Array
from metta.sweep.optimizers.protein.gp import Posterior

SAMPLES = 256
"""Bootstrap samples."""

GUARD = 0.95
"""A model whose median loss is above this quantile of the target's own losses has no weight."""

Pairs = NDArray[np.bool_]


def wrong_pairs(predictions: Array, targets: Array) -> Pairs:
    """Which pairs of observations predictions put in the wrong order, shape (n, n).

    Args:
        predictions: of the observed configurations, shape (n,), or (n, n) where row i is by a model of its own.
        targets: what was observed, shape (n,).
    """
    predictions = np.broadcast_to(predictions, (len(targets), len(targets)))
    own = np.diagonal(predictions)[:, None]
    return np.asarray((own < predictions) != (targets[:, None] < targets[None, :]))


def observed(process: Posterior) -> Array:
    """The targets that a process was given at its rows, shape (n,)."""
    lower = process.factor.lower
    # Equal ones stay equal: what is lost in the last digits must not rank them.
    return np.asarray((lower @ (lower.T @ process.weights)).round(9))


def left_out(process: Posterior) -> Array:
    """What a process expects at all its rows, row i without the observation there; shape (n, n).

    Without observation i the weights of the others are w - K^-1[:, i] w_i / K^-1_ii (Rasmussen and Williams, 2006,
    section 5.4.2).
    """
    from scipy.linalg import cho_solve

    factor = process.factor
    inverse = cho_solve((factor.lower, True), np.eye(len(factor.rows)), check_finite=False)
    weights = process.weights[:, None] - inverse * (process.weights / np.diagonal(inverse))
    return np.asarray((factor.kernel.covariance(factor.rows, factor.rows) @ weights).T)


def ranking_weights(wrong: Sequence[Pairs], prior: Array, rng: np.random.Generator) -> Array:
    """The weights of models, shape (models,); they add up to 1.

    Args:
        wrong: for each model the pairs in the wrong order; the last model is that of the observations themselves.
        prior: shares of models that are equally good in a sample, shape (models,); the last one is positive.
        rng: draws the samples.
    """
    count = len(wrong[0])
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=SAMPLES).astype(float)
    losses = np.array([np.einsum("sj,sj->s", drawn @ pairs, drawn) for pairs in wrong])
    is_diluting = np.median(losses, axis=1) > np.quantile(losses[-1], GUARD)
    losses[is_diluting] = np.inf
    shares = (losses == losses.min(axis=0)) * prior[:, None]
    # Where only models with a prior of 0 are best, the target's own model has the sample.
    shares[-1] += shares.sum(axis=0) == 0
    return np.asarray((shares / shares.sum(axis=0)).mean(axis=1))
