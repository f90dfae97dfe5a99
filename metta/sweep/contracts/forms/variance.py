"""The variance of type parameters: declared, or inferred from the members (PEP 695, `infer_variance=True`)."""

from __future__ import annotations

from typing import Any, Final

from metta.sweep.contracts import hints
from metta.sweep.contracts.forms import members
from metta.sweep.contracts.forms.hierarchy import declared_bases
from metta.sweep.contracts.forms.model import (
    AliasOf,
    CallableOf,
    Form,
    Named,
    TupleOf,
    TypeOf,
    UnionOf,
    Variable,
    variables_of,
)
from metta.sweep.contracts.forms.parse import parameters

COVARIANT: Final = "covariant"
CONTRAVARIANT: Final = "contravariant"
INVARIANT: Final = "invariant"

_IGNORED = frozenset({"__init__", "__new__", "__replace__"})
BOTH = frozenset({1, -1})


def variances(cls: Any) -> tuple[str | None, ...]:
    """The variance of each type parameter of `cls`; None where it cannot be known."""
    return tuple(_variance_of(cls, each) for each in parameters(cls))


def _variance_of(cls: Any, variable: Any) -> str | None:
    if getattr(variable, "__covariant__", False):
        return COVARIANT
    if getattr(variable, "__contravariant__", False):
        return CONTRAVARIANT
    if getattr(variable, "__infer_variance__", False):
        return inferred_variance(cls, variable)
    return INVARIANT if hasattr(variable, "__covariant__") else None


def inferred_variance(cls: Any, variable: Any) -> str | None:
    """The widest variance that every member of `cls` allows; None where an attribute is only set in a method.

    Private attributes (`_x`) count as read-only, `__init__` does not count (PEP 695, "variance inference").
    """
    own = Named(cls, tuple(Variable(each) for each in parameters(cls)))
    used: set[int] = set()
    known = True
    for base in cls.__mro__:
        if base in members.ROOTS:
            continue
        for name in {*base.__dict__, *hints.own_annotations(base)} - _IGNORED:
            used |= _use_in_member(own, name, variable)
        known = known and not _hidden_attributes(base)
    for parent in declared_bases(cls):
        used |= occurrences(parent, variable, own)
    if used >= BOTH:
        return INVARIANT
    if not known:
        return None
    return CONTRAVARIANT if used == {-1} else COVARIANT


def _use_in_member(own: Named, name: str, variable: Any) -> frozenset[int]:
    found = members.find_member(own, name)
    if isinstance(found, str):
        return frozenset()
    used = occurrences(found.form, variable, own)
    return BOTH if used and found.settable and not name.startswith("_") else used


def _hidden_attributes(base: type) -> bool:
    """Whether a method of `base` sets an attribute of `self` that has no annotation in a class body."""
    declared = {name for each in base.__mro__ for name in (*each.__dict__, *hints.own_annotations(each))}
    return not members.assigned_attributes(base) <= declared


def occurrences(form: Form, variable: Any, own: Named, sign: int = 1) -> frozenset[int]:
    """The signs of the places where `variable` occurs in `form`: 1 where it is produced, -1 where it is consumed."""
    if form == own or variable not in variables_of(form):
        return frozenset()
    match form:
        case Variable():
            return frozenset({sign})
        case UnionOf() | TupleOf():
            return _all(occurrences(item, variable, own, sign) for item in form.items)
        case TypeOf():
            return occurrences(form.item, variable, own, sign)
        case CallableOf():
            consumed = _all(occurrences(each.form, variable, own, -sign) for each in form.parameters)
            return consumed | occurrences(form.result, variable, own, sign)
        case Named():
            signs = {COVARIANT: (sign,), CONTRAVARIANT: (-sign,)}
            declared = variances(form.cls) if form.cls is not own.cls else ()
            kinds = declared or (INVARIANT,) * len(form.args)
            return _all(
                occurrences(arg, variable, own, each)
                for arg, kind in zip(form.args, kinds, strict=False)
                for each in signs.get(kind or "", (1, -1))
            )
        case AliasOf():
            return BOTH
    return frozenset()


def _all(found: Any) -> frozenset[int]:
    return frozenset().union(*found)
