"""A model of the results of all rungs, and one suggestion made with it.

Every rung has a process of its own, which models what the rung below does not tell (Kennedy and O'Hagan, 2000,
"Predicting the output from a complex computer code when fast approximations are available", fitted rung by rung as in
Le Gratiet and Garnier, 2014):

    f_k(x) = shift_k + slope_k f_(k-1)(x) + scale_k g_k(x)

So many results after few epochs shape the function, and few results after many correct it: they bend it where the
order changes, and flatten it (slope 0) where the low rung says nothing of the high one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from metta.sweep.optimizers.protein.candidates import Search, best_candidate
from metta.sweep.optimizers.protein.data import Array, Dataset, Fate, Record, standardized
from metta.sweep.optimizers.protein.gp import Posterior
from metta.sweep.optimizers.protein.improving import power_transformed
from metta.sweep.optimizers.protein.search import Proposal
from metta.sweep.optimizers.protein.step import FAILURES_COUNT_BELOW, Step
from metta.sweep.optimizers.protein.surrogate import Points

MAX_RUNGS = 8
"""The most rungs of a model, the highest ones."""

LINKS = 3
"""So many trials with results at a rung and above it connect it to those above."""

SLOPE_WEIGHT = 1.0
"""What the prior of a slope, which is 1, counts: so many results one standard deviation from the middle."""

DISCREPANCY = 0.1
"""How far a rung's results are taken to lie from what the rung below tells, while none of them are known."""


def rungs(reached: Iterable[Iterable[int]]) -> list[int]:
    """The resources to be modeled, ascending; 0 is "to the end" and the last.

    A resource is left out if `LINKS` or more trials went on above it, but fewer of them have a result there: who has
    one was stopped there, and nothing is known of how it goes on.

    Args:
        reached: for each trial the resources at which it has a result.
    """
    trials = [{resource or math.inf for resource in resources} for resources in reached]
    kept = []
    for height in sorted(set[float]().union(*trials)):
        above = [heights for heights in trials if max(heights, default=0) > height]
        if len(above) < LINKS or sum(height in heights for heights in above) >= LINKS:
            kept.append(0 if math.isinf(height) else int(height))
    return kept[-MAX_RUNGS:]


def all_rungs(records: Sequence[Record], resources: Sequence[int], columns: int) -> Dataset:
    """The results at these resources as one data set, whose rows have one more column: the number of the rung.

    Trials that failed, run or were stopped are at the first rung above their results.

    Args:
        records: all trials.
        resources: of the rungs, ascending.
        columns: of a row without the rung.
    """
    points: list[Record] = []
    for record in records:
        above = 0
        for number, resource in enumerate(resources):
            if resource in record.results:
                above = number + 1
                result = {0: record.results[resource]}
                points.append(Record(record.params, {}, np.append(record.row, number), result, Fate.ENDED))
        if above < len(resources) and (above or record.fate in (Fate.FAILED, Fate.PENDING)):
            row = np.append(record.row, above)
            fate = Fate.FAILED if record.fate is Fate.FAILED else Fate.PENDING
            points.append(Record(record.params, {}, row, {}, fate, record.serial))
    data = Dataset.of(points, 1, columns + 1)
    return replace(data, trials=sum(bool(record.results) for record in records))


class Rung(NamedTuple):
    """One rung of a chain: shift + slope * (the rung below) + scale * own.

    Attributes:
        own: what the rung below does not tell, in units of `scale`.
    """

    shift: float
    slope: float
    scale: float
    own: Posterior


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """What is expected at the highest rung.

    Attributes:
        rungs: from the lowest to the highest.
    """

    rungs: tuple[Rung, ...] = ()

    def mean(self, rows: Array) -> Array:
        """The expected values at rows, shape (len(rows),)."""
        mean = np.zeros(len(rows))
        for rung in self.rungs:
            mean = rung.shift + rung.slope * mean + rung.scale * rung.own.mean(rows)
        return mean

    def mean_and_sd(self, rows: Array) -> tuple[Array, Array]:
        """Means and standard deviations at rows."""
        mean, variance = np.zeros(len(rows)), np.zeros(len(rows))
        for rung in self.rungs:
            own_mean, own_sd = rung.own.mean_and_sd(rows)
            mean = rung.shift + rung.slope * mean + rung.scale * own_mean
            variance = rung.slope**2 * variance + (rung.scale * own_sd) ** 2
        return mean, np.sqrt(variance)

    @property
    def noise_sd(self) -> float:
        """The standard deviation of what is expected here of one configuration, by the noise of its results."""
        variance = 0.0
        for rung in self.rungs:
            variance = rung.slope**2 * variance + (rung.scale * rung.own.noise_sd) ** 2
        return math.sqrt(variance)


def propose(search: Search, step: Step) -> Proposal:
    """The next configuration.

    Raises:
        UsageError: no configuration met the constraints.
    """
    resources = rungs(record.results for record in step.records)
    data = all_rungs(step.records, resources, step.encoding.width)
    if data.trials < search.initial_samples or not len(data):
        return step.sampled(step.design())
    chain = Chain()
    goal = standardized(data.utilities(step.rng))
    values = standardized(power_transformed(goal.values)).values
    for number, resource in enumerate(resources):
        chain = Chain((*chain.rungs, _rung(chain, step, data, values, number, resource)))
    known = np.unique(np.vstack([rung.own.factor.rows for rung in chain.rungs]), axis=0)
    return best_candidate(search, step, chain, known)


def name_of(resource: int) -> str:
    """The name of a rung's surrogate."""
    return f"rung {resource}"


def _rung(below: Chain, step: Step, data: Dataset, values: Array, number: int, resource: int) -> Rung:
    """The rung above `below`, fitted to its results.

    Args:
        values: of all points of `data`.
        number: of the rung in `data`.
        resource: of the rung.
    """
    here = data.rows[:, -1] == number
    rows, targets = data.rows[here, :-1], values[here]
    if below.rungs:
        told = below.mean(rows)
        spread = told - told.mean()
        prior = SLOPE_WEIGHT * below.rungs[0].scale ** 2
        slope = float((spread @ targets + prior) / (spread @ spread + prior))
        shift = float(targets.mean() - slope * told.mean())
        left = targets - shift - slope * told
        scale = math.sqrt((left @ left + DISCREPANCY**2) / (len(left) + 1))
    else:
        # Where all are equal the standard deviation is taken to be 1.
        left, shift, scale = standardized(targets)
        slope, left = 0.0, left * scale
    ids, own = data.ids[here], left / scale
    failed = data.failed[:, -1] == number
    if failed.any() and len(data) < FAILURES_COUNT_BELOW:
        # They are the worst of this rung, whatever the one below tells of them.
        worst = data.failed[failed, :-1]
        missing = (targets.min() - shift - slope * below.mean(worst)) / scale
        ids, rows, own = np.append(ids, data.failed_ids[failed]), np.vstack([rows, worst]), np.append(own, missing)
        order = np.argsort(ids)
        ids, rows, own = ids[order], rows[order], own[order]
    pending = data.pending[data.pending[:, -1] <= number, :-1]
    surrogate = step.surrogates[name_of(resource)]
    return Rung(shift, slope, scale, surrogate.posterior(Points(ids, rows, own, resource), step.rng, pending))
