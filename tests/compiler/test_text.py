"""The printed graph and the generated code of eight pipelines, as golden text; and what is written only if needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from metta.sweep import Context, Pipeline
from tests.golden import check_golden

GOLDEN = Path(__file__).parent / "golden" / "text"


class Trial(NamedTuple):
    number: int


class Output(NamedTuple):
    results: dict[str, float]
    batch: str
    unread: int = 0


def prepare(n: int) -> tuple[str, list[Trial]]:
    return "run", [Trial(i) for i in range(n)]


def train(run_name: str, trials: list[Trial], lr: float = 0.1) -> Output:
    return Output({run_name: lr * len(trials)}, run_name)


async def atrain(trial: Trial, lr: float = 0.1) -> float:
    return trial.number * lr


def evaluate(results: dict[str, float]) -> float:
    return sum(results.values())


def double(score: float) -> float:
    return score * 2


def label(score: float) -> str:
    return str(score)


def total(scores: list[float]) -> float:
    return sum(scores)


def best(scores: list[float]) -> float:
    return max(scores)


def show(ctx: Context) -> None:
    print(ctx)


def straight() -> Pipeline:
    """The values of records are read where someone reads them, and only those."""
    return (
        Pipeline()
        .stage("prepare", prepare)
        .through(run_name=str, trials=list[Trial])
        .stage("train", train, lr=0.5)
        .through(Output)
        .stage("evaluate", evaluate)
        .through(score=float)
        .stage("double", double)
        .through(float)
    )


def loops() -> Pipeline:
    return (
        Pipeline(score=float)
        .loop_while(lambda ctx: ctx.score < 100, max_iterations=50)
        .stage("double", double)
        .through(score=float)
        .break_if(lambda ctx: ctx.score == 64)
        .stage("label", label)
        .through(text=str)
        .end_loop(until=lambda ctx: ctx.text == "8.0")
    )


def branches() -> Pipeline:
    return (
        Pipeline(score=float)
        .conditional(
            lambda ctx: ctx.score > 0,
            Pipeline().stage("bonus", double).through(bonus=float),
            Pipeline().stage("label", label).through(text=str),
        )
        .stage("show", show)
        .stage("optional", lambda bonus=0.0: bonus)
        .through(total=float)
    )


def fanned_out() -> Pipeline:
    return (
        Pipeline(trials=list[Trial], lr=float)
        .map("train", atrain, over="trials", max_parallel=2)
        .through(scores=list[float], retry=2)
        .parallel({"total": total, "best": best})
        .through(total=float, best=float)
    )


def nested() -> Pipeline:
    inner = Pipeline(score=float).stage("double", double).through(score=float).stage("label", label).through(text=str)
    tail = Pipeline().stage("show", show)
    return (
        Pipeline(start=float, score=float)
        .stage("inner", inner)
        .stage("tail", tail)
        .stage("hooked", Pipeline().stage("double", double).through(score=float))
        .through(log=print)
    )


def hooked() -> Pipeline:
    return (
        Pipeline(score=float)
        .stage("double", double)
        .through(score=float, skip_if=lambda ctx: ctx.score > 3, validate=lambda data: data.score > 0)
        .stage("label", label)
        .through(text=str, checkpoint=True)
        .with_global_hooks(before=lambda stage, data: print(stage))
    )


def rebound() -> Pipeline:
    return (
        Pipeline(Output)
        .stage("batch", lambda batch: batch + "!")
        .through(batch=str)
        .conditional(
            lambda out: len(out.batch) > 3, Pipeline().stage("other", lambda results: results).through(more=dict)
        )
    )


def untyped() -> Pipeline:
    def begin():  # type: ignore[no-untyped-def]
        return Context(score=1.0)

    return (
        Pipeline()
        .stage("begin", begin)
        .loop_while(lambda ctx: ctx.score < 9, max_iterations=9)
        .stage("double", double)
        .through(score=float)
        .end_loop()
        .conditional(lambda ctx: ctx.score > 3, label)
        .stage("begin again", begin)
        .parallel([double, Pipeline().stage("double", double).through(twice=float)])
    )


PIPELINES: list[Callable[[], Pipeline]] = [straight, loops, branches, fanned_out, nested, hooked, rebound, untyped]


@pytest.mark.parametrize("build", PIPELINES, ids=lambda build: build.__name__)
def test_graph_and_source(build: Callable[[], Pipeline]) -> None:
    graph = build().compile()
    check_golden(GOLDEN / f"{build.__name__}.txt", f"{graph.graph}\n{graph.source}")


def test_the_text_of_a_graph_does_not_depend_on_the_run() -> None:
    assert str(straight().compile().graph) == str(straight().compile().graph)
    assert straight().compile().source == straight().compile().source


def test_only_fields_that_are_read_are_taken_out_of_a_value() -> None:
    source = straight().compile().source
    assert "results = _value.results" in source
    assert "_value.batch" not in source
    assert "_value.unread" not in source


def test_fields_are_taken_out_when_the_membrane_is_left() -> None:
    """A stage behind that changes the value in place (it must not) does not change what others read."""

    @dataclass
    class Mutable:
        x: int

    def spoil(record: Mutable) -> None:
        record.x = 99

    def make() -> Mutable:
        return Mutable(1)

    pipeline = Pipeline().stage("make", make).stage("spoil", spoil).stage("use", lambda x: x).through(int)
    assert pipeline.compile().run() == 1


@pytest.mark.parametrize(
    "name", ["_Context", "_replace", "_whole", "_thread", "_given", "_result", "_SKIPPED", "_more"]
)
def test_a_stage_named_like_our_own_globals_takes_nothing_from_them(name: str) -> None:
    pipeline: Any = Pipeline(score=float).stage(name[1:], double).through(other=float)
    assert pipeline.compile().run(score=1.0) == Context(score=1.0, other=2.0)
