"""Solving the type variables of generic callables."""

from __future__ import annotations

from typing import Any

from metta.sweep.contracts.forms import hierarchy
from metta.sweep.contracts.forms.hierarchy import upcast
from metta.sweep.contracts.forms.members import find_member, protocol_members
from metta.sweep.contracts.forms.model import (
    ANY,
    AliasOf,
    CallableOf,
    Form,
    LiteralOf,
    Named,
    TupleOf,
    TypeOf,
    UnionOf,
    Variable,
    replace_variables,
    union_of,
    variables_of,
)
from metta.sweep.contracts.forms.parse import open_alias, parse
from metta.sweep.contracts.forms.relation import Relation
from metta.sweep.contracts.forms.render import render


def unify(pattern: Any, actual: Any) -> dict[Any, Any]:
    """What the type variables of `pattern` stand for when a value of type `actual` is passed there.

    Returns:
        TypeVar -> type form; a variable about which `actual` says nothing is missing. One that is met more than
        once stands for the union. Bounds are not checked: `is_assignable` does that.

    >>> unify(list[T], list[int])
    {~T: <class 'int'>}
    """
    return {variable: render(form) for variable, form in solve(parse(pattern), parse(actual)).items()}


def substitute(tp: Any, mapping: dict[Any, Any], default: Any = Any) -> Any:
    """`tp` with its type variables replaced by what `mapping` says, and by `default` where it says nothing."""
    form = parse(tp)
    variables = variables_of(form)
    if not variables:
        return tp
    return render(replace_variables(form, {each: parse(mapping.get(each, default)) for each in variables}))


def solve(pattern: Form, actual: Form) -> dict[Any, Form]:
    """`unify` on forms."""
    found: dict[Any, list[Form]] = {}
    _visit(pattern, actual, found, 0)
    return {variable: ANY if ANY in forms else union_of(forms) for variable, forms in found.items()}


# A protocol that returns itself with other arguments would be followed for ever.
_MAX_DEPTH = 12


def _visit(pattern: Form, actual: Form, found: dict[Any, list[Form]], depth: int) -> None:
    if depth > _MAX_DEPTH or not variables_of(pattern):
        return
    if isinstance(actual, AliasOf):
        _visit(pattern, open_alias(actual), found, depth + 1)
        return
    match pattern:
        case Variable():
            found.setdefault(pattern.var, []).append(actual)
        case UnionOf():
            _visit_union(pattern, actual, found, depth)
        case AliasOf():
            _visit(open_alias(pattern), actual, found, depth + 1)
        case _ if isinstance(actual, UnionOf):
            for item in actual.items:
                _visit(pattern, item, found, depth + 1)
        case _ if actual == ANY:
            for variable in variables_of(pattern):
                found.setdefault(variable, []).append(ANY)
        case TypeOf():
            if isinstance(actual, TypeOf):
                _visit(pattern.item, actual.item, found, depth + 1)
        case TupleOf():
            _visit_tuple(pattern, actual, found, depth)
        case CallableOf():
            _visit_callable(pattern, actual, found, depth)
        case Named():
            _visit_named(pattern, actual, found, depth)


def _visit_union(pattern: UnionOf, actual: Form, found: dict[Any, list[Form]], depth: int) -> None:
    """What the closed members of the union take is not left for its variables: `T | None` against `int | None`."""
    closed = [item for item in pattern.items if not variables_of(item)]
    open_items = [item for item in pattern.items if variables_of(item)]
    relation = Relation()
    for item in actual.items if isinstance(actual, UnionOf) else (actual,):
        if item == ANY or not any(relation.is_subtype(item, each) for each in closed):
            # A shaped member first: `list[T] | T` against list[int] means the list.
            shaped = [each for each in open_items if not isinstance(each, Variable) and _fits(item, each)]
            for each in shaped or open_items:
                _visit(each, item, found, depth + 1)


def _fits(actual: Form, pattern: Form) -> bool:
    erased = replace_variables(pattern, dict.fromkeys(variables_of(pattern), ANY))
    return Relation().is_subtype(actual, erased) is not False


def _visit_tuple(pattern: TupleOf, actual: Form, found: dict[Any, list[Form]], depth: int) -> None:
    seen = upcast(actual, tuple)
    if not isinstance(seen, TupleOf):
        return
    if pattern.middle is not None and not pattern.prefix and not pattern.suffix:
        for item in seen.items:
            _visit(pattern.middle, item, found, depth + 1)
    elif (len(pattern.prefix), len(pattern.suffix), pattern.middle is None) == (
        len(seen.prefix),
        len(seen.suffix),
        seen.middle is None,
    ):
        for mine, theirs in zip(pattern.items, seen.items, strict=True):
            _visit(mine, theirs, found, depth + 1)


def _visit_callable(pattern: CallableOf, actual: Form, found: dict[Any, list[Form]], depth: int) -> None:
    if isinstance(actual, TypeOf):
        _visit(pattern.result, actual.item, found, depth + 1)
        return
    if isinstance(actual, Named):
        member = find_member(actual, "__call__")
        actual = ANY if isinstance(member, str) else member.form
    if isinstance(actual, CallableOf):
        for mine, theirs in zip(pattern.parameters, actual.parameters, strict=False):
            _visit(mine.form, theirs.form, found, depth + 1)
        _visit(pattern.result, actual.result, found, depth + 1)


def _visit_named(pattern: Named, actual: Form, found: dict[Any, list[Form]], depth: int) -> None:
    if isinstance(actual, LiteralOf):
        actual = Named(type(actual.value))
    seen = upcast(actual, pattern.cls)
    if isinstance(seen, Named):
        for mine, theirs in zip(pattern.args, seen.args, strict=False):
            _visit(mine, theirs, found, depth + 1)
    elif isinstance(actual, (Named, TupleOf)) and hierarchy.is_protocol(pattern.cls):
        for name in protocol_members(pattern.cls):
            want, have = find_member(pattern, name), find_member(actual, name)
            if not isinstance(want, str) and not isinstance(have, str):
                _visit(want.form, have.form, found, depth + 1)
