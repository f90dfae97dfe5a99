"""Persistence hooks: checkpoint, checkpoint_path, cache, cache_key and archive are typed, checked and drawn.

They need a store; without one `run()` says once that they have no effect, and computes. Corrected against the
documents: `hash(data.trials)` is a TypeError, because a list cannot be hashed; `cache_key` sees the stage's INPUT and
returns any storable value, which the library digests. And a checkpoint of something that cannot be stored is an error
before the run, not after its six hours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from metta.sweep import ContractError, Pipeline


class Scores(NamedTuple):
    """An expensive evaluation."""

    scores: list[float]
    batch_id: str


def evaluate(learning_rates: list[float], batch_id: str) -> Scores:
    """Expensive, in earnest."""
    return Scores([1 - abs(rate - 0.1) for rate in learning_rates], batch_id)


def make_policy(scores: list[float]) -> Callable[[float], float]:
    """Live objects such as closures cannot be stored."""
    best = max(scores)
    return lambda x: x * best


def upload(data: Scores) -> None:
    """Would copy the result to cold storage; a failure there is logged and tried again."""


pipeline = (
    Pipeline(learning_rates=list[float], batch_id=str)
    .stage("evaluate", evaluate)
    .through(
        Scores,
        checkpoint=True,
        checkpoint_path=lambda data: f"checkpoints/{data.batch_id}.json",
        cache=True,
        cache_key=lambda given: (given.batch_id, given.learning_rates),
        archive=upload,
    )
)


def main() -> None:
    """Run without a store, draw, and see a checkpoint refused."""
    logging.basicConfig(format="%(levelname)s %(message)s")
    graph = pipeline.compile()
    for _ in range(2):  # the warning comes once
        print(graph.run(learning_rates=[0.1, 0.3], batch_id="b1").scores)
    print(next(line.strip() for line in graph.to_mermaid().splitlines() if "checkpoint" in line))
    try:
        pipeline.stage("policy", make_policy).through(policy=Callable[[float], float], checkpoint=True).compile()
    except ContractError as error:
        print(error.diagnostics[0].code)


if __name__ == "__main__":
    main()
