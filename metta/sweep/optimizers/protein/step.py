"""What one suggestion is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metta.sweep.goal import Objectives
from metta.sweep.optimizers.protein.data import Array, Dataset, Record
from metta.sweep.optimizers.protein.encoding import Encoding
from metta.sweep.optimizers.protein.search import Proposal, SuggestionInfo
from metta.sweep.optimizers.protein.surrogate import Points, Surrogate
from metta.sweep.space.constraints import MAX_TRIES
from metta.sweep.trial import Params

FAILURES_COUNT_BELOW = 100
"""With this many successes a model no longer needs to be told of failures."""

_EVERYWHERE = 256
"""Configurations from the whole space that are tried where no other one is left."""


class Found(NamedTuple):
    """A configuration among candidates: its place, and whether it was not suggested before."""

    place: int
    params: Params
    is_new: bool


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """The data, the models and the random numbers of one suggestion.

    Attributes:
        number: its place in the stream.
        seed: of the optimizer.
        encoding: the space as a box.
        data: all results at one resource.
        records: all trials.
        objectives: the goal.
        surrogates: "score" and "cost".
        rng: the suggestion's own randomness.
    """

    number: int
    seed: int
    encoding: Encoding
    data: Dataset
    records: list[Record]
    objectives: Objectives
    surrogates: Mapping[str, Surrogate]
    rng: np.random.Generator = field(repr=False)

    def points(self, values: Array) -> Points:
        """The observations with these standardized scores; while they are few, also failures as the worst of them."""
        data = self.data
        points = Points(data.ids, data.rows, values, data.resource)
        if len(data) >= FAILURES_COUNT_BELOW or not len(data.failed):
            return points
        ids = np.concatenate([data.ids, data.failed_ids])
        rows = np.vstack([data.rows, data.failed])
        targets = np.concatenate([values, np.full(len(data.failed), values.min())])
        order = np.argsort(ids)
        return Points(ids[order], rows[order], targets[order], data.resource)

    def params(self, point: int) -> Params:
        """The configuration of a point of the data, exactly as it was suggested."""
        serial, resource = self.data.ids[point], self.data.resource
        return next(
            record.params
            for record in self.records
            if resource in record.results and record.results[resource].serial == serial
        )

    def score(self, utility: float) -> float | None:
        """The score with this utility; None with several objectives."""
        if not self.objectives.is_single:
            return None
        return utility if self.objectives.directions[0] == "maximize" else -utility

    def first_new(self, rows: Array) -> Found | None:
        """The first of `rows` that meets the constraints and was not suggested before; failing that, one that was.

        None if none of those tried meets the constraints.
        """
        space = self.encoding.space
        seen = {row.tobytes() for row in _keys(np.array([record.row for record in self.records]))}
        again: Found | None = None
        tries = 0
        for place, key in enumerate(_keys(rows)):
            is_new = key.tobytes() not in seen
            if not is_new and again is not None:
                continue
            seen.add(key.tobytes())
            params = self.encoding.decode(rows[place])
            if space.broken(params) is None:
                if is_new:
                    return Found(place, params, True)
                again = Found(place, params, False)
            tries += 1
            if tries == MAX_TRIES:
                break
        return again

    def sampled(self, rows: Array, *notes: str) -> Proposal:
        """The first of `rows` that is allowed and new, or a random configuration; a known one if there is no new one.

        Raises:
            UsageError: no configuration met the constraints.
        """
        everywhere = self.encoding.uniform(self.rng.random((_EVERYWHERE, len(self.encoding.axes))))
        found = self.first_new(np.vstack([rows, everywhere]))
        params = self.encoding.space.sample(self.rng) if found is None else found.params
        return Proposal(params, SuggestionInfo("random", notes))

    def design(self) -> Array:
        """The row of a scrambled Sobol sequence over the whole space that belongs to this suggestion: (1, columns)."""
        from scipy.stats import qmc

        # A key that no suggestion has: all of them walk along the same sequence.
        scramble = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(0, 0)))
        sequence = qmc.Sobol(max(len(self.encoding.axes), 1), scramble=True, rng=scramble)
        if self.number:
            sequence.fast_forward(self.number)
        unit: NDArray[np.float64] = sequence.random(1)
        return self.encoding.uniform(unit)


def _keys(rows: Array) -> Array:
    """Equal for rows of the same configuration, whose columns may differ by rounding."""
    return rows.round(9) + 0.0
