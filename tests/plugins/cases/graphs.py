"""Compiled graphs: the arguments of `run`, what it gives, and a graph as a stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, reveal_type

from metta.sweep import CompiledGraph, Pipeline


class Batch(NamedTuple):
    size: int
    name: str


class Score(NamedTuple):
    accuracy: float


def prepare(size: int, name: str) -> list[str]:
    return [name] * size


def evaluate(items: list[str]) -> Score:
    return Score(float(len(items)))


def of_batch(batch: Batch) -> Score:
    return Score(float(batch.size))


def of_score(accuracy: float) -> float:
    return accuracy


def optional(size: int, name: str = "a") -> Score:
    return Score(float(size * len(name)))


by_fields = (
    Pipeline(size=int, name=str)
    .stage("prepare", prepare)
    .through(items=list[str])
    .stage("evaluate", evaluate)
    .through(Score)
    .compile()
)
by_value = Pipeline(Batch).stage("evaluate", of_batch).through(Score).compile()
of_open = Pipeline().stage("prepare", prepare).through(items=list[str]).compile()
with_optional = Pipeline().stage("optional", optional).compile()


def run_good() -> float:
    score = by_fields.run(size=3, name="a")
    more = by_value.run(Batch(3, "a"))
    items = of_open.run(size=3, name="a").items
    default = with_optional.run(size=3)
    return score.accuracy + more.accuracy + len(items) + default.accuracy


def run_wrongly() -> None:
    by_fields.run(size="3", name="a")  # S: arg-type
    by_fields.run(size=3)  # S: call-arg
    by_fields.run(size=3, nam="a")  # S: call-arg
    by_fields.run(size=3, name="a", more=1)  # S: call-arg
    by_fields.run(
        size=3,
        name=b"a",  # S: arg-type
    )
    by_value.run(Score(1.0))  # S: arg-type
    by_value.run()  # S: call-arg
    of_open.run(size=3)  # S: call-arg
    print(of_open.run(size=3, name="a").item)  # S: attr-defined
    with_optional.run(name="a")  # S: call-arg
    with_optional.run(size=3, name=3)  # S: arg-type
    print(by_fields.run(size=3, name="a").loss)  # S: attr-defined


async def run_async() -> float:
    score = await by_fields.arun(size=3, name="a")
    await by_fields.arun(size=3)  # S: call-arg
    return score.accuracy


def call_in_training() -> float:
    return by_fields(size=3, name="a").accuracy + by_value(Batch(1, "b")).accuracy


def call_wrongly() -> None:
    by_fields(size=3)  # S: call-arg
    by_value(3)  # S: arg-type


# -- as a stage -------------------------------------------------------------------------------------------------------

nested = Pipeline(size=int, name=str).stage("graph", by_fields).stage("use", of_score).through(result=float)
nested_contract = Pipeline(size=int, name=str).stage("graph", by_fields).through(accuracy=float)
nested_without_input = Pipeline(size=int).stage("graph", by_fields)  # E: missing-field
nested_wrong_input = (
    Pipeline(size=int, name=int)
    .stage("graph", by_fields)  # E: stage-input
    .stage("use", of_score)
    .through(result=float)
)
nested_wrong_contract = (
    Pipeline(size=int, name=str)
    .stage("graph", by_fields)
    .through(
        accuracy=str,  # E: stage-output
    )
)
nested_value = Pipeline(Batch).stage("graph", by_value).stage("use", of_score).through(result=float)
nested_wrong_value = Pipeline(Score).stage("graph", by_value)  # E: stage-input
in_an_arm = Pipeline(size=int, name=str).conditional(lambda ctx: ctx.size > 1, by_fields, by_fields)


def takes_graph(graph: CompiledGraph[Batch, Score]) -> float:
    graph.run("a")  # S: arg-type
    return graph.run(Batch(1, "a")).accuracy


def takes_any_graph(graph: CompiledGraph) -> object:
    return graph.run(anything=3)


def hand_over() -> None:
    takes_graph(by_value)
    takes_graph(by_fields)  # S: arg-type
    takes_any_graph(by_value)
    takes_any_graph(by_fields)


if TYPE_CHECKING:
    reveal_type(by_fields)  # R: CompiledGraph[TypedDict({'size': int, 'name': str}), tuple[float, fallback=Score]]
    reveal_type(by_value.run(Batch(3, "a")))  # R: tuple[float, fallback=Score]
    items = of_open.run(size=1, name="a")
    reveal_type(items)  # R: Context[TypedDict({'size': int, 'name': str, 'items': list[str]}), None]
    reveal_type(of_open.run(size=1, name="a").items)  # R: list[str]
