"""Five kinds of records, one behaviour."""

from collections import OrderedDict, namedtuple
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from typing import (
    Annotated,
    Any,
    ClassVar,
    Generic,
    NamedTuple,
    NotRequired,
    Protocol,
    Required,
    TypedDict,
    TypeVar,
    get_args,
)

import attrs
import pydantic
import pytest

from metta.sweep.contracts.records import (
    RecordField,
    build,
    constructor_fields,
    is_record_type,
    is_replaceable,
    protocol_fields,
    read_fields,
    record_fields,
    record_fields_of_value,
    replace,
)
from metta.sweep.errors import UsageError
from tests.contracts import annotated_strings

T = TypeVar("T")


class Named(NamedTuple):
    x: int
    y: list[str] = []  # noqa: RUF012


@dataclass(frozen=True, slots=True)
class Data:
    x: int
    y: list[str] = field(default_factory=list)
    kind: ClassVar[str] = "data"


class Typed(TypedDict):
    x: int
    y: list[str]


class Model(pydantic.BaseModel):
    x: int
    y: list[str] = []


@attrs.frozen
class Attrs:
    x: int
    y: list[str] = attrs.field(factory=list)


@attrs.define
class Hidden:
    _x: int
    y: str = ""


class Aliased(pydantic.BaseModel):
    x: int = pydantic.Field(alias="ex")


KINDS = [Named, Data, Typed, Model, Attrs]


def fields(tp: Any) -> dict[str, Any]:
    return {name: it.type for name, it in (record_fields(tp) or {}).items()}


@pytest.mark.parametrize("cls", KINDS)
def test_equal_citizens(cls: Any) -> None:
    assert is_record_type(cls)
    assert record_fields(cls) == {"x": RecordField(int), "y": RecordField(list[str])}
    assert list(record_fields(cls) or ()) == ["x", "y"]
    assert is_replaceable(cls) is None

    value = build(cls, {"x": 1, "y": ["a"], "unknown": 0})
    assert read_fields(value, cls) == {"x": 1, "y": ["a"]}
    changed = replace(value, {"x": 2})
    assert type(changed) is type(value)
    assert read_fields(changed, cls) == {"x": 2, "y": ["a"]}
    assert read_fields(value, cls) == {"x": 1, "y": ["a"]}


@pytest.mark.parametrize("cls", KINDS)
def test_what_a_constructor_needs(cls: Any) -> None:
    optional = cls is not Typed
    assert constructor_fields(cls) == {"x": True, "y": not optional}
    if optional:
        assert read_fields(build(cls, {"x": 1})) == {"x": 1, "y": []}


@pytest.mark.parametrize(
    "tp", [int, str, dict, tuple, tuple[int, str], list[int], dict[str, int], Any, None, "Data", object]
)
def test_no_records(tp: Any) -> None:
    assert not is_record_type(tp)
    assert record_fields(tp) is None
    assert constructor_fields(tp) is None
    assert is_replaceable(tp) == "it is no record"


def test_a_value_of_unknown_type() -> None:
    assert record_fields_of_value(Named(1)) == {"x": 1, "y": []}
    assert record_fields_of_value({"x": 1}) is None
    assert record_fields_of_value(3) is None


def test_typed_dict_keys() -> None:
    class Base(TypedDict):
        a: int

    class Extra(Base, total=False):
        b: str
        c: Required[float]
        d: Annotated[NotRequired[int], "unit: s"]

    assert record_fields(Extra) == {
        "a": RecordField(int, True),
        "b": RecordField(str, False),
        "c": RecordField(float, True),
        "d": RecordField(int, False),
    }
    assert constructor_fields(Extra) == {"a": True, "b": False, "c": True, "d": False}
    assert read_fields({"a": 1, "c": 0.5, "other": 0}, Extra) == {"a": 1, "c": 0.5}
    assert build(Extra, {"c": 0.5, "a": 1, "other": 0}) == {"a": 1, "c": 0.5}


def test_typed_dict_with_string_annotations() -> None:
    # typing itself calls `note` required here: it cannot look into the string.
    assert record_fields(annotated_strings.Options) == {
        "rate": RecordField(float, True),
        "note": RecordField(str, False),
    }


def test_generic_records() -> None:
    class Pair(NamedTuple, Generic[T]):
        left: T
        right: list[T]

    class Keyed(TypedDict, Generic[T]):
        value: T

    class Wider(Keyed[int]):
        name: str

    class Boxed(pydantic.BaseModel, Generic[T]):
        content: T

    @dataclass
    class Ints(annotated_strings.Box[int]):
        count: int = 0

    assert fields(annotated_strings.Box[int]) == {"content": int, "label": str}
    assert fields(annotated_strings.Box) == {"content": annotated_strings.T, "label": str}
    assert fields(Ints) == {"content": int, "label": str, "count": int}
    assert fields(Pair[str]) == {"left": str, "right": list[str]}
    assert fields(Keyed[bytes]) == {"value": bytes}
    assert fields(Wider) == {"value": int, "name": str}
    assert fields(Boxed[float]) == {"content": float}
    assert build(annotated_strings.Box[int], {"content": 3}) == annotated_strings.Box(3)


def test_types_that_are_local_to_a_function() -> None:
    def define() -> tuple[Any, Any]:
        class Local: ...

        @dataclass
        class Holder:
            one: "Local"
            many: "list[Later]"

        assert fields(Holder)["one"] is Local
        assert get_args(fields(Holder)["many"]) == ()  # not there yet

        class Later: ...

        return Holder, fields(Holder)

    holder, inside = define()
    assert get_args(inside["many"])[0].__name__ == "Later"
    # Resolved once, it stays so, although the function has returned.
    assert fields(holder) == inside


def test_init_only_fields_are_built_and_not_read() -> None:
    assert record_fields(annotated_strings.Seeded) == {
        "seed": RecordField(int, readable=False),
        "size": RecordField(int),
    }
    assert constructor_fields(annotated_strings.Seeded) == {"seed": True, "size": False}
    value = build(annotated_strings.Seeded, {"seed": 1})
    assert read_fields(value) == {"size": 1}
    assert "InitVar" in (is_replaceable(annotated_strings.Seeded) or "")


def test_why_a_record_cannot_be_rebuilt() -> None:
    @dataclass
    class Derived:
        x: int
        twice: int = field(init=False)

    @dataclass
    class Own:
        x: int

        def __init__(self) -> None:
            self.x = 1

    @dataclass
    class Plain:
        x: InitVar[int] = 0

    assert is_replaceable(Derived) == '"twice" has init=False: the constructor does not take it'
    assert constructor_fields(Derived) == {"x": True}
    assert read_fields(Derived(1)) == {"x": 1}  # `twice` was never set
    assert is_replaceable(Own) == 'its own __init__ does not take "x"'
    assert is_replaceable(Plain) is not None


def test_names_that_differ_in_the_constructor() -> None:
    assert constructor_fields(Hidden) == {"_x": True, "y": False}
    value = build(Hidden, {"_x": 1})
    assert read_fields(replace(value, {"_x": 5})) == {"_x": 5, "y": ""}
    assert constructor_fields(Aliased) == {"x": True}
    assert read_fields(build(Aliased, {"x": 1})) == {"x": 1}


def test_dicts_keep_their_class() -> None:
    class Mine(dict[str, int]):
        pass

    before = OrderedDict(a=1)
    assert replace(before, {"b": 2}) == OrderedDict(a=1, b=2)
    assert type(replace(Mine(a=1), {"b": 2})) is Mine
    assert before == {"a": 1}


def test_untyped_fields_are_any() -> None:
    assert fields(namedtuple("Old", "a b")) == {"a": Any, "b": Any}


def test_protocols() -> None:
    class HasLoss(Protocol[T]):
        loss: float

        @property
        def best(self) -> list[T]: ...

    class More(HasLoss[int], Protocol):
        name: str

    class Runs(Protocol):
        name: str

        def run(self) -> None: ...

    class Real(Runs):
        pass

    assert protocol_fields(HasLoss[str]) == {"loss": float, "best": list[str]}
    assert protocol_fields(More) == {"loss": float, "best": list[int], "name": str}
    assert protocol_fields(Runs) is None  # a field cannot stand for a method
    assert protocol_fields(Real) is None
    assert protocol_fields(Data) is None
    assert protocol_fields(Mapping) is None


def test_only_records_can_be_built_or_replaced() -> None:
    with pytest.raises(UsageError, match="no record class"):
        build(int, {})
    with pytest.raises(UsageError, match="a int is no record"):
        replace(3, {"x": 1})


def test_constructor_errors_are_the_users() -> None:
    with pytest.raises(pydantic.ValidationError):
        build(Model, {"x": "not a number"})
