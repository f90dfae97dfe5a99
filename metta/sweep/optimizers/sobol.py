"""Quasi-random search: the points of a scrambled Sobol sequence."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from metta.sweep.errors import UsageError
from metta.sweep.goal import Goal
from metta.sweep.optimizers.base import Optimizer, Restored
from metta.sweep.space import SearchSpace
from metta.sweep.space.constraints import MAX_TRIES
from metta.sweep.trial import Params, Trial

BLOCK = 1024
"""Points drawn at a time."""

LENGTH = 2**30
"""Points in the sequence: scipy draws its digits with 30 bits."""

MAX_DIMENSIONS = 21_201
"""Of scipy's direction numbers."""


class SobolOptimizer(Optimizer):
    """Covers the space evenly with a Sobol sequence, scrambled by Owen's method (Owen, 1998; Joe and Kuo, 2008).

    Every searched parameter is one dimension of the sequence, mapped through its unit interval; inactive ones are
    masked. Point k depends on the seed, the space and k only, so the stream is the same however it is asked for.
    A point that breaks a constraint is repaired where the constraint knows how, else the sequence goes on to the
    next. Without constraints the evenness is best for a power of two of points.

    Args:
        search_space, seed, goal: see `Optimizer`.
        skip: how many points of the sequence to leave out at its start, such as those of an earlier search.
        initial_params: configurations to suggest first; what they leave out gets its default. They use no points.

    Raises:
        UsageError: `skip` is not a whole number from 0 below 2**30.
    """

    def __init__(
        self,
        search_space: SearchSpace | Mapping[str, object] | None = None,
        *,
        seed: int | None = None,
        goal: Goal | None = None,
        skip: int = 0,
        initial_params: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(search_space, seed=seed, goal=goal)
        if isinstance(skip, bool) or not isinstance(skip, int) or not 0 <= skip < LENGTH:
            raise UsageError(f"SobolOptimizer(skip={skip!r}): expected a whole number from 0 below 2**30")
        self.skip: int = skip
        self.initial_params: tuple[Mapping[str, Any], ...] = tuple(initial_params)
        self._suggested = 0
        self._point = skip
        """The next point of the sequence."""
        self._block: tuple[int, list[list[float]]] = (0, [])
        """The number of its first point, and the points: derived, never stored."""

    def suggest(self, n: int) -> list[Trial]:
        space = self.require_space()
        if self.seed is None:
            self.seed = secrets.randbits(32)
        trials = []
        for number in range(self._suggested, self._suggested + n):
            if number < len(self.initial_params):
                params = space.complete(self.initial_params[number])
            else:
                params = self._next_valid(space)
            trials.append(Trial(params, tag=number))
        self._suggested += n
        return trials

    def observe(self, trial: Trial, result: Any) -> None:
        """Nothing to learn."""

    def state_dict(self) -> dict[str, Any]:
        return {"seed": self.seed, "suggested": self._suggested, "point": self._point}

    def load_state_dict(self, state: Mapping[str, Any]) -> Restored:
        self.seed = state["seed"]
        self._suggested = state["suggested"]
        self._point = state["point"]
        self._block = (0, [])
        return Restored.STATE

    def _next_valid(self, space: SearchSpace) -> Params:
        for _ in range(MAX_TRIES):
            params = _at(self._take_point(len(space.tunable)), space)
            mended = space.mended(params)
            if mended is not None:
                return mended
        raise space.impossible(params)

    def _take_point(self, dimensions: int) -> list[float]:
        start, points = self._block
        if not start <= self._point < start + len(points):
            # Blocks start at multiples of their size, so that a restored optimizer draws the same ones.
            start = self._point - self._point % BLOCK
            points = self._draw(start, dimensions)
            self._block = (start, points)
        point = points[self._point - start]
        self._point += 1
        return point

    def _draw(self, start: int, dimensions: int) -> list[list[float]]:
        import numpy as np
        from scipy.stats import qmc

        if start >= LENGTH:
            raise UsageError("the Sobol sequence has no more than 2**30 points: start again with another seed")
        if dimensions > MAX_DIMENSIONS:
            raise UsageError(f"the Sobol sequence has {MAX_DIMENSIONS} dimensions; the space has {dimensions}")
        engine = qmc.Sobol(max(1, dimensions), scramble=True, rng=np.random.default_rng(self.seed))
        if start:
            engine.fast_forward(start)
        points: list[list[float]] = engine.random(BLOCK).tolist()
        return points


def _at(point: Sequence[float], space: SearchSpace) -> Params:
    """The configuration at a point of the unit cube, one coordinate per searched parameter."""
    units = dict(zip(space.tunable, point, strict=False))
    return space.build(lambda path, known: known.from_unit(units[path]) if path in units else known.default())
