"""What the plugin writes into mypy's types comes back from them, from copies of them, and in another run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from mypy.nodes import Block, ClassDef, IntExpr, SymbolTable, TypeInfo
from mypy.types import AnyType, CallableType, Instance, TupleType, Type, TypeOfAny

from metta.sweep.contracts.flow import Field, Keyword, PersistentMap, Positional, Setting, State
from metta.sweep.contracts.signature import Kind, Parameter, Signature
from metta_mypy.facts import Facts
from metta_mypy.pipeline_types import KEPT
from metta_mypy.point import Inputs, Pending, Point
from metta_mypy.wording import Argument


def _class(name: str) -> TypeInfo:
    info = TypeInfo(SymbolTable(), ClassDef(name, Block([])), "builtins")
    info._fullname = f"builtins.{name}"
    info.mro = [info]
    return info


_CLASSES = {name: _class(name) for name in ("int", "str", "list", "object", "tuple", "function")}


def _named(fullname: str, args: list[Type]) -> Instance:
    return Instance(_CLASSES[fullname.removeprefix("builtins.")], args)


def _int() -> Instance:
    return _named("builtins.int", [])


_TYPES: Sequence[Type | None] = (
    None,
    _int(),
    _int(),
    _named("builtins.str", []),
    _named("builtins.list", [_int()]),
    AnyType(TypeOfAny.from_error),
)


def _copy(holder: TupleType) -> TupleType:
    """As mypy copies the type of a variable: other objects, the same types."""
    inside = holder.partial_fallback.args[0]
    assert isinstance(inside, CallableType)
    copied = inside.copy_modified(arg_types=list(inside.arg_types))
    return holder.copy_modified(fallback=_named("builtins.tuple", [copied]))


def _shown(value: object) -> str:
    """A value in words: points are compared by identity."""
    if isinstance(value, PersistentMap):
        return f"map {_shown(dict(value.items()))}"
    if isinstance(value, Mapping):
        return str({name: _shown(item) for name, item in value.items()})
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return str([_shown(item) for item in value])
    names = getattr(value, "__slots__", None) or getattr(value, "_fields", None)
    if names and not isinstance(value, Type):
        return f"{type(value).__name__}({', '.join(_shown(getattr(value, name)) for name in names)})"
    return f"{type(value).__name__} {value}"


def _digest(holder: TupleType) -> object:
    mark = holder.items[0]
    assert isinstance(mark, Instance)
    assert mark.extra_attrs is not None
    return mark.extra_attrs.immutable


_fields = st.builds(Field, st.sampled_from(_TYPES), st.booleans(), st.sampled_from(["", 'the loop at "é" ends\n']))
_steps = st.lists(st.tuples(st.sampled_from(["a", "b", "c", 'd"']), _fields), max_size=8)


def _chain(steps: Sequence[tuple[str, Field[Type]]]) -> list[Point]:
    """The points of a chain in which each step sets one field."""
    start = State(PersistentMap[Field[Type]]().set("a", Field(_int())))
    point = Point(start, Inputs(Keyword({"a": _int()}), {"b": None}), start)
    found = [point]
    for number, (name, field) in enumerate(steps):
        names = point.names.set(f"stage {number}", True)
        point = point.behind(State(point.state.fields.set(name, field)), names, "stage 0")
        found.append(point)
    return found


@settings(max_examples=100, derandomize=True, deadline=None)
@given(_steps, st.booleans())
def test_what_is_written_is_read_by_whoever_has_never_seen_it(
    steps: list[tuple[str, Field[Type]]], is_distinct: bool
) -> None:
    writer = Facts(KEPT)
    points = _chain(steps)
    held = [writer.write(point, _named, is_distinct=is_distinct) for point in points]
    reader = Facts(KEPT)
    found = [reader.read(holder) for holder in held]
    assert [_shown(it) for it in found] == [_shown(it) for it in points]
    # A field is one object in all points that have it, and another one as soon as it is set again.
    for (before, after), (seen_before, seen_after) in zip(pairwise(points), pairwise(found), strict=True):
        for name, field in after.state.fields.items():
            is_kept = before.state.fields.get(name) is field
            assert (seen_before.state.fields.get(name) is seen_after.state.fields.get(name)) == is_kept


def test_a_copy_of_a_type_gives_the_same_object() -> None:
    facts = Facts(KEPT)
    point = _chain([("b", Field(_int()))])[-1]
    assert facts.read(_copy(facts.write(point, _named))) is point
    # The text alone does not say it: in a subclass of a generic class other types stand beside it.
    other = _copy(facts.write(point, _named))
    inside = other.partial_fallback.args[0]
    assert isinstance(inside, CallableType)
    inside.arg_types = [_named("builtins.str", []) for _ in inside.arg_types]
    found = facts.read(other)
    assert found.state.fields.get("b").type == _named("builtins.str", [])


def test_an_equal_field_that_is_set_again_is_another_one() -> None:
    facts = Facts(KEPT)
    kept, again = _chain([("b", Field(_int()))])[-1], _chain([("b", Field(_int()))])[-1]
    first = facts.write(kept, _named)
    fields = kept.state.fields.set("a", Field(_int()))
    changed = kept.at(State(fields))
    second = facts.write(changed, _named)
    assert _digest(first) != _digest(second)
    reader = Facts(KEPT)
    before, after = reader.read(first), reader.read(second)
    assert before.state.fields.get("a") is not after.state.fields.get("a")
    assert before.state.fields.get("b") is after.state.fields.get("b")
    # What another run, or another pipeline, has written looks the same to the daemon.
    assert _digest(facts.write(again, _named)) == _digest(first)


def test_types_without_arguments_are_kept_once_and_others_as_they_are() -> None:
    facts = Facts(KEPT)
    wrong = AnyType(TypeOfAny.from_error)
    fields = [Field[Type](tp) for tp in (_int(), _int(), wrong, AnyType(TypeOfAny.explicit))]
    state = State(PersistentMap.of({f"y{number}": field for number, field in enumerate(fields)}))
    holder = facts.write(Point(state), _named)
    inside = holder.partial_fallback.args[0]
    assert isinstance(inside, CallableType)
    assert len(inside.arg_types) == 3
    found = Facts(KEPT).read(holder).state.fields
    assert [field.type for _, field in found.items()] == [field.type for field in fields]
    assert found.get("y2").type is wrong


def test_expressions_stay_behind_and_all_else_of_a_waiting_stage_comes_back() -> None:
    facts = Facts(KEPT)
    before = _chain([])[0]
    parameter: Parameter[Type] = Parameter("x", Kind.KEYWORD_ONLY, _int(), True)
    signature = Signature("train", (parameter,), _int(), True)
    setting = Setting(Argument(_int(), "3", IntExpr(3)), None, "stage")
    pending = Pending(before, "train", signature, {"x": setting}, over="xs", ends={"left": before.state})
    point = before.waiting(pending)
    for holder in (facts.write(point, _named), facts.write(point, _named)):
        found = facts.read(holder)
        value = found.pending.settings["x"].value
        assert value.expr is None
        assert _shown(found.pending.signature) == _shown(signature)
        assert found.pending.over == "xs"
        assert _shown(found.pending.ends["left"]) == _shown(before.state)


def test_what_is_held_is_read_from_that_object_alone() -> None:
    facts = Facts(KEPT)
    point = Point(State(), Inputs(Positional(_int())))
    holder = facts.hold(point, _named)
    assert facts.read(holder) is point
    facts.clear()
    assert facts.read(holder) is None
