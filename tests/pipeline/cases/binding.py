"""What a stage reads: stage-input, missing-field."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypedDict

from metta.sweep import Context, Pipeline, field


@dataclass(frozen=True)
class Trial:
    number: int


class TrainingOutput(NamedTuple):
    results: dict[str, float]
    checkpoints: list[str]


class EvalInput(TypedDict):
    results: dict[str, float]
    split: str


class HasResults(Protocol):
    @property
    def results(self) -> dict[str, float]: ...


def prepare(batch_size: int) -> tuple[str, int, list[Trial]]:
    return "run", 1, [Trial(i) for i in range(batch_size)]


def train(run_name: str, run_id: int, trials: list[Trial]) -> TrainingOutput:
    return TrainingOutput({run_name: float(run_id)}, [str(trial) for trial in trials])


def train_misspelt(run_name: str, trails: list[Trial]) -> TrainingOutput:
    return TrainingOutput({run_name: 0.0}, [str(trial) for trial in trails])


def train_wrong(run_name: str, run_id: str) -> TrainingOutput:
    return TrainingOutput({run_name + run_id: 0.0}, [])


def evaluate(output: TrainingOutput) -> dict[str, float]:
    return output.results


def evaluate_other(output: EvalInput) -> dict[str, float]:
    return output["results"]


def read_results(has: HasResults) -> float:
    return sum(has.results.values())


def read_whole(ctx: Context) -> float:
    return float(ctx.run_id)


def read_anything(ctx: Any) -> None:
    print(ctx)


def scale(results: dict[str, float], factor: float = 2.0) -> dict[str, float]:
    return {name: value * factor for name, value in results.items()}


def first_of(values: list[int], /) -> int:
    return values[0]


good = (
    Pipeline(batch_size=int)
    .stage("prepare", prepare)
    .through(run_name=str, run_id=int, trials=list[Trial])
    .stage("whole", read_whole)
    .through(number=float)
    .stage("anything", read_anything)
    .stage("train", train)
    .through(TrainingOutput, retry=3)
    .stage("evaluate", evaluate)
    .through(scores=dict[str, float])
    .stage("protocol", read_results)
    .through(total=float)
    .stage("scale", scale, factor=3.0)
    .through(scaled=dict[str, float])
)

misspelt = (
    Pipeline(batch_size=int)
    .stage("prepare", prepare)
    .through(run_name=str, run_id=int, trials=list[Trial])
    .stage("train", train_misspelt)  # E: missing-field
    .through(TrainingOutput)
)

wrong_type = (
    Pipeline(batch_size=int)
    .stage("prepare", prepare)
    .through(run_name=str, run_id=int, trials=list[Trial])
    .stage("train", train_wrong)  # E: stage-input
    .through(TrainingOutput)
    .stage("evaluate", evaluate)
)

after_replacement = (
    Pipeline(batch_size=int)
    .stage("prepare", prepare)
    .through(run_name=str, run_id=int, trials=list[Trial])
    .stage("train", train)
    .through(TrainingOutput)
    .stage("train again", train)  # E: missing-field
    .through(TrainingOutput)
)

record_without_field = (
    Pipeline()
    .stage("make", lambda: {"a": 1.0})  # DN: untyped-stage
    .through(results=dict[str, float])
    .stage("evaluate", evaluate_other)  # E: missing-field
    .through(scores=dict[str, float])
)

record_of_wrong_field = (
    Pipeline(results=list[float], checkpoints=list[str])
    .stage("evaluate", evaluate)  # E: stage-input
    .through(scores=dict[str, float])
)

wrong_value = (
    Pipeline(list[str])
    .stage("first", first_of)  # E: stage-input
    .through(x=int)
)

optional_of_wrong_type = (
    Pipeline(results=dict[str, float], factor=str)
    .stage("scale", scale)  # E: stage-input
    .through(scaled=dict[str, float])
)

optional_of_right_type = (
    Pipeline(results=dict[str, float], factor=float).stage("scale", scale).through(scaled=dict[str, float])
)

renamed = (
    Pipeline(scores=dict[str, float]).stage("scale", scale, results=field("scores")).through(scaled=dict[str, float])
)

renamed_to_nothing = Pipeline(scores=dict[str, float]).stage(
    "scale",
    scale,
    results=field("score"),  # E: missing-field
)

renamed_to_wrong_type = Pipeline(scores=list[float]).stage(
    "scale",
    scale,
    results=field("scores"),  # E: stage-input
)

protocol_without_field = (
    Pipeline(result=dict[str, float]).stage("total", read_results)  # E: missing-field
)

bound = (
    Pipeline(results=dict[str, float])
    .stage("scale", functools.partial(scale, factor=3.0))
    .through(scaled=dict[str, float])
)


class Experiment:
    """Stages are methods, pipelines are built in methods."""

    def suggest(self, count: int) -> list[Trial]:
        return [Trial(count)]

    async def train(self, trials: list[Trial], run_name: str) -> TrainingOutput:
        return TrainingOutput({run_name: 1.0}, [str(trial) for trial in trials])

    @staticmethod
    def observe(results: dict[str, float], checkpoints: list[int]) -> None:
        print(results, checkpoints)

    def pipeline(self) -> Pipeline:
        return (
            Pipeline(count=int)
            .stage("suggest", self.suggest)
            .through(trials=list[Trial])
            .stage("train", self.train)  # E: missing-field
            .through(TrainingOutput)
            .stage("observe", self.observe)  # E: stage-input
        )

    def good(self) -> Pipeline:
        return (
            Pipeline(count=int, run_name=str)
            .stage("suggest", self.suggest)
            .through(trials=list[Trial])
            .stage("train", self.train)
            .through(TrainingOutput)
        )


in_a_method = Experiment().pipeline()
good_method = Experiment().good()
