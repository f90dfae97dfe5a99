"""Pipelines inside pipelines: closed ones with declared inputs, open ones that fit in where they stand.

`Pipeline(x=int)` is closed: it sees its inputs only, and what it sets leaves it. `Pipeline()` is open: it is checked
again in each context it is used in. With a contract of its own a nested stage has exactly that effect. A compiled
graph is a stage too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metta.sweep import Pipeline, field

Array = NDArray[np.float64]


class Split(NamedTuple):
    """Features and targets for training and testing."""

    train_x: Array
    train_y: Array
    test_x: Array
    test_y: Array


def load(seed: int) -> tuple[Array, Array]:
    """A noisy linear problem."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(60, 3))
    return x, x @ np.array([1.0, -1.0, 2.0]) + 0.1 * random.normal(size=60)


def scale(x: Array) -> Array:
    """Unit variance."""
    return np.asarray(x / x.std(axis=0))


def split(x: Array, y: Array, share: float) -> Split:
    """The first part trains, the rest tests."""
    cut = int(len(x) * share)
    return Split(x[:cut], y[:cut], x[cut:], y[cut:])


def ridge(train_x: Array, train_y: Array, penalty: float) -> Array:
    """Closed-form ridge regression."""
    gram = train_x.T @ train_x + penalty * np.eye(train_x.shape[1])
    return np.asarray(np.linalg.solve(gram, train_x.T @ train_y), dtype=np.float64)


def error(weights: Array, test_x: Array, test_y: Array) -> float:
    """Mean squared error on the test part."""
    return float(np.mean((test_x @ weights - test_y) ** 2))


# Closed: two inputs, and a replacing contract inside, so the stage acts like .through(Split).
preparing = (
    Pipeline(x=Array, y=Array).stage("scale", scale).through(x=Array).stage("split", split, share=0.75).through(Split)
)

# Open: reads train_x, train_y, ... from wherever it is used.
fitting = Pipeline().stage("ridge", ridge, penalty=0.1).through(weights=Array).stage("error", error).through(mse=float)

pipeline = (
    Pipeline()
    .stage("load", load)
    .through(features=Array, targets=Array)
    .stage("prepare", preparing, x=field("features"), y=field("targets"))
    .stage("fit", fitting)
    .through(mse=float)  # all that leaves the nested stage: the weights stay inside
)


def report(mse: float) -> str:
    """One line."""
    return f"test error {mse:.4f}"


def main() -> None:
    """Run it, then use the compiled graph as a stage of another pipeline."""
    graph = pipeline.compile()
    print("fields:", ", ".join(graph.run(seed=0)._asdict()))
    outer = Pipeline().stage("experiment", graph).stage("report", report).through(line=str)
    print(outer.compile().run(seed=0).line)


if __name__ == "__main__":
    main()
