"""One suggestion of `BayesianOptimizer`."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from metta.sweep.optimizers.protein.acquisition import log_expected_improvement, upper_confidence_bound
from metta.sweep.optimizers.protein.data import Array, standardized
from metta.sweep.optimizers.protein.gp import Posterior
from metta.sweep.optimizers.protein.search import Proposal, SuggestionInfo
from metta.sweep.optimizers.protein.step import Step

GLOBAL_CANDIDATES = 1024
LOCAL_CANDIDATES = 256

SCALES = (0.5, 0.15, 0.05, 0.015, 0.005)
"""How far the candidates of successive rounds lie from the best of the rounds before, in half ranges."""

LEADERS = 5
"""The best points that a round starts from."""

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


def propose(search: Search, step: Step) -> Proposal:
    """The next configuration.

    Raises:
        UsageError: no configuration met the constraints.
    """
    encoding, data, rng = step.encoding, step.data, step.rng
    parameters = len(encoding.axes)
    if data.trials < search.initial_samples or not len(data):
        return step.sampled(step.design())
    goal = standardized(data.utilities(rng))
    values = standardized(power_transformed(goal.values)).values
    model = step.surrogates["score"].posterior(step.points(values), rng, data.pending)
    known = model.factor.rows
    expected = model.mean(known)

    rows = encoding.uniform(rng.random((GLOBAL_CANDIDATES, parameters)))
    rating = _rated(search, model, rows, float(expected.max()))
    leaders = known[np.argsort(-expected, kind="stable")[:LEADERS]]
    share = min(1.0, CHANGED / max(parameters, 1))
    for size in SCALES:
        scales = encoding.scales({axis.path: size for axis in encoding.axes}, 1.0)
        near = encoding.around(rng, LOCAL_CANDIDATES, leaders, scales, share)
        rows = np.vstack([rows, near])
        rating = np.concatenate([rating, _rated(search, model, near, float(expected.max()))])
        leaders = rows[np.argsort(-rating, kind="stable")[:LEADERS]]
    best_first = np.argsort(-rating, kind="stable")
    found = step.first_new(rows[best_first])
    if found is None or not found.is_new:
        return step.sampled(rows[best_first], "no new candidate met the constraints")
    return Proposal(found.params, SuggestionInfo("model", rating=float(rating[best_first[found.place]])))


def power_transformed(values: Array) -> Array:
    """Standardized numbers bent so that they look most like a normal sample (Yeo & Johnson, 2000).

    Scores often have a long tail of bad values, which would hide the differences between good ones.
    """
    from scipy.optimize import minimize_scalar

    if len(values) < 3 or not np.ptp(values) > 0:
        return values
    logs = np.sign(values) * np.log1p(np.abs(values))

    def cost(power: float) -> float:
        spread = float(yeo_johnson(values, power).std())
        return len(values) * math.log(max(spread, 1e-300)) - (power - 1) * float(logs.sum())

    found = minimize_scalar(cost, bounds=(-1.0, 5.0), method="bounded", options={"xatol": 1e-3})
    return yeo_johnson(values, float(found.x))


def yeo_johnson(values: Array, power: float) -> Array:
    """The transformation of Yeo & Johnson (2000), equation 2.1; power 1 changes nothing."""
    size = np.log1p(np.abs(values))
    up = size if abs(power) < 1e-8 else np.expm1(power * size) / power
    down = size if abs(2 - power) < 1e-8 else np.expm1((2 - power) * size) / (2 - power)
    return np.where(values >= 0, up, -down)


def _rated(search: Search, model: Posterior, rows: Array, best: float) -> Array:
    mean, sd = model.mean_and_sd(rows)
    if search.acquisition == "ucb":
        return upper_confidence_bound(mean, sd, search.exploration)
    return log_expected_improvement(mean, sd, best + search.exploration)
