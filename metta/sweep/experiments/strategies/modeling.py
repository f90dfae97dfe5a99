"""A Gaussian process fitted to the scores of trials."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from metta.sweep.errors import RunError
from metta.sweep.experiments.strategies.problem import Problem
from metta.sweep.experiments.strategies.records import GaussianProcessModel, Prediction
from metta.sweep.optimizers.fidelity import chosen_resource, threshold
from metta.sweep.optimizers.protein.data import Array, standardized
from metta.sweep.optimizers.protein.encoding import Encoding
from metta.sweep.optimizers.protein.gp import Factor, Kernel, Posterior, Prior, fit
from metta.sweep.space import SearchSpace
from metta.sweep.trial import Params, Result, Trial, TrialState

CANDIDATES: Final = 1024
"""Configurations compared for the best point, in each round."""

SCALES: Final = (0.5, 0.15, 0.05, 0.015)
"""How far those of later rounds lie from the best of the rounds before, in half ranges."""

LEADERS: Final = 5


def fitted_model(trials: Sequence[Trial], problem: Problem, seed: int | None) -> GaussianProcessModel:
    """The model of the scores at the highest resource that enough trials have reached, see `fidelity`.

    Raises:
        RunError: fewer than two of the trials have a score and parameters of this space.
        UsageError: the space has values that JSON does not know.
    """
    space = SearchSpace(dict(problem.space.items()))
    encoding = Encoding(space)
    scored = [trial for trial in trials if _fits(trial, space)]
    resource = chosen_resource([[trial.step] for trial in scored], threshold(len(encoding.axes)))
    seen = [trial for trial in scored if trial.step == resource] if len(scored) > 1 else []
    if len(seen) < 2:
        raise RunError(
            f"fit_gaussian_process: {len(seen)} trials have a score at {resource} steps, at least 2 are needed"
        )
    rows = np.array([encoding.encode(trial.params) for trial in seen])
    targets = standardized(np.array([_number(trial) for trial in seen]))
    # The numbers of BayesianOptimizer: length scales grow with the root of the dimension (Hvarfner et al., 2024).
    length = 0.8 * math.sqrt(len(encoding.axes))
    prior = Prior(noise=1e-3, noise_sd=1.5, length=length, length_sd=0.7, linear=0.1, jitter=1e-6)
    kernel = fit(rows, targets.values, encoding.groups, prior)
    factor = Factor.of(kernel, rows, prior.jitter)
    sign = 1.0 if problem.direction == "maximize" else -1.0
    posterior = factor.posterior(targets.values)
    optimum = _optimum(posterior, encoding, problem.space, sign, np.random.default_rng(seed))
    return GaussianProcessModel(
        json.dumps(space.to_json()),
        kernel.theta.tolist(),
        rows.tolist(),
        targets.values.tolist(),
        targets.center,
        targets.spread,
        factor.jitter,
        dict(optimum),
    )


def predict(model: GaussianProcessModel, params: Mapping[str, Any]) -> Prediction:
    """See `GaussianProcessModel.predict`."""
    encoding = Encoding(SearchSpace.from_json(json.loads(model.space)))
    kernel = Kernel(np.array(model.theta), encoding.groups)
    posterior = Factor.of(kernel, np.array(model.rows), model.jitter).posterior(np.array(model.targets))
    row = encoding.encode(encoding.space.complete(params))
    mean, sd = posterior.mean_and_sd(row[None, :])
    return Prediction(model.center + model.spread * float(mean[0]), model.spread * float(sd[0]))


def _optimum(
    posterior: Posterior, encoding: Encoding, space: SearchSpace, sign: float, rng: np.random.Generator
) -> Params:
    """The configuration with the best mean that meets the constraints; among those observed there is one."""
    known = posterior.factor.rows
    rows = np.vstack([known, encoding.uniform(rng.random((CANDIDATES, len(encoding.axes))))])
    means = sign * posterior.mean(rows)
    for size in SCALES:
        leaders = rows[np.argsort(-means, kind="stable")[:LEADERS]]
        near = encoding.around(rng, CANDIDATES, leaders, _scales(encoding, size))
        rows, means = np.vstack([rows, near]), np.concatenate([means, sign * posterior.mean(near)])
    best_first = (encoding.decode(rows[place]) for place in np.argsort(-means, kind="stable"))
    return next(params for params in best_first if space.broken(params) is None)


def _scales(encoding: Encoding, size: float) -> Array:
    return encoding.scales({axis.path: size for axis in encoding.axes}, 1.0)


def _fits(trial: Trial, space: SearchSpace) -> bool:
    """Whether the trial has a score and is a configuration of the space."""
    return (
        isinstance(trial.score, float | int)
        and trial.state is not TrialState.FAILED
        and Result(trial.score).is_usable
        and set(dict(trial.params)) <= set(space)
    )


def _number(trial: Trial) -> float:
    assert isinstance(trial.score, float | int)
    return float(trial.score)
