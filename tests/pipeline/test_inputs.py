"""Section 2 of the language: declared inputs, and those that an open pipeline finds."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from metta.sweep import Context, ContractError, Pipeline, field
from metta.sweep.contracts.flow import Positional
from tests.pipeline.records import RECORDS, AsNamedTuple, HasX
from tests.pipeline.running import run


def add(x: int, y: int) -> int:
    return x + y


def scale(x: int, factor: int = 10) -> int:
    return x * factor


def negate(x: int) -> int:
    return -x


def use_total(total: int, extra: int) -> int:
    return total + extra


def inputs(pipeline: Pipeline) -> dict[str, Any]:
    found = pipeline.compile().graph.inputs
    assert not isinstance(found.contract, Positional)
    return {**found.contract.fields, **{f"{name}?": tp for name, tp in found.optional.items()}}


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_a_pipeline_takes_a_value(kind: Any) -> None:
    pipeline = Pipeline(kind).stage("negate", negate).through(y=int)
    assert run(pipeline, kind(x=2, name="a")) == Context(x=2, name="a", y=-2)


def test_an_open_pipeline_asks_for_what_its_first_stage_requires() -> None:
    pipeline = Pipeline().stage("add", add).through(total=int)
    assert inputs(pipeline) == {"x": int, "y": int}
    assert run(pipeline, x=1, y=2) == Context(x=1, y=2, total=3)


def test_the_inputs_are_fields_of_the_context() -> None:
    pipeline = Pipeline().stage("add", add).through(total=int).stage("negate", negate).through(minus=int)
    assert run(pipeline, x=1, y=2) == Context(x=1, y=2, total=3, minus=-1)


def test_settings_are_no_inputs() -> None:
    assert inputs(Pipeline().stage("add", add, y=3)) == {"x": int}
    assert run(Pipeline().stage("add", add, y=3), x=1) == 4
    assert inputs(Pipeline().stage("add", add).through(total=int, y=3)) == {"x": int}


def test_a_renamed_parameter_is_an_input_under_its_new_name() -> None:
    pipeline = Pipeline().stage("add", add, y=field("shift")).through(total=int)
    assert inputs(pipeline) == {"x": int, "shift": int}
    assert run(pipeline, x=1, shift=5) == Context(x=1, shift=5, total=6)


def test_optional_parameters_of_the_first_stage_are_optional_inputs_and_no_fields() -> None:
    pipeline = Pipeline().stage("scale", scale).through(scaled=int)
    assert inputs(pipeline) == {"x": int, "factor?": int}
    assert run(pipeline, x=2) == Context(x=2, scaled=20)
    assert run(pipeline, x=2, factor=3) == Context(x=2, scaled=6)


def test_an_optional_input_is_of_the_first_stage_only() -> None:
    pipeline = Pipeline().stage("scale", scale).through(scaled=int).stage("again", scale).through(again=int)
    assert run(pipeline, x=2, factor=3) == Context(x=2, scaled=6, again=20)
    nested = Pipeline().stage("first", pipeline).stage("use", lambda factor=0: factor).through(seen=int)
    assert run(nested, x=2, factor=3) == Context(x=2, scaled=6, again=20, seen=0)


def test_optional_inputs_reach_every_arm_and_every_pass() -> None:
    parallel = Pipeline().parallel([scale, negate])
    assert run(parallel, x=2, factor=3) == [6, -2]
    assert run(parallel, x=2) == [20, -2]
    branch = Pipeline().conditional(lambda ctx: ctx.x > 0, scale, negate)
    assert run(branch, x=2, factor=3) == 6
    assert run(branch, x=-2, factor=3) == 2
    loop = Pipeline().loop_while(lambda ctx: ctx.x < 50).stage("scale", scale).through(x=int).end_loop()
    assert run(loop, x=2, factor=3) == Context(x=54)
    assert run(loop, x=2) == Context(x=200)


def test_every_arm_of_a_parallel_or_a_conditional_is_asked() -> None:
    assert inputs(Pipeline().parallel([negate, lambda z: z])) == {"x": int, "z": None}
    assert inputs(Pipeline().parallel({"a": add, "b": scale})) == {"x": int, "y": int, "factor?": int}
    branch = Pipeline().conditional(lambda ctx: ctx.x > 0, add, Pipeline().stage("negate", negate))
    assert inputs(branch) == {"x": int, "y": int}
    assert run(branch, x=1, y=2) == 3
    assert run(branch, x=-1, y=2) == 1


def test_the_first_stage_of_a_loop_or_a_nested_pipeline_is_asked() -> None:
    loop = Pipeline().loop_while(lambda ctx: ctx.x < 10).stage("add", add).through(x=int).end_loop()
    assert inputs(loop) == {"x": int, "y": int}
    assert run(loop, x=1, y=4) == Context(x=13, y=4)
    nested = Pipeline().stage("inner", Pipeline().stage("add", add).through(total=int))
    assert run(nested, x=1, y=4) == Context(x=1, y=4, total=5)
    closed = Pipeline().stage("inner", Pipeline(x=int, y=int).stage("add", add).through(total=int))
    assert run(closed, x=1, y=4) == Context(x=1, y=4, total=5)


def test_an_unannotated_any_or_object_parameter_is_an_input_but_a_context_is_not() -> None:
    def of_any(data: Any) -> str:
        return repr(data)

    def of_object(data: object) -> str:
        return repr(data)

    def of_context(data: Context) -> str:
        return repr(data)

    assert run(Pipeline().stage("untyped", lambda data: repr(data)).through(text=str), data=3) == Context(
        data=3, text="3"
    )
    assert run(Pipeline().stage("any", of_any), data=3) == "3"
    assert run(Pipeline().stage("object", of_object), data=3) == "3"
    assert run(Pipeline().stage("context", of_context)) == "Context()"

    def by_position(data: Context, /) -> str:
        return repr(data)

    assert run(Pipeline().stage("by position", by_position)) == "Context()"


def test_a_record_parameter_of_the_first_stage_is_an_input_of_its_name() -> None:
    def use(record: AsNamedTuple) -> str:
        return record.name

    pipeline = Pipeline().stage("use", use)
    assert inputs(pipeline) == {"record": AsNamedTuple}
    assert run(pipeline, record=AsNamedTuple(1, "a")) == "a"


def test_a_positional_only_parameter_of_the_first_stage_makes_the_pipeline_take_a_value() -> None:
    def use(record: AsNamedTuple, /, factor: int = 2) -> int:
        return record.x * factor

    pipeline = Pipeline().stage("use", use)
    assert run(pipeline, AsNamedTuple(3, "a")) == 6


def test_what_a_later_stage_reads_must_be_declared() -> None:
    pipeline = Pipeline().stage("add", add).through(total=int).stage("use", use_total)
    with pytest.raises(ContractError) as caught:
        pipeline.compile()
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "missing-field"
    assert diagnostic.stage == "use"
    assert diagnostic.remedy == "declare it: Pipeline(extra=int)"
    declared = Pipeline(x=int, y=int, extra=int).stage("add", add).through(total=int).stage("use", use_total)
    assert run(declared, x=1, y=2, extra=10) == 13


def test_an_open_pipeline_is_decided_where_it_is_used() -> None:
    tail = Pipeline().stage("use", use_total).through(sum=int)  # type: ignore[stage-input]
    assert run(Pipeline(total=int, extra=int).stage("tail", tail), total=1, extra=2) == Context(total=1, extra=2, sum=3)
    with pytest.raises(ContractError, match='"use" takes extra: int; the context has extra: str'):
        Pipeline(total=int, extra=str).stage("tail", tail).compile()


def test_an_open_pipeline_can_be_used_twice_with_different_contexts() -> None:
    show = Pipeline().stage("show", lambda x: repr(x)).through(text=str)
    assert run(Pipeline(x=int).stage("show", show), x=1) == Context(x=1, text="1")
    assert run(Pipeline(x=str).stage("show", show), x="1") == Context(x="1", text="'1'")


class Pair(NamedTuple):
    left: int
    right: int


def test_inputs_that_are_a_protocol_or_two_values() -> None:
    def use(has: HasX) -> int:
        return has.x

    assert run(Pipeline(x=int).stage("use", use), x=3) == 3
    swap = Pipeline(Pair).stage("swap", lambda left, right: Pair(right, left)).through(Pair)
    assert run(swap, Pair(1, 2)) == Pair(2, 1)
