"""The order of a sweep's trials: by the resource they reached, then by score."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from metta.sweep.goal import Losses, Objectives, crowding_distances
from metta.sweep.trial import Result, Trial, TrialState

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def ranking(trials: Iterable[Trial], objectives: Objectives) -> tuple[Trial, ...]:
    """The trials with a finite score that did not fail, best first: by resource reached, then by score.

    Several objectives rank by front of non-domination, then by crowding distance, the most isolated first (Deb et al.,
    2002, NSGA-II, section III). Ties break by trial number.
    """
    by_step = _by_step(trials, objectives)
    return tuple(trial for step in sorted(by_step, reverse=True) for trial in _ranked(by_step[step]))


def pareto_front(trials: Iterable[Trial], objectives: Objectives) -> tuple[Trial, ...]:
    """The trials that no other one beats in all objectives, among those that reached the largest resource.

    In the order of their numbers. With one objective it is the best trial, and those that are just as good.
    """
    by_step = _by_step(trials, objectives)
    if not by_step:
        return ()
    candidates = by_step[max(by_step)]
    members = fronts([losses for _, losses in candidates])[0]
    return tuple(sorted((candidates[index][0] for index in members), key=lambda trial: trial.id))


def _by_step(trials: Iterable[Trial], objectives: Objectives) -> dict[int, list[tuple[Trial, Losses]]]:
    found: dict[int, list[tuple[Trial, Losses]]] = {}
    for trial in trials:
        if trial.state is not TrialState.FAILED and trial.score is not None and Result(trial.score).is_usable:
            found.setdefault(trial.step, []).append((trial, objectives.losses(trial.score)))
    return found


def _ranked(candidates: Sequence[tuple[Trial, Losses]]) -> list[Trial]:
    by_number = sorted(candidates, key=lambda pair: pair[0].id)
    if len(by_number[0][1]) == 1:
        return [trial for trial, _ in sorted(by_number, key=lambda pair: pair[1])]
    order: list[Trial] = []
    for front in fronts([losses for _, losses in by_number]):
        crowding = crowding_distances([by_number[index][1] for index in front])
        isolated_first = sorted((-distance, index) for index, distance in zip(front, crowding, strict=True))
        order.extend(by_number[index][0] for _, index in isolated_first)
    return order


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
            found.append(_Front(len(point)))
        found[place].add(index, point)
    return [sorted(front.indices) for front in found]


class _Front:
    """One front while it grows, in lexicographic order; its rows are kept in an array that doubles."""

    def __init__(self, width: int) -> None:
        import numpy as np

        self.indices: list[int] = []
        self._last: Losses = ()
        self._rows: NDArray[np.float64] = np.empty((8, width))

    def add(self, index: int, point: Losses) -> None:
        import numpy as np

        count = len(self.indices)
        if count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[count] = point
        self._last = point
        self.indices.append(index)

    def dominates(self, point: Losses) -> bool:
        """True if a member is nowhere worse than `point`, which comes later, and somewhere better."""
        if len(point) <= 2:  # of one front, the last member is the best in the last loss
            return self._last[-1] <= point[-1] and self._last != point
        rows = self._rows[: len(self.indices)]
        return bool(((rows <= point).all(axis=1) & (rows < point).any(axis=1)).any())
