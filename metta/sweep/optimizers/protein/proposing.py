"""One suggestion of Protein."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metta.sweep.optimizers.protein.acquisition import expected_improvement, masked, naive, upper_confidence_bound
from metta.sweep.optimizers.protein.data import Array, Dataset, Standardized, standardized
from metta.sweep.optimizers.protein.gp import Posterior
from metta.sweep.optimizers.protein.pareto import pareto_front, pruned_front
from metta.sweep.optimizers.protein.search import Proposal, SuggestionInfo
from metta.sweep.optimizers.protein.settings import Settings
from metta.sweep.optimizers.protein.step import Step
from metta.sweep.optimizers.protein.surrogate import Points

LEAST_CANDIDATES = 2048
"""The candidates of a suggestion, if the Pareto front does not ask for more."""

_WORK = LEAST_CANDIDATES * 750
"""Beyond `LEAST_CANDIDATES`, candidates times observations stay below this, so that a suggestion stays cheap."""

_ENOUGH_FOR_A_MODEL = 10

_SAME_COST = 1e-6
"""Logarithms of costs that differ by less than this are the same cost."""

_LOG_LARGEST = 700.0
"""The logarithm of about the largest number."""


class _Cost(NamedTuple):
    """Predicted costs: the amounts, and the logarithms with 0 for the lowest and 1 for the highest observed."""

    amount: Array
    share: Array


def propose(settings: Settings, step: Step) -> Proposal:
    """The next configuration.

    Raises:
        UsageError: no configuration met the constraints.
    """
    data, encoding, rng = step.data, step.encoding, step.rng
    center = encoding.encode(encoding.space.complete(settings.search_center))[None, :]
    if settings.seed_with_search_center and not step.records:
        found = step.first_new(center)
        if found is not None:
            return Proposal(found.params, SuggestionInfo("center"))
    scales = encoding.scales(settings.scale, settings.global_search_scale)
    every = settings.resample_frequency
    resamples = every > 0 and step.number > 0 and step.number % every == 0
    notes: tuple[str, ...] = ()
    if data.trials >= settings.num_random_samples and len(data) > 0:
        goal = standardized(data.utilities(rng))
        front = _front(data, goal.values, settings.prune_pareto)
        if resamples:
            return Proposal(step.params(front[rng.integers(len(front))]), SuggestionInfo("resample"))
        if len(data) >= _ENOUGH_FOR_A_MODEL:
            return _by_model(settings, step, goal, front, scales)
        notes = (f"{len(data)} observations are too few for a model: it takes {_ENOUGH_FOR_A_MODEL}",)
    rows = encoding.around(rng, settings.random_suggestions, center, scales)
    if settings.random_design == "sobol":
        rows = np.vstack([step.design(), rows])
    return step.sampled(rows, *notes)


def _by_model(settings: Settings, step: Step, goal: Standardized, front: list[int], scales: Array) -> Proposal:
    data = step.data
    count = settings.suggestions_per_pareto * len(front)
    count = max(LEAST_CANDIDATES, min(count, _WORK // min(len(data), settings.gp_max_obs)))
    rows = step.encoding.around(step.rng, count, data.rows[front], scales)
    model = step.surrogates["score"].posterior(step.points(goal.values), step.rng, data.pending)
    cost = _predicted_cost(step, rows)
    rating, mean = _rated(settings, step, model, rows, goal.values, cost)
    notes = []
    if cost is not None:
        rating, lifted = masked(rating, cost.amount, settings.max_suggestion_cost)
        if lifted:
            notes.append(f"all candidates are predicted to cost {settings.max_suggestion_cost:g} or more")
    best_first = np.argsort(-rating, kind="stable")
    best_first = best_first[np.isfinite(rating[best_first])]
    found = step.first_new(rows[best_first])
    if found is None or not found.is_new:
        return step.sampled(rows[best_first], "no new candidate met the constraints", *notes)
    place = best_first[found.place]
    info = SuggestionInfo(
        "model",
        tuple(notes),
        step.score(goal.center + goal.spread * float(mean[place])),
        None if cost is None else float(cost.amount[place]),
        float(rating[place]),
    )
    return Proposal(found.params, info)


def _rated(
    settings: Settings, step: Step, model: Posterior, rows: Array, values: Array, cost: _Cost | None
) -> tuple[Array, Array]:
    """The acquisition values of candidates, and the standardized scores the model expects."""
    if settings.acquisition_fn == "naive":
        mean = model.mean(rows)
        low, width = float(values.min()), float(np.ptp(values))
        target = (1 + settings.expansion_rate) * float(step.rng.random())
        return naive((mean - low) / (width or 1.0), 0.5 if cost is None else cost.share, target), mean
    mean, sd = model.mean_and_sd(rows)
    if settings.acquisition_fn == "ei":
        return expected_improvement(mean, sd, float(values.max())), mean
    beta = settings.ucb_beta
    if settings.randomize_acquisition:
        beta = float(step.rng.exponential(beta))
    return upper_confidence_bound(mean, sd, beta), mean


def _predicted_cost(step: Step, rows: Array) -> _Cost | None:
    """What candidates will cost; None where the cost is constant."""
    logs = step.data.log_costs
    low, width = float(logs.min()), float(np.ptp(logs))
    if width < _SAME_COST:
        return None
    target = standardized(logs)
    points = Points(step.data.ids, step.data.rows, target.values, step.data.resource)
    predicted = target.center + target.spread * step.surrogates["cost"].posterior(points, step.rng).mean(rows)
    return _Cost(np.exp(np.minimum(predicted, _LOG_LARGEST)), (predicted - low) / width)


def _front(data: Dataset, values: Array, prune: bool) -> list[int]:
    """The Pareto front of standardized score against cost, as indices into the data."""
    scores, costs = values.tolist(), np.exp(data.log_costs).tolist()
    front = pareto_front(scores, costs)
    return pruned_front(front, scores, costs) if prune else front
