"""Attributes and methods of a class, as a protocol check needs them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dis import get_instructions
from functools import cached_property, lru_cache
from inspect import iscoroutinefunction, unwrap
from types import CodeType, DynamicClassAttribute, FunctionType
from typing import Any, Final, Generic, NamedTuple, Protocol, get_overloads

import typing_extensions

from metta.sweep.contracts import hints
from metta.sweep.contracts.forms import model, typeshed
from metta.sweep.contracts.forms.hierarchy import declared_bases, is_named_tuple, is_typed_dict, upcast
from metta.sweep.contracts.forms.model import (
    ANY,
    NONE,
    SELF,
    CallableOf,
    Form,
    Named,
    Parameter,
    TupleOf,
    replace_variables,
)
from metta.sweep.contracts.forms.parse import parameters, parse, strip_qualifiers
from metta.sweep.contracts.hints import Scope
from metta.sweep.contracts.signature import signature_of


class Member(NamedTuple):
    """An attribute or method as it is seen on an instance, or on the class object."""

    form: Form
    is_method: bool = False
    settable: bool = False
    class_variable: bool = False
    #: a class method or static method
    on_class: bool = False
    #: assigned in the class body without an annotation
    inferred: bool = False


#: `find_member` when there is one but its type cannot be read, and when there is none.
UNREADABLE: Final = "unreadable"
MISSING: Final = "missing"
Found = Member | str

_BUILTIN_VALUES = (bool, int, float, complex, str, bytes)
#: The classes whose members no protocol asks for.
ROOTS: Final = (Generic, Protocol, typing_extensions.Protocol, object)


def protocol_members(cls: Any) -> tuple[str, ...]:
    """The names a class must have to implement the protocol `cls`, sorted."""
    if typeshed.is_abstract_protocol(cls):
        return tuple(sorted(typeshed.methods_of(cls)))
    names = set(typing_extensions.get_protocol_members(cls))
    if any(_has_implicit_hash(base) for base in cls.__mro__):
        names.discard("__hash__")
    return tuple(sorted(names))


def _has_implicit_hash(base: type) -> bool:
    """Whether Python itself set `__hash__ = None`, beside a written `__eq__`; type checkers do not see that."""
    members = base.__dict__
    return members.get("__hash__", ...) is None and isinstance(members.get("__eq__"), FunctionType)


def find_member(owner: Form, name: str, *, on_class: bool = False) -> Found:
    """The member `name` of an instance of `owner` (a `Named` or `TupleOf`).

    Args:
        on_class: look at the class object instead: methods are not bound, instance attributes are not there.
    """
    cls = owner.cls if isinstance(owner, Named) else tuple
    if not isinstance(cls, type):  # a NewType, or `NamedTuple` itself: no members of its own
        (base_form,) = declared_bases(cls)
        return find_member(base_form, name, on_class=on_class)
    if is_typed_dict(cls):  # at run time it is a dict, for a type checker a Mapping with some methods of dict
        found = find_member(parse(Mapping[str, object]), name, on_class=on_class)
        return UNREADABLE if found == MISSING and name in dir(dict) else found
    for base in cls.__mro__:
        found = _own_member(base, name, on_class)
        if found is not MISSING:
            return _seen_from(found, owner, base)
    derived = _derived_member(owner, name)
    if derived is not MISSING:
        return derived
    if any("__getattr__" in base.__dict__ and not _hides_getattr(base) for base in cls.__mro__):
        return UNREADABLE
    if not on_class and any(name in assigned_attributes(base) for base in cls.__mro__):
        return UNREADABLE
    return MISSING


def _hides_getattr(base: type) -> bool:
    """Whether type checkers do not see its `__getattr__` (pydantic defines it where they do not look)."""
    package = base.__module__.partition(".")[0]
    return package in sys.stdlib_module_names or package == "pydantic"


def _seen_from(found: Found, owner: Form, base: type) -> Found:
    """A member of `base` in terms of the arguments that `owner` gives it."""
    if isinstance(found, str):
        return found
    seen = upcast(owner, base)
    mapping: dict[Any, Form] = {SELF: owner}
    if isinstance(seen, Named):
        mapping.update(zip(parameters(base), seen.args, strict=False))
    elif isinstance(seen, TupleOf):
        mapping.update(zip(parameters(tuple), (model.union_of(seen.items),), strict=True))
    return found._replace(form=replace_variables(found.form, mapping))


def _own_member(base: type, name: str, on_class: bool) -> Found:
    """The member that the body of `base` declares."""
    if (method := typeshed.methods_of(base).get(name)) is not None:
        return _listed(method, on_class)
    annotations = hints.own_annotations(base)
    if name in annotations and not (on_class and name not in base.__dict__ and _is_instance_only(annotations[name])):
        return _annotated(base, name, annotations[name])
    if name not in base.__dict__:
        return MISSING
    value = base.__dict__[name]
    if isinstance(value, FunctionType):
        return _method(value, bound=not on_class)
    if isinstance(value, staticmethod):
        return _on_class(_method(value.__func__, bound=False))
    if isinstance(value, classmethod):
        return _on_class(_method(value.__func__, bound=True))
    if isinstance(value, property):
        return _property(value)
    if isinstance(value, cached_property):
        return _getter(value.func, settable=True)
    if isinstance(value, DynamicClassAttribute):  # `name` and `value` of an enum
        return Member(Named(str)) if name == "name" else UNREADABLE
    if value is None and name == "__hash__":
        return MISSING if _has_implicit_hash(base) else Member(NONE)
    if (special := typeshed.special_method(name)) is not None and not isinstance(value, type):
        return _listed(special, on_class)
    if type(value) in _BUILTIN_VALUES:
        return Member(Named(type(value)), settable=True, inferred=True)
    return _unknown(base, name)


def _listed(signature: Any, on_class: bool) -> Member:
    """A method whose signature, without `self`, stands in a table."""
    form = parse(signature)
    if on_class and isinstance(form, CallableOf):
        form = CallableOf((Parameter(SELF), *form.parameters), form.result)
    return Member(form, is_method=True)


def _is_instance_only(annotation: Any) -> bool:
    return "ClassVar" not in str(annotation)


def _unknown(base: type, name: str) -> Found:
    """A method of a builtin class: what its nominal bases say, else nothing is known."""
    derived = _derived_member(Named(base, tuple(model.Variable(each) for each in parameters(base))), name)
    return UNREADABLE if derived is MISSING else derived


def _derived_member(owner: Form, name: str) -> Found:
    """The member `name` as an abstract protocol that `owner` nominally implements declares it."""
    for protocol in _protocols_with(name):
        seen = upcast(owner, protocol)
        if isinstance(seen, Named):
            form = parse(typeshed.methods_of(protocol)[name])
            mapping = dict(zip(parameters(protocol), seen.args, strict=False))
            return Member(replace_variables(form, mapping), is_method=True)
    return MISSING


def _protocols_with(name: str) -> Iterable[Any]:
    import collections.abc

    # The most general first: Iterable before Reversible; `Iterator.__iter__` says the same as `Iterable.__iter__`.
    for each in ("Sized", "Iterable", "Iterator", "Reversible", "Awaitable", "AsyncIterable", "AsyncIterator"):
        protocol = getattr(collections.abc, each)
        if name in typeshed.methods_of(protocol):
            yield protocol


def _annotated(base: type, name: str, annotation: Any) -> Member:
    tp, qualifiers = strip_qualifiers(hints.resolve(annotation, Scope.of_class(base)))
    frozen = "Final" in qualifiers or is_named_tuple(base) or _is_frozen(base)
    return Member(parse(tp), settable=not frozen, class_variable="ClassVar" in qualifiers)


def _is_frozen(base: type) -> bool:
    """Whether the fields of a dataclass, an attrs class or a pydantic model cannot be set."""
    settings = base.__dict__.get("__dataclass_params__")
    if settings is not None:
        return bool(settings.frozen)
    if "__attrs_attrs__" in base.__dict__:
        return getattr(base.__setattr__, "__name__", "") == "_frozen_setattrs"
    config = base.__dict__.get("model_config")
    return isinstance(config, dict) and bool(config.get("frozen"))


def _on_class(found: Found) -> Found:
    return found if isinstance(found, str) else found._replace(on_class=True)


def _property(value: property) -> Found:
    return _getter(value.fget, settable=value.fset is not None) if value.fget is not None else UNREADABLE


def _getter(function: Callable[..., Any], *, settable: bool) -> Found:
    found = _method(function, bound=True)
    if isinstance(found, str) or not isinstance(found.form, CallableOf):
        return UNREADABLE
    return Member(found.form.result, settable=settable)


def _method(function: Any, *, bound: bool) -> Found:
    """The signature of a method, without its first parameter if `bound`."""
    if isinstance(function, FunctionType) and get_overloads(function):
        return UNREADABLE
    signature = signature_of(function)
    if signature is None:
        return UNREADABLE
    declared = signature.parameters
    first_is_self = bound and declared and declared[0].kind < model.STAR
    written = tuple(
        Parameter(
            ANY if each.type is None else parse(each.type),
            # A name that starts with two underscores is positional-only (PEP 484).
            model.POSITIONAL
            if each.kind == model.EITHER and each.name.startswith("__") and not each.name.endswith("__")
            else each.kind,
            each.name,
            each.required,
        )
        for each in (declared[1:] if first_is_self else declared)
    )
    return Member(CallableOf(written, _result_of(function, signature.returns, signature.is_async)), is_method=True)


def _result_of(function: Any, returns: Any, is_async: bool) -> Form:
    """What a call returns: for an async function the coroutine and not what awaiting it gives."""
    if not is_async:
        return ANY if returns is None else parse(returns)
    if iscoroutinefunction(function):
        return Named(Coroutine, (ANY, ANY, ANY if returns is None else parse(returns)))
    raw = hints.own_annotations(function).get("return", Any)
    return parse(hints.resolve(raw, Scope(getattr(function, "__globals__", {}), {}, function.__qualname__)))


@lru_cache(maxsize=1024)
def assigned_attributes(base: type) -> frozenset[str]:
    """The attributes that methods in the body of `base` assign (`self.x = 1`), with or without a declaration."""
    found: set[str] = set()
    for value in base.__dict__.values():
        function = unwrap(getattr(value, "fget", None) or getattr(value, "__func__", value))
        if isinstance(code := getattr(function, "__code__", None), CodeType):
            found.update(each.argval for each in get_instructions(code) if each.opname == "STORE_ATTR")
    return frozenset(found)


def constructor(form: Named) -> Form | None:
    """The class of `form` as a callable that returns an instance; None where its parameters cannot be read."""
    cls = form.cls
    made = [getattr(cls, name) for name in ("__init__", "__new__")]
    written = [each for each in made if each is not object.__init__ and each is not object.__new__]
    signature = signature_of(cls) if all(isinstance(each, FunctionType) for each in written) else None
    if signature is None:
        return None
    mapping = dict(zip(parameters(cls), form.args, strict=False))
    written_parameters = tuple(
        Parameter(
            ANY if each.type is None else replace_variables(parse(each.type), mapping),
            each.kind,
            each.name,
            each.required,
        )
        for each in signature.parameters
    )
    return CallableOf(written_parameters, form)
