"""What an optimizer has heard of its trials, and what of it a model sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metta.sweep.goal import Losses
from metta.sweep.optimizers.fidelity import chosen_resource
from metta.sweep.trial import Params

Array = NDArray[np.float64]

SAME = 1e-6
"""Rows that differ by no more than this in any column are one point."""

LEAST_COST = 1e-12
"""Costs are at least this: a model sees their logarithms."""

_CHEBYSHEV_SLOPE = 0.05
"""The share of the plain sum in a Chebyshev scalarization, as in ParEGO."""


class Fate(StrEnum):
    """What has become of a trial, as far as a model cares."""

    PENDING = "pending"
    """It runs; a result may come at any time."""
    WAITING = "waiting"
    """It is paused: no result comes unless the scheduler goes on with it."""
    ENDED = "ended"
    FAILED = "failed"


class Outcome(NamedTuple):
    """A result: one loss per objective, the cost where it is known, and its place in the order of all results."""

    losses: Losses
    cost: float | None
    serial: int


@dataclass(slots=True)
class Record:
    """What is known of one trial.

    Attributes:
        params: the configuration in the optimizer's space.
        given: the parameters of the trial as it was observed; other than `params` if they are of another space.
        row: `params` encoded.
        results: resource -> outcome.
        fate: see `Fate`.
        serial: of a failure, its place in the order of all results.
    """

    params: Params
    given: dict[str, Any]
    row: Array
    results: dict[int, Outcome] = field(default_factory=dict)
    fate: Fate = Fate.PENDING
    serial: int = -1


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """The results at one resource, and the trials without one. Points are in the order of their first results.

    Attributes:
        resource: the resource; None while there is no result.
        ids: the serial of the first result at every point, ascending, shape (n,).
        rows: shape (n, columns).
        losses: the means over the trials at a point, shape (n, objectives).
        costs: likewise; NaN where no cost is known, shape (n,).
        failed: the rows of failures, shape (f, columns).
        failed_ids: their serials, shape (f,).
        pending: the rows of trials that may still have a result here, or could have: those that run, paused or were
            stopped before they came that far. The running ones are the last; shape (p, columns).
        trials: how many trials have a result, at whatever resource.
    """

    resource: int | None
    ids: NDArray[np.int64]
    rows: Array
    losses: Array
    costs: Array
    failed: Array
    failed_ids: NDArray[np.int64]
    pending: Array
    trials: int

    @classmethod
    def of(cls, records: Sequence[Record], enough: int, columns: int) -> Dataset:
        """The dataset of `records` at the resource to be modeled, see `fidelity.chosen_resource`."""
        resource = chosen_resource((record.results for record in records), enough)
        heard: list[tuple[Outcome, Record]] = []
        failed: list[Record] = []
        running: list[Record] = []
        stopped: list[Record] = []
        for record in records:
            if resource in record.results:
                heard.append((record.results[resource], record))
            elif record.fate is Fate.FAILED:
                failed.append(record)
            elif record.fate is Fate.PENDING:
                running.append(record)
            elif record.results:
                stopped.append(record)
        heard.sort(key=lambda pair: pair[0].serial)
        outcomes = [outcome for outcome, _ in heard]
        objectives = len(outcomes[0].losses) if outcomes else 1
        rows = _rows([record for _, record in heard], columns)
        first = _first_of_same(rows)
        losses = np.array([outcome.losses for outcome in outcomes]).reshape(len(heard), objectives)
        costs = np.array([[math.nan if o.cost is None else max(o.cost, LEAST_COST)] for o in outcomes]).reshape(-1, 1)
        kept = np.flatnonzero(first == np.arange(len(first)))
        return cls(
            resource,
            np.array([outcome.serial for outcome in outcomes], dtype=np.int64)[kept],
            rows[kept],
            _means(losses, first)[kept],
            _means(costs, first)[kept, 0],
            _rows(failed, columns),
            np.array([record.serial for record in failed], dtype=np.int64),
            _rows([*stopped, *running], columns),
            sum(bool(record.results) for record in records),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def utilities(self, rng: np.random.Generator) -> Array:
        """One number per point, larger is better.

        With several objectives it is a Chebyshev scalarization with random weights (ParEGO, Knowles, 2006, section
        II): the losses are scaled to [0, 1], and the worst weighted one counts, with a little of their sum.
        """
        if self.losses.shape[1] == 1:
            return -self.losses[:, 0]
        columns = np.array([standardized(column).values for column in self.losses.T]).T
        scaled = columns - columns.min(axis=0)
        scaled /= np.maximum(scaled.max(axis=0), 1e-12)
        weighted = scaled * rng.dirichlet(np.ones(scaled.shape[1]))
        return np.asarray(-(weighted.max(axis=1) + _CHEBYSHEV_SLOPE * weighted.sum(axis=1)))

    @property
    def log_costs(self) -> Array:
        """The logarithms of the costs; an unknown one counts as the median of those known, shape (n,)."""
        logs = np.log(self.costs)
        known = logs[~np.isnan(logs)]
        middle = float(np.median(known)) if len(known) else 0.0
        return np.where(np.isnan(logs), middle, logs)


class Standardized(NamedTuple):
    """Numbers with mean 0 and standard deviation 1, and the way back: `center + spread * value`."""

    values: Array
    center: float
    spread: float


def standardized(numbers: Array) -> Standardized:
    """`numbers` with mean 0 and standard deviation 1; equal numbers become zeros."""
    size = float(np.abs(numbers).max(initial=0.0)) or 1.0
    small = numbers / size  # the square of a large number could be infinite
    center, spread = float(small.mean()), float(small.std())
    if spread < 1e-12:
        return Standardized(np.zeros_like(numbers), center * size, 1.0)
    return Standardized((small - center) / spread, center * size, spread * size)


def _rows(records: Sequence[Record], columns: int) -> Array:
    return np.array([record.row for record in records]).reshape(len(records), columns)


def _first_of_same(rows: Array) -> NDArray[np.int64]:
    """For every row the first one that is the same point."""
    from scipy.spatial import cKDTree

    first = np.arange(len(rows))
    if len(rows) > 1:
        pairs = cKDTree(rows).query_pairs(SAME, p=math.inf, output_type="ndarray")
        for low, high in pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]:
            first[high] = min(first[high], first[low])
    return first


def _means(values: Array, first: NDArray[np.int64]) -> Array:
    """The means of the rows of `values` with the same `first`, at their first place; NaN is left out."""
    known = ~np.isnan(values)
    means, count = np.zeros_like(values), np.zeros_like(values)
    np.add.at(count, first, known)
    # Divided before it is added: the sum of large numbers could be infinite.
    np.add.at(means, first, np.where(known, values, 0.0) / np.maximum(count[first], 1))
    return np.where(count > 0, means, math.nan)
