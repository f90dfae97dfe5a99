"""Which parameters matter for the results of a sweep."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final

from metta.sweep.errors import RunError
from metta.sweep.trial import Trial

LEAST_TRIALS: Final = 8
"""With fewer there is no telling."""


def shares(ranking: Sequence[Trial]) -> dict[str, float]:
    """The importance of each parameter: path -> share of the sum, the largest first.

    A parameter matters as much as it alone explains of the variance of the trials' ranks: the first-order sensitivity
    index, estimated from the given data by bins (Plischke, Borgonovo, Smith: "Global sensitivity measures from given
    data", EJOR 2013). The bins of numbers hold equally many trials, so neither their scale nor their range matters,
    and ranks make one very bad score no more than a bad one. What chance alone would explain is taken off (Kelley's
    epsilon squared). A parameter that matters only together with another one is not found.

    Args:
        ranking: trials with a score, the best first. One without a parameter (a conditional one) does not count for it.

    Returns:
        Zero for all where none explains anything.

    Raises:
        RunError: there are fewer than 8 trials.
    """
    if len(ranking) < LEAST_TRIALS:
        raise RunError(f"importance needs at least {LEAST_TRIALS} trials with a score; there are {len(ranking)}")
    # Plain dicts: `Params` would take the end of another path for a parameter that a trial does not have.
    params = [dict(trial.params) for trial in ranking]
    paths = dict.fromkeys(path for own in params for path in own)
    found = {path: _explained([own[path] for own in params if path in own]) for path in paths}
    total = math.fsum(found.values())
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return {path: value / total if total else 0.0 for path, value in ordered}


def _explained(values: Sequence[Any]) -> float:
    """The part of the variance of the places 0, 1, 2, ... that the values there explain, less what chance does."""
    count = len(values)
    groups: dict[object, list[int]] = {}
    for place, name in enumerate(_bins(values, max(2, round(count ** (1 / 3))))):
        groups.setdefault(name, []).append(place)
    if not 1 < len(groups) < count:
        return 0.0
    middle = (count - 1) / 2
    whole = count * (count**2 - 1) / 12
    between = math.fsum(len(places) * (statistics.fmean(places) - middle) ** 2 for places in groups.values())
    by_chance = (len(groups) - 1) * (whole - between) / (count - len(groups))
    return max(0.0, (between - by_chance) / whole)


def _bins(values: Sequence[Any], wanted: int) -> list[object]:
    """The bin of each value: numbers by their rank, anything else by itself."""
    is_numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if not is_numeric or len(set(values)) <= wanted:
        return [value if is_numeric else repr(value) for value in values]
    ordered = sorted(values)
    edges = [ordered[len(ordered) * index // wanted] for index in range(1, wanted)]
    return [bisect_right(edges, value) for value in values]
