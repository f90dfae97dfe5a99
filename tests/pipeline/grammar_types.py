"""The types of random pipelines, what they mean, and values of them: written by hand, without the library's help."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from types import NoneType, UnionType
from typing import Any, NamedTuple, NotRequired, Protocol, TypedDict, get_args, get_origin

import attrs
import pydantic

from metta.sweep import Context


class Pair(NamedTuple):
    a: int
    b: str


class Scored(NamedTuple):
    b: str
    c: float


@dataclass(frozen=True)
class Sampled:
    a: int
    d: list[int]


@dataclass(frozen=True)
class Settled:
    """Has a default, so it can be built from `c` alone."""

    c: float
    b: str = "default"


@dataclass
class Computed:
    """Can be read, not rebuilt: `a` is no parameter."""

    b: str
    a: int = dataclasses.field(init=False, default=3)


class Options(TypedDict):
    a: int
    e: NotRequired[str]


class Table(TypedDict):
    d: list[int]
    b: str


@attrs.frozen
class Measured:
    c: float
    d: list[int]


class Modelled(pydantic.BaseModel):
    a: int
    c: float


class HasA(Protocol):
    @property
    def a(self) -> int: ...


class HasBC(Protocol):
    @property
    def b(self) -> str: ...
    @property
    def c(self) -> float: ...


class Member(NamedTuple):
    """A field of a record: `required` when read; `given`: the constructor asks for it (None: does not take it)."""

    type: Any
    required: bool = True
    given: bool | None = True


RECORDS: Mapping[Any, Mapping[str, Member]] = {
    Pair: {"a": Member(int), "b": Member(str)},
    Scored: {"b": Member(str), "c": Member(float)},
    Sampled: {"a": Member(int), "d": Member(list[int])},
    Settled: {"c": Member(float), "b": Member(str, True, False)},
    Computed: {"b": Member(str), "a": Member(int, True, None)},
    Options: {"a": Member(int), "e": Member(str, False, False)},
    Table: {"d": Member(list[int]), "b": Member(str)},
    Measured: {"c": Member(float), "d": Member(list[int])},
    Modelled: {"a": Member(int), "c": Member(float)},
}
PROTOCOLS: Mapping[Any, Mapping[str, Any]] = {HasA: {"a": int}, HasBC: {"b": str, "c": float}}
UNREPLACEABLE = frozenset([Computed])
KEYED = frozenset([Options, Table])
"""The TypedDicts."""

NATURAL: Mapping[str, Any] = {
    "a": int,
    "b": str,
    "c": float,
    "d": list[int],
    "e": str,
    "x": int,
    "y": float,
    "z": int | str,
    "w": list[str],
}
"""The type each field name usually has, so that most random pipelines are right."""

TYPES: tuple[Any, ...] = (int, str, float, list[int], list[str], int | str, *RECORDS)


def members(tp: Any) -> tuple[Any, ...]:
    """The members of a union; any other type is its own only one."""
    if get_origin(tp) is UnionType or isinstance(tp, UnionType):
        return get_args(tp)
    return (tp,)


def union(types: Any) -> Any:
    """The union of some types."""
    return reduce(or_, dict.fromkeys(types))


def subtype(source: Any, target: Any) -> bool:
    """Whether every value of `source` may stand where `target` is declared."""
    if target is object or source == target:
        return True
    if len(members(source)) > 1:
        return all(subtype(each, target) for each in members(source))
    if len(members(target)) > 1:
        return any(subtype(source, each) for each in members(target))
    if source is int and target is float:
        return True
    if target in PROTOCOLS:
        own = RECORDS.get(source, {}) if source not in KEYED else {}
        return all(name in own and subtype(own[name].type, tp) for name, tp in PROTOCOLS[target].items())
    if get_origin(source) is tuple and get_origin(target) is tuple:
        ours, theirs = get_args(source), get_args(target)
        return len(ours) == len(theirs) and all(map(subtype, ours, theirs))
    if get_origin(source) is None or get_origin(source) is not get_origin(target):
        return False
    return all(map(same, get_args(source), get_args(target)))


def same(one: Any, other: Any) -> bool:
    """Whether the two accept one another."""
    return subtype(one, other) and subtype(other, one)


def conforms(value: Any, tp: Any) -> bool:
    """Whether a value is one of the type."""
    if len(members(tp)) > 1:
        return any(conforms(value, each) for each in members(tp))
    if tp is object:
        return True
    if tp is float:
        return type(value) in (int, float)
    if tp in PROTOCOLS:
        return all(hasattr(value, name) and conforms(getattr(value, name), t) for name, t in PROTOCOLS[tp].items())
    if tp in RECORDS:
        kept = isinstance(value, dict) if tp in KEYED else type(value) is tp
        found = fields_of(value) if kept else {}
        return kept and all(
            conforms(found[n], m.type) if n in found else not m.required for n, m in RECORDS[tp].items()
        )
    origin, arguments = get_origin(tp), get_args(tp)
    if origin is list:
        return type(value) is list and all(conforms(item, arguments[0]) for item in value)
    if origin is dict:
        return type(value) is dict and all(conforms(item, arguments[1]) for item in value.values())
    if origin is tuple:
        return type(value) is tuple and len(value) == len(arguments) and all(map(conforms, value, arguments))
    return type(value) is tp


def fields_of(value: Any) -> dict[str, Any]:
    """The fields that a record or Context has set."""
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, Context):
        return value._asdict()
    return {name: getattr(value, name) for name in RECORDS[type(value)]}


def replaced(value: Any, changes: Mapping[str, Any]) -> Any:
    """A record with some fields changed."""
    if isinstance(value, dict):
        return {**value, **changes}
    if isinstance(value, pydantic.BaseModel):
        return value.model_copy(update=dict(changes))
    return type(value)(**{**fields_of(value), **changes})


def is_record(value: Any) -> bool:
    return isinstance(value, dict) or type(value) in RECORDS


def built(tp: Any, given: Mapping[str, Any]) -> Any:
    """An instance of a record class from those of the given fields that its constructor takes."""
    taken = {name: value for name, value in given.items() if RECORDS[tp][name].given is not None}
    return dict(taken) if tp in KEYED else tp(**taken)


def shown(value: Any) -> str:
    """The value as text in which the order of fields does not matter."""
    if isinstance(value, (Context, dict)):
        inside = ", ".join(f"{n}={shown(v)}" for n, v in sorted(fields_of(value).items()))
        return f"{'fields' if isinstance(value, Context) else 'dict'}({inside})"
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return f"{type(value).__name__}[{', '.join(map(shown, value))}]"
    return repr(value)


def digest(*parts: Any) -> int:
    """A number that depends on all parts."""
    return zlib.crc32("|".join(map(shown, parts)).encode())


def value_of(tp: Any, seed: int, keys: tuple[str, ...] = ()) -> Any:
    """Some value of the type; `keys` are those of a mapping."""
    options = members(tp)
    tp = options[seed % len(options)]
    if tp is None or tp is NoneType:
        return None
    if tp is int or tp is object:
        return seed % 97
    if tp is float:
        return seed % 97 + 0.5
    if tp is Context:
        return Context(k=seed)
    if tp in PROTOCOLS:
        return Context({name: value_of(t, digest(seed, name)) for name, t in PROTOCOLS[tp].items()})
    if tp is str:
        return f"s{seed % 97}"
    if tp is bytes:
        return b"x"
    if tp in RECORDS:
        wanted = {n: m for n, m in RECORDS[tp].items() if m.required or digest(seed, n) % 2}
        return built(tp, {n: value_of(m.type, digest(seed, n)) for n, m in wanted.items()})
    origin, arguments = get_origin(tp), get_args(tp)
    if origin is list:
        return [value_of(arguments[0], digest(seed, i)) for i in range(1 + seed % 2)]
    if origin is dict:
        return {key: value_of(arguments[1], digest(seed, key)) for key in keys}
    assert origin is tuple, tp
    return tuple(value_of(each, digest(seed, i)) for i, each in enumerate(arguments))
