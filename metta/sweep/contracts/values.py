"""Values against their annotations, while a pipeline runs.

The shell is ours: records, TypedDicts and Protocols are checked field by field, of containers the first
and the last element, so the cost is O(fields) and the verdict is the same in every run. What is left at
the leaves (array types with an element type, for instance) is beartype's, with the numeric tower on:
int is a float, bool is an int. What cannot be known is accepted.
"""

from __future__ import annotations

import collections.abc
from collections import Counter, deque
from collections.abc import Iterable, KeysView, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ForwardRef,
    Literal,
    LiteralString,
    Never,
    NewType,
    NoReturn,
    Self,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

from typing_extensions import TypeAliasType

from metta.sweep.contracts.hints import substitute
from metta.sweep.contracts.records import (
    QUALIFIERS,
    Family,
    family_of,
    is_protocol,
    protocol_members,
    record_fields,
)
from metta.sweep.contracts.summary import brief
from metta.sweep.contracts.summary import summarize as summarize

# `get_origin` answers with a class for these, but they are none that a value could be an instance of.
_CLASSES_OF_FORMS = (UnionType, Annotated)

# Deeper structures (a linked list of records) are accepted from here on: the stack is finite.
_MAX_DEPTH = 64


def check_value(value: object, tp: Any, *, deep: bool = False, path: str = "") -> str | None:
    """What is wrong with a value, in one short sentence; None where it fits its type.

    Args:
        value: never changed, and iterators are never advanced.
        tp: a resolved annotation; `Any`, `object`, type variables and forward references fit everything.
        deep: look at every element of a container, not only the first and the last (sets always whole:
            they have no first element).
        path: what the value is called in the sentence: `results` gives `results["a"]: expected float, ...`.
    """
    return _check(value, tp, _At(path, deep))


@dataclass(frozen=True, slots=True)
class _At:
    """Where in the value the check stands."""

    path: str
    deep: bool
    depth: int = 0

    def attribute(self, name: str) -> _At:
        return _At(f"{self.path}.{name}" if self.path else name, self.deep, self.depth + 1)

    def item(self, key: object) -> _At:
        return _At(f"{self.path}[{brief(key)}]", self.deep, self.depth + 1)

    def key(self, key: object) -> _At:
        of = f" of {self.path}" if self.path else ""
        return _At(f"key {brief(key)}{of}", self.deep, self.depth + 1)

    def member(self) -> _At:
        of = f" of {self.path}" if self.path else ""
        return _At(f"an element{of}", self.deep, self.depth + 1)

    def again(self) -> _At:
        """The same place, one level deeper: an alias may stand for itself."""
        return _At(self.path, self.deep, self.depth + 1)

    def expected(self, tp: Any, value: object) -> str:
        from metta.sweep.contracts.assignable import describe

        return self.say(f"expected {describe(tp)}, found {summarize(value, 100)}")

    def say(self, text: str) -> str:
        return f"{self.path}: {text}" if self.path else text


def _check(value: object, tp: Any, at: _At) -> str | None:
    if tp is Any or tp is object or at.depth > _MAX_DEPTH:
        return None
    if isinstance(tp, type):
        return _check_class(value, tp, tp, at)
    origin = get_origin(tp)
    if isinstance(origin, type) and origin not in _CLASSES_OF_FORMS:
        return _check_generic(value, tp, origin, at)
    return _check_form(value, tp, origin, at)


def _check_class(value: object, tp: Any, cls: type, at: _At) -> str | None:
    """A class: its instances, its promotions, and the fields of a record or Protocol."""
    if cls is float or cls is complex:
        # PEP 484's numeric tower; bool is an int.
        fits = isinstance(value, (int, float) if cls is float else (int, float, complex))
        return None if fits else at.expected(tp, value)
    family = family_of(cls)
    if family is Family.TYPED_DICT:
        return _check_keys(value, tp, at)
    if is_protocol(cls):
        return _check_protocol(value, tp, at)
    if not _is_instance(value, cls):
        return at.expected(tp, value)
    if family is None:
        return None
    for name, field in (record_fields(tp) or {}).items():
        # A field that was never set (init=False) has no value to be wrong.
        if field.readable and hasattr(value, name):
            wrong = _check(getattr(value, name), field.type, at.attribute(name))
            if wrong is not None:
                return wrong
    return None


def _is_instance(value: object, cls: type) -> bool:
    try:
        return isinstance(value, cls)
    except Exception:  # a metaclass that refuses: nothing is known
        return True


def _check_keys(value: object, tp: Any, at: _At) -> str | None:
    if not isinstance(value, Mapping):
        return at.expected(tp, value)
    for name, field in (record_fields(tp) or {}).items():
        if name in value:
            wrong = _check(value[name], field.type, at.item(name))
            if wrong is not None:
                return wrong
        elif field.required:
            return at.say(f'missing key "{name}", found {summarize(value, 100)}')
    return None


def _check_protocol(value: object, tp: Any, at: _At) -> str | None:
    attributes, methods = protocol_members(tp)
    for name in (*attributes, *methods):
        if not hasattr(value, name):
            return at.say(f"missing attribute {name}, found {summarize(value, 100)}")
    for name, form in attributes.items():
        wrong = _check(getattr(value, name), form, at.attribute(name))
        if wrong is not None:
            return wrong
    return None


def _check_generic(value: object, tp: Any, origin: Any, at: _At) -> str | None:
    """A class with arguments: `list[int]`, `dict[str, float]`, `Box[int]`, `type[Model]`, `NDArray[...]`."""
    arguments = get_args(tp)
    if origin is collections.abc.Callable:
        return None if callable(value) else at.expected(tp, value)
    if origin is type:
        return None if not arguments or _fits_class(value, arguments[0]) else at.expected(tp, value)
    if origin is tuple:
        return _check_tuple(value, tp, arguments, at)
    if family_of(origin) is not None or is_protocol(origin):
        return _check_class(value, tp, origin, at)
    if not _is_instance(value, origin):
        return at.expected(tp, value)
    if origin.__module__ not in ("builtins", "collections", "collections.abc"):
        return _check_leaf(value, tp, at)
    if issubclass(origin, Mapping):
        if origin is Counter:
            arguments = (*arguments, int)
        return _check_mapping(value, arguments[0], arguments[1], at) if len(arguments) == 2 else None
    # One argument: the elements. Generators and coroutines have more, and are never advanced.
    return _check_elements(value, arguments[0], at) if len(arguments) == 1 else None


def _check_tuple(value: object, tp: Any, arguments: tuple[Any, ...], at: _At) -> str | None:
    if not isinstance(value, tuple):
        return at.expected(tp, value)
    if len(arguments) == 2 and arguments[1] is ...:
        return _check_elements(value, arguments[0], at)
    if any(getattr(argument, "__unpacked__", False) for argument in arguments):
        return _check_leaf(value, tp, at)
    if len(value) != len(arguments):
        # A bare `typing.Tuple` has no arguments and any length; `tuple[()]` has none and is empty.
        return None if not arguments and tp != tuple[()] else at.expected(tp, value)
    return _first(_check(value[i], form, at.item(i)) for i, form in enumerate(arguments))


def _check_mapping(value: Any, key: Any, item: Any, at: _At) -> str | None:
    for each in value if at.deep else _ends(value):
        wrong = _check(each, key, at.key(each)) or _check(value[each], item, at.item(each))
        if wrong is not None:
            return wrong
    return None


def _check_elements(value: Any, form: Any, at: _At) -> str | None:
    if isinstance(value, (Sequence, deque)):
        count = len(value)
        indices = range(count) if at.deep or count < 3 else (0, count - 1)
        return _first(_check(value[i], form, at.item(i)) for i in indices)
    if isinstance(value, (Mapping, KeysView)):
        return _first(_check(each, form, at.key(each)) for each in (value if at.deep else _ends(value)))
    if isinstance(value, Set):
        # Its order changes from run to run, so only the whole of it gives the same verdict in each.
        return _first(_check(each, form, at.member()) for each in value)
    return None


def _ends(value: Any) -> list[object]:
    """The first key and, where the order can be walked backwards, the last."""
    first = list(islice(value, 1))
    # Mapping itself sets `__reversed__ = None`: it promises no order.
    if len(value) < 2 or getattr(type(value), "__reversed__", None) is None:
        return first
    return [*first, next(reversed(value))]


def _first(verdicts: Iterable[str | None]) -> str | None:
    return next((wrong for wrong in verdicts if wrong is not None), None)


def _fits_class(value: object, form: Any) -> bool:
    """Whether a value is one of the classes that `type[form]` means."""
    found = get_origin(value) or value
    if not isinstance(found, type):
        return False
    if get_origin(form) in (Union, UnionType):
        return any(_fits_class(value, member) for member in get_args(form))
    wanted = get_origin(form) or form
    if form is Any or not isinstance(wanted, type) or is_protocol(wanted):
        return True
    return issubclass(found, wanted)


def _check_form(value: object, tp: Any, origin: Any, at: _At) -> str | None:
    """Everything that is no class: unions, literals, wrappers, and what cannot be known."""
    if tp is None:
        return None if value is None else at.expected(tp, value)
    if origin is Union or origin is UnionType:
        return _check_union(value, tp, at)
    if origin is Literal:
        fits = any(type(value) is type(it) and value == it for it in get_args(tp))
        return None if fits else at.expected(tp, value)
    if origin is Annotated or origin in QUALIFIERS:
        return _check(value, get_args(tp)[0], at)
    if isinstance(tp, NewType):
        return _check(value, tp.__supertype__, at)
    if isinstance(tp, TypeAliasType):
        return _check(value, tp.__value__, at.again())
    if isinstance(origin, TypeAliasType):
        arguments = dict(zip(origin.__type_params__, get_args(tp), strict=False))
        return _check(value, substitute(origin.__value__, arguments), at.again())
    if tp is Never or tp is NoReturn:
        return at.expected(tp, value)
    if tp is LiteralString:
        return _check(value, str, at)
    if tp is Self or isinstance(tp, (TypeVar, ForwardRef, str)):
        return None
    return _check_leaf(value, tp, at)


def _check_union(value: object, tp: Any, at: _At) -> str | None:
    inside = []
    for member in get_args(tp):
        wrong = _check(value, member, at)
        if wrong is None:
            return None
        if member is not NoneType and wrong != at.expected(member, value):
            inside.append(wrong)
    # `list[X] | None` with a list: what is wrong inside it says more than the union.
    return inside[0] if len(inside) == 1 and value is not None else at.expected(tp, value)


def _check_leaf(value: object, tp: Any, at: _At) -> str | None:
    from beartype import BeartypeConf
    from beartype.door import is_bearable

    try:
        fits = is_bearable(value, tp, conf=BeartypeConf(is_pep484_tower=True))
    except Exception:  # no annotation beartype knows: nothing is known
        return None
    return None if fits else at.expected(tp, value)
