"""Pipelines that functions return and take: bare `Pipeline`, and `Pipeline[Batch, Score]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, reveal_type

from metta.sweep import CompiledGraph, Pipeline


class Batch(NamedTuple):
    images: list[float]
    label: str


class Score(NamedTuple):
    accuracy: float


class Other(NamedTuple):
    loss: float


def evaluate(images: list[float]) -> Score:
    return Score(sum(images))


def other(images: list[float]) -> Other:
    return Other(sum(images))


def use(accuracy: float) -> float:
    return accuracy


def use_two(accuracy: float, label: str) -> float:
    return accuracy + len(label)


def bare() -> Pipeline:
    return Pipeline(Batch).stage("evaluate", evaluate).through(Score)


def exact() -> Pipeline[Batch, Score]:
    return Pipeline(Batch).stage("evaluate", evaluate).through(Score)


def wrong_result() -> Pipeline[Batch, Score]:
    return Pipeline(Batch).stage("other", other).through(Other)  # S: return-value


def wrong_input() -> Pipeline[Batch, Score]:
    return Pipeline(images=list[float]).stage("evaluate", evaluate).through(Score)  # S: return-value


def graph() -> CompiledGraph[Batch, Score]:
    return Pipeline(Batch).stage("evaluate", evaluate).compile()


def wrong_graph() -> CompiledGraph[Batch, Score]:
    return Pipeline(Batch).stage("other", other).compile()  # S: return-value


def takes_bare(pipeline: Pipeline) -> Pipeline:
    return pipeline.stage("use", use).through(result=float)


def takes_exact(pipeline: Pipeline[Batch, Score]) -> float:
    behind = pipeline.stage("use", use).through(result=float)
    wrong = pipeline.stage("use", use_two).through(result=float)  # S: stage-input
    print(behind, wrong)
    return pipeline.compile().run(Batch([1.0], "a")).accuracy


def takes_any_input(pipeline: Pipeline[Batch]) -> object:
    return pipeline.compile().run(Batch([1.0], "a"))


def hand_over() -> None:
    takes_bare(exact())
    takes_bare(Pipeline(x=int))
    takes_exact(exact())
    takes_exact(bare())
    takes_exact(Pipeline(Batch).stage("evaluate", evaluate))
    takes_exact(Pipeline(Batch).stage("other", other).through(Other))  # S: arg-type
    takes_any_input(exact())


of_bare = bare().stage("use", use).through(result=float)
of_bare_unverified = bare().stage("use", use_two).through(result=float)  # D: stage-input
of_exact = exact().stage("use", use).through(result=float)
of_exact_wrong = exact().stage("use", use_two).through(result=float)  # E: stage-input
nested = Pipeline(Batch).stage("nested", exact()).stage("use", use).through(result=float)
nested_wrong = (
    Pipeline(Batch)
    .stage("nested", exact())
    .stage("use", use_two)  # E: stage-input
    .through(result=float)
)
nested_input = Pipeline(Score).stage("nested", exact())  # E: stage-input


def with_parameter(depth: int) -> Pipeline[Batch, Score]:
    pipeline = Pipeline(Batch).stage("evaluate", evaluate).through(Score)
    if depth > 1:
        return pipeline
    return Pipeline(Batch).stage("first", evaluate).through(Score)


def choose(first: bool) -> Pipeline:
    if first:
        chosen = Pipeline(Batch).stage("evaluate", evaluate).through(Score)
    else:
        chosen = Pipeline(Batch).stage("other", evaluate).through(Score)
    return chosen.stage("use", use).through(result=float)


def factory(name: str) -> Pipeline:
    def make() -> Pipeline:
        inner = Pipeline(Batch).stage(name, evaluate).through(Score)
        return inner.stage("use", use_two).through(result=float)  # S: stage-input

    return make()


async def in_async() -> float:
    pipeline = Pipeline(Batch).stage("evaluate", evaluate).through(Score)
    pipeline.stage("use", use_two).through(result=float)  # S: stage-input
    score = await pipeline.compile().arun(Batch([1.0], "a"))
    return score.accuracy


if TYPE_CHECKING:
    reveal_type(exact())  # R: Pipeline[tuple[list[float], str, fallback=Batch], tuple[float, fallback=Score], Top
    reveal_type(exact().compile().run(Batch([], "a")))  # R: Score
    reveal_type(of_exact.compile().run(Batch([], "a")).result)  # R: float
