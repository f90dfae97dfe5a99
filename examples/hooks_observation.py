"""Observation hooks: before, log, metrics, debug, monitor and after see the data of a stage and cannot change it.

An exception in log, metrics, debug or monitor is logged and never fails the stage: an unreachable metrics server does
not cost a training. Corrected against the documents: `lambda data: breakpoint() if data.batch_id == "debug"` lacks
its `else`, which is a syntax error.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from metta.sweep import Pipeline

logger = logging.getLogger("training")
history: list[float] = []


class Batch(NamedTuple):
    """The losses of one batch of runs."""

    losses: list[float]
    batch_id: str


def train(batch_id: str) -> Batch:
    """A loss that falls by half with each epoch."""
    return Batch([0.5**epoch for epoch in range(1, 5)], batch_id)


def best(losses: list[float]) -> float:
    """The next stage: it reads what left the membrane."""
    return min(losses)


def send_to_server(data: Batch) -> None:
    """A metrics server that cannot be reached."""
    raise ConnectionError("metrics server is down")


def look(data: Batch) -> None:
    """Where a debugger would start; only for a batch called "debug"."""
    print("debugging", data.losses)


pipeline = (
    Pipeline(batch_id=str)
    .stage("train", train)
    .through(
        Batch,
        before=lambda data: print(f"enters: {len(data.losses)} losses of {data.batch_id}"),
        log=lambda data: logger.info("%s finished", data.batch_id),
        metrics=lambda data: history.append(data.losses[-1]),
        debug=lambda data: look(data) if data.batch_id == "debug" else None,
        monitor=send_to_server,
        after=lambda data: print(f"leaves: the last one is {data.losses[-1]}"),
    )
    .stage("best", best)
    .through(score=float)
)


def main() -> None:
    """The monitor fails, the pipeline does not."""
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    graph = pipeline.compile()
    graph.run(batch_id="first")
    result = graph.run(batch_id="debug")
    print(f"score {result.score}, recorded {history}")


if __name__ == "__main__":
    main()
