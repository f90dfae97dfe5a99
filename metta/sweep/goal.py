"""What a sweep optimizes: which metrics, in which direction, and how scores are ranked.

Optimizers and schedulers see scores through `Objectives` only, so that "better" means the same thing everywhere:
inside, every score is a tuple of losses (smaller is better, NaN is the worst).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal

from metta.sweep.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Direction = Literal["maximize", "minimize"]
Goal = Direction | Mapping[str, Direction]
Score = float | Mapping[str, float]
Losses = tuple[float, ...]

DIRECTIONS: tuple[Direction, ...] = ("maximize", "minimize")


@dataclass(frozen=True, slots=True)
class Objectives:
    """The metrics to optimize, in order, each with its direction.

    Args:
        keys: names of the metrics, at least one, as the objective reports them.
        directions: "maximize" or "minimize", one per key.
    """

    keys: tuple[str, ...] = ("score",)
    directions: tuple[Direction, ...] = ("maximize",)

    @classmethod
    def of(cls, goal: Goal = "maximize", metric_key: str = "score") -> Objectives:
        """Read a `goal=` argument: one direction for `metric_key`, or a mapping metric -> direction.

        Raises:
            UsageError: a direction is neither "maximize" nor "minimize", or the mapping is empty.
        """
        if not isinstance(goal, str | Mapping):
            raise UsageError(f'goal={goal!r}: expected "maximize", "minimize" or a mapping metric -> direction')
        wanted = {metric_key: goal} if isinstance(goal, str) else dict(goal)
        if not wanted:
            raise UsageError('goal={} names no metric: write goal={"accuracy": "maximize"}')
        for key, direction in wanted.items():
            if direction not in DIRECTIONS:
                near = get_close_matches(str(direction), DIRECTIONS, n=1, cutoff=0.3)
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                raise UsageError(f'goal of {key!r}: expected "maximize" or "minimize", found {direction!r}{hint}')
        return cls(tuple(wanted), tuple(wanted.values()))

    @property
    def is_single(self) -> bool:
        """True when there is one metric."""
        return len(self.keys) == 1

    def score(self, metrics: Mapping[str, float]) -> Score:
        """The score in a report: a number for one objective, name -> number for several.

        Raises:
            UsageError: a metric was not reported; the message names those that were.
        """
        for key in self.keys:
            if key not in metrics:
                reported = ", ".join(repr(name) for name in metrics) or "nothing"
                near = get_close_matches(key, list(metrics), n=1)
                remedy = f"set metric_key ({key!r} now)" if self.is_single else "take it out of goal"
                hint = f": did you mean {near[0]!r}?" if near else f": report it, or {remedy}"
                raise UsageError(f"the metric {key!r} was not reported; reported: {reported}{hint}")
        if self.is_single:
            return float(metrics[self.keys[0]])
        return {key: float(metrics[key]) for key in self.keys}

    def losses(self, score: Score) -> Losses:
        """`score` as a tuple to be minimized, one entry per objective; NaN becomes +inf, the worst.

        A mapping with one entry is read as that entry when there is one objective.

        Raises:
            UsageError: the score has not the shape of the objectives.
        """
        return tuple(
            math.inf if math.isnan(value) else (-value if direction == "maximize" else value)
            for value, direction in zip(self.values(score), self.directions, strict=True)
        )

    def values(self, score: Score) -> tuple[float, ...]:
        """`score` as plain numbers in the order of `keys`, not turned round.

        Raises:
            UsageError: the score has not the shape of the objectives.
        """
        if isinstance(score, Mapping):
            if self.is_single and len(score) == 1:
                return (float(next(iter(score.values()))),)
            found = self.score(score)
            return tuple(found.values()) if isinstance(found, Mapping) else (found,)
        if not self.is_single:
            raise UsageError(f"expected one score per objective ({', '.join(self.keys)}), found the number {score!r}")
        return (float(score),)


def ranked(candidates: Iterable[tuple[int, Losses]]) -> list[int]:
    """The trial numbers from best to worst.

    One objective: by loss. Several: by front of non-domination, then by crowding distance, the most isolated
    first (Deb et al., 2002, NSGA-II, section III). Ties always break by trial number.

    Args:
        candidates: (trial number, losses) pairs; all losses have the same length.
    """
    pairs = sorted(candidates)
    if not pairs or len(pairs[0][1]) == 1:
        return [number for number, _ in sorted(pairs, key=lambda pair: (pair[1], pair[0]))]
    order: list[int] = []
    for front in fronts([losses for _, losses in pairs]):
        crowding = crowding_distances([pairs[index][1] for index in front])
        isolated_first = sorted((-distance, pairs[index][0]) for index, distance in zip(front, crowding, strict=True))
        order.extend(number for _, number in isolated_first)
    return order


def dominates(a: Losses, b: Losses) -> bool:
    """True if `a` is nowhere worse than `b` and somewhere better."""
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def fronts(losses: Sequence[Losses]) -> list[list[int]]:
    """The indices of `losses` in successive fronts of non-domination, each in ascending order.

    Efficient non-dominated sort with binary search (Zhang et al., IEEE TEVC 19(2), 2015): in lexicographic order
    nothing is dominated by what comes later, and what a member of some front dominates, each front before it dominates
    too. 5,000 trials take a fraction of a second, where comparing all pairs takes half a minute.
    """
    found: list[_Front] = []
    for index in sorted(range(len(losses)), key=losses.__getitem__):
        point = losses[index]
        place = bisect_left(found, True, key=lambda front: not front.dominates(point))
        if place == len(found):
            found.append(_Front())
        found[place].add(index, point)
    return [sorted(front.indices) for front in found]


class _Front:
    """One front while it grows, in lexicographic order; with three losses or more as an array that doubles."""

    def __init__(self) -> None:
        self.indices: list[int] = []
        self._last: Losses = ()
        self._rows: NDArray[np.float64] | None = None

    def add(self, index: int, point: Losses) -> None:
        if len(point) > 2:
            import numpy as np

            count = len(self.indices)
            rows = np.empty((8, len(point))) if self._rows is None else self._rows
            self._rows = rows = rows if count < len(rows) else np.concatenate([rows, np.empty_like(rows)])
            rows[count] = point
        self._last = point
        self.indices.append(index)

    def dominates(self, point: Losses) -> bool:
        """True if a member is nowhere worse than `point`, which comes later, and somewhere better."""
        if self._rows is None:  # of one or two losses, the last member is the best in the last one
            return self._last[-1] <= point[-1] and self._last != point
        rows = self._rows[: len(self.indices)]
        return bool(((rows <= point).all(axis=1) & (rows < point).any(axis=1)).any())


def crowding_distances(front: Sequence[Losses]) -> list[float]:
    """Crowding distance of each member of one front (Deb et al., 2002); the ends of every axis get infinity."""
    distances = [0.0] * len(front)
    for axis in range(len(front[0]) if front else 0):
        order = sorted(range(len(front)), key=lambda index: front[index][axis])
        low, high = front[order[0]][axis], front[order[-1]][axis]
        distances[order[0]] = distances[order[-1]] = math.inf
        width = high - low
        if not 0 < width < math.inf:
            continue
        for before, index, after in zip(order, order[1:], order[2:], strict=False):
            distances[index] += (front[after][axis] - front[before][axis]) / width
    return distances
