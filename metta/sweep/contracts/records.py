"""Records as equal citizens: NamedTuple, dataclass, TypedDict, pydantic model, attrs class.

pydantic and attrs are never imported here: a class of theirs can only exist when they are loaded.
`Protocol` classes have fields to read too, but no constructor.
"""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from enum import Enum
from types import FunctionType, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Generic,
    NotRequired,
    Required,
    TypeVar,
    Union,
    get_args,
    get_origin,
)
from weakref import WeakKeyDictionary

from typing_extensions import ReadOnly

from metta.sweep.contracts.hints import Scope, is_resolved, own_annotations, resolve, substitute, type_arguments
from metta.sweep.contracts.signature import Kind, signature_of
from metta.sweep.errors import UsageError

T = TypeVar("T")


class Family(Enum):
    """Which library's rules a record class follows."""

    NAMED_TUPLE = "NamedTuple"
    TYPED_DICT = "TypedDict"
    DATACLASS = "dataclass"
    PYDANTIC = "pydantic model"
    ATTRS = "attrs class"


@dataclass(frozen=True, slots=True)
class RecordField:
    """One field of a record class.

    Args:
        type: resolved, with the type arguments of a generic record filled in.
        required: False for a `NotRequired` key of a TypedDict, and only there.
        readable: False for an `InitVar`, which the constructor takes and the instance does not keep.
    """

    type: Any
    required: bool = True
    readable: bool = True


@dataclass(frozen=True, slots=True)
class Member(Generic[T]):
    """One field as its library declares it, and how the constructor takes it; the mypy plugin has the same.

    Args:
        type: as it is written: at run time, not resolved.
        alias: its name as a keyword of the constructor.
        init: whether the constructor takes it.
        init_only: an `InitVar`: the instance does not keep it.
        has_default: known of pydantic models only; elsewhere the constructor's signature says it.
        converted: whether the constructor makes it of something else.
    """

    type: T
    alias: str
    init: bool = True
    init_only: bool = False
    has_default: bool = False
    converted: bool = False


def family_of(tp: Any) -> Family | None:
    """The kind of record a class (or a generic one with arguments) is; None for anything else."""
    if type(tp) is type and tp.__module__ == "builtins":
        return None  # int, str, ...: asked for every stage
    cls = get_origin(tp) or tp
    if not isinstance(cls, type):
        return None
    if issubclass(cls, tuple):
        names = getattr(cls, "_fields", None)
        return Family.NAMED_TUPLE if isinstance(names, tuple) and hasattr(cls, "_replace") else None
    if issubclass(cls, dict):
        return Family.TYPED_DICT if hasattr(cls, "__required_keys__") and hasattr(cls, "__total__") else None
    if hasattr(cls, "__dataclass_fields__"):
        return Family.DATACLASS
    if hasattr(cls, "__attrs_attrs__"):
        return Family.ATTRS
    model = getattr(sys.modules.get("pydantic.main"), "BaseModel", None)
    if isinstance(model, type) and issubclass(cls, model) and cls is not model:
        return Family.PYDANTIC
    return None


def is_record_type(tp: Any) -> bool:
    """Whether a type is record-like: its instances are read and built field by field."""
    return family_of(tp) is not None


def record_fields(tp: Any) -> Mapping[str, RecordField] | None:
    """The fields of a record class in their order; None for anything else.

    Args:
        tp: a class, or a generic record with arguments (`Box[int]`).
    """
    family = family_of(tp)
    if family is None:
        return None
    if isinstance(tp, type) and (known := _RESOLVED.get(tp)) is not None:
        return known
    hints = _typed_dict_hints(tp) if family is Family.TYPED_DICT else class_hints(tp)
    found: dict[str, RecordField] = {}
    for name, member in _members(get_origin(tp) or tp, family).items():
        declared = member.type if family is Family.PYDANTIC else hints.get(name, member.type)
        form, needed = _unqualified(declared)
        if family is Family.TYPED_DICT and needed is None:
            needed = name in (get_origin(tp) or tp).__required_keys__
        found[name] = RecordField(form, needed is not False, not member.init_only)
    # A name that is not there yet may be there at the next call.
    if isinstance(tp, type) and all(is_resolved(field.type) for field in found.values()):
        _RESOLVED[tp] = found
    return found


# Resolving annotations costs more than reading an instance, and instances are read while running.
_RESOLVED: WeakKeyDictionary[type, Mapping[str, RecordField]] = WeakKeyDictionary()


def constructor_fields(tp: Any) -> Mapping[str, bool] | None:
    """What building the record takes: field name -> it has no default; None for anything else.

    `init=False` fields are absent, `InitVar`s present. A parameter that is no field keeps its own name.
    """
    family = family_of(tp)
    if family is None:
        return None
    cls = get_origin(tp) or tp
    if family is Family.TYPED_DICT:
        return {name: field.required for name, field in (record_fields(tp) or {}).items()}
    if family is Family.PYDANTIC:
        return {name: not member.has_default for name, member in _members(cls, family).items()}
    members = _members(cls, family)
    signature = signature_of(cls)
    if signature is None:
        return dict.fromkeys(members, False)
    names = {member.alias: name for name, member in members.items()}
    found: dict[str, bool] = {}
    for parameter in signature.parameters:
        if parameter.kind in (Kind.POSITIONAL_OR_KEYWORD, Kind.KEYWORD_ONLY):
            found[names.get(parameter.name, parameter.name)] = parameter.required
        elif parameter.kind is Kind.VAR_KEYWORD:
            found.update((name, False) for name, member in members.items() if member.init and name not in found)
    return found


def constructor_types(tp: Any) -> Mapping[str, Any]:
    """The resolved types of those constructor parameters that a record library generated, by parameter."""
    family = family_of(tp)
    if family is None or family is Family.TYPED_DICT:
        return {}
    cls = get_origin(tp) or tp
    method = cls.__init__ if cls.__init__ is not object.__init__ else cls.__new__
    if not isinstance(method, FunctionType):
        return {}
    raw = own_annotations(method)
    by_pydantic = family is Family.PYDANTIC and method.__module__.startswith("pydantic.")
    fields = record_fields(tp) or {}
    return {
        member.alias: fields[name].type
        for name, member in _members(cls, family).items()
        if by_pydantic or (not member.converted and raw.get(member.alias, cls) is member.type)
    }


def is_protocol(tp: Any) -> bool:
    """Whether a type is a Protocol class itself, not a class that implements one."""
    cls = get_origin(tp) or tp
    return isinstance(cls, type) and bool(getattr(cls, "_is_protocol", False)) and cls.__name__ != "Protocol"


def protocol_fields(tp: Any) -> Mapping[str, Any] | None:
    """The attributes of a Protocol class, properties included: name -> type.

    None where it is no Protocol, or where it has methods, which no field can stand for.
    """
    if not is_protocol(tp):
        return None
    attributes, methods = protocol_members(tp)
    return None if methods else attributes


def protocol_members(tp: Any) -> tuple[dict[str, Any], list[str]]:
    """What a Protocol class asks for: its attributes and properties with their types, and its methods' names."""
    hints = class_hints(tp)
    arguments = type_arguments(tp)
    attributes: dict[str, Any] = {}
    methods: list[str] = []
    for base in reversed((get_origin(tp) or tp).__mro__):
        if not is_protocol(base):
            continue
        attributes.update((name, _unqualified(hints[name])[0]) for name in own_annotations(base))
        for name, member in vars(base).items():
            if isinstance(member, property) and member.fget is not None:
                signature = signature_of(member.fget)
                returns = Any if signature is None or signature.returns is None else signature.returns
                attributes[name] = substitute(returns, arguments.get(base, {}))
            elif isinstance(member, (FunctionType, classmethod, staticmethod)) and name not in PROTOCOL_OWN:
                methods.append(name)
    return attributes, methods


# What `typing` itself puts into a Protocol class.
PROTOCOL_OWN = frozenset({"__init__", "__subclasshook__", "__init_subclass__", "__class_getitem__"})


def read_fields(value: object, tp: Any = None) -> dict[str, object]:
    """The fields of an instance; a `NotRequired` key that is missing, or an attribute never set, is absent.

    Args:
        tp: the record or Protocol class whose fields are wanted; None: those of the value's own class.
    """
    names = _readable(type(value) if tp is None else tp)
    if isinstance(value, Mapping):
        return {name: value[name] for name in names if name in value}
    found = {}
    for name in names:
        try:
            found[name] = getattr(value, name)
        except AttributeError:
            continue
    return found


def record_fields_of_value(value: object) -> dict[str, object] | None:
    """The fields of a value of unknown type; None where its class is no record (a dict is none)."""
    return read_fields(value) if is_record_type(type(value)) else None


def build(tp: Any, values: Mapping[str, object]) -> Any:
    """An instance of a record class from field values; those its constructor does not take are left out.

    Raises:
        UsageError: `tp` is no record class.
        Exception: whatever the constructor raises, pydantic's ValidationError for instance.
    """
    family = family_of(tp)
    if family is None:
        raise UsageError(f"{tp!r} is no record class, so it cannot be built from fields")
    cls = get_origin(tp) or tp
    keywords = _KEYWORDS.get(cls)
    if keywords is None:
        members = _members(cls, family)
        taken = constructor_fields(cls) or {}
        keywords = {name: members[name].alias if name in members else name for name in taken}
        _KEYWORDS[cls] = keywords
    given = {keyword: values[name] for name, keyword in keywords.items() if name in values}
    return given if family is Family.TYPED_DICT else cls(**given)


# Field name -> constructor keyword, of classes that were built before: records are built while running.
_KEYWORDS: WeakKeyDictionary[type, dict[str, str]] = WeakKeyDictionary()


def replace(value: Any, changes: Mapping[str, object]) -> Any:
    """A copy of a record (or dict) with other values in some fields; the class stays.

    Raises:
        UsageError: the value is neither a record nor a mapping that can be copied.
    """
    if isinstance(value, dict):
        if type(value) is dict:
            return {**value, **changes}
        merged = copy.copy(value)
        merged.update(changes)
        return merged
    match family_of(type(value)):
        case Family.NAMED_TUPLE:
            return value._replace(**changes)
        case Family.DATACLASS:
            return dataclasses.replace(value, **changes)
        case Family.PYDANTIC:
            return value.model_copy(update=dict(changes))
        case Family.ATTRS:
            aliases = {name: member.alias for name, member in _members(type(value), Family.ATTRS).items()}
            return sys.modules["attr"].evolve(value, **{aliases[name]: it for name, it in changes.items()})
    raise UsageError(f"a {type(value).__name__} is no record, so its fields cannot be replaced")


def replacer(tp: Any) -> Callable[[Any, Mapping[str, object]], Any]:
    """`replace` for values declared as `tp`: of a union, each member takes the fields that it has."""
    if len(union_members(tp)) == 1:
        return replace

    def replace_own(value: Any, changes: Mapping[str, object]) -> Any:
        names = own_names(value, tp)
        own = {name: it for name, it in changes.items() if name in names}
        return replace(value, own) if own else value

    return replace_own


def own_names(value: object, tp: Any) -> frozenset[str]:
    """The fields, set or not, of a value declared as `tp`: its class's; a dict's are of the TypedDicts it fits."""
    if isinstance(value, dict):
        keyed = [member for member in union_members(tp) if family_of(member) is Family.TYPED_DICT]
        known = [record_fields(member) or {} for member in keyed]
        known = [fields for fields in known if all(name in value or not it.required for name, it in fields.items())]
    else:
        known = [record_fields(type(value)) or {}]
    return frozenset(name for fields in known for name in fields)


def is_replaceable(tp: Any) -> str | None:
    """Why a field of the record cannot be rebound in its value; None where it can.

    What the constructor takes and does not keep, or keeps and does not take, would be lost on the way.
    """
    family = family_of(tp)
    if family is None:
        return "it is no record"
    return why_not_rebuilt(family, _members(get_origin(tp) or tp, family), constructor_fields(tp) or {})


def why_not_rebuilt(family: Family, members: Mapping[str, Member[Any]], taken: Container[str]) -> str | None:
    """Why a record cannot be built again from the fields of an instance; None where it can.

    Args:
        taken: what the constructor takes, by the names of the fields.
    """
    if family not in (Family.DATACLASS, Family.ATTRS):
        return None
    for name, member in members.items():
        if member.init_only:
            return f'"{name}" is an InitVar: the instance does not keep it'
        if not member.init:
            return f'"{name}" has init=False: the constructor does not take it'
        if name not in taken:
            return f'its own __init__ does not take "{name}"'
    return None


def union_members(tp: Any) -> tuple[Any, ...]:
    """The members of a union; any other type is its own only one."""
    return get_args(tp) if get_origin(tp) in (Union, UnionType) else (tp,)


def class_hints(tp: Any) -> dict[str, Any]:
    """The annotations of a class and its bases, resolved where each was written."""
    arguments = type_arguments(tp)
    hints: dict[str, Any] = {}
    for base in reversed((get_origin(tp) or tp).__mro__):
        raw = own_annotations(base)
        if raw:
            scope = Scope.of_class(base)
            known = arguments.get(base, {})
            hints.update((name, substitute(resolve(it, scope), known)) for name, it in raw.items())
    return hints


def _typed_dict_hints(tp: Any) -> dict[str, Any]:
    # A TypedDict forgets its bases (they are no classes in its MRO) and copies their annotations.
    arguments = type_arguments(tp)
    hints = {}
    for name, raw in own_annotations(get_origin(tp) or tp).items():
        source = [base for base in arguments if own_annotations(base).get(name, base) is raw][-1]
        hints[name] = substitute(resolve(raw, Scope.of_class(source)), arguments[source])
    return hints


def _members(cls: Any, family: Family) -> dict[str, Member[Any]]:
    """The fields as the class's library lists them."""
    match family:
        case Family.NAMED_TUPLE:
            raw = {name: it for base in reversed(cls.__mro__) for name, it in own_annotations(base).items()}
            return {name: Member(raw.get(name, Any), name) for name in cls._fields}
        case Family.TYPED_DICT:
            return {name: Member(it, name) for name, it in own_annotations(cls).items()}
        case Family.DATACLASS:
            found = cls.__dataclass_fields__.values()
            kept = [field for field in found if field._field_type is not _CLASS_VARIABLE]
            return {it.name: Member(it.type, it.name, it.init, it._field_type is _INIT_VARIABLE) for it in kept}
        case Family.ATTRS:
            return {
                it.name: Member(
                    Any if it.type is None else it.type, it.alias, it.init, converted=it.converter is not None
                )
                for it in cls.__attrs_attrs__
            }
        case Family.PYDANTIC:
            return {
                name: Member(it.annotation, _alias(name, it), has_default=not it.is_required())
                for name, it in cls.model_fields.items()
            }


def _alias(name: str, field: Any) -> str:
    """The keyword a pydantic field is validated from."""
    alias = field.validation_alias or field.alias
    return alias if isinstance(alias, str) else name


# The markers `dataclasses` puts on its pseudo-fields; it lists them nowhere else.
_CLASS_VARIABLE = dataclasses._FIELD_CLASSVAR  # type: ignore[attr-defined]
_INIT_VARIABLE = dataclasses._FIELD_INITVAR  # type: ignore[attr-defined]


def _unqualified(hint: Any) -> tuple[Any, bool | None]:
    """A type without `Required`, `NotRequired`, `ReadOnly`, `Final`, `ClassVar`, `InitVar`; and whether required."""
    needed: bool | None = None
    while True:
        if isinstance(hint, dataclasses.InitVar):
            hint = hint.type
            continue
        origin = get_origin(hint)
        if origin is Annotated and get_origin(get_args(hint)[0]) in QUALIFIERS:
            hint = get_args(hint)[0]
            continue
        if origin not in QUALIFIERS:
            return (Any if hint is Final else hint), needed
        if origin is Required or origin is NotRequired:
            needed = origin is Required
        hint = get_args(hint)[0]


QUALIFIERS = (Required, NotRequired, ReadOnly, Final, ClassVar)


def _readable(tp: Any) -> list[str]:
    fields = record_fields(tp)
    if fields is None:
        return list(protocol_fields(tp) or ())
    return [name for name, field in fields.items() if field.readable]
