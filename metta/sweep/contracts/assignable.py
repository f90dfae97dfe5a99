"""Relations between run-time annotations, as `mypy --strict` sees them.

Types are *type forms*: what one writes as an annotation (`int`, `list[Trial]`, `A | None`, a TypedDict, ...). They are
typed `Any` here, because Python's `type[...]` covers classes only. `None` stands for `NoneType`.
"""

from __future__ import annotations

import collections.abc
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, Never, Union

from metta.sweep.contracts.forms import model
from metta.sweep.contracts.forms.hierarchy import is_typed_dict, upcast
from metta.sweep.contracts.forms.members import find_member
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
    Unresolved,
    Variable,
    union_of,
    variables_of,
)
from metta.sweep.contracts.forms.parse import is_type_form as is_type_form
from metta.sweep.contracts.forms.parse import normalize as normalize
from metta.sweep.contracts.forms.parse import open_alias, parse
from metta.sweep.contracts.forms.relation import Relation, upper_bound
from metta.sweep.contracts.forms.render import describe as describe
from metta.sweep.contracts.forms.render import render
from metta.sweep.contracts.unify import solve
from metta.sweep.contracts.unify import substitute as substitute
from metta.sweep.contracts.unify import unify as unify

__all__ = [
    "awaited",
    "describe",
    "element_of",
    "is_assignable",
    "is_gradual",
    "is_type_form",
    "join",
    "mapping_value",
    "normalize",
    "plain_tuple",
    "substitute",
    "unify",
]


def is_assignable(source: Any, target: Any) -> bool | None:
    """Whether a value of type `source` is accepted where `target` is declared.

    Args:
        source: a type form; of a type variable its bound is known.
        target: a type form; free type variables in it stand for any type their bound or constraints allow.

    Returns:
        True and False as `mypy --strict` says; None if it cannot be known: a forward reference that nothing
        resolves, a protocol against members without annotations, a construct without a rule.
    """
    if source is target or target is object or target is Any or source is Any:
        return True
    try:
        return _known(source, target)
    except TypeError:  # not hashable: `Annotated[int, [1]]`
        return _decide(source, target)
    except _Unknown:
        return None


class _Unknown(Exception):
    """What is not known now may be known later, when a forward reference is defined: not cached."""


@lru_cache(maxsize=8192)
def _known(source: Any, target: Any) -> bool:
    verdict = _decide(source, target)
    if verdict is None:
        raise _Unknown
    return verdict


def _decide(source: Any, target: Any) -> bool | None:
    left, right = parse(source), parse(target)
    relation = Relation()
    free = variables_of(right)
    if not free:
        return relation.is_subtype(left, right)
    solution = solve(right, left)
    for variable, form in solution.items():
        if (verdict := _within_bound(form, variable)) is not True:
            return verdict
    solved = model.replace_variables(right, {variable: solution.get(variable, ANY) for variable in free})
    return relation.is_subtype(left, solved)


def _within_bound(form: Form, variable: Any) -> bool | None:
    constraints = getattr(variable, "__constraints__", ())
    if constraints:  # one constraint must hold all of it
        verdicts = [Relation().is_subtype(form, parse(each)) for each in constraints]
        return True if True in verdicts else None if None in verdicts else False
    return Relation().is_subtype(form, upper_bound(variable))


def join(types: Sequence[Any]) -> Any:
    """The union of `types`: duplicates dropped, order kept; `Any` if one of them is; `Never` if there is none."""
    forms = [normalize(tp) for tp in types]
    if any(tp is Any for tp in forms):
        return Any
    return Union[tuple(forms)] if forms else Never  # noqa: UP007


def _opened(tp: Any) -> Form:
    """The form of `tp`, seen through type aliases."""
    form = parse(tp)
    while isinstance(form, AliasOf):
        form = open_alias(form)
    return form


@lru_cache(maxsize=8192)
def _is_gradual(tp: Any) -> bool:
    return model.has_any(parse(tp))


def is_gradual(tp: Any) -> bool:
    """Whether Any occurs in a type form, so that being assignable proves nothing about a value."""
    try:
        return _is_gradual(tp)
    except TypeError:  # not hashable
        return model.has_any(parse(tp))


def awaited(tp: Any) -> Any:
    """What `await` gives: R of a `Coroutine[Any, Any, R]`, `Awaitable[R]`, `Task[R]`...; other types unchanged."""
    form = _opened(tp)
    if not isinstance(form, Named):
        return tp
    if isinstance(seen := upcast(form, collections.abc.Awaitable), Named):
        return render(seen.args[0])
    waiting = _returned_by(form, "__await__")
    if waiting is None:
        return tp
    generator = upcast(waiting, collections.abc.Generator)
    return render(generator.args[2]) if isinstance(generator, Named) else Any


def element_of(tp: Any) -> Any | None:
    """The type of the items that iterating over `tp` gives; None if it cannot be iterated, Any if nothing is known.

    >>> element_of(dict[str, int])
    <class 'str'>
    """
    found = _element(parse(tp))
    return None if found is None else render(found)


def _element(form: Form) -> Form | None:
    match form:
        case UnionOf():
            found = [_element(item) for item in form.items]
            known = [each for each in found if each is not None]
            return None if len(known) < len(found) else ANY if ANY in known else union_of(known)
        case AliasOf():
            return _element(open_alias(form))
        case LiteralOf():
            return _element(Named(type(form.value)))
        case Variable():
            return _element(upper_bound(form.var))
        case TypeOf():
            item = form.item
            is_enum = isinstance(item, Named) and isinstance(item.cls, type) and issubclass(item.cls, Enum)
            return item if is_enum else None
        case Named() | TupleOf():
            return _element_of_class(form)
        case CallableOf():
            return None
    return ANY if form == ANY or isinstance(form, Unresolved) else None


def _element_of_class(form: Named | TupleOf) -> Form | None:
    if isinstance(seen := upcast(form, collections.abc.Iterable), Named):
        return seen.args[0]
    iterator = _returned_by(form, "__iter__")
    if iterator is None:
        return None
    if isinstance(seen := upcast(iterator, collections.abc.Iterator), Named):
        return seen.args[0]
    return _returned_by(iterator, "__next__") or ANY


def _returned_by(form: Form, method: str) -> Form | None:
    """What the method without arguments returns; None if there is no such method, Any if it does not say."""
    if not isinstance(form, (Named, TupleOf)):
        return ANY if form == ANY else None
    found = find_member(form, method)
    if isinstance(found, str) or not isinstance(found.form, CallableOf):
        return None
    return found.form.result


def mapping_value(tp: Any) -> Any | None:
    """V if `tp` is a `Mapping[str, V]` (`dict[str, V]`, ...); None otherwise, and for a TypedDict."""
    form = _opened(tp)
    if isinstance(form, UnionOf):
        values = [mapping_value(render(item)) for item in form.items]
        return None if None in values else join(values)
    if not isinstance(form, Named) or is_typed_dict(form.cls):
        return None
    seen = upcast(form, collections.abc.Mapping)
    if not isinstance(seen, Named) or seen.args[0] not in (ANY, Named(str)):
        return None
    return render(seen.args[1])


def plain_tuple(tp: Any) -> tuple[Any, ...] | None:
    """The item types of `tuple[A, B]`; None for `tuple[A, ...]`, a bare tuple, a NamedTuple and everything else."""
    form = _opened(tp)
    if not isinstance(form, TupleOf) or form.middle is not None:
        return None
    return tuple(render(item) for item in form.prefix)
