"""Section 5 of the language: loops and conditionals."""

from __future__ import annotations

from typing import Any, NamedTuple

from metta.sweep import Context, LoopLimitExceeded, Pipeline
from tests.pipeline.records import AsNamedTuple, Loose
from tests.pipeline.running import Recorder, end, failure, fields, run, value


def add_one(x: int) -> int:
    return x + 1


def text_of(x: int) -> str:
    return str(x)


class Model(NamedTuple):
    x: int
    steps: int = 0


def train(model: Model) -> Model:
    return Model(model.x + 1, model.steps + 1)


def small(ctx: Context) -> bool:
    return bool(ctx.x < 3)


count_up = Pipeline(x=int).loop_while(small).stage("add", add_one).through(x=int).end_loop()
label = Pipeline().stage("text", text_of).through(text=str)


def text_or_none(text: str = "none") -> str:
    return text


# -- loops ----------------------------------------------------------------------------------------------------------


def test_a_loop_runs_while_its_condition_holds() -> None:
    assert run(count_up, x=0) == Context(x=3)
    assert run(count_up, x=7) == Context(x=7)


def test_do_while_runs_its_body_first() -> None:
    pipeline = Pipeline(x=int).loop_while().stage("add", add_one).through(x=int).end_loop(until=lambda ctx: ctx.x > 2)
    assert run(pipeline, x=0) == Context(x=3)
    assert run(pipeline, x=7) == Context(x=8)


def test_until_beside_a_condition() -> None:
    pipeline = (
        Pipeline(x=int).loop_while(small).stage("add", add_one).through(x=int).end_loop(until=lambda ctx: ctx.x == 2)
    )
    assert run(pipeline, x=0) == Context(x=2)
    assert run(pipeline, x=2) == Context(x=3)


def test_break_leaves_the_loop_at_once() -> None:
    pipeline = (
        Pipeline(x=int, seen=int)
        .loop_while(small)
        .stage("add", add_one)
        .through(x=int)
        .break_if(lambda ctx: ctx.x == 2)
        .stage("seen", lambda x: x)
        .through(seen=int)
        .end_loop()
    )
    assert run(pipeline, x=0, seen=0) == Context(x=2, seen=1)


def test_loops_in_loops() -> None:
    pipeline = (
        Pipeline(x=int, total=int)
        .loop_while(small)
        .stage("inner start", lambda: 0)
        .through(y=int)
        .loop_while(lambda ctx: ctx.y < ctx.x)
        .stage("inner", lambda y, total: {"y": y + 1, "total": total + 1})
        .through(y=int, total=int)
        .break_if(lambda ctx: ctx.total > 100)
        .end_loop()
        .stage("add", add_one)
        .through(x=int)
        .end_loop()
    )
    assert run(pipeline, x=0, total=0) == Context(x=3, total=3, y=2)
    assert fields(pipeline) == {"x": "int", "total": "int", "y": "int?"}


def test_the_condition_sees_the_entry_fields_only() -> None:
    seen: list[Any] = []

    def condition(ctx: Context) -> bool:
        seen.append(ctx)
        return bool(ctx.x < 2)

    pipeline = (
        Pipeline(x=int)
        .loop_while(condition)
        .stage("text", text_of)
        .through(text=str)
        .stage("add", add_one)
        .through(x=int)
        .end_loop()
    )
    assert run(pipeline, x=0) == Context(x=2, text="1")
    assert seen == [Context(x=0), Context(x=1), Context(x=2)] * 2


def test_until_and_break_see_what_the_body_has_set() -> None:
    pipeline = (
        Pipeline(x=int)
        .loop_while(max_iterations=9)
        .stage("add", add_one)
        .through(x=int)
        .break_if(lambda ctx: ctx.x == 100)
        .stage("text", text_of)
        .through(text=str)
        .end_loop(until=lambda ctx: ctx.text == "3")
    )
    assert run(pipeline, x=0) == Context(x=3, text="3")
    assert run(pipeline, x=99) == Context(x=100)


def test_a_field_first_set_in_the_body_is_maybe_set_behind_it() -> None:
    pipeline = (
        Pipeline(x=int)
        .loop_while(small)
        .stage("text", text_of)
        .through(text=str)
        .stage("add", add_one)
        .through(x=int)
        .end_loop()
    )
    assert fields(pipeline) == {"x": "int", "text": "str?"}
    assert run(pipeline, x=7) == Context(x=7)
    assert run(pipeline, x=1) == Context(x=3, text="2")
    named = pipeline.stage("name", text_or_none).through(name=str)
    assert run(named, x=7).name == "none"
    assert run(named, x=2).name == "2"


def test_a_field_first_set_in_the_body_is_cleared_at_each_pass() -> None:
    pipeline = (
        Pipeline(x=int)
        .loop_while(small)
        .stage("earlier", text_or_none)
        .through(earlier=str)
        .conditional(lambda ctx: ctx.x == 0, label)
        .stage("add", add_one)
        .through(x=int)
        .end_loop()
    )
    assert run(pipeline, x=0) == Context(x=3, earlier="none")
    assert run(pipeline, x=-1).earlier == "none"


def test_in_a_do_while_a_field_before_the_first_break_is_set() -> None:
    pipeline = (
        Pipeline(x=int)
        .loop_while()
        .stage("text", text_of)
        .through(text=str)
        .break_if(lambda ctx: ctx.x > 5)
        .stage("more", lambda x: x)
        .through(more=int)
        .stage("add", add_one)
        .through(x=int)
        .end_loop(until=lambda ctx: ctx.x > 2)
    )
    assert fields(pipeline) == {"x": "int", "text": "str", "more": "int?"}
    assert run(pipeline, x=9) == Context(x=9, text="9")
    assert run(pipeline, x=1) == Context(x=3, text="2", more=2)


def test_a_field_set_before_a_break_and_dropped_behind_it_is_maybe_set() -> None:
    pipeline = (
        Pipeline(x=int)
        .loop_while()
        .stage("text", text_of)
        .through(text=str)
        .break_if(lambda ctx: ctx.x > 2)
        .stage("replace", lambda x: AsNamedTuple(x + 1, "b"))
        .through(AsNamedTuple)
        .end_loop()
    )
    assert fields(pipeline) == {"x": "int", "name": "str?", "text": "str?"}
    assert run(pipeline, x=0) == Context(x=3, text="3")
    assert run(pipeline, x=9) == Context(x=9, text="9")


def test_the_entry_value_is_carried_round() -> None:
    pipeline = Pipeline(Model).loop_while(lambda model: model.x < 3).stage("train", train).end_loop()
    assert run(pipeline, Model(0)) == Model(3, 3)
    assert run(pipeline, Model(5)) == Model(5)
    assert value(pipeline) == "Model"
    assert end(pipeline).whole_is_value


def test_the_value_keeps_its_rebound_fields_round_the_loop() -> None:
    pipeline = Pipeline(Model).loop_while(lambda model: model.x < 3).stage("add", add_one).through(x=int).end_loop()
    assert run(pipeline, Model(0)) == Model(3, 0)
    with_field = pipeline.stage("text", text_of).through(text=str).stage("model", lambda steps: steps).through(n=int)
    assert run(with_field, Model(0)) == Context(x=3, steps=0, text="3", n=0)


def test_a_do_while_can_leave_a_value() -> None:
    pipeline = (
        Pipeline(x=int)
        .loop_while()
        .stage("model", lambda x: Model(x + 1))
        .through(Model)
        .end_loop(until=lambda m: m.x > 2)
    )
    assert run(pipeline, x=0) == Model(3)
    assert value(pipeline) == "Model"


def test_too_many_passes() -> None:
    pipeline = Pipeline(x=int).loop_while(small, max_iterations=2).stage("add", add_one).through(x=int).end_loop()
    assert run(pipeline, x=1) == Context(x=3)
    error = failure(LoopLimitExceeded, pipeline, x=0)
    assert error.context == Context(x=2)
    assert str(error) == "loop would begin pass 3; max_iterations is 2"
    value_error = failure(
        LoopLimitExceeded,
        Pipeline(Model).loop_while(max_iterations=2).stage("train", train).end_loop(),
        Model(0),
    )
    assert value_error.context == Model(2, 2)


def test_a_loop_behind_a_loop_counts_its_own_passes() -> None:
    twice = (
        count_up.loop_while(lambda ctx: ctx.x < 6, max_iterations=3).stage("more", add_one).through(x=int).end_loop()
    )
    assert run(twice, x=0) == Context(x=6)


# -- conditionals ---------------------------------------------------------------------------------------------------


def test_one_arm_runs() -> None:
    pipeline = Pipeline(x=int).conditional(small, label, Pipeline().stage("none", lambda: "many").through(text=str))
    assert run(pipeline, x=1) == Context(x=1, text="1")
    assert run(pipeline, x=9) == Context(x=9, text="many")
    assert fields(pipeline) == {"x": "int", "text": "str"}


def test_arms_by_name() -> None:
    pipeline = Pipeline(x=int).conditional(small, then=label, otherwise=Pipeline())
    assert run(pipeline, x=1) == Context(x=1, text="1")
    assert run(pipeline, x=9) == Context(x=9)


def test_without_an_otherwise_the_context_stays() -> None:
    pipeline = Pipeline(x=int).conditional(small, label)
    assert run(pipeline, x=1) == Context(x=1, text="1")
    assert run(pipeline, x=9) == Context(x=9)
    assert fields(pipeline) == {"x": "int", "text": "str?"}


def test_a_field_of_two_types_has_their_union() -> None:
    pipeline = Pipeline(x=int).conditional(small, label, Pipeline().stage("add", add_one).through(text=int))
    assert fields(pipeline) == {"x": "int", "text": "int | str"} or fields(pipeline) == {
        "x": "int",
        "text": "str | int",
    }
    assert run(pipeline, x=1).text == "1"
    assert run(pipeline, x=9).text == 10


class Left(NamedTuple):
    x: int
    left: str


class Right(NamedTuple):
    x: int
    right: str


def to_left(x: int) -> Left:
    return Left(x, "l")


def to_right(x: int) -> Right:
    return Right(x, "r")


def test_values_of_both_arms_make_a_union() -> None:
    pipeline = Pipeline(x=int).conditional(small, to_left, to_right)
    assert value(pipeline) == "Left | Right"
    assert fields(pipeline) == {"x": "int", "left": "str?", "right": "str?"}
    assert run(pipeline, x=1) == Left(1, "l")
    assert run(pipeline, x=9) == Right(9, "r")


def test_a_value_in_one_arm_only_is_none() -> None:
    pipeline = Pipeline(x=int).conditional(small, to_left, label)
    assert value(pipeline) is None
    assert fields(pipeline) == {"x": "int", "left": "str?", "text": "str?"}
    assert run(pipeline, x=1) == Context(x=1, left="l")
    assert run(pipeline, x=9) == Context(x=9, text="9")


def test_a_field_of_a_joined_value_is_rebound_in_it() -> None:
    pipeline = Pipeline(x=int).conditional(small, to_left, to_right).stage("add", add_one).through(x=int)
    assert run(pipeline, x=1) == Left(2, "l")
    assert run(pipeline, x=9) == Right(10, "r")


def test_a_field_that_one_joined_value_lacks_is_a_field_of_its_own_once_it_is_set() -> None:
    pipeline = Pipeline(x=int).conditional(small, to_left, to_right).stage("text", text_of).through(left=str)
    assert fields(pipeline) == {"x": "int", "left": "str", "right": "str?"}
    assert run(pipeline, x=1) == Context(x=1, left="1")
    assert run(pipeline, x=9) == Context(x=9, left="9", right="r")
    assert run(pipeline.stage("use", lambda left: left).through(str), x=9) == "9"


def test_what_the_predicate_is_given() -> None:
    seen = Recorder()
    pipeline = Pipeline(Loose).conditional(seen.hook("if", True), Pipeline().stage("add", add_one).through(x=int))
    assert run(pipeline, {"x": 1}) == {"x": 2}
    assert seen.calls[0] == ("if", {"x": 1})


def test_conditionals_in_loops_and_loops_in_arms() -> None:
    arm = Pipeline().loop_while(small).stage("add", add_one).through(x=int).end_loop()
    pipeline = (
        Pipeline(x=int, rounds=int)
        .loop_while(lambda ctx: ctx.rounds < 3)
        .conditional(lambda ctx: ctx.rounds == 1, arm, Pipeline().stage("less", lambda x: x - 1).through(x=int))
        .stage("round", lambda rounds: rounds + 1)
        .through(rounds=int)
        .end_loop()
    )
    assert run(pipeline, x=0, rounds=0) == Context(x=2, rounds=3)


def test_an_arm_can_be_closed() -> None:
    closed = Pipeline(x=int).stage("text", text_of).through(text=str)
    pipeline = Pipeline(x=int, y=int).conditional(small, closed, closed)
    assert run(pipeline, x=1, y=2) == Context(x=1, y=2, text="1")
    assert fields(pipeline) == {"x": "int", "y": "int", "text": "str"}


def test_an_arm_may_do_nothing() -> None:
    pipeline = Pipeline(x=int).conditional(small, Pipeline(), label)
    assert run(pipeline, x=1) == Context(x=1)
    assert run(pipeline, x=9) == Context(x=9, text="9")
