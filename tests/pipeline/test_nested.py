"""Section 5 of the language: pipelines, graphs and experiments as stages of others."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from metta.sweep import Context, ContractError, ContractViolation, Experiment, Pipeline, field
from tests.pipeline.records import AsNamedTuple, Loose
from tests.pipeline.running import Recorder, end, failure, fields, run, value


class Scores(NamedTuple):
    accuracy: float
    loss: float


def double(x: int) -> int:
    return 2 * x


def text_of(x: int) -> str:
    return str(x)


def scores(x: int) -> Scores:
    return Scores(float(x), -float(x))


def loss_of(record: Scores) -> float:
    return record.loss


closed = Pipeline(x=int).stage("double", double).through(y=int).stage("text", lambda y: str(y)).through(text=str)
opened = Pipeline().stage("double", double).through(y=int)
replacing = Pipeline(x=int).stage("scores", scores)


def test_what_is_set_inside_leaves_the_inputs_do_not() -> None:
    pipeline = Pipeline(x=int, z=int).stage("inner", closed)
    assert run(pipeline, x=1, z=5) == Context(x=1, z=5, y=2, text="2")
    assert fields(pipeline) == {"x": "int", "z": "int", "y": "int", "text": "str"}
    given = Pipeline(z=int).stage("inner", closed, x=3)
    assert run(given, z=5) == Context(z=5, y=6, text="6"), "a setting for an input is no field outside"


def test_inputs_of_a_nested_pipeline_bind_like_parameters() -> None:
    renamed = Pipeline(other=int).stage("inner", closed, x=field("other"))
    assert run(renamed, other=2) == Context(other=2, y=4, text="4")
    of_value = Pipeline(AsNamedTuple).stage("inner", Pipeline(AsNamedTuple).stage("double", double).through(y=int))
    assert run(of_value, AsNamedTuple(1, "a")) == Context(x=1, name="a", y=2)
    built = Pipeline(x=int, name=str).stage("inner", Pipeline(AsNamedTuple).stage("d", double).through(y=int))
    assert run(built, x=1, name="a") == Context(x=1, name="a", y=2)


def test_an_open_pipeline_works_on_the_context_itself() -> None:
    pipeline = Pipeline(x=int, z=int).stage("inner", opened).stage("use", lambda y, z: y + z).through(sum=int)
    assert run(pipeline, x=1, z=5) == Context(x=1, z=5, y=2, sum=7)


def test_a_rebound_outer_field_keeps_the_outer_type() -> None:
    inner = Pipeline(x=int).stage("double", double).through(x=int)
    assert run(Pipeline(x=int).stage("inner", inner), x=1) == Context(x=2)
    wide = Pipeline(x=int, y=float).stage("inner", closed)
    assert fields(wide)["y"] == "float"
    assert run(wide, x=1, y=0.5) == Context(x=1, y=2, text="2")
    own = Pipeline(AsNamedTuple).stage("inner", inner)
    assert run(own, AsNamedTuple(1, "a")) == AsNamedTuple(2, "a")
    assert end(own).whole_is_value


def test_a_field_rebound_in_a_loop_inside_leaves_too() -> None:
    inner = Pipeline(x=int).loop_while(lambda ctx: ctx.x < 9).stage("double", double).through(x=int).end_loop()
    assert run(Pipeline(x=int).stage("inner", inner), x=1) == Context(x=16)
    branch = Pipeline(x=int).conditional(lambda ctx: ctx.x < 9, Pipeline().stage("double", double).through(x=int))
    assert run(Pipeline(x=int).stage("inner", branch), x=1) == Context(x=2)


def test_a_maybe_set_field_stays_maybe_set() -> None:
    inner = Pipeline(x=int).conditional(lambda ctx: ctx.x > 1, Pipeline().stage("text", text_of).through(text=str))
    pipeline = Pipeline(x=int).stage("inner", inner)
    assert fields(pipeline) == {"x": "int", "text": "str?"}
    assert run(pipeline, x=1) == Context(x=1)
    assert run(pipeline, x=2) == Context(x=2, text="2")
    before = Pipeline(x=int, text=str).stage("inner", inner)
    assert fields(before) == {"x": "int", "text": "str"}
    assert run(before, x=1, text="old") == Context(x=1, text="old")
    assert run(before, x=2, text="old") == Context(x=2, text="2")


def test_a_replacing_contract_inside_replaces_outside() -> None:
    pipeline = Pipeline(x=int, z=int).stage("inner", replacing)
    assert run(pipeline, x=1, z=2) == Scores(1.0, -1.0)
    assert value(pipeline) == "Scores"
    more = pipeline.stage("use", lambda accuracy: accuracy + 1).through(more=float)
    assert run(more, x=1, z=2) == Context(accuracy=1.0, loss=-1.0, more=2.0)
    opened_replacing = Pipeline(x=int, z=int).stage("inner", Pipeline().stage("scores", scores))
    assert run(opened_replacing, x=1, z=2) == Scores(1.0, -1.0)
    rebound = pipeline.stage("again", lambda accuracy: accuracy * 3).through(accuracy=float)
    assert run(rebound, x=1, z=2) == Scores(3.0, -1.0)


def test_a_replacing_nested_pipeline_behind_another_replacement() -> None:
    pipeline = (
        Pipeline(n=int).stage("make", lambda n: AsNamedTuple(n, "a")).through(AsNamedTuple).stage("in", replacing)
    )
    assert run(pipeline, n=1) == Scores(1.0, -1.0)
    assert fields(pipeline) == {"accuracy": "float", "loss": "float"}


def test_with_a_contract_the_final_whole_is_read_as_a_record_and_nothing_else_leaves() -> None:
    pipeline = Pipeline(x=int).stage("inner", closed).through(text=str)
    assert run(pipeline, x=1) == Context(x=1, text="2")
    assert run(Pipeline(x=int).stage("inner", replacing).through(loss=float), x=1) == Context(x=1, loss=-1.0)
    assert run(Pipeline(x=int).stage("inner", replacing).through(Scores), x=1) == Scores(1.0, -1.0)
    assert run(Pipeline(x=int).stage("inner", opened).through(y=int), x=1) == Context(x=1, y=2)

    class Found(NamedTuple):
        y: int
        text: str

    assert run(Pipeline(x=int).stage("inner", closed).through(Found), x=1) == Found(2, "2")
    assert run(Pipeline(x=int).stage("inner", closed).through(Loose), x=1) == {"x": 1}


def test_hooks_of_a_nested_pipeline_see_its_final_whole() -> None:
    seen = Recorder()
    pipeline = Pipeline(x=int, z=int).stage("inner", closed).through(log=seen.hook("log"))
    assert run(pipeline, x=1, z=5) == Context(x=1, z=5, y=2, text="2")
    assert seen.calls == [("log", Context(x=1, y=2, text="2"))] * 2
    seen.calls.clear()
    run(Pipeline(x=int, z=int).stage("inner", opened).through(log=seen.hook("log")), x=1, z=5)
    assert seen.calls == [("log", Context(x=1, z=5, y=2))] * 2
    seen.calls.clear()
    run(Pipeline(x=int).stage("inner", replacing).through(log=seen.hook("log")), x=1)
    assert seen.calls == [("log", Scores(1.0, -1.0))] * 2


def test_hooks_change_what_a_nested_pipeline_leaves() -> None:
    change = Pipeline(x=int).stage("inner", closed).through(transform=lambda data: data._replace(y=data.y + 1))
    assert run(change, x=1) == Context(x=1, y=3, text="2")
    on_value = Pipeline(x=int).stage("inner", replacing).through(transform=lambda data: data._replace(loss=0.0))
    assert run(on_value, x=1) == Scores(1.0, 0.0)
    joined = (
        Pipeline(x=int)
        .stage("inner", Pipeline().stage("scores", scores).stage("label", lambda loss: str(loss)).through(label=str))
        .through(transform=lambda data: data._replace(loss=5.0))
        .stage("use", loss_of)
        .through(seen=float)
    )
    assert run(joined, x=1) == Context(accuracy=1.0, loss=5.0, label="-1.0", seen=5.0)
    wrong = Pipeline(x=int).stage("inner", closed).through(transform=lambda data: data._replace(y="a"))  # type: ignore[arg-type]
    assert "y: expected int, found str" in str(failure(ContractViolation, wrong, x=1))
    lost = Pipeline(x=int).stage("inner", closed).through(transform=lambda data: Context(y=1))
    assert "it does not set text" in str(failure(ContractViolation, lost, x=1))


def test_what_leaves_under_hooks_is_what_leaves_without() -> None:
    inner = Pipeline(x=int).conditional(lambda ctx: ctx.x > 1, Pipeline().stage("text", text_of).through(text=str))
    kept = Pipeline(x=int, text=str).stage("inner", inner).through(log=lambda data: None)
    assert run(kept, x=1, text="old") == Context(x=1, text="old")
    assert run(kept, x=2, text="old") == Context(x=2, text="2")
    rebinding = Pipeline(x=int).stage("double", double).through(x=int)
    own = Pipeline(AsNamedTuple).stage("inner", rebinding).through(after=lambda data: None)
    assert run(own, AsNamedTuple(1, "a")) == AsNamedTuple(2, "a")
    unread = Pipeline(x=int, z=int).stage("inner", opened).through(retry=1).stage("use", lambda z: z).through(int)
    assert run(unread, x=1, z=5) == 5


def test_a_nested_pipeline_is_tried_again_as_a_whole() -> None:
    tries: list[int] = []

    def flaky(y: int) -> int:
        tries.append(y)
        if len(tries) % 3:
            raise OSError("again")
        return y

    inner = Pipeline(x=int).stage("double", double).through(y=int).stage("flaky", flaky).through(z=int)
    pipeline = Pipeline(x=int).stage("inner", inner).through(retry=2)
    assert pipeline.compile().run(x=1) == Context(x=1, y=2, z=2)
    assert tries == [2, 2, 2]


def test_a_nested_pipeline_that_may_be_skipped() -> None:
    inner = Pipeline(x=int).stage("double", double).through(x=int)
    pipeline = Pipeline(x=int).stage("inner", inner).through(skip_if=lambda ctx: ctx.x > 5)
    assert run(pipeline, x=1) == Context(x=2)
    assert run(pipeline, x=9) == Context(x=9)
    with pytest.raises(ContractError, match='"y", "text" would not be set'):
        Pipeline(x=int).stage("inner", closed).through(skip_if=lambda ctx: ctx.x > 5)  # type: ignore[skip-without-value]
    with pytest.raises(ContractError, match='"accuracy", "loss" would not be set'):
        Pipeline(x=int).stage("inner", replacing).through(skip_if=lambda ctx: ctx.x > 5)  # type: ignore[skip-without-value]
    default = (
        Pipeline(x=int).stage("inner", closed).through(skip_if=lambda ctx: ctx.x > 5, default=Context(y=0, text="none"))
    )
    assert run(default, x=9) == Context(x=9, y=0, text="none")
    assert run(default, x=1) == Context(x=1, y=2, text="2")


def test_pipelines_in_pipelines_in_pipelines() -> None:
    level = Pipeline(x=int).stage("double", double).through(x=int)
    for number in range(4):
        level = Pipeline(x=int).stage(f"level {number}", level).stage("double", double).through(x=int)
    assert run(level, x=1) == Context(x=32)


def test_one_pipeline_used_many_times() -> None:
    inner = Pipeline(x=int).stage("double", double).through(x=int)
    pipeline = Pipeline(x=int).stage("a", inner).stage("b", inner).conditional(lambda ctx: True, inner, inner)
    assert run(pipeline, x=1) == Context(x=8)


def test_a_compiled_graph_is_a_stage_with_the_inputs_it_found() -> None:
    graph = opened.compile()
    assert run(Pipeline(x=int, z=int).stage("graph", graph), x=1, z=2) == Context(x=1, z=2, y=2)
    optional = Pipeline().stage("scale", lambda x, factor=10: x * factor).through(y=int).compile()
    assert run(Pipeline(x=int).stage("graph", optional), x=1) == Context(x=1, y=10)
    assert run(Pipeline(x=int, factor=int).stage("graph", optional), x=1, factor=3) == Context(x=1, factor=3, y=3)
    assert run(Pipeline(x=int).stage("graph", optional, factor=4), x=1) == Context(x=1, y=4)


class Study(Experiment[Scores]):
    """An experiment whose run gives scores."""

    def pipeline(self) -> Pipeline:
        return Pipeline(x=int).stage("scores", scores)


def test_an_experiment_is_a_stage_that_returns_what_its_run_gives() -> None:
    pipeline = Pipeline(x=int).stage("study", Study())
    assert value(pipeline) == "Scores"
    assert pipeline.compile().run(x=2) == Scores(2.0, -2.0)
    with_field = Pipeline(x=int).stage("study", Study()).through(loss=float)
    assert with_field.compile().run(x=2) == Context(x=2, loss=-2.0)


def test_an_experiment_in_an_experiment() -> None:
    class Outer(Experiment[Any]):
        def pipeline(self) -> Pipeline:
            return Pipeline(x=int).stage("study", Study()).through(loss=float)

    assert Outer().run(x=1).value == Context(x=1, loss=-1.0)


def test_the_graph_of_an_experiment_is_drawn_inside_its_stage() -> None:
    graph = Pipeline(x=int).stage("study", Study()).compile().graph
    assert [node.id for node in graph.walk()] == ["study", "study.scores"]
