"""The Pareto front of score against cost."""

from __future__ import annotations

from collections.abc import Sequence

SCORE_GAIN = 1e-6
"""A dearer point has to be better by more than this."""


def pareto_front(scores: Sequence[float], costs: Sequence[float]) -> list[int]:
    """The indices of the points that no cheaper or equally cheap point matches, from the cheapest on.

    Args:
        scores: larger is better.
        costs: as many; of points that tie one is kept, the first.
    """
    front: list[int] = []
    best = float("-inf")
    for index in sorted(range(len(scores)), key=lambda index: (costs[index], -scores[index], index)):
        if scores[index] > best + SCORE_GAIN:
            front.append(index)
            best = scores[index]
    return front


def pruned_front(
    front: Sequence[int],
    scores: Sequence[float],
    costs: Sequence[float],
    *,
    efficiency: float = 0.5,
    stop: float = 0.98,
) -> list[int]:
    """The front without its dear end, where the score hardly grows any more.

    From the dearest point on, one goes if the step up to it gains less than `efficiency` times its share of the
    costs' range, both as shares of the front's ranges. It ends where the point before has less than `stop` of the
    front's gain in score. The two cheapest points stay.
    """
    kept = list(front)
    if len(kept) < 3:
        return kept
    low, dear = kept[0], kept[-1]
    gain, price = scores[dear] - scores[low], costs[dear] - costs[low]
    while len(kept) > 2 and price > 0:
        before, last = kept[-2], kept[-1]
        if scores[before] - scores[low] < stop * gain:
            break
        if (scores[last] - scores[before]) / gain >= efficiency * (costs[last] - costs[before]) / price:
            break
        kept.pop()
    return kept
