"""Arms: three searches in parallel, a model of what they found, then exploit or explore.

`.parallel([...])` runs its arms concurrently on the same context and gives the list of their results in declared
order. `.conditional(predicate, then, otherwise)` runs one arm; both set `best` here, so it is surely set behind it.
Corrected against the documents: their arms are calls (`self.random_search(n=20)` would run while the pipeline is
written); a stage is the function itself, and its arguments are settings.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metta.sweep import Context, Pipeline

Points = NDArray[np.float64]


class Observation(NamedTuple):
    """Points in the unit interval and the loss at each."""

    points: Points
    losses: Points


class Model(NamedTuple):
    """The parabola that fits the losses best, and the lowest loss seen."""

    coefficients: Points
    best_score: float


def measure(points: Points) -> Observation:
    """The loss that is to be minimized; its minimum is at 0.7."""
    return Observation(points, (points - 0.7) ** 2 + 0.1)


def random_search(seed: int, n: int) -> Observation:
    """Uniform points."""
    return measure(np.random.default_rng(seed).uniform(size=n))


def grid_search(n: int) -> Observation:
    """Evenly spaced points."""
    return measure(np.linspace(0, 1, n))


def van_der_corput(n: int) -> Observation:
    """A low-discrepancy sequence: the first dimension of Sobol's."""
    points = [sum(int(bit) / 2 ** (k + 1) for k, bit in enumerate(reversed(f"{i:b}"))) for i in range(1, n + 1)]
    return measure(np.array(points))


def merge(found: list[Observation]) -> Observation:
    """All observations as one."""
    return Observation(np.concatenate([o.points for o in found]), np.concatenate([o.losses for o in found]))


def fit(points: Points, losses: Points) -> Model:
    """Least squares."""
    return Model(np.polyfit(points, losses, 2), float(losses.min()))


def local_search(model: Model) -> float:
    """Exploit: the minimum of the parabola."""
    a, b, _ = model.coefficients
    return float(np.clip(-b / (2 * a), 0, 1))


def global_search(model: Model) -> float:
    """Explore: another random point."""
    return float(np.random.default_rng(0).uniform())


def good_enough(model: Model) -> bool:
    """Whether the model is worth trusting. A condition sees the whole of the context: here the record."""
    return model.best_score < 0.2


pipeline = (
    Pipeline(seed=int)
    .parallel([partial(random_search, n=20), partial(grid_search, n=9), partial(van_der_corput, n=20)])
    .stage("merge", merge)
    .through(Observation)
    .stage("model", fit)
    .through(Model)
    .conditional(
        good_enough,
        Pipeline(Model).stage("exploit", local_search).through(best=float),
        Pipeline(Model).stage("explore", global_search).through(best=float),
    )
)

# The mapping form gives one field per key, and what was set before stays.
compare = (
    Pipeline(seed=int)
    .parallel({"random": partial(random_search, n=20), "grid": partial(grid_search, n=9)})
    .through(random=Observation, grid=Observation)
)


def main() -> None:
    """Run both."""
    result: Context = pipeline.compile().run(seed=0)
    print(f"best {result.best:.2f}, lowest loss seen {result.best_score:.3f}")
    both: Context = compare.compile().run(seed=0)
    print(f"random {both.random.losses.min():.3f}, grid {both.grid.losses.min():.3f}, seed {both.seed}")


if __name__ == "__main__":
    main()
