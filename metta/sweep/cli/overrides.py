"""Settings, `a.b=value`: from texts of the command line to values of the declared types. Pure."""

from __future__ import annotations

import inspect
import json
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from enum import Enum
from pathlib import Path, PurePath
from types import SimpleNamespace
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from metta.sweep.contracts.assignable import describe
from metta.sweep.contracts.diagnostics import nearest
from metta.sweep.contracts.records import build, record_fields
from metta.sweep.contracts.values import check_value
from metta.sweep.errors import UsageError

T = TypeVar("T")

_TRUE = {"true": True, "yes": True, "on": True, "1": True}
_FALSE = {"false": False, "no": False, "off": False, "0": False}
_BOOLS = _TRUE | _FALSE
_NONE = ("none", "null", "~")

_LISTS: dict[Any, Callable[[list[Any]], Any]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    Sequence: list,
    Iterable: list,
    AbstractSet: frozenset,
}


class _Unfit(ValueError):
    """The text is no value of the type; `hint` says what to write instead, where something is near."""

    def __init__(self, hint: str = "") -> None:
        super().__init__(hint)
        self.hint = hint


def split_overrides(texts: Iterable[str]) -> dict[str, str]:
    """`["a.b=1", ...]` as path -> text; of two for one path the last counts.

    Raises:
        UsageError: one has no "=", or a path is none.
    """
    found: dict[str, str] = {}
    for text in texts:
        path, sign, value = text.partition("=")
        path = path.strip()
        if not sign or not all(part.isidentifier() for part in path.split(".")):
            raise UsageError(f"{text}: expected name=value, such as optimizer.seed=7")
        found.pop(path, None)
        found[path] = value
    return found


def parse(path: str, text: str, tp: Any) -> Any:
    """The value that `text` stands for.

    Args:
        path: what it is for, for messages.
        text: of the command line.
        tp: the declared type, resolved; None or Any where nothing is declared: then what looks like a number, a bool,
            None or JSON is one, and everything else is a text.

    Raises:
        UsageError: the text is no value of this type; the message says what was expected and found.
    """
    try:
        value = _parsed(text, tp)
    except _Unfit as error:
        hint = f" ({error.hint})" if error.hint else ""
        raise UsageError(f"{path}={text}: expected {_shown(tp)}, found {text!r}{hint}") from None
    if tp is not None and (wrong := check_value(value, tp, deep=True, path=path)) is not None:
        raise UsageError(f"{path}={text}: {wrong}")
    return value


def _shown(tp: Any) -> str:
    return f"one of {', '.join(tp.__members__)}" if isinstance(tp, type) and issubclass(tp, Enum) else describe(tp)


def _parsed(text: str, tp: Any) -> Any:
    origin = get_origin(tp)
    if origin is Annotated:
        return _parsed(text, get_args(tp)[0])
    if tp is None or tp is Any or tp is object or isinstance(tp, TypeVar):
        return guessed(text)
    if origin in (Union, types.UnionType):
        return _of_union(text, get_args(tp))
    if origin is Literal:
        return _chosen(text, {str(value): value for value in get_args(tp)})
    if isinstance(tp, type) and origin is None:
        if issubclass(tp, Enum):
            return _of_enum(text, tp)
        if issubclass(tp, PurePath):
            return tp(text)
        if tp in _SCALARS:
            return _SCALARS[tp](text)
    if (origin or tp) in _LISTS:
        return _of_list(text, origin or tp, get_args(tp))
    if (origin or tp) in (dict, Mapping):
        return _of_mapping(text, get_args(tp))
    return _of_record(text, tp)


def guessed(text: str) -> Any:
    """A value for which nothing is declared: a bool, None, a number or JSON if it looks so, else the text."""
    plain = text.strip().lower()
    if plain in ("true", "false"):
        return plain == "true"
    if plain in _NONE:
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    try:
        return json.loads(text)
    except ValueError:
        return text


def _of_bool(text: str) -> bool:
    return _chosen(text.strip().lower(), _BOOLS, "write true or false")


def _of_int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        pass
    value = _of_float(text)  # 1e6 is a number of steps that people write
    if not value.is_integer():
        raise _Unfit
    return int(value)


def _of_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _Unfit from None


def _of_none(text: str) -> None:
    if text.strip().lower() not in _NONE:
        raise _Unfit


_SCALARS: dict[Any, Callable[[str], Any]] = {
    bool: _of_bool,
    int: _of_int,
    float: _of_float,
    complex: lambda text: complex(_of_float(text)),
    str: str,
    types.NoneType: _of_none,
}


def _of_union(text: str, members: Sequence[Any]) -> Any:
    """The first member that fits; a text fits everything, so it comes last."""
    if float in members and not text.strip().lstrip("+-").isdigit():
        members = [member for member in members if member is not int]  # 1.0 is a float where it may be one
    hints = []
    for member in sorted(members, key=lambda tp: (tp is str, tp is not types.NoneType)):
        try:
            return _parsed(text, member)
        except _Unfit as error:
            hints.append(error.hint)
    raise _Unfit(next(filter(None, hints), ""))


def _chosen(text: str, known: Mapping[str, T], hint: str = "") -> T:
    if text in known:
        return known[text]
    near = nearest(text, list(known))
    raise _Unfit(hint or (f'did you mean "{near}"?' if near else ""))


def _of_enum(text: str, tp: type[Enum]) -> Enum:
    return _chosen(text, {**{str(member.value): member for member in tp}, **tp.__members__})


def _of_list(text: str, kind: Any, arguments: Sequence[Any]) -> Any:
    """JSON, or what stands between commas: `[1, 2]` and `1,2` are the same."""
    try:
        items = json.loads(text)
    except ValueError:
        inner = text.strip().removeprefix("[").removesuffix("]")
        items = [part.strip() for part in inner.split(",")] if inner.strip() else []
    if not isinstance(items, list):
        items = [items]
    if kind is tuple and arguments and Ellipsis not in arguments:
        if len(arguments) != len(items):
            raise _Unfit(f"{len(arguments)} values, found {len(items)}")
        types_ = arguments
    else:
        types_ = [arguments[0] if arguments else None] * len(items)
    try:
        return _LISTS[kind]([_converted(item, tp) for item, tp in zip(items, types_, strict=True)])
    except TypeError:  # a list in a set, say
        raise _Unfit from None


def _of_mapping(text: str, arguments: Sequence[Any]) -> dict[Any, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        raise _Unfit('write JSON, such as {"a": 1}') from None
    if not isinstance(found, dict):
        raise _Unfit('write JSON, such as {"a": 1}')
    key, value = arguments or (None, None)
    return {_converted(name, key): _converted(item, value) for name, item in found.items()}


def _converted(item: Any, tp: Any) -> Any:
    """An element of JSON as a value of its type; a text is read as if it stood alone."""
    return _parsed(item, tp) if isinstance(item, str) else _parsed(json.dumps(item), tp)


def _of_record(text: str, tp: Any) -> Any:
    """A NamedTuple, a dataclass, a TypedDict, a pydantic model, ... from JSON."""
    fields = record_fields(tp)
    if fields is None:
        raise _Unfit("a value of this type cannot be written on a command line")
    given = _of_mapping(text, ())
    values = {}
    for name, item in given.items():
        if name not in fields:
            near = nearest(name, list(fields))
            raise _Unfit(f'it has no "{name}"' + (f', did you mean "{near}"?' if near else ""))
        try:
            values[name] = _converted(item, fields[name].type)
        except _Unfit:
            raise _Unfit(f"{name}: expected {_shown(fields[name].type)}, found {item!r}") from None
    try:
        return build(tp, values)
    except (TypeError, ValueError) as error:  # pydantic's ValidationError is a ValueError
        raise _Unfit(" ".join(str(error).split())[:200]) from None


def resolved(holder: Any, *names: str) -> dict[str, Any]:
    """The types that a class or function declares; without those whose names are there for type checkers only.

    Args:
        names: of attributes or parameters; none for all.
    """
    namespace = vars(sys.modules.get(getattr(holder, "__module__", ""), types))
    found: dict[str, Any] = {}
    for name, annotation in inspect.get_annotations(holder).items():
        if not names or name in names:
            with suppress(NameError, TypeError, AttributeError, SyntaxError):
                one = SimpleNamespace(__annotations__={name: annotation})
                found.update(get_type_hints(one, getattr(holder, "__globals__", namespace)))
    return found


def type_of_attribute(owner: object, name: str) -> Any:
    """The declared type of an attribute: in its class, or of the parameter of `__init__` that has its name; else that
    of its value, where it is a plain one; None where nothing says.
    """
    cls = type(owner)
    for holder in (*cls.__mro__, cls.__init__):
        if name in (found := resolved(holder, name)):
            return found[name]
    value = getattr(owner, name, None)
    if type(value) is int:
        return int | float  # `rate = 1` was not meant to exclude 0.5
    return type(value) if isinstance(value, bool | float | str | Enum | Path) else None
