"""How the scores of one configuration under several seeds become one."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from metta.sweep.errors import UsageError

SETTLED: Final = 1e-12
"""The location has been found when a step moves it by less than this part of the values' scale."""

MAX_REWEIGHTINGS: Final = 1_000
"""Steps after which the location is taken as it is; a few dozen are usual."""

ALIKE: Final = 1e-9
"""Windows whose widths differ by less than this part of the values' range are equally narrow."""


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


@dataclass(frozen=True, slots=True)
class WeightedByConfidence:
    """The mean, each repeat weighted by how plausible it is among the others.

    It is the maximum likelihood location of a Student-t distribution of unknown scale, found by reweighting (Lange,
    Little, Taylor, "Robust Statistical Modeling Using the t Distribution", 1989): a repeat that lies z scales away has
    the weight (degrees_of_freedom + 1) / (degrees_of_freedom + z^2). Repeats that agree give about their mean; one that
    has gone wrong has next to no weight. Values of which almost all are equal have no scale: then it is that value.

    Args:
        degrees_of_freedom: the fewer, the less an outlier counts; with very many it is the mean.

    Raises:
        UsageError: `degrees_of_freedom` is not above 1: the location would not be unique.
    """

    degrees_of_freedom: float = 4.0

    def __post_init__(self) -> None:
        freedom: object = self.degrees_of_freedom
        if isinstance(freedom, bool) or not isinstance(freedom, int | float) or not 1 < freedom < math.inf:
            raise UsageError(f"WeightedByConfidence(degrees_of_freedom={freedom!r}): expected a number above 1")

    def aggregate(self, values: Sequence[float], *, maximize: bool) -> float:
        ordered = sorted(values)
        low, high = ordered[0], ordered[-1]
        freedom = self.degrees_of_freedom
        common, count = Counter(ordered).most_common(1)[0]
        # The likelihood has a finite maximum only below this share of equal values (Kent and Tyler, 1991).
        if count * (freedom + 1) >= freedom * len(ordered):
            return common
        return min(max(_location(ordered, freedom), low), high)


@dataclass(frozen=True, slots=True)
class EnsembleVoting:
    """What most repeats agree on: the mean of the majority that lies closest together.

    A majority is floor(n / 2) + 1 of n repeats, and the closest one spans the shortest interval (the "shorth" of
    Andrews et al., "Robust Estimates of Location", 1972). The others are outvoted, however far away they are. Of two
    repeats it is the mean, of three the mean of the closest pair. Of majorities that are equally close it is the mean
    of their means.
    """

    def aggregate(self, values: Sequence[float], *, maximize: bool) -> float:
        ordered = sorted(values)
        size = len(ordered) // 2 + 1
        windows = [ordered[first : first + size] for first in range(len(ordered) - size + 1)]
        widths = [window[-1] - window[0] for window in windows]
        narrow = min(widths) + ALIKE * (ordered[-1] - ordered[0])
        agreed = statistics.fmean(
            statistics.fmean(window) for window, width in zip(windows, widths, strict=True) if width <= narrow
        )
        return min(max(agreed, ordered[0]), ordered[-1])


def _location(values: Sequence[float], freedom: float) -> float:
    """The likeliest location of a Student-t distribution of unknown scale that sorted `values` were drawn from."""
    location = statistics.median(values)
    scale = statistics.median(abs(value - location) for value in values) or values[-1] - values[0]
    for _ in range(MAX_REWEIGHTINGS):
        before = location
        squares = [((value - location) / scale) * ((value - location) / scale) for value in values]
        weights = [(freedom + 1) / (freedom + square) for square in squares]
        total = math.fsum(weights)
        location += math.fsum(weight * (value - before) for weight, value in zip(weights, values, strict=True)) / total
        # The weighted squares, written so that those of an outlier do not overflow. Divided by the weights and not by
        # the count: the same maximum in fewer steps (Kent, Tyler, Vardi, 1994).
        weighted = math.fsum((freedom + 1) * (1 - freedom / (freedom + square)) for square in squares)
        if abs(location - before) <= SETTLED * scale or weighted == 0:
            break
        scale *= math.sqrt(weighted / total)
    return location


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
            f"aggregate={aggregate!r}: expected MeanAggregator(), MedianAggregator(), BestOfN(...), "
            "WeightedByConfidence(), EnsembleVoting() or an object with a method aggregate(values, *, maximize)"
        )
    if isinstance(aggregate, BestOfN) and aggregate.n is not None and aggregate.n > repeats:
        raise UsageError(f"aggregate={aggregate!r} with repeats={repeats}: there are fewer repeats than it counts")
    return aggregate
