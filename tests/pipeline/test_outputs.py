"""Section 3 of the language: how a result meets its contract, and the keywords of through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import pytest

from metta.sweep import Context, ContractError, ContractViolation, Pipeline
from tests.pipeline.records import RECORDS, AsNamedTuple
from tests.pipeline.running import failure, fields, run, value


class Box(NamedTuple):
    x: int


class Wide(NamedTuple):
    x: int
    name: str
    more: float


@dataclass
class Holder:
    box: Box


def returning(result: Any, annotation: Any) -> Callable[[], Any]:
    def stage() -> Any:
        return result

    stage.__annotations__["return"] = annotation
    return stage


def untyped(result: Any) -> Callable[[], Any]:
    return lambda: result


def through(stage: Callable[..., Any], *contract: Any, **keywords: Any) -> Pipeline:
    return Pipeline().stage("stage", stage).through(*contract, **keywords)


kinds = pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)


# -- annotated ------------------------------------------------------------------------------------------------------


def test_positional_what_is_assignable() -> None:
    assert run(through(returning(True, bool), int)) is True
    assert run(through(returning(3, int), float)) == 3
    assert run(through(returning([1], list[int]), object)) == [1]
    assert value(through(returning(3, int), float)) == "float"


@kinds
def test_one_field_of_a_record(kind: Any) -> None:
    assert run(through(returning(kind(x=1, name="a"), kind), x=int)) == Context(x=1)
    assert run(through(returning(kind(x=1, name="a"), kind), name=str)) == Context(name="a")


def test_one_field_the_record_itself() -> None:
    assert run(through(returning(Box(1), Box), box=Box)) == Context(box=Box(1))
    assert run(through(returning(Holder(Box(1)), Holder), box=Box)) == Context(box=Box(1)), "it has a field box"


def test_one_field_bare() -> None:
    assert run(through(returning(3, int), x=float)) == Context(x=3)
    assert run(through(returning((1, 2), tuple[int, int]), pair=tuple[int, int])) == Context(pair=(1, 2))
    assert run(through(returning({"x": 1}, dict[str, int]), d=dict[str, int])) == Context(d={"x": 1})


def test_one_field_of_a_mapping() -> None:
    assert run(through(returning({"x": 1, "y": 2}, Mapping[str, int]), x=int)) == Context(x=1)
    assert run(through(returning({"x": 1}, dict[str, Any]), x=int)) == Context(x=1)
    assert run(through(returning({"x": 1}, dict[str, object]), x=int)) == Context(x=1)


@kinds
def test_several_fields_of_a_record_extra_ones_are_dropped(kind: Any) -> None:
    assert run(through(returning(kind(x=1, name="a"), kind), name=str, x=int)) == Context(name="a", x=1)
    assert run(through(returning(Wide(1, "a", 0.5), Wide), name=str, x=int)) == Context(name="a", x=1)


def test_several_fields_of_a_plain_tuple_in_the_declared_order() -> None:
    assert run(through(returning((1, "a"), tuple[int, str]), b=int, a=str)) == Context(b=1, a="a")


def test_a_named_tuple_is_never_read_by_position() -> None:
    with pytest.raises(ContractError, match='it has no field "a"'):
        through(returning(AsNamedTuple(1, "b"), AsNamedTuple), a=int, b=str)


def test_several_fields_of_a_mapping_are_checked_at_run_time() -> None:
    mapping = returning({"x": 1, "name": "a", "more": 0}, Mapping[str, object])
    assert run(through(mapping, x=int, name=str)) == Context(x=1, name="a")
    error = failure(ContractViolation, through(mapping, x=int, name=int))
    assert str(error) == 'stage "stage" broke its contract x: int, name: int: name: expected int, found str ("a")'
    assert error.stage == "stage"
    missing = failure(ContractViolation, through(mapping, x=int, nmae=str))
    assert "it has no nmae; it has x, name, more" in str(missing)


def test_any_is_checked_at_run_time() -> None:
    assert run(through(returning(1, Any), x=int)) == Context(x=1)
    assert run(through(returning(1, Any), int)) == 1
    assert "expected int, found str" in str(failure(ContractViolation, through(returning("1", Any), int)))


def test_an_annotation_that_lies_is_believed_unless_validate_type_says_otherwise() -> None:
    liar = returning("no number", int)
    assert run(through(liar, int)) == "no number"
    assert run(through(liar, int, validate_type=False)) == "no number"
    assert "expected int, found str" in str(failure(ContractViolation, through(liar, int, validate_type=True)))


def test_deep_validation_looks_at_every_element() -> None:
    middle = returning([1, "x", 3], list[int])
    assert run(through(middle, list[int], validate_type=True)) == [1, "x", 3], "first and last only"
    assert "expected int, found str" in str(
        failure(ContractViolation, through(middle, list[int], validate_type="deep"))
    )


def test_unverified_results_can_be_let_through() -> None:
    assert run(through(untyped("a"), int, validate_type=False)) == "a"
    assert run(through(untyped("a"), x=int, validate_type=False)) == Context(x="a")


# -- un-annotated ---------------------------------------------------------------------------------------------------


@kinds
def test_untyped_records_are_read_field_by_field(kind: Any) -> None:
    record = kind(x=1, name="a")
    assert run(through(untyped(record), x=int, name=str)) == Context(x=1, name="a")
    assert run(through(untyped(record), kind)) == record


def test_untyped_one_field() -> None:
    assert run(through(untyped(3), x=int)) == Context(x=3)
    assert run(through(untyped(AsNamedTuple(1, "a")), x=int)) == Context(x=1)
    assert run(through(untyped(Box(1)), box=Box)) == Context(box=Box(1))
    assert run(through(untyped(Context(x=1, y=2)), x=int)) == Context(x=1)


def test_untyped_a_dict_is_a_record_only_where_the_field_is_no_mapping() -> None:
    assert run(through(untyped({"x": 1}), x=int)) == Context(x=1)
    assert run(through(untyped({"x": 1}), x=dict[str, int])) == Context(x={"x": 1})
    assert run(through(untyped({"x": {"a": 1}}), x=dict[str, dict[str, int]])) == Context(x={"x": {"a": 1}})
    assert run(through(untyped({}), x=dict[str, int])) == Context(x={})


def test_untyped_several_fields() -> None:
    assert run(through(untyped((1, "a")), x=int, name=str)) == Context(x=1, name="a")
    assert run(through(untyped({"name": "a", "x": 1}), x=int, name=str)) == Context(x=1, name="a")
    assert run(through(untyped(Context(x=1, name="a", more=2)), x=int, name=str)) == Context(x=1, name="a")


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ((1, "a", 2), "expected 2 items (x, name), found a tuple of 3"),
        ((1, 2), "name: expected str, found int (2)"),
        ({"x": 1}, "it has no name; it has x"),
        (3, "expected a record or mapping with x, name, found int"),
        (None, "expected a record or mapping with x, name, found NoneType"),
    ],
)
def test_untyped_results_that_break_the_contract(result: Any, said: str) -> None:
    error = failure(ContractViolation, through(untyped(result), x=int, name=str))
    assert str(error) == f'stage "stage" broke its contract x: int, name: str: {said}'


def test_a_violation_names_the_stage_that_gave_the_value_not_the_one_that_reads_it() -> None:
    def use(x: int) -> int:
        return x

    pipeline = Pipeline().stage("broken", untyped("a")).through(x=int).stage("use", use)
    error = failure(ContractViolation, pipeline)
    assert error.stage == "broken"
    assert error.data == "a"


# -- the keywords of through ------------------------------------------------------------------------------------------


class Config(TypedDict):
    lr: float


def test_types_of_every_form_are_fields() -> None:
    pipeline = through(
        untyped((1, None, {"lr": 0.1}, [1], "a")),
        union=int | str,
        optional=float | None,
        config=Config,
        listed=list[int],
        quoted="str",
    )
    assert fields(pipeline) == {
        "union": "int | str",
        "optional": "float | None",
        "config": "Config",
        "listed": "list[int]",
        "quoted": "str",
    }
    assert run(pipeline) == Context(union=1, optional=None, config={"lr": 0.1}, listed=[1], quoted="a")


def test_an_empty_through_declares_nothing() -> None:
    assert run(through(returning(3, int))) == 3


def test_field_order_of_a_context_is_the_declared_one() -> None:
    result = run(through(untyped({"b": 1, "a": 2}), a=int, b=int))
    assert list(result._asdict()) == ["a", "b"]
