"""Contracts and hooks in one experiment: what flows between its stages, and what happens at each border.

Suggestions are checked, stored and shuffled; training is tried again when it fails, and has an answer ready when it
fails for good; the evaluation is taken from the cache when the same is evaluated again. Corrected against the
documents: `assert` is a statement and cannot stand in a lambda, so `validate` gives the condition; `shuffle` works in
place and returns None, so `transform` takes a sample of everything; and `on_error` returns what its contract promises.
"""

from __future__ import annotations

import logging
from collections import Counter
from random import Random
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from metta.sweep import Experiment, Pipeline, Trial

logger = logging.getLogger("experiment")
counts: Counter[str] = Counter()


class SuggestionOutput(NamedTuple):
    """A batch of configurations."""

    trials: list[Trial]
    batch_id: str


class TrainingOutput(NamedTuple):
    """What the trainings of a batch give: validation errors and weights, by ridge penalty."""

    results: dict[float, float]
    checkpoints: dict[float, list[float]]
    batch_id: str


class EvalOutput(NamedTuple):
    """The best penalty, and its error on data that neither training nor choice has seen."""

    penalty: float
    test_error: float


def data(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Thirty noisy samples of a linear function of ten features."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(30, 10))
    return x, x @ np.linspace(-1, 1, 10) + random.normal(size=30)


class MyExperiment(Experiment[EvalOutput]):
    """Ridge regression: three penalties, the best of them tested.

    Args:
        failures: how many of the first trainings fail.
    """

    def __init__(self, failures: int = 1) -> None:
        self.failures = failures

    def pipeline(self) -> Pipeline:
        """Three stages; hooks stand beside the contract they belong to."""
        return (
            Pipeline(seed=int)
            # Stage 1: generate suggestions
            .stage("suggest", self.generate_suggestions, n=3)
            .through(
                SuggestionOutput,  # type contract
                before=lambda d: logger.info("generating %d trials", len(d.trials)),
                validate=lambda d: len(d.trials) > 0,
                transform=lambda d: d._replace(trials=Random(d.batch_id).sample(d.trials, len(d.trials))),
                after=lambda d: counts.update(generated=len(d.trials)),
                checkpoint=True,  # a resumed run goes on behind it
                timeout=300,  # seconds, then the stage is really stopped
            )
            # Stage 2: train models
            .stage("train", self.train_models)
            .through(
                TrainingOutput,
                retry=3,  # up to three more attempts
                on_error=lambda error: self.handle_failure(error),
                profile=True,
            )
            # Stage 3: evaluate results
            .stage("evaluate", self.evaluate_results)
            .through(
                EvalOutput,
                cache=True,  # reused across runs
            )
        )

    def generate_suggestions(self, seed: int, n: int) -> SuggestionOutput:
        """Penalties on a logarithmic scale. It has a time-out, and so it runs in a process of its own."""
        return SuggestionOutput([Trial({"penalty": 10.0 ** (k - 1)}) for k in range(n)], f"batch-{seed}")

    def train_models(self, batch: SuggestionOutput) -> TrainingOutput:
        """Closed form, one system of equations per trial."""
        counts["trainings"] += 1
        if counts["trainings"] <= self.failures:
            raise ConnectionError("the data server is busy")
        (x, y), (new_x, new_y) = data(0), data(1)
        errors, weights = dict[float, float](), dict[float, list[float]]()
        for trial in batch.trials:
            penalty = trial.params["penalty"]
            found = np.linalg.solve(x.T @ x + penalty * np.eye(10), x.T @ y)
            errors[penalty] = float(np.mean((new_x @ found - new_y) ** 2))
            weights[penalty] = [float(weight) for weight in found]
        return TrainingOutput(errors, weights, batch.batch_id)

    def handle_failure(self, error: Exception) -> TrainingOutput:
        """What stands in when all attempts have failed: the constant 0, as if the penalty were infinite."""
        logger.warning("training failed for good: %s", error)
        return TrainingOutput({float("inf"): 1.0}, {float("inf"): [0.0] * 10}, "fallback")

    def evaluate_results(self, results: dict[float, float], checkpoints: dict[float, list[float]]) -> EvalOutput:
        """The weights with the smallest validation error on fresh data."""
        counts["evaluations"] += 1
        penalty = min(results, key=results.__getitem__)
        x, y = data(2)
        return EvalOutput(penalty, float(np.mean((x @ np.array(checkpoints[penalty]) - y) ** 2)))


def main() -> None:
    """Twice with one failure each, then with more of them than there are attempts."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    with TemporaryDirectory() as store:
        for failures in (1, 1, 9):
            counts.clear()
            result = MyExperiment(failures).run(seed=0, store=store).value
            print(f"penalty {result.penalty}, test error {result.test_error:.2f}, {dict(counts)}")


if __name__ == "__main__":
    main()
