"""How the scores of one configuration under several seeds become one."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from metta.sweep.errors import UsageError


@runtime_checkable
class Aggregator(Protocol):
    """Makes one score of several. A custom one needs nothing but this method."""

    def aggregate(self, values: Sequence[float], *, maximize: bool) -> float:
        """The score of a configuration.

        Args:
            values: one per repeat, in their order; all are finite.
            maximize: whether a larger one is better.
        """


@dataclass(frozen=True, slots=True)
class MeanAggregator:
    """The mean."""

    def aggregate(self, values: Sequence[float], *, maximize: bool) -> float:
        return statistics.fmean(values)


@dataclass(frozen=True, slots=True)
class MedianAggregator:
    """The median: a single repeat that has gone wrong does not count."""

    def aggregate(self, values: Sequence[float], *, maximize: bool) -> float:
        return statistics.median(values)


@dataclass(frozen=True, slots=True)
class BestOfN:
    """The best of the first `n` repeats.

    It is biased towards configurations whose score varies much: right where the best of several trainings will be
    used, wrong where one training has to be good.

    Args:
        n: how many count; None for all.

    Raises:
        UsageError: `n` is not positive.
    """

    n: int | None = None

    def __post_init__(self) -> None:
        if self.n is not None and (isinstance(self.n, bool) or not isinstance(self.n, int) or self.n < 1):
            raise UsageError(f"BestOfN(n={self.n!r}): expected a whole number, at least 1")

    def aggregate(self, values: Sequence[float], *, maximize: bool) -> float:
        counted = values if self.n is None else values[: self.n]
        return max(counted) if maximize else min(counted)


def checked_aggregator(aggregate: object, repeats: object) -> Aggregator:
    """`aggregate=` of a sweep with so many repeats.

    Raises:
        UsageError: it is no aggregator, or counts more repeats than there are; or `repeats` is not positive.
    """
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise UsageError(f"repeats={repeats!r}: expected a whole number, at least 1")
    if isinstance(aggregate, type):
        raise UsageError(f"aggregate={aggregate.__name__} is a class: write aggregate={aggregate.__name__}()")
    if not isinstance(aggregate, Aggregator):
        raise UsageError(
            f"aggregate={aggregate!r}: expected MeanAggregator(), MedianAggregator(), BestOfN(...) or an object with "
            "a method aggregate(values, *, maximize)"
        )
    if isinstance(aggregate, BestOfN) and aggregate.n is not None and aggregate.n > repeats:
        raise UsageError(f"aggregate={aggregate!r} with repeats={repeats}: there are fewer repeats than it counts")
    return aggregate
