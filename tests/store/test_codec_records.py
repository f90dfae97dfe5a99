"""Records through the codec: rebuilt exactly, without their constructors, and by the class their type names."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Mapping as Mapping
from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated as Annotated
from typing import Any, Literal, NamedTuple, NewType, TypeVar
from typing import Optional as Optional

import attrs
import pydantic
import pytest
import torch
from typing_extensions import TypeAliasType

from metta.sweep.errors import DamagedError, InternalError, RefusedError, UsageError
from metta.sweep.store.codec import Unstorable, digest, dumps, loads, register
from tests.store import kinds
from tests.store.kinds import (
    AlsoError,
    Attrs,
    Base,
    Box,
    Child,
    Color,
    Derived,
    Doubling,
    Everything,
    Extra,
    Frozen,
    HashedAttrs,
    HasLoss,
    Holder,
    Level,
    Model,
    Node,
    OpenAttrs,
    Options,
    Outer,
    Plain,
    Point,
    PydanticData,
    Secret,
)


def round_trip(value: object, tp: Any = None) -> Any:
    return loads(bytes(dumps(value)), tp)


RECORDS: list[tuple[Any, Any]] = [
    (Point(1.0), Point),
    (Point(1.0, Point(2.0, [Point(3.0)])), Point),
    (Plain(1, [Point(1.0, "a"), Point(2.0)]), Plain),
    (Frozen("a", color=Color.BLUE, inner=Plain(2)), Frozen),
    (Child(1, [], "other"), Child),
    (Node(1, Node(2)), Node[int]),
    (Holder[Point](Point(1.0)), Holder[Point]),
    (Derived(1), Base),
    (Outer(Outer.Inner(1)), Outer),
    (Attrs(1, (Point(1.0),)), Attrs),
    (OpenAttrs(Attrs(2), "5"), OpenAttrs),
    (Model.model_validate({"a": 1, "b": Frozen("x"), "other": "y"}), Model),
    (Extra.model_validate({"a": 1, "b": [2]}), Extra),
    (Box[Point](item=Point(1.0)), Box[Point]),
    (PydanticData(1), PydanticData),
    ({"point": Point(1.0), "level": Level.HIGH}, Options),
    (Everything([Point(1.0)], {"a": Frozen("a")}, (Color.RED, Level.LOW), Plain(1), [Child(1)],
                {"point": Point(2.0)}), Everything),
]  # fmt: skip


@pytest.mark.parametrize(("value", "tp"), RECORDS, ids=lambda it: getattr(it, "__name__", type(it).__name__))
def test_round_trip(value: Any, tp: Any) -> None:
    for expected in (tp, None, Any, object, tp | None):
        back = round_trip(value, expected)
        assert type(back) is type(value)
        assert back == value
    assert round_trip({"a": [value]}, dict[str, list[tp]]) == {"a": [value]}


def test_constructors_do_not_run_again() -> None:
    value = Doubling(3)
    assert callable(value.callback)  # a cached_property: kept in the instance, and not stored
    back = round_trip(value, Doubling)
    assert (back.value, back.computed, back.beside) == (6, 7, [6])
    assert not hasattr(back, "missing")
    assert "callback" not in vars(back)


def test_what_models_keep_beside_their_fields() -> None:
    value = Model(a=1)
    value._private = 5
    back = round_trip(value)
    assert back._private == 5
    assert not hasattr(back, "_unset")
    assert back.model_fields_set == {"a"}
    assert back.model_dump(exclude_unset=True) == {"a": 1}
    assert round_trip(Extra.model_validate({"a": 1, "b": [2]})).model_extra == {"b": [2]}


def test_hashes_that_attrs_keeps_are_computed_again() -> None:
    """They are other ones in another process."""
    assert hash(round_trip(Attrs(1))) == hash(Attrs(1))
    value = HashedAttrs("a")
    vars(value)["_attrs_cached_hash"] = 12345
    assert hash(round_trip(value)) == hash(HashedAttrs("a"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (AlsoError(1), "results is built on a class that keeps more than its fields"),
        (Point(1.0, Secret(token=pydantic.SecretStr("x"))), r"results\.y\.token is a .*SecretStr, .* secrets do"),
        (Plain(1, [Point(torch.nn.Linear(1, 1))]), r"results\.b\[0\]\.x is a torch.*store its state_dict"),  # type: ignore[arg-type]
        (OpenAttrs(print), r"results\.a is a builtin_function_or_method"),
        (Extra.model_validate({"a": 1, "b": print}), r'results\.extra\["b"\] is a builtin'),
    ],
)  # fmt: skip
def test_what_cannot_be_stored(value: object, message: str) -> None:
    with pytest.raises(Unstorable, match=message):
        dumps(value, "results")


def test_an_attribute_that_is_no_field() -> None:
    value = Plain(1)
    value.other = Point(2.0)  # type: ignore[attr-defined]
    assert round_trip(value, Plain).other == Point(2.0)
    value.other = print  # type: ignore[attr-defined]
    with pytest.raises(Unstorable, match=r"results\.other is a builtin"):
        dumps(value, "results")


# The class of a value: from its type, else loaded

T = TypeVar("T")
BoundT = TypeVar("BoundT", bound=Point)
Named = NewType("Named", Plain)
Alias = TypeAliasType("Alias", list[T], type_params=(T,))
Tree = TypeAliasType("Tree", "list[Tree] | Plain")


def local_class() -> Any:
    @dataclass
    class Local:
        a: int

    return Local


@pytest.mark.parametrize(
    ("tp", "value"),
    [
        ("it", "it(1)"),
        ("it | None", "it(1)"),
        ("Annotated[it, []]", "it(1)"),
        ("NewType('N', it)", "it(1)"),
        ("Alias[it]", "[it(1)]"),
        ("tuple[int, it]", "(1, it(1))"),
        ("tuple[it, ...]", "(it(1), it(2))"),
        ("Sequence[it]", "[it(1)]"),
        ("Mapping[str, it]", "{'a': it(1)}"),
        ("dict[it, int]", "{it(1): 1}"),
        ("dict[int, list[it]]", "{1: [it(1)]}"),
        ("Optional[list[it]] | dict[str, it]", "{'a': it(1)}"),
        ("TypeVar('V', bound=it)", "it(1)"),
        ("set[it]", "{it(1)}"),
        ("Box[int] | it", "it(1)"),
    ],
)
def test_the_class_comes_from_the_type(tp: str, value: str) -> None:
    """Two classes of one name, of which no module knows: only the type can tell."""
    wanted, _other = make_dataclass("Same", ["a"], frozen=True), make_dataclass("Same", ["a"], frozen=True)
    names = {**globals(), "it": wanted}
    one = eval(value, names)
    assert round_trip(one, eval(tp, names)) == one
    with pytest.raises(UsageError, match="Same"):
        round_trip(one)


def test_literals_name_enums() -> None:
    assert round_trip(Color.RED, Literal[Color.RED, "a"]) is Color.RED


def test_a_subclass_keeps_its_class() -> None:
    back = round_trip([Child(1), Plain(2)], list[Plain])
    assert [type(it) for it in back] == [Child, Plain]
    assert type(round_trip(Level.LOW, int)) is Level
    assert type(round_trip(Level.LOW, float)) is Level
    assert type(round_trip(Point(1.0), tuple[float, Any])) is Point
    assert type(round_trip(Point(1.0), Sequence[Any])) is Point


def test_a_type_that_does_not_allow_the_class() -> None:
    for tp in (Frozen, int, list[Plain], Options, Frozen | None, Literal[1]):
        with pytest.raises(
            RefusedError, match=r"the stored value is a tests\.store\.kinds:Plain, where .* is expected"
        ):
            round_trip(Plain(1), tp)
    with pytest.raises(RefusedError):
        round_trip([Plain(1)], list[int])


def test_where_the_type_does_not_say() -> None:
    for tp in (Any, object, HasLoss, list, TypeVar("T"), "a forward reference"):
        assert round_trip([Plain(1)], tp) == [Plain(1)]
    assert round_trip([[Plain(1)], Plain(2)], Tree) == [[Plain(1)], Plain(2)]


def test_a_class_of_a_function_is_found_while_it_is_one() -> None:
    cls = local_class()
    assert round_trip(cls(1)) == cls(1)
    again = local_class()
    assert round_trip(again(1), again) == again(1)
    with pytest.raises(UsageError, match="a class of a function's body, which is not found by its name"):
        loads(bytes(dumps(cls(1))))


def test_a_class_that_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes(dumps([Plain(1)]))
    monkeypatch.setattr(Plain, "__module__", "somewhere.else")
    assert loads(data, list[Plain]) == [Plain(1)]


def test_nothing_is_imported_and_no_module_is_asked(tmp_path: Path) -> None:
    """A fresh process, in which the class is not loaded, and whose modules would tell if they were asked."""
    (tmp_path / "train.py").write_text("import enum\nclass Kind(enum.Enum):\n    A = 1\nprint('imported')\n")
    (tmp_path / "tells.py").write_text("def __getattr__(name):\n    print('asked')\n    raise AttributeError(name)\n")
    script = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import tells
from metta.sweep.errors import UsageError
from metta.sweep.store.codec import dumps, loads
from metta.sweep.store.container import pack, unpack
from tests.store.kinds import Plain, Color
import json
for name in ("train:Kind", "tells:Kind", "os:path", "os:system"):
    content, _ = unpack(bytes(dumps(Plain(1) if name == "os:system" else Color.RED)))
    content["classes"][0]["name"] = name
    try:
        print(loads(pack(json.dumps(content).encode(), {{}})))
    except UsageError as error:
        print(error)
print("train" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path.cwd())
    told = "the stored value is a {} of the module {}, which "
    gone = told + "has no such record or enum (any more): give it back, or run again from the start"
    assert done.stdout.splitlines() == [
        told.format("Kind", "train") + "is not loaded here: import train first",
        gone.format("Kind", "tells"),
        gone.format("path", "os"),
        gone.format("system", "os"),
        "False",
    ]


def test_a_scripts_classes_are_found_when_it_is_imported(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import sys\n"
        "from dataclasses import dataclass\n"
        "from metta.sweep.store.codec import dumps, loads, digest\n"
        "@dataclass\nclass Config:\n    lr: float\n"
        "if __name__ == '__main__':\n"
        "    open(sys.argv[1], 'wb').write(bytes(dumps(Config(0.1))))\n"
        "    assert loads(open(sys.argv[1], 'rb').read()) == Config(0.1)\n"
        "    print(digest(Config(0.1)))\n"
    )
    value = tmp_path / "value"

    def run(*arguments: str) -> str:
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True, cwd=tmp_path)
        return done.stdout

    written = run("train.py", str(value))
    read = run("-c", f"import train; print(train.loads(open({str(value)!r}, 'rb').read())); "
                     "print(train.digest(train.Config(0.1)))")  # fmt: skip
    assert read == "Config(lr=0.1)\n" + written


# Classes that changed since


NEW: Any = object()


def versions(*specs: dict[str, Any]) -> Any:
    """The same class in several versions, for each record library. Field -> default, NEW for none."""

    def named_tuple(spec: dict[str, Any]) -> Any:
        make: Any = NamedTuple
        cls = make("Config", [(name, Any) for name in spec])
        cls._field_defaults = {name: default for name, default in spec.items() if default is not NEW}
        cls.__new__.__defaults__ = tuple(cls._field_defaults.values())
        return cls

    def data(spec: dict[str, Any]) -> Any:
        return make_dataclass(
            "Config", [name if it is NEW else (name, Any, field(default=it)) for name, it in spec.items()]
        )

    def attr(spec: dict[str, Any]) -> Any:
        fields = {name: attrs.field() if it is NEW else attrs.field(default=it) for name, it in spec.items()}
        return attrs.make_class("Config", fields)

    def model(spec: dict[str, Any]) -> Any:
        fields: Any = {name: (Any, ... if it is NEW else it) for name, it in spec.items()}
        return pydantic.create_model("Config", **fields)

    return [tuple(make(spec) for spec in specs) for make in (named_tuple, data, attr, model)]


@pytest.mark.parametrize(("before", "after"), versions({"a": NEW, "b": NEW}, {"a": NEW, "b": NEW, "c": 5}))
def test_a_field_that_was_gained_has_its_default(before: Any, after: Any) -> None:
    back = loads(bytes(dumps(before(a=1, b=2))), after)
    assert back == after(a=1, b=2, c=5)


@pytest.mark.parametrize(("before", "after"), versions({"a": NEW}, {"a": NEW, "b": NEW}))
def test_a_field_that_was_gained_without_a_default(before: Any, after: Any) -> None:
    with pytest.raises(RefusedError, match=r'the class Config has gained the field "b", .*: give the field a default'):
        loads(bytes(dumps(before(a=1))), after)


@pytest.mark.parametrize(("before", "after"), versions({"a": NEW, "b": NEW}, {"a": NEW}))
def test_a_field_that_was_lost(before: Any, after: Any) -> None:
    message = r'a stored Config has the field "b", which the class no longer has \(it has a\): give it back'
    with pytest.raises(RefusedError, match=message):
        loads(bytes(dumps(before(a=1, b=2))), after)


def test_fields_in_another_order() -> None:
    for before, after in versions({"a": NEW, "b": NEW}, {"b": NEW, "a": NEW}):
        assert loads(bytes(dumps(before(a=1, b=2))), after) == after(a=1, b=2)


def test_defaults_that_are_made() -> None:
    before, after = (
        make_dataclass("Config", ["a"]),
        make_dataclass("Config", ["a", ("b", Any, field(default_factory=list))]),
    )
    assert loads(bytes(dumps(before(1))), after).b == []
    made = attrs.make_class(
        "Config",
        {"a": attrs.field(), "b": attrs.field(default=attrs.Factory(lambda self: self.a + 1, takes_self=True))},
    )
    assert loads(bytes(dumps(before(1))), made).b == 2


def test_a_member_that_was_lost() -> None:
    before, after = Enum("Kind", ["A", "B"]), Enum("Kind", ["B", "C"])
    with pytest.raises(RefusedError, match=r"a stored Kind is 'A', which the class no longer has \(it has B, C\)"):
        loads(bytes(dumps(before.A)), after)  # type: ignore[attr-defined]
    assert loads(bytes(dumps(before.B)), after) is after.B  # type: ignore[attr-defined]


# Classes that are registered


class Temperature:
    def __init__(self, celsius: float) -> None:
        self.celsius = celsius


def test_registered_classes() -> None:
    with pytest.raises(Unstorable):
        dumps(Temperature(20.0))
    register(Temperature, "Temperature", lambda it: {"celsius": it.celsius}, lambda tree: Temperature(**tree))
    for tp in (Temperature, None, Temperature | None):
        assert round_trip(Temperature(20.5), tp).celsius == 20.5
    assert digest(Temperature(1.0)) == digest(Temperature(1.0)) != digest(Temperature(2.0))
    with pytest.raises(RefusedError, match="the stored value is a Temperature, which its declared type does not allow"):
        round_trip(Temperature(1.0), int)
    with pytest.raises(InternalError, match="the name 'Temperature' is registered for Temperature"):
        register(Plain, "Temperature", lambda it: it, lambda tree: tree)
    data = bytes(dumps(Temperature(1.0))).replace(b"Temperature", b"Temperaturf")
    with pytest.raises(DamagedError):  # its checksum
        loads(data)


def test_modules_are_no_classes() -> None:
    assert isinstance(kinds, types.ModuleType)
    with pytest.raises(Unstorable, match="is a module"):
        dumps(kinds)
