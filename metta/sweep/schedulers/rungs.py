"""One rung of successive halving: who reached it with which result, and who may go on."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping
from heapq import heappop, heappush
from typing import Any

from metta.sweep.goal import Losses, ranked
from metta.sweep.trial import number_to_json


class Rung:
    """The results of all configurations that reached `resource`, and which of them wait there.

    Args:
        resource: units of resource at which results are compared.
    """

    def __init__(self, resource: int) -> None:
        self.resource = resource
        self.results: dict[int, Losses] = {}
        """Trial number -> losses, in the order of arrival."""
        self.waiting: set[int] = set()
        """Those that are paused here and may still be promoted."""
        # Derived from the two above: everybody in order, and the waiting in order (left-overs are dropped lazily).
        self._order: list[tuple[Losses, int]] = []
        self._queue: list[tuple[Losses, int]] = []

    def record(self, number: int, losses: Losses, *, waits: bool) -> None:
        """A configuration arrives; with `waits` it stays until it is promoted."""
        self.results[number] = losses
        insort(self._order, (losses, number))
        if waits:
            self.waiting.add(number)
            heappush(self._queue, (losses, number))

    def promotable(self, reduction_factor: int) -> int | None:
        """The best waiting configuration among the top 1 / reduction_factor of all that came here, if any."""
        quota = len(self.results) // reduction_factor
        if quota == 0 or not self.waiting:
            return None
        if not self._is_single():
            return next((number for number in ranked(self.results.items())[:quota] if number in self.waiting), None)
        while self._queue[0][1] not in self.waiting:
            heappop(self._queue)
        best = self._queue[0]
        return best[1] if bisect_left(self._order, best) < quota else None

    def survives(self, number: int, reduction_factor: int) -> bool:
        """Is it in the top 1 / reduction_factor (at least one) of all that came here so far, ties included?"""
        last = max(1, len(self.results) // reduction_factor) - 1
        if self._is_single():
            return self.results[number] <= self._order[last][0]
        order = ranked(self.results.items())
        return order.index(number) <= last or self.results[number] == self.results[order[last]]

    def _is_single(self) -> bool:
        return len(self._order[0][0]) == 1

    def to_json(self) -> dict[str, Any]:
        """The rung as JSON values."""
        return {
            "resource": self.resource,
            "results": [[number, list(map(number_to_json, losses))] for number, losses in self.results.items()],
            "waiting": sorted(self.waiting),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Rung:
        """The rung that `to_json` wrote."""
        rung = cls(data["resource"])
        waiting = set(data["waiting"])
        for number, losses in data["results"]:
            rung.record(number, tuple(map(float, losses)), waits=number in waiting)
        return rung
