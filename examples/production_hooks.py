"""Two reusable hook sets, one for debugging and one for production, with a tracker and a bucket behind them.

`Tracker` and `Bucket` stand in for a metrics service and for cold storage: the same calls, but they write to local
folders. Behind the hook sets stand global hooks, which see every stage. Corrected against the documents: `self` does
not exist at module level, so the pipeline belongs to an experiment; and `on_error` returns None, which lets the error
go on after the alert, because an alert is no replacement for a model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from metta.sweep import Hooks, Pipeline
from metta.sweep.experiments import Experiment


class TrainingOutput(NamedTuple):
    """What a training gives."""

    loss: float
    weights: list[float]
    batch_id: str


class Tracker:
    """A metrics service: one JSON line per call of `log`."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def log(self, metrics: Mapping[str, float | str]) -> None:
        """Append the metrics."""
        with self.file.open("a") as lines:
            lines.write(json.dumps(metrics) + "\n")


class Bucket:
    """Cold storage: an object is a file under its key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def upload(self, data: TrainingOutput, key: str) -> None:
        """Store the data."""
        target = self.folder / key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(data._asdict()))


class Production(Experiment[TrainingOutput]):
    """Gradient descent on a small quadratic, observed according to where it runs.

    Args:
        tracker: where metrics go.
        bucket: where results go.
        debug: use the debugging hooks.
    """

    def __init__(self, tracker: Tracker, bucket: Bucket, debug: bool = False) -> None:
        self.tracker = tracker
        self.bucket = bucket
        self.debug = debug

    @property
    def debug_hooks(self) -> Hooks:
        """Everything on the screen, and expensive checks."""
        return {
            "before": lambda d: print(f"enters: {d}"),
            "after": lambda d: print(f"leaves: {d.batch_id}"),
            "validate": lambda d: all(abs(weight) < 10 for weight in d.weights),
        }

    @property
    def production_hooks(self) -> Hooks:
        """Metrics, checkpoints, copies, second attempts, alerts."""
        return {
            "metrics": lambda d: self.tracker.log({"loss": d.loss, "batch": d.batch_id}),
            "archive": lambda d: self.bucket.upload(d, f"runs/{d.batch_id}.json"),
            "checkpoint": True,
            "retry": 3,
            "on_error": self.alert_team,
        }

    def pipeline(self) -> Pipeline:
        """One set or the other, and global hooks for all stages."""
        return (
            Pipeline(batch_id=str)
            .stage("load", self.load)
            .through(target=list[float])
            .stage("train", self.train)
            .through(TrainingOutput, **(self.debug_hooks if self.debug else self.production_hooks))
        ).with_global_hooks(
            after=lambda stage, data: self.tracker.log({"complete": stage}),
            profile=True,  # profile everything
        )

    def load(self) -> list[float]:
        """Where the weights should end."""
        return [1.0, -2.0]

    def train(self, target: list[float], batch_id: str) -> TrainingOutput:
        """Twenty steps, each of which halves the distance."""
        weights = [0.0 for _ in target]
        for _ in range(20):
            weights = [weight + 0.5 * (goal - weight) for weight, goal in zip(weights, target, strict=True)]
        loss = sum((weight - goal) ** 2 for weight, goal in zip(weights, target, strict=True))
        return TrainingOutput(round(loss, 9), [round(weight, 3) for weight in weights], batch_id)

    def alert_team(self, error: Exception) -> None:
        """Tell somebody; the error goes on."""
        self.tracker.log({"alert": str(error)})


def main() -> None:
    """Both sets, and what they have left behind."""
    with TemporaryDirectory() as folder:
        tracker, bucket = Tracker(Path(folder, "metrics.jsonl")), Bucket(Path(folder, "bucket"))
        for debug in (True, False):
            result = Production(tracker, bucket, debug).run(batch_id="b7", store=Path(folder, "store"))
            print("weights", result.weights)
        print(tracker.file.read_text(), end="")
        for copy in sorted(bucket.folder.rglob("*.json")):
            print(copy.relative_to(bucket.folder), copy.read_text())


if __name__ == "__main__":
    main()
