"""Stages without annotations: the context is unknown behind them, and decided while running (section 1)."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from metta.sweep import Context, ContractViolation, LoopLimitExceeded, Pipeline, field
from metta.sweep.contracts.diagnostics import Severity
from tests.pipeline.records import RECORDS, AsNamedTuple, HasX, Loose
from tests.pipeline.running import Recorder, end, failure, run


def start():  # type: ignore[no-untyped-def]
    return Context(x=1, name="a")


def nothing(x):  # type: ignore[no-untyped-def]
    assert x


def add(x: int, name: str = "default") -> str:
    return f"{x}{name}"


def double(x: int) -> int:
    return 2 * x


def test_what_follows_is_unknown_and_noted() -> None:
    pipeline = Pipeline().stage("start", start).stage("add", add)
    graph = pipeline.compile()
    assert [(note.code, note.severity) for note in graph.notes] == [("untyped-stage", Severity.NOTE)]
    assert graph.graph.body.nodes[0].after.unknown
    assert not end(pipeline).unknown, "an annotated stage says again what there is"
    assert graph.run() == "1a"


def test_none_leaves_the_context() -> None:
    assert run(Pipeline(x=int).stage("nothing", nothing), x=1) == Context(x=1)
    assert run(Pipeline().stage("start", start).stage("nothing", nothing)) == Context(x=1, name="a")


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_a_record_replaces_the_context_with_its_fields_and_a_dict_does_not(kind: Any) -> None:
    pipeline = Pipeline().stage("record", lambda: kind(x=3, name="b"))
    assert run(pipeline) == kind(x=3, name="b")
    if isinstance(kind(x=3, name="b"), dict):
        assert run(pipeline.stage("whole", lambda data: data["x"])) == 3
    else:
        assert run(pipeline.stage("add", add)) == "3b"


def test_anything_else_becomes_the_value() -> None:
    pipeline = Pipeline(x=int).stage("list", lambda x: [x, x])
    assert run(pipeline, x=2) == [2, 2]
    assert run(pipeline.stage("sum", lambda numbers: sum(numbers)), x=2) == 4


def test_binding_by_the_rules_on_values() -> None:
    begun = Pipeline().stage("start", start)

    def of_record(record: AsNamedTuple) -> str:
        return record.name

    def of_protocol(has: HasX) -> int:
        return has.x

    def of_context(ctx: Context) -> list[str]:
        return list(ctx._asdict())

    def positional(whole: Any, /, x: int) -> tuple[str, int]:
        return type(whole).__name__, x

    def loose(record: Loose) -> Loose:
        return record

    assert run(begun.stage("record", of_record)) == "a"
    assert run(begun.stage("protocol", of_protocol)) == 1
    assert run(begun.stage("context", of_context)) == ["x", "name"]
    assert run(begun.stage("positional", positional)) == ("Context", 1)
    assert run(begun.stage("loose", loose)) == {"x": 1, "name": "a"}
    assert run(begun.stage("setting", add, x=5)) == "5a"
    assert run(begun.stage("renamed", add, name=field("x"))) == "11"
    assert run(Pipeline().stage("value", lambda: 3).stage("double", double)) == 6


def test_a_required_parameter_that_finds_nothing_names_the_stage() -> None:
    def need(trails: list[int], x: int) -> int:
        return x

    pipeline = Pipeline().stage("start", lambda: Context(x=1, trials=[1])).stage("need", need)
    error = failure(ContractViolation, pipeline)
    assert str(error) == 'stage "need" needs "trails"; the context has x, trials (did you mean "trials"?)'
    assert error.stage == "need"


def test_contracts_behind_an_unknown_context() -> None:
    begun = Pipeline().stage("start", start)
    assert run(begun.stage("double", double).through(y=int)) == Context(x=1, name="a", y=2)
    assert run(begun.stage("double", double).through(x=int)) == Context(x=2, name="a")
    assert run(begun.stage("double", double).through(int)) == 2
    rebound = Pipeline().stage("record", lambda: AsNamedTuple(1, "a")).stage("double", double).through(x=int)
    assert run(rebound) == AsNamedTuple(2, "a")


def test_control_flow_over_an_unknown_context() -> None:
    begun = Pipeline().stage("start", start)
    loop = begun.loop_while(lambda ctx: ctx.x < 9, max_iterations=9).stage("double", double).through(x=int).end_loop()
    assert run(loop) == Context(x=16, name="a")
    branch = begun.conditional(lambda ctx: ctx.x == 1, Pipeline().stage("double", double).through(y=int), add)
    assert run(branch) == Context(x=1, name="a", y=2)
    assert run(begun.parallel([double, add])) == [2, "1a"]
    assert run(begun.parallel({"p": double, "q": add})) == Context(x=1, name="a", p=2, q="1a")
    nested = Pipeline(x=int).stage("double", double).through(y=int)
    assert run(begun.stage("nested", nested)) == Context(x=1, name="a", y=2)
    assert run(begun.stage("nested", nested).through(y=int)) == Context(x=1, name="a", y=2)
    broken = (
        begun.loop_while()
        .stage("double", double)
        .through(x=int)
        .break_if(lambda ctx: ctx.x > 4)
        .end_loop(until=lambda ctx: ctx.x > 100)
    )
    assert run(broken) == Context(x=8, name="a")
    endless = begun.loop_while(max_iterations=2).stage("double", double).through(x=int).end_loop()
    assert failure(LoopLimitExceeded, endless).context == Context(x=4, name="a")


def test_a_field_that_an_unknown_context_may_have_is_not_called_maybe_set() -> None:
    begun = Pipeline().stage("start", start)
    loop = begun.loop_while(lambda ctx: ctx.x < 9).stage("double", double).through(x=int).end_loop()
    assert run(loop.stage("again", double)) == 32
    branch = begun.conditional(lambda ctx: ctx.x > 9, Pipeline().stage("double", double).through(x=int))
    assert run(branch.stage("again", double)) == 2


def test_a_map_over_an_unknown_context() -> None:
    begun = Pipeline().stage("start", lambda: Context(xs=[1, 2], factor=10))
    assert run(begun.map("scale", lambda x, factor: x * factor, over="xs").through(ys=list[int])).ys == [10, 20]
    error = failure(ContractViolation, begun.map("scale", double, over="factors"))
    assert str(error) == 'map "scale" runs over "factors"; the context has xs, factor (did you mean "factor"?)'


def test_hooks_over_an_unknown_context() -> None:
    seen = Recorder()
    pipeline = (
        Pipeline()
        .stage("start", start)
        .through(log=seen.hook("log"), before=seen.hook("before"))
        .stage("double", double)
        .through(y=int, skip_if=lambda ctx: ctx.x > 1, default=0, after=seen.hook("after"))
    )
    assert run(pipeline) == Context(x=1, name="a", y=2)
    assert seen.calls == [
        ("before", Context(x=1, name="a")),
        ("log", Context(x=1, name="a")),
        ("after", Context(y=2)),
    ]


def test_a_positional_contract_makes_the_context_known_again() -> None:
    class Known(NamedTuple):
        x: int
        y: int = 5

    def known(x: int) -> Known:
        return Known(x)

    pipeline = Pipeline().stage("start", start).stage("known", known).stage("double", double).through(twice=int)
    assert not end(pipeline).unknown
    assert run(pipeline) == Context(x=1, y=5, twice=2)


def test_async_stages_without_annotations() -> None:
    async def astart():  # type: ignore[no-untyped-def]
        return Context(x=1)

    assert run(Pipeline().stage("start", astart).stage("double", double).through(y=int)) == Context(x=1, y=2)
