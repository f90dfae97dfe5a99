"""The search for the best candidate under a model of the scores."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from metta.sweep.optimizers.protein.acquisition import log_expected_improvement, upper_confidence_bound
from metta.sweep.optimizers.protein.data import Array
from metta.sweep.optimizers.protein.search import Proposal, SuggestionInfo
from metta.sweep.optimizers.protein.step import Step

GLOBAL_CANDIDATES = 1024
LOCAL_CANDIDATES = 256

SCALES = (0.5, 0.15, 0.05, 0.015, 0.005)
"""How far the candidates of successive rounds lie from the best of the rounds before, in half ranges."""

LEADERS = 5
"""The best points that a round starts from."""

CLOSE = 0.04
"""Half ranges. Configurations that differ by less in every parameter are nearly the same one."""

CHANGED = 20
"""About as many parameters of a local candidate differ from its center; changing all would lead nowhere in 50."""


class Search(NamedTuple):
    """What is searched for.

    Attributes:
        acquisition: "ei" or "ucb".
        exploration: see `BayesianOptimizer`.
        initial_samples: observations before the model is asked.
    """

    acquisition: str
    exploration: float
    initial_samples: int


class Model(Protocol):
    """What is expected of configurations, in any unit; larger is better."""

    def mean(self, rows: Array) -> Array:
        """The expected values at rows, shape (len(rows),)."""
        ...

    def mean_and_sd(self, rows: Array) -> tuple[Array, Array]:
        """Means and standard deviations at rows."""
        ...

    @property
    def noise_sd(self) -> float:
        """The standard deviation of the noise of an observation, in the same unit."""
        ...


def best_candidate(search: Search, step: Step, model: Model, known: Array, starts: Array | None = None) -> Proposal:
    """The candidate with the best acquisition that is allowed and new.

    Candidates come from everywhere and, in rounds of shrinking steps, from near the best ones so far. Where the noise
    hides what is left to be learned, those that are nearly the same as a configuration tried before come last: with
    noise the best known place promises the most again and again, and scores that are jagged rather than noisy are the
    same there every time.

    Args:
        search: the acquisition function.
        step: of the suggestion.
        model: of the scores.
        known: rows of the configurations to be improved on, shape (n, columns), n >= 1.
        starts: rows among which the first round near the best ones starts; None for `known`.
    """
    encoding, rng = step.encoding, step.rng
    parameters = len(encoding.axes)
    best = float(model.mean(known).max())
    starts = known if starts is None else starts
    rows = encoding.uniform(rng.random((GLOBAL_CANDIDATES, parameters)))
    rating = _rated(search, model, rows, best)
    leaders = starts[np.argsort(-model.mean(starts), kind="stable")[:LEADERS]]
    share = min(1.0, CHANGED / max(parameters, 1))
    for size in SCALES:
        scales = encoding.scales({axis.path: size for axis in encoding.axes}, 1.0)
        near = encoding.around(rng, LOCAL_CANDIDATES, leaders, scales, share)
        rows = np.vstack([rows, near])
        rating = np.concatenate([rating, _rated(search, model, near, best)])
        leaders = rows[np.argsort(-rating, kind="stable")[:LEADERS]]
    best_first = np.lexsort((-rating, _is_repeat(step, model, rows)))
    found = step.first_new(rows[best_first])
    if found is None or not found.is_new:
        return step.sampled(rows[best_first], "no new candidate met the constraints")
    return Proposal(found.params, SuggestionInfo("model", rating=float(rating[best_first[found.place]])))


def _rated(search: Search, model: Model, rows: Array, best: float) -> Array:
    """The acquisition function at rows; `best` is the value to be improved on."""
    mean, sd = model.mean_and_sd(rows)
    if search.acquisition == "ucb":
        return upper_confidence_bound(mean, sd, search.exploration)
    return log_expected_improvement(mean, sd, best + search.exploration)


def _is_repeat(step: Step, model: Model, rows: Array) -> NDArray[np.bool_]:
    """For each of `rows` whether it is nearly a configuration tried before, and the noise hides any difference."""
    from scipy.spatial import cKDTree

    if not step.records:
        return np.zeros(len(rows), dtype=bool)
    tried = np.array([record.row for record in step.records])
    distance, _ = cKDTree(tried).query(rows, p=math.inf, distance_upper_bound=CLOSE)
    near = np.isfinite(distance)
    if near.any():
        _, sd = model.mean_and_sd(rows[near])
        near[near] = sd < model.noise_sd
    return near
