"""A class's type parameters, their variance, and a class seen as one of its bases."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Generic, NamedTuple, Protocol, get_origin

import typing_extensions

from metta.sweep.contracts.forms import typeshed
from metta.sweep.contracts.forms.model import (
    ANY,
    Form,
    Named,
    TupleOf,
    Variable,
    replace_variables,
    union_of,
)
from metta.sweep.contracts.forms.parse import NEW_TYPES, parameters, parse
from metta.sweep.contracts.hints import Scope, own_annotations, resolve

_IGNORED_BASES = (object, Generic, Protocol, typing_extensions.Protocol)


def is_typed_dict(cls: Any) -> bool:
    """Whether `cls` is a TypedDict class."""
    return isinstance(cls, type) and typing_extensions.is_typeddict(cls)


def is_named_tuple(cls: Any) -> bool:
    """Whether `cls` itself, not a base of it, is a NamedTuple class."""
    return isinstance(cls, type) and tuple in cls.__bases__ and isinstance(cls.__dict__.get("_fields"), tuple)


def is_protocol(cls: Any) -> bool:
    """Whether `cls` is a protocol: by `Protocol`, or as one of the abstract classes of the standard library."""
    return getattr(cls, "_is_protocol", False) is True or typeshed.is_abstract_protocol(cls)


def declared_bases(cls: Any) -> tuple[Form, ...]:
    """The direct bases of `cls` as forms, in terms of its own type parameters."""
    if isinstance(cls, NEW_TYPES):
        return (parse(cls.__supertype__),)
    if (row := typeshed.row_of(cls)) is not None:
        return tuple(parse(base) for base in row.bases) + _unlisted_bases(cls, row)
    if is_typed_dict(cls):
        return (parse(Mapping[str, object]),)
    if cls is NamedTuple:
        return (parse(tuple),)
    if is_named_tuple(cls):
        return (_fields_as_tuple(cls), Named(NamedTuple))
    found = []
    # A class without generic bases of its own inherits the attribute of its parent: look in its own dictionary.
    for base in cls.__dict__.get("__orig_bases__", cls.__bases__):
        origin = get_origin(base) or base
        if isinstance(origin, type) and origin not in _IGNORED_BASES:
            found.append(parse(base))
    return tuple(found)


def _unlisted_bases(cls: Any, row: typeshed.Row) -> tuple[Form, ...]:
    """The run-time bases that the row does not name, where they have the same parameters: a Task is a Future."""
    listed = {get_origin(base) or base for base in row.bases}
    args = tuple(Variable(each) for each in row.parameters)
    return tuple(
        Named(base, args)
        for base in cls.__bases__
        if base not in listed and base not in _IGNORED_BASES and len(parameters(base)) == len(args)
    )


def _fields_as_tuple(cls: Any) -> Form:
    annotations = own_annotations(cls)
    scope = Scope.of_class(cls)
    return TupleOf(
        tuple(parse(resolve(annotations[name], scope)) if name in annotations else ANY for name in cls._fields)
    )


def ancestors(cls: Any) -> Mapping[Any, Form]:
    """Every class that `cls` is a nominal subtype of (itself included) -> that class in terms of `cls`'s parameters.

    `tuple` maps to a `TupleOf`. The key `Any` is there when a base is `Any`: then nothing is known.
    """
    # The fields of a NamedTuple may name what is defined later: asked again each time.
    return _find_ancestors(cls) if tuple in getattr(cls, "__mro__", ()) and cls is not tuple else _ancestors(cls)


def _find_ancestors(cls: Any) -> Mapping[Any, Form]:
    own: Form = Named(cls, tuple(Variable(each) for each in parameters(cls)))
    found: dict[Any, Form] = {cls: own}
    for base in declared_bases(cls):
        match base:
            case Named():
                mapping = dict(zip(parameters(base.cls), base.args, strict=False))
                for ancestor, form in ancestors(base.cls).items():
                    found.setdefault(ancestor, replace_variables(form, mapping))
            case TupleOf():
                found.setdefault(tuple, base)
                (parameter,) = parameters(tuple)
                for ancestor, form in ancestors(tuple).items():
                    found.setdefault(ancestor, replace_variables(form, {parameter: union_of(base.items)}))
            case _ if base == ANY:
                found[Any] = ANY
    return found


_ancestors = lru_cache(maxsize=4096)(_find_ancestors)


def upcast(form: Form, cls: Any) -> Form | None:
    """`form`, a `Named` or `TupleOf`, as the `cls` it is a nominal subtype of; None if it is none.

    >>> upcast(parse(dict[str, int]), collections.abc.Iterable)   # Iterable[str]
    """
    match form:
        case Named():
            found = ancestors(form.cls).get(cls)
            if found is None:
                return None
            return replace_variables(found, dict(zip(parameters(form.cls), form.args, strict=False)))
        case TupleOf():
            if cls is tuple:
                return form
            found = ancestors(tuple).get(cls)
            (parameter,) = parameters(tuple)
            return None if found is None else replace_variables(found, {parameter: union_of(form.items)})
    return None
