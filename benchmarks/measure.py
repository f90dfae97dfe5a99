"""Ratios of interleaved pairs.

A benchmark on a shared machine compares two things that are measured in turn, again and again: whatever slows the
machine down for a while slows both. What is reported is the median of the rounds' ratios, with the smallest and the
largest. Times are CPU seconds of this process, so that waiting for a core does not count.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from statistics import median
from time import process_time
from typing import NamedTuple


@dataclass(frozen=True)
class Effort:
    """How hard to measure.

    Attributes:
        rounds: how often each pair is measured.
        batch: CPU seconds that one measurement should take at least.
        short: stages of the shorter chain of a slope.
        long: stages of the longer one.
        few: stages of the smaller pipeline that is built.
        many: stages of the larger one.
        build_rounds: how often each pipeline is built.
    """

    rounds: int = 21
    batch: float = 0.004
    short: int = 20
    long: int = 200
    few: int = 1_000
    many: int = 10_000
    build_rounds: int = 5


class Pair(NamedTuple):
    """Seconds of both sides (medians), and the ratio subject / reference: median, smallest, largest."""

    subject: float
    reference: float
    ratio: float
    low: float
    high: float


class Chain(NamedTuple):
    """One function of few and one of many stages; each call runs all of its stages."""

    short: Callable[[], object]
    long: Callable[[], object]


def interleaved(subject: Callable[[], float], reference: Callable[[], float], rounds: int) -> Pair:
    """Measure both sides in turn; every other round begins with the reference."""
    subjects: list[float] = []
    references: list[float] = []
    for number in range(rounds):
        if number % 2:
            references.append(reference())
            subjects.append(subject())
        else:
            subjects.append(subject())
            references.append(reference())
    return paired((subjects, references))


def paired(*found: Series) -> Pair:
    """The medians of both sides and of their ratios, over all rounds of some series."""
    rounds = [pair for series in found for pair in zip(*series, strict=True)]
    # A slope can come out as zero where the sizes are tiny.
    ratios = [one / other if other else float("inf") for one, other in rounds]
    return Pair(
        median(one for one, _ in rounds), median(other for _, other in rounds), median(ratios), min(ratios), max(ratios)
    )


Series = tuple[list[float], list[float]]
"""What was measured of the subject and of the reference, round by round."""


def slopes(subject: Chain, reference: Chain, effort: Effort) -> Series:
    """Seconds per additional stage of two chains, without the cost of entering them.

    The collector is off for both sides: neither pays for the garbage of the other.
    """
    calls = (subject.short, subject.long, reference.short, reference.long)
    counts = [repetitions(call, effort.batch) for call in calls]
    stages = effort.long - effort.short
    found: Series = ([], [])
    gc.collect()
    gc.disable()
    try:
        for number in range(effort.rounds):
            best = [float("inf")] * 4
            # The fastest of three: what disturbs a batch only ever adds to it.
            for turn in range(3):
                for index in (0, 2, 1, 3) if (number + turn) % 2 else (3, 1, 2, 0):
                    best[index] = min(best[index], per_call(calls[index], counts[index]))
            found[0].append((best[1] - best[0]) / stages)
            found[1].append((best[3] - best[2]) / stages)
    finally:
        gc.enable()
    return found


def per_call(call: Callable[[], object], count: int) -> float:
    """CPU seconds per call."""
    begin = process_time()
    for _ in repeat(None, count):
        call()
    return (process_time() - begin) / count


def repetitions(call: Callable[[], object], batch: float) -> int:
    """How many calls take `batch` seconds, at least one. Warms the call up, too."""
    count = 1
    while (taken := per_call(call, count) * count) < batch / 2:
        count *= 2
    return max(1, round(count * batch / taken))
