"""Experiments: annotated `pipeline` methods, stages that are methods, and experiments as stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, reveal_type

from metta.sweep import Experiment, Pipeline


class Batch(NamedTuple):
    images: list[float]
    label: str


class Score(NamedTuple):
    accuracy: float


class Training(Experiment[Score]):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.width = width

    def prepare(self, size: int) -> Batch:
        return Batch([0.0] * size, "a")

    def train(self, images: list[float], scale: float = 1.0) -> float:
        return sum(images) * scale

    def score(self, weight: float, label: str) -> Score:
        return Score(weight + len(label))

    def wrong(self, weights: float, labels: str) -> Score:
        return Score(weights + len(labels))

    def pipeline(self) -> Pipeline:
        return (
            Pipeline(size=int)
            .stage("prepare", self.prepare)
            .through(Batch, log=lambda data: data.label)
            .stage("train", self.train, scale=self.width)
            .through(weight=float)
            .stage("evaluate", self.score)
            .through(Score)
        )

    def with_mistakes(self) -> Pipeline:
        return (
            Pipeline(size=int)
            .stage("prepare", self.prepare)
            .through(
                Batch,
                log=lambda data: data.labels,  # S: attr-defined
            )
            .stage("train", self.train, scale=str(self.width))  # S: setting-type
            .through(weight=float)
            .stage("evaluate", self.wrong)  # S: missing-field
            .through(Score)
        )

    def called(self) -> Pipeline:
        return Pipeline(size=int).stage("prepare", self.prepare(3))  # S: not-a-stage

    def hook(self, data: Batch) -> bool:
        return self.width > 3 and bool(data.images)

    def hooked(self) -> Pipeline:
        return (
            Pipeline(size=int)
            .stage("prepare", self.prepare)
            .through(
                Batch,
                validate=self.hook,
                assert_fn=self.score,  # S: hook-signature
            )
        )


class Wider(Training):
    def train(self, images: list[float], scale: float = 1.0, depth: int = 2) -> float:
        return sum(images) * scale * depth

    def pipeline(self) -> Pipeline:
        return (
            Pipeline(images=list[float], label=str)
            .stage("train", self.train, depth=3)
            .through(weight=float)
            .stage("evaluate", self.score)
        )


def use(accuracy: float) -> float:
    return accuracy


def use_missing(loss: float, more: float) -> float:
    return loss + more


as_stage = Pipeline(size=int).stage("training", Training()).through(Score).stage("use", use).through(result=float)
as_stage_implied = Pipeline(size=int).stage("training", Training()).stage("use", use).through(result=float)
as_stage_fields = Pipeline(size=int).stage("training", Training(width=3)).through(accuracy=float)
as_stage_output = (
    Pipeline(size=int)
    .stage("training", Training())
    .through(
        accuracy=str,  # E: stage-output
    )
)
as_stage_reader = Pipeline(size=int).stage("training", Training()).stage("use", use_missing)  # E: missing-field
mapped = Pipeline(sizes=list[int]).stage("training", Training(), size=3).stage("use", use).through(result=float)


async def runs() -> float:
    training = Training()
    score = await training.run(size=3)
    same = training.run(size=3)
    print(same.accuracy + 1)
    print(score.loss)  # S: attr-defined
    return score.accuracy


if TYPE_CHECKING:
    reveal_type(as_stage_implied.compile().run(size=3).result)  # R: float
    reveal_type(Training().run(size=3).value)  # R: Score
