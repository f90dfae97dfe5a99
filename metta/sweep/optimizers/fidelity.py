"""Results at several resources, for libraries that know of one result per trial only."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable


def threshold(dimensions: int) -> int:
    """How many results a resource needs before a model may be built on it."""
    return max(dimensions + 2, 10)


def chosen_resource(reached: Iterable[Iterable[int]], enough: int) -> int | None:
    """The resource whose results a model should see: the highest one with at least `enough` results.

    As long as none has enough it is the one with the most results, the highest of those where several tie. Results at
    different resources are never mixed (the rule of BOHB, Falkner et al., 2018, section 3.2). A resource that most of
    the trials with a result above it (three or more) have passed without one is no candidate: a model would see those
    that were stopped there and nothing of the better ones.

    Args:
        reached: for each trial the resources at which it has a result; 0 means "to the end" and is above all others.
        enough: see `threshold`.

    Returns:
        The resource, or None where there is no result at all.
    """
    trials = [heights for resources in reached if (heights := {resource or math.inf for resource in resources})]
    counts = Counter(height for heights in trials for height in heights)
    if not counts:
        return None
    candidates = []
    for height in counts:
        above = [heights for heights in trials if max(heights) > height]
        if len(above) < 3 or 2 * sum(height in heights for heights in above) >= len(above):
            candidates.append(height)
    with_enough = [height for height in candidates if counts[height] >= enough]
    best = max(with_enough) if with_enough else max(candidates, key=lambda height: (counts[height], height))
    return 0 if math.isinf(best) else int(best)
