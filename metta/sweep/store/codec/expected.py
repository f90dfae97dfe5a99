"""What the declared type of a value says about the classes in it.

Reading goes down a value and its type side by side. A type stands here as its *forms*: the members of its unions, with
aliases, `Annotated` and the like taken off; None where it says nothing (`Any`, `object`, a Protocol).
"""

from __future__ import annotations

import collections.abc
import sys
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from itertools import repeat
from types import NoneType, UnionType
from typing import Annotated, Any, Final, ForwardRef, Literal, NewType, TypeVar, Union, get_args, get_origin
from weakref import WeakKeyDictionary

from typing_extensions import TypeAliasType

from metta.sweep.contracts.hints import is_resolved, substitute
from metta.sweep.contracts.records import (
    QUALIFIERS,
    Family,
    family_of,
    is_protocol,
    is_record_type,
    record_fields,
)
from metta.sweep.errors import RefusedError, UsageError
from metta.sweep.store.codec.names import class_name, module_name

Forms = tuple[Any, ...] | None

_MAPPINGS: Final = (dict, OrderedDict, collections.abc.Mapping, collections.abc.MutableMapping)
_INTERFACES: Final = ("collections.abc", "typing")
# What a declared class also lets in (PEP 484, "The numeric tower").
_PROMOTED: Final = {float: (int,), complex: (int, float)}


def forms_of(tp: Any) -> Forms:
    """The forms of a type."""
    found: list[Any] = []
    return tuple(found) if _collect(tp, found, ()) else None


def _collect(tp: Any, found: list[Any], around: tuple[Any, ...]) -> bool:
    """Add the forms of a type; False where it says nothing."""
    if tp is Any or tp is object or isinstance(tp, str | ForwardRef) or len(around) > 50:
        return False
    origin = get_origin(tp)
    if origin is Union or origin is UnionType:
        return _collect_all(get_args(tp), found, around)
    if origin is Annotated or origin in QUALIFIERS:
        return _collect(get_args(tp)[0], found, around)
    if origin is Literal:
        found.extend({type(it) for it in get_args(tp)})
        return True
    if isinstance(tp, NewType):
        return _collect(tp.__supertype__, found, around)
    if isinstance(origin or tp, TypeAliasType):
        alias: Any = origin or tp
        arguments = dict(zip(alias.__type_params__, get_args(tp), strict=False))
        return _collect(substitute(alias.__value__, arguments), found, (*around, alias))
    if isinstance(tp, TypeVar):
        bounds = tp.__constraints__ or ((tp.__bound__,) if tp.__bound__ is not None else (Any,))
        return _collect_all(bounds, found, around)
    if is_protocol(tp):
        return False
    found.append(NoneType if tp is None else tp)
    return isinstance(origin or tp, type)


def _collect_all(types: tuple[Any, ...], found: list[Any], around: tuple[Any, ...]) -> bool:
    said = [_collect(it, found, around) for it in types]  # all of them, also behind one that says nothing
    return all(said)


def origin_of(form: Any) -> Any:
    """The class of a form: `list` of `list[int]`."""
    return get_origin(form) or form


def items_of(forms: Forms, length: int) -> Iterable[Forms]:
    """What the items of a list, tuple, set or deque of some length may be, one by one."""
    if forms is not None and any(origin_of(form) is tuple for form in forms):
        return (_item(forms, index) for index in range(length))
    return repeat(_item(forms, 0), length)


def _item(forms: Forms, index: int) -> Forms:
    found: list[Any] = []
    for form in forms or ():
        origin, arguments = origin_of(form), get_args(form)
        if origin is tuple and arguments and not (len(arguments) == 2 and arguments[1] is ...):
            if not all(isinstance(it, type) or get_origin(it) is not None for it in arguments):
                return None  # an unpacked part: the places of the others are not known
            arguments = arguments[index : index + 1] or (NoneType,)
        if _says_nothing(origin, arguments) or (arguments and not _collect(arguments[0], found, ())):
            return None
    return None if forms is None else tuple(found)


def keys_of(forms: Forms) -> Forms:
    """What the keys of a dict may be."""
    return _of_mapping(forms, 0, "")


def values_of(forms: Forms, key: object) -> Forms:
    """What a dict may have under a key."""
    return _of_mapping(forms, 1, key)


def _of_mapping(forms: Forms, position: int, key: object) -> Forms:
    found: list[Any] = []
    for form in forms or ():
        origin, arguments = origin_of(form), get_args(form)
        if family_of(origin) is Family.TYPED_DICT:
            field = (record_fields(form) or {}).get(key) if isinstance(key, str) else None
            if field is None or not _collect(field.type, found, ()):
                return None
        elif _says_nothing(origin, arguments) or (origin in _MAPPINGS and not _collect(arguments[position], found, ())):
            return None
    return None if forms is None else tuple(found)


def _says_nothing(origin: Any, arguments: tuple[Any, ...]) -> bool:
    """A container without type arguments, or an interface whose arguments mean something else."""
    if origin.__module__ in _INTERFACES and origin not in _MAPPINGS:
        return len(arguments) != 1
    return not arguments and origin in (list, tuple, set, frozenset, deque, *_MAPPINGS)


def fields_of(form: Any) -> Mapping[str, Forms]:
    """What the fields of a record may be."""
    known = _FIELDS.get(form) if isinstance(form, type) else None
    if known is not None:
        return known
    fields = record_fields(form) or {}
    found = {name: forms_of(field.type) for name, field in fields.items()}
    # A name that is not there yet may be there at the next call.
    if isinstance(form, type) and all(is_resolved(field.type) for field in fields.values()):
        _FIELDS[form] = found
    return found


_FIELDS: WeakKeyDictionary[type, Mapping[str, Forms]] = WeakKeyDictionary()


def find_class(name: str, forms: Forms) -> Any:
    """The record or enum class of a stored value, as the type has it (with its type arguments).

    It is one that the type names, a loaded subclass of one, or where the type says nothing any that is loaded. No
    module is imported, and no module's `__getattr__` is asked. A class that moved to another module is found by the
    type that names it.

    Args:
        name: of `class_name`.

    Raises:
        UsageError: no such class is loaded.
        RefusedError: the type does not allow the class.
    """
    for form in forms or ():
        if class_name(origin_of(form)) == name:
            return form
    qualname = name.rpartition(":")[2]
    moved = [form for form in forms or () if origin_of(form).__qualname__ == qualname]
    if len(moved) == 1 and _is_own(moved[0]):
        return moved[0]
    cls = _loaded(name)
    if cls is None:
        raise UsageError(_not_loaded(name))
    if forms is not None:
        allowed: list[type] = [origin_of(form) for form in forms]
        allowed = [it for it in allowed if family_of(it) is not Family.TYPED_DICT]  # they allow no such question
        allowed += [it for base in allowed for it in _PROMOTED.get(base, ())]
        if not issubclass(cls, tuple(allowed)):
            expected = " | ".join(getattr(it, "__qualname__", repr(it)) for it in forms) or "no class"
            raise RefusedError(f"the stored value is a {name}, where {expected} is expected")
    return cls


def _not_loaded(name: str) -> str:
    module, _, qualname = name.partition(":")
    told = f"the stored value is a {qualname:.200} of the module {module:.200}"
    if module not in sys.modules:
        return f"{told}, which is not loaded here: import {module:.200} first"
    if "<locals>" in qualname:
        return f"{told}, a class of a function's body, which is not found by its name: define it at the module's level"
    return f"{told}, which has no such record or enum (any more): give it back, or run again from the start"


def _loaded(name: str) -> type | None:
    """The loaded record or enum class of a name."""
    module, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module)
    if found is None and module_name("__main__") == module:
        found = sys.modules.get("__main__")
    for part in qualname.split("."):
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    if isinstance(found, type) and _is_own(found):
        return found
    # One of a function's body, or of a script on its way to a worker: no module has it.
    same = [cls for cls in _classes() if cls.__qualname__ == qualname and class_name(cls) == name and _is_own(cls)]
    return same[0] if len(same) == 1 else None


def _is_own(form: Any) -> bool:
    """Whether a class is one whose values are stored by its name: a record or an enum."""
    cls = origin_of(form)
    return (issubclass(cls, Enum) or is_record_type(cls)) and family_of(cls) is not Family.TYPED_DICT


def _classes() -> Iterator[type]:
    """Every class there is."""
    seen: set[type] = set()
    waiting: list[type] = [object]
    while waiting:
        cls = waiting.pop()
        if cls not in seen:
            seen.add(cls)
            yield cls
            waiting += type.__subclasses__(cls)
