"""Contracts as record classes: `.through(T)` replaces the context, and T's fields are what the next stage can read.

Corrected against the documents: there the stages are methods of a `self` that does not exist at module level; here
they are plain functions. A stage may take the whole record, or just the fields it needs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metta.sweep import Pipeline, Trial


class Suggestions(NamedTuple):
    """What the sampler hands on."""

    trials: list[Trial]
    batch_id: str


class Training(NamedTuple):
    """What a batch of trainings gives: scores and weights by learning rate."""

    results: dict[str, float]
    checkpoints: dict[str, list[float]]
    batch_id: str


class Verdict(NamedTuple):
    """The learning rate that won."""

    best: str
    loss: float


def suggest(seed: int) -> Suggestions:
    """Four learning rates, log-uniform."""
    rates = 10.0 ** np.random.default_rng(seed).uniform(-3, 0, size=4)
    return Suggestions([Trial({"lr": round(float(rate), 4)}) for rate in rates], f"batch-{seed}")


def train(batch: Suggestions) -> Training:
    """Least squares by gradient descent, once per trial: takes the record as a whole."""
    random = np.random.default_rng(0)
    x, truth = random.normal(size=(64, 3)), np.array([1.0, -2.0, 0.5])
    y = x @ truth
    results: dict[str, float] = {}
    checkpoints: dict[str, list[float]] = {}
    for trial in batch.trials:
        weights = np.zeros(3)
        for _ in range(20):
            weights -= trial.params["lr"] * x.T @ (x @ weights - y) / len(y)
        name = f"lr={trial.params['lr']}"
        results[name] = float(np.mean((x @ weights - y) ** 2))
        checkpoints[name] = [round(float(w), 3) for w in weights]
    return Training(results, checkpoints, batch.batch_id)


def evaluate(results: dict[str, float], batch_id: str) -> Verdict:
    """Takes two of the record's fields, by name and type."""
    best = min(results, key=results.__getitem__)
    return Verdict(f"{batch_id}: {best}", results[best])


pipeline = (
    Pipeline()
    .stage("suggest", suggest)
    .through(Suggestions)
    .stage("train", train)  # must accept Suggestions
    .through(Training)
    .stage("evaluate", evaluate)  # must accept results and batch_id
    .through(Verdict)
)


def main() -> None:
    """Compile, look at the graph, run."""
    graph = pipeline.compile()
    print(graph.graph)
    verdict: Verdict = graph.run(seed=7)
    print(f"{verdict.best} (loss {verdict.loss:.2g})")


if __name__ == "__main__":
    main()
