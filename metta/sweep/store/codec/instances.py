"""Records and enum members taken apart, and put together again without running their code.

A record is rebuilt as pickle would: an empty instance whose attributes are set. Its `__init__`, `__post_init__` and
validators do not run, so the value is exactly the one that was stored, `init=False` fields included, and reading a
file runs nothing of the user's but the defaults of fields that the class has gained since.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, Flag
from typing import Any, Final
from weakref import WeakKeyDictionary

from metta.sweep.contracts.records import Family, family_of, record_fields
from metta.sweep.errors import RefusedError
from metta.sweep.store.codec.place import CannotStore

UNSET: Final = object()
"""Stands for a field that an instance does not have."""

# attrs keeps a hash here, which is another one in another process.
_CACHED_HASH: Final = "_attrs_cached_hash"


@dataclass(frozen=True, slots=True)
class Layout:
    """What the instances of a record class keep.

    Args:
        names: the fields that an instance keeps, in their order.
        slots: attributes in `__slots__` that are no fields.
        unstorable: why no instance can be stored; "" where it can.
    """

    family: Family
    names: tuple[str, ...]
    slots: tuple[str, ...] = ()
    unstorable: str = ""


_LAYOUTS: WeakKeyDictionary[type, Layout] = WeakKeyDictionary()


def layout_of(cls: type) -> Layout | None:
    """The layout of a record class; None for anything else, a TypedDict too, whose values are dicts."""
    known = _LAYOUTS.get(cls)
    if known is None:
        family = family_of(cls)
        if family is None or family is Family.TYPED_DICT:
            return None
        known = _LAYOUTS[cls] = _layout(cls, family)
    return known


def _layout(cls: type, family: Family) -> Layout:
    names = tuple(name for name, field in (record_fields(cls) or {}).items() if field.readable)
    if family in (Family.NAMED_TUPLE, Family.PYDANTIC):
        return Layout(family, names)
    try:
        object.__new__(cls)
    except TypeError:
        return Layout(family, names, unstorable="is built on a class that keeps more than its fields")
    network = getattr(getattr(sys.modules.get("torch"), "nn", None), "Module", ())
    if issubclass(cls, network):
        return Layout(family, names, unstorable="is a torch.nn.Module; store its state_dict()")
    declared = [slot for base in cls.__mro__ for slot in _slots(base)]
    return Layout(family, names, tuple(dict.fromkeys(slot for slot in declared if slot not in names)))


def _slots(base: type) -> list[str]:
    slots = base.__dict__.get("__slots__", ())
    listed = [slots] if isinstance(slots, str) else [slot for slot in slots if isinstance(slot, str)]
    mangled = [f"_{base.__name__.lstrip('_')}{it}" if it[:2] == "__" != it[-2:] else it for it in listed]
    return [slot for slot in mangled if slot not in ("__dict__", "__weakref__", _CACHED_HASH)]


def take_apart(value: Any, layout: Layout) -> tuple[list[object], dict[str, object]]:
    """The values of the fields, UNSET where there is none, and whatever else the instance keeps, by name.

    Raises:
        CannotStore: instances of this class have no such form.
    """
    if layout.unstorable:
        raise CannotStore(layout.unstorable)
    if layout.family is Family.NAMED_TUPLE:
        if getattr(value, "__dict__", None):
            raise CannotStore(f"has the attributes {', '.join(vars(value))} beside its fields; make them fields")
        return list(value), {}
    if layout.family is Family.PYDANTIC:
        return _take_model_apart(value, layout)
    fields = [getattr(value, name, UNSET) for name in layout.names]
    kept: dict[str, object] = getattr(value, "__dict__", {})
    rest = {}
    if len(kept) != len(layout.names) or kept.keys() != set(layout.names):
        rest = {name: it for name, it in kept.items() if name not in layout.names and not _is_derived(value, name)}
        if _CACHED_HASH in rest:
            rest[_CACHED_HASH] = None
    for name in layout.slots:
        if (it := getattr(value, name, UNSET)) is not UNSET:
            rest[name] = it
    return fields, rest


def _is_derived(value: object, name: str) -> bool:
    """A `cached_property`, which is computed again when it is asked for, or what `typing` leaves in `Box[int](...)`."""
    return name == "__orig_class__" or isinstance(getattr(type(value), name, None), functools.cached_property)


def _take_model_apart(value: Any, layout: Layout) -> tuple[list[object], dict[str, object]]:
    fields = [value.__dict__.get(name, UNSET) for name in layout.names]
    rest: dict[str, object] = {}
    given = value.__pydantic_fields_set__
    if given != set(layout.names):
        rest["given"] = sorted(given)
    if value.__pydantic_extra__:
        rest["extra"] = value.__pydantic_extra__
    private = value.__pydantic_private__
    if private:
        rest["private"] = {name: it for name, it in private.items() if not _is_undefined(it)}
    return fields, rest


def put_together(
    cls: Any, layout: Layout, stored: Sequence[str], values: Sequence[Any], rest: Mapping[str, Any]
) -> Any:
    """An instance of a record class.

    Args:
        stored: the fields the class had when the value was stored.
        values: theirs, UNSET where the instance had none.
        rest: what `take_apart` gave beside them.

    Raises:
        RefusedError: the class has lost a field since, or gained one without a default.
    """
    found = dict(zip(stored, values, strict=True))
    if tuple(stored) != layout.names:
        _check_lost(cls, layout, stored)
    given = [name for name, value in found.items() if value is not UNSET]
    gained = [name for name in layout.names if name not in found]
    if layout.family is Family.NAMED_TUPLE:
        found.update((name, _default(cls, layout.family, name, None)) for name in gained)
        return tuple.__new__(cls, [found[name] for name in layout.names])
    if layout.family is Family.PYDANTIC:
        found.update((name, _default(cls, layout.family, name, None)) for name in gained)
        return _put_model_together(cls, found, given, rest)
    value = object.__new__(cls)
    for name, item in found.items():
        if item is not UNSET:
            object.__setattr__(value, name, item)
    for name in gained:
        object.__setattr__(value, name, _default(cls, layout.family, name, value))
    for name, item in rest.items():
        if name in layout.slots:
            object.__setattr__(value, name, item)
        else:
            value.__dict__[name] = item
    if layout.family is Family.ATTRS and hasattr(cls, _CACHED_HASH):
        object.__setattr__(value, _CACHED_HASH, None)
    return value


def _put_model_together(cls: Any, found: Mapping[str, Any], given: Sequence[str], rest: Mapping[str, Any]) -> Any:
    value = cls.__new__(cls)
    defaults = {name: it.get_default() for name, it in cls.__private_attributes__.items()}
    private = {name: it for name, it in defaults.items() if not _is_undefined(it)} | dict(rest.get("private", {}))
    has_extra = cls.model_config.get("extra") == "allow"
    object.__setattr__(value, "__dict__", {name: it for name, it in found.items() if it is not UNSET})
    object.__setattr__(value, "__pydantic_fields_set__", set(rest.get("given", given)))
    object.__setattr__(value, "__pydantic_extra__", dict(rest.get("extra", {})) if has_extra else None)
    object.__setattr__(value, "__pydantic_private__", private if cls.__private_attributes__ else None)
    return value


def _is_undefined(value: object) -> bool:
    """Whether it is pydantic's mark for "no value"."""
    return type(value).__name__ == "PydanticUndefinedType"


def _check_lost(cls: type, layout: Layout, stored: Sequence[str]) -> None:
    lost = [name for name in stored if name not in layout.names]
    if lost:
        has = ", ".join(layout.names) or "none"
        raise RefusedError(
            f"a stored {cls.__qualname__} has the field {_quoted(lost)}, which the class no longer has (it has {has}): "
            "give it back, or run again from the start"
        )


def _default(cls: Any, family: Family, name: str, value: object) -> Any:
    """The default of a field that the stored value does not have yet."""
    match family:
        case Family.NAMED_TUPLE:
            default = cls._field_defaults.get(name, UNSET)
        case Family.DATACLASS:
            field = cls.__dataclass_fields__[name]
            default = UNSET if field.default is dataclasses.MISSING else field.default
            if field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
        case Family.ATTRS:
            attribute = next(it for it in cls.__attrs_attrs__ if it.name == name)
            default = attribute.default
            if default is sys.modules["attr"].NOTHING:
                default = UNSET
            elif isinstance(default, sys.modules["attr"].Factory):
                default = default.factory(value) if default.takes_self else default.factory()
        case _:
            field = cls.model_fields[name]
            default = UNSET if field.is_required() else field.get_default(call_default_factory=True)
    if default is UNSET:
        raise RefusedError(
            f'the class {cls.__qualname__} has gained the field "{name}", which a stored one does not have: '
            "give the field a default, or run again from the start"
        )
    return default


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


# Enum members


def member_node(member: Enum) -> dict[str, object]:
    """What tells a member from the others of its class: its name, or the number of combined flags."""
    if isinstance(member, Flag) and member.name not in type(member).__members__:
        return {"flags": hex(member.value)}
    return {"name": member.name}


def member_of(cls: type[Enum], node: Mapping[str, Any]) -> Enum:
    """The member of an enum class. RefusedError where the class no longer has it."""
    if "flags" in node:
        return cls(int(node["flags"], 16))
    members = cls.__members__
    if node["name"] not in members:
        raise RefusedError(
            f"a stored {cls.__qualname__} is {node['name']!r:.80}, which the class no longer has "
            f"(it has {', '.join(members)}): give it back, or run again from the start"
        )
    return members[node["name"]]
