"""Section 1 of the language: what each contract does to the context."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from metta.sweep import Context, ContractError, Pipeline
from tests.pipeline.records import RECORDS, AsNamedTuple, AsTypedDict, Loose, read
from tests.pipeline.running import Recorder, end, fields, run, value

kinds = pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)


def maker(kind: Any) -> Callable[..., Any]:
    """A stage that returns a record of that kind, annotated so."""

    def make(n: int) -> Any:
        return kind(x=n, name="made")

    make.__annotations__["return"] = kind
    return make


def add_one(x: int) -> int:
    return x + 1


def describe(name: str, x: int) -> str:
    return f"{name}:{x}"


def double(n: int) -> int:
    return 2 * n


def show(n: int) -> None:
    print(n)


def test_a_keyword_contract_adds_fields_and_keeps_the_rest() -> None:
    pipeline = Pipeline(n=int).stage("double", double).through(twice=int)
    assert run(pipeline, n=3) == Context(n=3, twice=6)
    assert fields(pipeline) == {"n": "int", "twice": "int"}
    assert value(pipeline) is None


def test_a_keyword_contract_rebinds_a_field_of_the_same_type() -> None:
    pipeline = Pipeline(n=int).stage("double", double).through(n=int)
    assert run(pipeline, n=3) == Context(n=6)


@kinds
def test_a_positional_contract_replaces_the_context(kind: Any) -> None:
    pipeline = Pipeline(n=int).stage("make", maker(kind)).through(kind)
    assert run(pipeline, n=3) == kind(x=3, name="made")
    assert fields(pipeline) == {"x": "int", "name": "str"}
    assert value(pipeline) == kind.__name__


def test_a_positional_contract_of_no_record_leaves_no_field() -> None:
    pipeline = Pipeline(n=int).stage("double", double).through(int)
    assert run(pipeline, n=3) == 6
    assert fields(pipeline) == {}
    assert value(pipeline) == "int"


@kinds
def test_the_fields_of_the_value_can_be_read(kind: Any) -> None:
    pipeline = Pipeline(n=int).stage("make", maker(kind)).through(kind).stage("describe", describe).through(str)
    assert run(pipeline, n=3) == "made:3"


@kinds
def test_without_through_the_return_annotation_is_the_contract(kind: Any) -> None:
    pipeline = Pipeline(n=int).stage("make", maker(kind)).stage("describe", describe)
    assert run(pipeline, n=3) == "made:3"
    assert value(pipeline) == "str"


def test_a_stage_that_returns_none_leaves_the_context_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    pipeline = Pipeline(n=int).stage("show", show)
    graph = pipeline.compile()
    assert graph.run(n=3) == Context(n=3)
    assert capsys.readouterr().out == "3\n"
    assert fields(pipeline) == {"n": "int"}


def test_a_through_with_hooks_only_leaves_the_contract_to_the_annotation() -> None:
    pipeline = Pipeline(n=int).stage("double", double).through(retry=1)
    assert run(pipeline, n=3) == 6
    assert value(pipeline) == "int"


@kinds
def test_keyword_fields_join_the_value(kind: Any) -> None:
    pipeline = (
        Pipeline(n=int)
        .stage("make", maker(kind))
        .through(kind)
        .stage("describe", describe)
        .through(text=str)
        .stage("value", lambda value: value)
        .through(whole=object)
    )
    result = run(pipeline, n=3)
    assert result == Context(x=3, name="made", text="made:3", whole=result.whole)
    assert result.whole == Context(x=3, name="made", text="made:3"), "the whole is the view: a field is not its own"
    assert value(pipeline) == kind.__name__


@kinds
def test_rebinding_a_field_of_the_value_replaces_it_in_the_value_too(kind: Any) -> None:
    pipeline = Pipeline(n=int).stage("make", maker(kind)).through(kind).stage("add", add_one).through(x=int)
    result = run(pipeline, n=3)
    assert result == kind(x=4, name="made")
    assert type(result) is (dict if kind is AsTypedDict else kind)
    assert value(pipeline) == kind.__name__
    assert end(pipeline).whole_is_value


@kinds
def test_a_stage_does_not_see_its_record_changed_by_a_later_rebinding(kind: Any) -> None:
    kept: list[Any] = []

    def keep(record: Any) -> None:
        kept.append(record)

    keep.__annotations__["record"] = kind
    pipeline = Pipeline(n=int).stage("make", maker(kind)).stage("keep", keep).stage("add", add_one).through(x=int)
    assert read(pipeline.compile().run(n=3), "x") == 4
    assert read(kept[0], "x") == 3


def loose(n: int) -> Loose:
    return {"x": n} if n < 10 else {"x": n, "name": "large"}


def name_of(name: str = "small") -> str:
    return name


def test_a_not_required_key_is_a_maybe_set_field() -> None:
    pipeline = Pipeline(n=int).stage("loose", loose).through(Loose)
    assert fields(pipeline) == {"x": "int", "name": "str?"}
    assert run(pipeline, n=1) == {"x": 1}
    named = pipeline.stage("name", name_of).through(label=str)
    assert run(named, n=1) == Context(x=1, label="small")
    assert run(named, n=11) == Context(x=11, name="large", label="large")


def test_the_whole_is_the_value_where_the_fields_are_exactly_its_own() -> None:
    seen = Recorder()
    pipeline = (
        Pipeline(n=int)
        .stage("make", maker(AsNamedTuple))
        .through(AsNamedTuple)
        .conditional(seen.hook("pure", False), Pipeline().stage("add", add_one).through(x=int))
        .stage("first", lambda x: x)
        .through(first=int)
        .stage("second", lambda whole: seen.hook("joined", 0)(whole))
        .through(second=int)
    )
    record = AsNamedTuple(1, "made")
    assert pipeline.compile().run(n=1) is not None
    assert seen.calls[0] == ("pure", record)
    assert seen.calls[1] == ("joined", Context(x=1, name="made", first=1))


def test_the_whole_is_decided_from_the_types_also_where_a_maybe_set_field_is_unset() -> None:
    pipeline = Pipeline(AsNamedTuple).conditional(
        lambda whole: whole.x > 10, Pipeline().stage("describe", describe).through(text=str)
    )
    assert run(pipeline, AsNamedTuple(1, "a")) == Context(x=1, name="a")
    assert run(pipeline, AsNamedTuple(11, "a")) == Context(x=11, name="a", text="a:11")


def test_the_whole_of_an_arm_is_decided_from_the_types_too() -> None:
    arm = Pipeline().conditional(lambda whole: whole.x > 10, Pipeline().stage("describe", describe).through(text=str))
    pipeline = Pipeline(AsNamedTuple).parallel([arm])
    assert run(pipeline, AsNamedTuple(1, "a")) == [Context(x=1, name="a")]


def test_all_who_get_the_whole_get_the_same() -> None:
    seen: dict[str, Any] = {}

    def see(name: str, result: Any) -> Callable[[Any], Any]:
        def hook(data: Any) -> Any:
            seen[name] = data
            return result

        return hook

    def untyped(anything):  # type: ignore[no-untyped-def]
        seen["untyped"] = anything

    def any_of(anything: Any) -> None:
        seen["Any"] = anything

    def object_of(anything: object) -> None:
        seen["object"] = anything

    pipeline = (
        Pipeline(AsNamedTuple)
        .stage("untyped", untyped)
        .through(before=see("data", None), skip_if=see("skip_if", False))
        .stage("any", any_of)
        .stage("object", object_of)
        .conditional(see("conditional", False), add_one)
        .loop_while(see("loop_while", False), max_iterations=1)
        .stage("add", add_one)
        .through(x=int)
        .break_if(see("break_if", True))
        .end_loop()
    )
    record = AsNamedTuple(1, "a")
    assert pipeline.compile().run(record) == record
    assert seen.pop("data") is None, "the data of an un-annotated stage is what it gave"
    assert set(map(id, seen.values())) == {id(record)}
    assert set(seen) == {"untyped", "skip_if", "Any", "object", "conditional", "loop_while"}


def test_a_branch_of_one_prefix_does_not_touch_the_other() -> None:
    prefix = Pipeline(n=int).stage("double", double).through(twice=int)
    one = prefix.stage("one", lambda twice: twice + 1).through(a=int)
    other = prefix.stage("other", lambda twice: twice - 1).through(b=int)
    assert run(one, n=1) == Context(n=1, twice=2, a=3)
    assert run(other, n=1) == Context(n=1, twice=2, b=1)
    assert run(prefix, n=1) == Context(n=1, twice=2)


def test_a_through_after_branching_belongs_to_its_own_branch() -> None:
    prefix = Pipeline(n=int).stage("double", double)
    as_field = prefix.through(twice=int)
    as_other = prefix.through(other=int, transform=lambda data: data._replace(other=0))
    assert run(prefix, n=1) == 2
    assert run(as_field, n=1) == Context(n=1, twice=2)
    assert run(as_other, n=1) == Context(n=1, other=0)


def test_a_failed_call_leaves_the_pipeline_as_it_was() -> None:
    pipeline = Pipeline(n=int).stage("double", double).through(twice=int)
    with pytest.raises(ContractError):
        pipeline.stage("bad", describe).through(text=str)  # type: ignore[missing-field]
    assert run(pipeline, n=1) == Context(n=1, twice=2)


def test_a_pipeline_shows_its_stages() -> None:
    assert repr(Pipeline(n=int).stage("a", double).through(m=int).stage("b", double)) == "<Pipeline(...) a -> b>"
    assert repr(Pipeline()) == "<Pipeline() without stages>"


def test_a_pipeline_without_stages_gives_its_inputs() -> None:
    assert run(Pipeline(n=int), n=1) == Context(n=1)
    assert run(Pipeline(AsNamedTuple), AsNamedTuple(1, "a")) == AsNamedTuple(1, "a")
    assert run(Pipeline()) == Context()
