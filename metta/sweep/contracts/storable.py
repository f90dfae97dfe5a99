"""Which types can be written down and read back by a typed codec, without pickle."""

from __future__ import annotations

import collections.abc
import enum
import sys
from collections import OrderedDict, deque
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, LiteralString, NewType, Union, get_args, get_origin

from typing_extensions import TypeAliasType

from metta.sweep.contracts.hints import substitute
from metta.sweep.contracts.records import QUALIFIERS, is_protocol, record_fields

_SCALARS = frozenset({NoneType, bool, int, float, complex, str, bytes})
_CONTAINERS = frozenset({list, tuple, set, frozenset, dict, deque, OrderedDict})
# Named, not imported: a pipeline that uses none of them should not load their modules.
_BY_NAME = frozenset(
    {
        "decimal.Decimal",
        "datetime.datetime",
        "datetime.date",
        "datetime.time",
        "datetime.timedelta",
        "uuid.UUID",
        "numpy.ndarray",
        "torch.Tensor",
        "metta.sweep.trial.Trial",
        "metta.sweep.trial.Result",
    }
)
_PATH_MODULES = ("pathlib", "pathlib._local")
# An interface says nothing about the class that stands behind it; its elements must be storable all the same.
_OPEN = (
    collections.abc.Iterable,
    collections.abc.Collection,
    collections.abc.Sequence,
    collections.abc.MutableSequence,
    collections.abc.Set,
    collections.abc.MutableSet,
    collections.abc.Mapping,
    collections.abc.MutableMapping,
)


def storable(tp: Any) -> bool | None:
    """Whether every value of a type can be stored by its type alone.

    Returns:
        True for scalars, dates, paths, enums, arrays and tensors, and for containers and records of such;
        False for what has no such form (callables, generators, files, locks, plain classes);
        None where the type does not say (`Any`, `object`, interfaces, type variables, forward references).
    """
    return _storable(tp, ())


def _storable(tp: Any, around: tuple[Any, ...]) -> bool | None:
    if tp in around:  # a recursive type is storable when everything else in it is
        return True
    if tp is None:
        return True
    if tp is Any:
        return None
    origin = get_origin(tp) or tp
    if origin is Union or origin is UnionType:
        return _all(get_args(tp), (*around, tp))
    if origin is Literal or tp is LiteralString:
        return True
    if origin is Annotated or origin in QUALIFIERS:
        return _storable(get_args(tp)[0], around)
    if isinstance(tp, NewType):
        return _storable(tp.__supertype__, around)
    if isinstance(origin, TypeAliasType):
        arguments = dict(zip(origin.__type_params__, get_args(tp), strict=False))
        return _storable(substitute(origin.__value__, arguments), (*around, tp))
    return _class(tp, origin, (*around, tp)) if isinstance(origin, type) else None


def _class(tp: Any, cls: type, around: tuple[Any, ...]) -> bool | None:
    if cls in _SCALARS:
        return True
    arguments = [it for it in get_args(tp) if it is not ...]
    if cls in _CONTAINERS:
        return _all(arguments, around) if arguments or tp == tuple[()] else None
    if cls in _OPEN:
        return False if _all(arguments, around) is False else None
    if issubclass(cls, enum.Enum) or cls.__module__ in _PATH_MODULES:
        return True
    if f"{cls.__module__}.{cls.__qualname__}" in _BY_NAME:
        return not any(_holds_objects(it) for it in arguments)
    if _is_numpy_scalar(cls):
        return True
    fields = record_fields(tp)
    if fields is not None:
        return _all([field.type for field in fields.values()], around)
    if cls is object or is_protocol(tp):
        return None
    return False


def _all(forms: Iterable[Any], around: tuple[Any, ...]) -> bool | None:
    """False if one of them cannot be stored, None if that of one is not known, else True."""
    verdicts = [_storable(form, around) for form in forms]
    return False if False in verdicts else None if None in verdicts else True


def _holds_objects(form: Any) -> bool:
    """An array of Python objects: its element type is numpy's `object_`."""
    return getattr(form, "__name__", "") == "object_" or any(map(_holds_objects, get_args(form)))


def _is_numpy_scalar(cls: type) -> bool:
    scalar = getattr(sys.modules.get("numpy"), "generic", None)
    return isinstance(scalar, type) and issubclass(cls, scalar) and cls.__name__ != "object_"
