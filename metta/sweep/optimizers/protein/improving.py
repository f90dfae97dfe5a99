"""One suggestion of `BayesianOptimizer`."""

from __future__ import annotations

import math

import numpy as np

from metta.sweep.optimizers.protein.candidates import Search, best_candidate
from metta.sweep.optimizers.protein.data import Array, standardized
from metta.sweep.optimizers.protein.search import Proposal
from metta.sweep.optimizers.protein.step import Step


def propose(search: Search, step: Step) -> Proposal:
    """The next configuration.

    Raises:
        UsageError: no configuration met the constraints.
    """
    data, rng = step.data, step.rng
    if data.trials < search.initial_samples or not len(data):
        return step.sampled(step.design())
    goal = standardized(data.utilities(rng))
    values = standardized(power_transformed(goal.values)).values
    model = step.surrogates["score"].posterior(step.points(values), rng, data.pending)
    known = model.factor.rows
    return best_candidate(search, step, model, known)


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
