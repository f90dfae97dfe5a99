"""Transformation hooks: filter, transform and enrich replace the data, in this order; serialize writes it elsewhere.

Each takes the contract's data and returns the same type, so the next stage can rely on it. Corrected against the
documents: `random.shuffle` works in place and returns None, so a transform that passes its result on would lose the
data; and `data.to_json()` exists on no NamedTuple, so `serialize` names what it means.
"""

from __future__ import annotations

import json
import math
from random import Random
from typing import NamedTuple

from metta.sweep import Pipeline, Trial


class Batch(NamedTuple):
    """Trials, their scores, and a note."""

    trials: list[Trial]
    scores: list[float]
    note: str = ""


def train(learning_rates: list[float]) -> Batch:
    """Diverges (NaN) where the learning rate is too large."""
    scores = [math.nan if rate > 1 else 1 / (1 + abs(math.log10(rate) + 2)) for rate in learning_rates]
    return Batch([Trial({"lr": rate}) for rate in learning_rates], scores)


def successful(data: Batch) -> Batch:
    """Without the runs that diverged."""
    kept = [(t, s) for t, s in zip(data.trials, data.scores, strict=True) if not math.isnan(s)]
    return data._replace(trials=[t for t, _ in kept], scores=[s for _, s in kept])


def shuffled(data: Batch) -> Batch:
    """In another order, the same each time."""
    order = Random(0).sample(range(len(data.trials)), len(data.trials))
    return data._replace(trials=[data.trials[i] for i in order], scores=[data.scores[i] for i in order])


def describe(note: str, scores: list[float]) -> str:
    """The next stage sees what all three have made of it."""
    return f"{note}: {[round(score, 2) for score in scores]}"


pipeline = (
    Pipeline(learning_rates=list[float])
    .stage("train", train)
    .through(
        Batch,
        enrich=lambda data: data._replace(note=f"{len(data.trials)} runs"),
        filter=successful,
        transform=shuffled,
        serialize=lambda data: json.dumps({"scores": data.scores}),  # what a checkpoint_path file contains
    )
    .stage("describe", describe)
    .through(report=str)
)


def main() -> None:
    """Four runs go in, one diverges."""
    print(pipeline.compile().run(learning_rates=[0.001, 0.01, 0.1, 10.0]).report)


if __name__ == "__main__":
    main()
