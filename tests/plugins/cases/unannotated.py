"""`def pipeline(self):` without an annotation is checked as well."""

from __future__ import annotations

from typing import NamedTuple

from metta.sweep import Experiment, Pipeline


class Batch(NamedTuple):
    images: list[float]
    label: str


class Score(NamedTuple):
    accuracy: float


class Training(Experiment[Score]):
    def prepare(self, size: int) -> Batch:
        return Batch([0.0] * size, "a")

    def train(self, images: list[float], scale: float = 1.0) -> float:
        return sum(images) * scale

    def score(self, weight: float, label: str) -> Score:
        return Score(weight + len(label))

    def pipeline(self):
        return (
            Pipeline(size=int)
            .stage("prepare", self.prepare)
            .through(Batch, log=lambda data: data.label)
            .stage("train", self.train, scale=2.0)
            .through(weight=float)
            .stage("score", self.score)
        )


class Misspelt(Training):
    def pipeline(self):
        return (
            Pipeline(size=int)
            .stage("prepare", self.prepare)
            .through(
                Batch,
                log=lambda data: data.labels,  # S: attr-defined
            )
            .stage("train", self.train, scale="2")  # S: setting-type
            .through(weight=int)  # S: stage-output
            .stage("score", self.score)
        )


class Missing(Training):
    def pipeline(self):
        base = Pipeline(size=int).stage("prepare", self.prepare)
        return base.through(images=list[float]).stage("score", self.score)  # S: missing-field


class Called(Training):
    def pipeline(self):
        return Pipeline(size=int).stage("prepare", self.prepare(3))  # S: not-a-stage


as_stage = Pipeline(size=int).stage("training", Training()).through(accuracy=float)
