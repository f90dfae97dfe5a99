"""Records among mypy's types: NamedTuple, dataclass, TypedDict, pydantic model, attrs class.

What mypy's own plugins have worked out stands in the metadata of a class, and is the same with a warm cache. A pydantic
model has that of pydantic's plugin, or of `dataclass_transform` without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mypy.expandtype import expand_self_type, expand_type_by_instance
from mypy.maptype import map_instance_to_supertype
from mypy.nodes import (
    ARG_STAR2,
    ArgKind,
    Decorator,
    FuncBase,
    FuncDef,
    OverloadedFuncDef,
    SymbolNode,
    TypeInfo,
    Var,
)
from mypy.types import (
    AnyType,
    CallableType,
    Instance,
    ProperType,
    TupleType,
    Type,
    TypedDictType,
    TypeOfAny,
    UnionType,
    get_proper_type,
)

from metta.sweep.contracts.records import PROTOCOL_OWN, Family, Member, why_not_rebuilt

BASE_MODEL = "pydantic.main.BaseModel"

_DATACLASS = "dataclass"
_PYDANTIC = "pydantic-mypy-metadata"


def family_of(tp: Type) -> Family | None:
    """The kind of record a type is; None for anything else, unions and type variables too."""
    proper = get_proper_type(tp)
    if isinstance(proper, TypedDictType):
        return Family.TYPED_DICT
    if isinstance(proper, TupleType):
        return Family.NAMED_TUPLE if _named_tuple_fields(proper.partial_fallback.type) is not None else None
    if not isinstance(proper, Instance):
        return None
    info = proper.type
    if info.has_base(BASE_MODEL):
        return Family.PYDANTIC if info.fullname != BASE_MODEL else None
    for base in info.mro:
        if _DATACLASS in base.metadata:
            return Family.DATACLASS
        if "attrs" in base.metadata:
            return Family.ATTRS
    return None


def fields_of(tp: Type) -> Mapping[str, tuple[Type, bool]] | None:
    """The fields an instance of the record keeps, name -> (type, required); None where it is no record.

    `required` is False for a `NotRequired` key of a TypedDict, and only there.
    """
    proper = get_proper_type(tp)
    if isinstance(proper, TypedDictType):
        return {name: (it, name in proper.required_keys) for name, it in proper.items.items()}
    members = _members(proper)
    return None if members is None else {name: (it.type, True) for name, it in members.items() if not it.init_only}


def constructor_of(tp: Type) -> Mapping[str, tuple[Type | None, bool]] | None:
    """What building the record takes, field name -> (type, has no default); None where it is no record.

    `init=False` fields are absent, `InitVar`s present. A parameter that is no field keeps its own name and has no type.
    """
    proper = get_proper_type(tp)
    family = family_of(proper)
    if family is None:
        return None
    if isinstance(proper, TypedDictType):
        return {name: (it, name in proper.required_keys) for name, it in proper.items.items()}
    members = _members(proper) or {}
    if family is Family.PYDANTIC:
        return {name: (it.type, not it.has_default) for name, it in members.items()}
    constructor = _constructor(proper)
    if constructor is None:
        return {name: (it.type, False) for name, it in members.items()}
    names = {it.alias: name for name, it in members.items()}
    found: dict[str, tuple[Type | None, bool]] = {}
    for parameter, kind in list(zip(constructor.names, constructor.kinds, strict=True))[1:]:
        if kind is ARG_STAR2:
            found |= {name: (it.type, False) for name, it in members.items() if it.init and name not in found}
        elif parameter is not None and not kind.is_star():
            name = names.get(parameter, parameter)
            found[name] = (members[name].type if name in members else None, kind.is_required())
    return found


def unreplaceable(tp: Type, name: str) -> str | None:
    """Why the field of the record (or of those in a union that have it) cannot be rebound; None where it can."""
    proper = get_proper_type(tp)
    items = proper.items if isinstance(proper, UnionType) else [proper]
    for item in items:
        family, members = family_of(item), _members(item) or {}
        if family is not None and name in members:
            why = why_not_rebuilt(family, members, constructor_of(item) or {})
            if why is not None:
                return why
    return None


def protocol_of(tp: Type) -> Mapping[str, Type] | None:
    """The attributes of a Protocol class, properties included.

    None where it is no Protocol, or where it has methods, which no field can stand for.
    """
    proper = get_proper_type(tp)
    if not isinstance(proper, Instance) or not proper.type.is_protocol:
        return None
    attributes: dict[str, Type] = {}
    for base in reversed(proper.type.mro):
        if not base.is_protocol:
            continue
        for name, symbol in base.names.items():
            node = symbol.node
            getter = _getter(node)
            if getter is not None:
                attributes[name] = _seen_from(proper, base, getter)
            elif isinstance(node, (FuncBase, Decorator)):
                if name not in PROTOCOL_OWN and not symbol.plugin_generated:
                    return None
            elif isinstance(node, Var) and not node.is_inferred:
                attributes[name] = _variable_type(proper, node)
    return attributes


def _getter(node: SymbolNode | None) -> Type | None:
    """The type of a property; None for any other node."""
    if isinstance(node, OverloadedFuncDef) and node.is_property:
        node = node.items[0]
    if not isinstance(node, Decorator) or not node.func.is_property:
        return None
    declared = node.func.type
    return declared.ret_type if isinstance(declared, CallableType) else AnyType(TypeOfAny.unannotated)


def _members(tp: Type) -> dict[str, Member[Type]] | None:
    """The fields as the class's library lists them, in their order; None where it is no record."""
    proper = get_proper_type(tp)
    match family_of(proper):
        case Family.TYPED_DICT:
            assert isinstance(proper, TypedDictType)
            return {name: Member(it, name) for name, it in proper.items.items()}
        case Family.NAMED_TUPLE:
            assert isinstance(proper, TupleType)
            names = _named_tuple_fields(proper.partial_fallback.type) or []
            return {name: Member(it, name) for name, it in zip(names, proper.items, strict=False)}
        case Family.DATACLASS:
            assert isinstance(proper, Instance)
            found = _declared(proper.type, _DATACLASS)
            return {
                name: Member(
                    _field_type(proper, name, bool(data["is_init_var"])),
                    data.get("alias") or name,
                    bool(data["is_in_init"]),
                    bool(data["is_init_var"]),
                )
                for name, data in found.items()
            }
        case Family.PYDANTIC:
            assert isinstance(proper, Instance)
            with_plugin = any(_PYDANTIC in base.metadata for base in proper.type.mro)
            found = _declared(proper.type, _PYDANTIC if with_plugin else _DATACLASS)
            return {
                name: Member(_field_type(proper, name), name, has_default=bool(data["has_default"]))
                for name, data in found.items()
                if not name.startswith("_")
            }
        case Family.ATTRS:
            assert isinstance(proper, Instance)
            listed = next(base.metadata["attrs"] for base in proper.type.mro if "attrs" in base.metadata)
            return {
                data["name"]: Member(
                    _field_type(proper, data["name"]), data["alias"] or data["name"].lstrip("_"), bool(data["init"])
                )
                for data in listed["attributes"]
            }
    return None


def _named_tuple_fields(info: TypeInfo) -> list[str] | None:
    found = next((base.metadata["namedtuple"] for base in info.mro if "namedtuple" in base.metadata), None)
    return None if found is None else list(found["fields"])


def _declared(info: TypeInfo, key: str) -> dict[str, Mapping[str, Any]]:
    """The fields in the order of the classes and lines that first declare them, as the library lists them.

    A class's metadata has the inherited ones too, keyword-only ones last, and a warm cache forgets the order of keys.
    """
    order: dict[str, Mapping[str, Any]] = {}
    for base in reversed(info.mro):
        fields = _listed(base, key)
        new = [it for it in fields if it["name"] not in order]
        order.update((it["name"], it) for it in sorted(new, key=lambda it: (it["line"], it["column"])))
        order.update((it["name"], it) for it in fields)
    listed = next((base for base in info.mro if key in base.metadata), info)
    known = {it["name"] for it in _listed(listed, key)}
    return {name: it for name, it in order.items() if name in known}


def _listed(info: TypeInfo, key: str) -> list[Mapping[str, Any]]:
    data = info.metadata.get(key)
    if data is None:
        return []
    return list(data["fields"].values()) if key == _PYDANTIC else list(data["attributes"])


def _field_type(tp: Instance, name: str, init_only: bool = False) -> Type:
    """The declared type of a field, the type arguments of the record filled in."""
    symbol = None if init_only else tp.type.get(name)
    if symbol is not None and isinstance(symbol.node, Var):
        return _variable_type(tp, symbol.node)
    # An InitVar is no attribute of the class: only the constructor knows its type.
    constructor = _constructor(tp)
    if constructor is not None and constructor.types and name in constructor.names:
        return _seen_from(tp, constructor.owner, constructor.types[constructor.names.index(name)])
    return AnyType(TypeOfAny.special_form)


def _variable_type(tp: Instance, variable: Var) -> Type:
    if variable.type is None:
        return AnyType(TypeOfAny.special_form)
    return _seen_from(tp, variable.info, expand_self_type(variable, variable.type, tp))


def _seen_from(tp: Instance, owner: TypeInfo, member: Type) -> Type:
    """The type of a member that `owner` declares, with what its type variables are in `tp`."""
    return expand_type_by_instance(member, map_instance_to_supertype(tp, owner)) if owner else member


class _Parameters(NamedTuple):
    """What a constructor takes, `self` or `cls` first; no types where it is not annotated."""

    names: Sequence[str | None]
    kinds: Sequence[ArgKind]
    types: Sequence[Type]
    owner: TypeInfo


def _constructor(tp: ProperType) -> _Parameters | None:
    """The method that building the record calls; None where it is overloaded and nothing implements it."""
    found: FuncBase | Decorator | None = None
    if isinstance(tp, TupleType):
        found = tp.partial_fallback.type.get_method("__new__")
    elif isinstance(tp, Instance):
        found = tp.type.get_method("__init__")
    if isinstance(found, OverloadedFuncDef):
        found = found.impl
    if isinstance(found, Decorator):
        found = found.func
    if not isinstance(found, FuncDef):
        return None
    declared = found.type
    types = declared.arg_types if isinstance(declared, CallableType) else ()
    return _Parameters(found.arg_names, found.arg_kinds, types, found.info)
