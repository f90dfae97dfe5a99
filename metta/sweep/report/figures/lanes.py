"""In which row of a timeline an attempt is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from metta.sweep.report.snapshot import Span
from metta.sweep.store.naming import natural_order


@dataclass(frozen=True, slots=True)
class Bar:
    """An attempt in a row; `end` is when it was over, or now."""

    span: Span
    row: int
    end: float


def by_worker(spans: Sequence[Span], ends: Sequence[float]) -> tuple[list[str], list[int]]:
    """The names of the rows, and the row of each attempt."""
    attempts: dict[str, list[int]] = {}
    for index, span in enumerate(spans):
        attempts.setdefault(span.worker, []).append(index)
    rows: list[str] = []
    places = [0] * len(spans)
    for worker in sorted(attempts, key=natural_order):
        indices = attempts[worker]
        found = lanes([spans[index] for index in indices], [ends[index] for index in indices])
        for index, lane in zip(indices, found, strict=True):
            places[index] = len(rows) + lane
        rows.extend([worker or "unknown worker", *[""] * max(found)])
    return rows, places


def lanes(spans: Sequence[Span], ends: Sequence[float]) -> list[int]:
    """The first lane that is free for each attempt, in the order in which they began."""
    busy: list[tuple[float, int]] = []
    free: list[int] = []
    found = []
    for span, end in zip(spans, ends, strict=True):
        while busy and busy[0][0] <= span.began + 1e-6:
            heappush(free, heappop(busy)[1])
        lane = heappop(free) if free else len(busy)
        found.append(lane)
        heappush(busy, (end, lane))
    return found
