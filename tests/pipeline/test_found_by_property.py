"""What test_property.py has found, in small: each of these was wrong once."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from pydantic import BaseModel

from metta.sweep import Context, ContractError, Pipeline
from tests.pipeline.records import AsDataclass, AsNamedTuple, AsTypedDict, HasX, Loose
from tests.pipeline.running import fields, run, value


@dataclass(frozen=True)
class Score:
    score: float
    name: str


class Split(BaseModel):
    train: float


@dataclass
class Computed:
    """Cannot be rebuilt."""

    score: float = 0.0
    twice: float = field(init=False, default=0.0)


def named(x: int) -> AsNamedTuple:
    return AsNamedTuple(x, f"n{x}")


def keyed(x: int) -> AsTypedDict:
    return AsTypedDict(x=x, name=f"k{x}")


def loose(x: int) -> Loose:
    return Loose(x=x)


def scored(x: int) -> Score:
    return Score(x / 2, "s")


def rename(name: str) -> str:
    return name.upper()


def count_up(x: int) -> int:
    return x + 1


def text_of(x: int) -> str:
    return str(x)


def to_float(x: int) -> float:
    return float(x)


def show(rest: object) -> str:
    return repr(rest)


# -- open pipelines: what is missing may still come --------------------------------------------------------------------


def test_a_field_that_one_arm_sets_may_be_set_around_an_open_pipeline() -> None:
    inner = (
        Pipeline()
        .conditional(lambda ctx: ctx.x > 2, Pipeline().stage("up", count_up).through(x=int))  # type: ignore[attr-defined, missing-field]
        .stage("text", text_of)
        .through(text=str)
    )
    assert run(Pipeline(x=int).stage("inner", inner), x=3) == Context(x=4, text="4")
    with pytest.raises(ContractError, match='needs field "x'):
        Pipeline(name=str).stage("inner", inner).compile()


def test_the_whole_of_an_arm_of_an_open_pipeline_is_not_known_yet() -> None:
    inner = Pipeline().parallel([Pipeline().stage("look", show).through(shown=str), Pipeline()])
    listed = Pipeline().parallel([Pipeline(), Pipeline()]).through(list[AsNamedTuple])
    assert len(run(Pipeline(AsNamedTuple).stage("listed", listed), AsNamedTuple(1, "a"))) == 2
    assert len(run(Pipeline(x=int).stage("inner", inner), x=1)) == 2


def test_an_open_nested_pipeline_may_end_with_the_value_around_it() -> None:
    nothing = Pipeline().stage("log", lambda: None).through(after=lambda data: None)
    outer = Pipeline(list[int]).conditional(lambda xs: bool(xs), Pipeline().stage("inner", nothing).through(list[int]))
    assert value(outer) == "list[int]"


def test_a_first_stage_that_takes_the_context_alone_is_given_the_empty_view() -> None:
    def count(ctx: Context, /) -> int:
        return len(ctx._asdict())

    assert run(Pipeline().stage("count", count).through(x=int)) == Context(x=0)


# -- nested pipelines --------------------------------------------------------------------------------------------------


def test_a_compiled_graph_with_contracts_is_a_stage() -> None:
    inner = Pipeline().stage("text", text_of).through(text=str).stage("rename", rename_text).through(name=str)
    assert run(Pipeline().stage("inner", inner.compile()).stage("show", show_name), x=5) == "5!"


def rename_text(text: str) -> str:
    return text + "!"


def show_name(name: str) -> str:
    return name


def test_a_replacing_pipeline_inside_a_nested_one_gives_its_value() -> None:
    replacing = Pipeline(x=int).stage("named", named).through(AsNamedTuple)
    inner = (
        Pipeline()
        .stage("replacing", replacing)
        .stage("fit", Pipeline().stage("shown", show).through(shown=str))
        .through(shown=str)
    )
    assert run(Pipeline(x=int).stage("inner", inner), x=1).shown == "AsNamedTuple(x=1, name='n1')"


def test_a_nested_pipeline_that_rebinds_a_field_of_the_value_changes_the_value() -> None:
    inner = Pipeline(AsNamedTuple).stage("rename", rename).through(name=str)
    assert run(Pipeline(AsNamedTuple).stage("inner", inner), AsNamedTuple(1, "a")) == AsNamedTuple(1, "A")


def test_a_contract_of_a_nested_stage_hides_what_would_clash() -> None:
    inner = Pipeline(x=int).stage("name", to_float).through(name=float).stage("text", text_of).through(text=str)
    with pytest.raises(ContractError, match="sets name: float; the context has name: str"):
        Pipeline(x=int, name=str).stage("inner", inner).compile()  # type: ignore[field-redefined]
    outer = Pipeline(x=int, name=str).stage("inner", inner).through(text=str)
    assert run(outer, x=1, name="a") == Context(x=1, name="a", text="1")


def test_a_contract_reads_the_view_of_a_nested_pipeline_that_began_with_a_typed_dict() -> None:
    inner = Pipeline().stage("keyed", keyed).through(AsTypedDict).stage("to_float", to_float).through(half=float)
    assert run(Pipeline(x=int).stage("inner", inner).through(half=float), x=1) == Context(x=1, half=1.0)


def test_a_hooked_pipeline_drops_a_field_that_one_of_its_arms_drops() -> None:
    arms = Pipeline().conditional(lambda ctx: ctx.x > 1, Pipeline().stage("scored", scored), Pipeline())
    maybe = Pipeline(x=int).conditional(lambda ctx: ctx.x > 0, Pipeline().stage("text", text_of).through(text=str))
    pipeline = maybe.stage("arms", arms).through(after=lambda data: None)
    assert fields(pipeline) == {"x": "int?", "text": "str?", "score": "float?", "name": "str?"}
    assert run(pipeline, x=2) == Context(score=1.0, name="s")
    assert run(pipeline, x=1) == Context(x=1, text="1")


@pytest.mark.parametrize("hooks", [{}, {"after": lambda data: None}], ids=["plain", "hooked"])
def test_a_nested_pipeline_that_ends_with_a_typed_dict_gives_its_fields(hooks: dict[str, object]) -> None:
    inner = Pipeline(x=int).stage("keyed", keyed)
    pipeline = Pipeline(x=int).stage("inner", inner).through(**hooks).stage("rename", rename).through(shown=str)
    assert run(pipeline, x=1).shown == "K1"


def test_a_closed_arm_of_a_parallel_step_gives_its_own_whole() -> None:
    arm = Pipeline(AsNamedTuple).stage("rename", rename).through(name=str)
    pipeline = Pipeline(AsNamedTuple).parallel({"changed": arm, "same": Pipeline()})
    result = run(pipeline, AsNamedTuple(1, "a"))
    assert (result.changed, result.same) == (AsNamedTuple(1, "A"), AsNamedTuple(1, "a"))


# -- values of several arms --------------------------------------------------------------------------------------------


def either(then: object, otherwise: object) -> Pipeline:
    return Pipeline(x=int).conditional(lambda ctx: ctx.x > 1, then, otherwise)


def test_a_field_that_all_arms_have_is_rebound_in_the_value_of_each() -> None:
    pipeline = either(named, keyed).stage("rename", rename).through(name=str)
    assert value(pipeline) == "AsNamedTuple | AsTypedDict"
    assert run(pipeline, x=2) == AsNamedTuple(2, "N2")
    assert run(pipeline, x=1) == {"x": 1, "name": "K1"}


def test_a_field_that_one_arm_has_is_no_part_of_the_other_value() -> None:
    pipeline = either(named, scored).stage("score", lambda: 0.5).through(score=float)
    assert run(pipeline, x=2) == Context(x=2, name="n2", score=0.5)
    assert run(pipeline, x=1) == Context(name="s", score=0.5)


def test_what_cannot_be_rebuilt_matters_only_where_it_has_the_field() -> None:
    def computed(x: int) -> Computed:
        return Computed()

    joined = either(named, computed)
    assert value(joined.stage("rename", lambda: "r").through(name=str)) == "AsNamedTuple | Computed"
    with pytest.raises(ContractError, match="cannot be rebuilt"):
        joined.stage("score", lambda: 0.5).through(score=float)


def test_a_nested_pipeline_cannot_rebind_what_cannot_be_rebuilt() -> None:
    inner = Pipeline(x=int).stage("score", to_float).through(score=float)
    with pytest.raises(ContractError, match='"inner" rebinds "score" of Computed, which cannot be rebuilt'):
        Pipeline(Computed).stage("inner", inner, x=1).compile()  # type: ignore[field-redefined]


def test_a_value_that_one_arm_lacks_is_not_rebound() -> None:
    def twice(x: int) -> Computed:
        return Computed(float(x))

    pipeline = either(twice, Pipeline()).stage("score", lambda: 0.5).through(score=float)
    assert run(pipeline, x=2) == Context(score=0.5, twice=0.0)
    assert run(pipeline, x=1) == Context(x=1, score=0.5)


# -- loops -------------------------------------------------------------------------------------------------------------


def test_a_field_is_gone_where_a_pass_has_replaced_the_context_again() -> None:
    pipeline = (
        Pipeline(x=int)
        .loop_while(lambda ctx: ctx.x < 2)
        .stage("text", text_of)
        .through(text=str)
        .break_if(lambda ctx: ctx.x < 0)
        .stage("up", lambda x: AsNamedTuple(x + 1, "b"))
        .through(AsNamedTuple)
        .end_loop()
    )
    assert fields(pipeline) == {"x": "int", "text": "str?", "name": "str?"}
    assert run(pipeline, x=-1) == Context(x=-1, text="-1")
    assert run(pipeline, x=0) == Context(x=2, name="b")
    assert run(pipeline, x=5) == Context(x=5)


def test_a_do_while_may_be_left_with_several_values() -> None:
    pipeline = (
        Pipeline(x=int)
        .loop_while()
        .stage("named", named)
        .through(AsNamedTuple)
        .break_if(lambda data: data.x > 2)
        .stage("data", lambda x: AsDataclass(x, "d"))
        .through(AsDataclass)
        .end_loop(until=lambda data: True)
    )
    assert value(pipeline) in ("AsDataclass | AsNamedTuple", "AsNamedTuple | AsDataclass")
    assert run(pipeline, x=3) == AsNamedTuple(3, "n3")
    assert run(pipeline, x=1) == AsDataclass(1, "d")


def test_a_field_that_may_be_set_before_a_loop_is_carried_round() -> None:
    seen: list[object] = []

    def watch(name: str = "") -> None:
        seen.append(name)

    def up(x: int) -> tuple[int, str]:
        return x + 1, f"n{x}"

    pipeline = (
        Pipeline(x=int)
        .conditional(lambda ctx: ctx.x > 5, Pipeline(x=int).stage("text", text_of).through(name=str))
        .loop_while(lambda ctx: ctx.x < 2)
        .stage("watch", watch)
        .stage("up", up)
        .through(x=int, name=str)
        .end_loop()
    )
    assert run(pipeline, x=0) == Context(x=2, name="n1")
    assert seen == ["", "n0"] * 2


# -- generated code ----------------------------------------------------------------------------------------------------


def test_one_field_is_taken_out_of_the_record_of_an_async_stage() -> None:
    async def later(x: int) -> AsNamedTuple:
        return named(x)

    assert run(Pipeline().stage("later", later).through(name=str), x=1) == Context(x=1, name="n1")


def test_an_arm_may_hold_an_empty_pipeline() -> None:
    pipeline = Pipeline(x=int).conditional(lambda ctx: ctx.x > 1, Pipeline().stage("nothing", Pipeline()), count_up)
    assert run(pipeline, x=2) == Context(x=2)


def test_a_missing_key_that_is_set_later_joins_the_value() -> None:
    pipeline = Pipeline().stage("loose", loose).stage("name", text_of).through(name=str).stage("show", show)
    assert run(pipeline, x=1) == "{'x': 1, 'name': '1'}"


def test_a_record_of_a_field_beside_an_input_that_is_not_known_yet() -> None:
    def use(a: int, x: HasX) -> int:
        return a + x.x

    def first(a: int) -> int:
        return 2 * a

    assert run(Pipeline().stage("first", first).through(x=int).stage("use", use).through(sum=int), a=1).sum == 3


# -- types -------------------------------------------------------------------------------------------------------------


def test_a_pydantic_model_lacks_the_attributes_it_lacks() -> None:
    def read(data: HasX) -> int:
        return data.x

    with pytest.raises(ContractError, match="stage-input"):
        Pipeline(Split).stage("read", read).compile()  # type: ignore[stage-input]
