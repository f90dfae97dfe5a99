"""The relation itself: is a value of the type `left` accepted where `right` is declared?

The rules are those of PEP 483, 484, 544 (protocols), 586 (literals), 589 and 705 (TypedDict) and 612 (callables); where
these leave a choice, mypy's strict mode decides, because the static checker must say the same.
"""

from __future__ import annotations

import collections.abc
from enum import Enum
from typing import Any

from metta.sweep.contracts.forms import hierarchy, typeshed
from metta.sweep.contracts.forms.callables import accepts_calls
from metta.sweep.contracts.forms.hierarchy import is_typed_dict, upcast
from metta.sweep.contracts.forms.members import (
    MISSING,
    Member,
    constructor,
    find_member,
    protocol_members,
)
from metta.sweep.contracts.forms.model import (
    ANY,
    NEVER,
    NONE,
    OBJECT,
    SELF,
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
    Verdict,
    replace_variables,
    union_of,
    variables_of,
)
from metta.sweep.contracts.forms.parse import open_alias, parse
from metta.sweep.contracts.forms.typed_dicts import Item, is_closed, items_of, missing_item
from metta.sweep.contracts.forms.variance import CONTRAVARIANT, COVARIANT, variances
from metta.sweep.contracts.forms.verdicts import all_of, any_of

# Deeper than any type a person writes: a protocol that grows with every step counts as implemented (as in mypy).
_MAX_DEPTH = 24

_TUPLE_VIEWS = (
    collections.abc.Iterable,
    collections.abc.Container,
    collections.abc.Collection,
    collections.abc.Sequence,
    collections.abc.Reversible,
)
_ENUM_VIEWS = (*_TUPLE_VIEWS[:3], collections.abc.Reversible)


class Relation:
    """One question and those it leads to. It remembers what is being asked: recursive types assume the answer yes."""

    def __init__(self) -> None:
        self._asked: list[tuple[Form, Form]] = []

    def is_subtype(self, left: Form, right: Form) -> Verdict:
        """Whether `left` is accepted as `right`; None: it cannot be known."""
        if left == right or right in (ANY, OBJECT, SELF) or left in (ANY, NEVER, SELF):
            return True
        if isinstance(left, AliasOf) or isinstance(right, AliasOf):
            return self._assuming(left, right, lambda: self.is_subtype(_opened(left), _opened(right)))
        if isinstance(left, UnionOf):
            return all_of(self.is_subtype(item, right) for item in left.items)
        if isinstance(right, UnionOf):
            verdict = any_of(self.is_subtype(left, item) for item in right.items)
            if verdict or _covers_literals(left, right):
                return True
            if not isinstance(left, Variable):
                return verdict
        if isinstance(left, Unresolved) or isinstance(right, Unresolved):
            return None
        if isinstance(left, Variable):
            return self.is_subtype(upper_bound(left.var), right)
        if isinstance(right, Variable):
            return False  # it may stand for less than its bound
        match left:
            case LiteralOf():
                return False if isinstance(right, LiteralOf) else self.is_subtype(_class_of(left), right)
            case TypeOf():
                return self._type_of(left, right)
            case CallableOf():
                return self._callable(left, right)
            case TupleOf():
                return self._tuple(left, right)
            case Named():
                return self._named(left, right)
        return self._none(right) if left == NONE else False

    def _is_equivalent(self, left: Form, right: Form) -> Verdict:
        return all_of((self.is_subtype(left, right), self.is_subtype(right, left)))

    def _assuming(self, left: Form, right: Form, ask: collections.abc.Callable[[], Verdict]) -> Verdict:
        """The answer of `ask()`, or yes if the same is being asked already."""
        if (left, right) in self._asked or len(self._asked) > _MAX_DEPTH:
            return True
        self._asked.append((left, right))
        try:
            return ask()
        finally:
            self._asked.pop()

    def _none(self, right: Form) -> Verdict:
        # None has few members of its own: type checkers accept it for Hashable and its like only.
        if isinstance(right, Named) and hierarchy.is_protocol(right.cls):
            return set(protocol_members(right.cls)) <= {"__hash__", "__str__"}
        return False

    # Classes

    def _named(self, left: Named, right: Form) -> Verdict:
        if Any in hierarchy.ancestors(left.cls):
            return right != NONE
        match right:
            case Named():
                return self._named_as_named(left, right)
            case TupleOf():
                seen = upcast(left, tuple)
                return False if seen is None else self.is_subtype(seen, right)
            case CallableOf():
                call = find_member(left, "__call__")
                if isinstance(call, str):
                    return False if call == MISSING else None
                return self._callable_member(call.form, right, names_matter=True)
            case TypeOf():
                return self._metaclass(left, right)
        return False

    def _named_as_named(self, left: Named, right: Named) -> Verdict:
        if is_typed_dict(right.cls):
            return self._typed_dict(left, right) if is_typed_dict(left.cls) else False
        is_protocol = hierarchy.is_protocol(right.cls)
        if not is_protocol:
            for base in hierarchy.ancestors(left.cls):
                promoted = typeshed.PROMOTIONS.get(base) if isinstance(base, type) else None
                if promoted is not None and self.is_subtype(Named(promoted), right):
                    return True
        seen = upcast(left, right.cls)
        if isinstance(seen, Named):
            return self._arguments(seen, right)
        return self._protocol(left, right) if is_protocol else False

    def _arguments(self, left: Named, right: Named) -> Verdict:
        """`left` and `right` are the same class: compare the arguments by the variance of each parameter."""
        kinds = variances(right.cls)
        if len(kinds) != len(left.args) or len(kinds) != len(right.args):
            return True if left == right else None
        return all_of(
            self._argument(mine, theirs, kind) for mine, theirs, kind in zip(left.args, right.args, kinds, strict=True)
        )

    def _argument(self, left: Form, right: Form, variance: str | None) -> Verdict:
        if variance == COVARIANT:
            return self.is_subtype(left, right)
        if variance == CONTRAVARIANT:
            return self.is_subtype(right, left)
        equivalent = self._is_equivalent(left, right)
        if variance is None and equivalent is False:
            # Not known: it is wrong only if neither direction would do.
            return None if any_of((self.is_subtype(left, right), self.is_subtype(right, left))) is not False else False
        return equivalent

    def _metaclass(self, left: Named, right: TypeOf) -> Verdict:
        if _is_subclass(left.cls, type):
            return right.item in (ANY, OBJECT)
        return False

    # Structural types

    def _typed_dict(self, left: Named, right: Named) -> Verdict:
        if is_closed(right.cls) and not is_closed(left.cls):
            return False
        mine, theirs = items_of(left), items_of(right)
        pairs = [
            (mine.get(name) or missing_item(left.cls), theirs.get(name) or missing_item(right.cls))
            for name in dict.fromkeys((*mine, *theirs))
        ]
        for have, want in pairs:
            if want.required and not have.required:
                return False
            # A key that can be set must stay settable, and one that can be deleted deletable.
            if not want.read_only and (have.read_only or (have.required and not want.required)):
                return False
        return self._assuming(left, right, lambda: all_of(self._item(have, want) for have, want in pairs))

    def _item(self, have: Item, want: Item) -> Verdict:
        if want.form is None:
            return True
        if have.form is None:
            return False
        if want.read_only:
            return self.is_subtype(have.form, want.form)
        return self._is_equivalent(have.form, want.form)

    def _protocol(self, left: Named | TupleOf, right: Named, *, on_class: bool = False) -> Verdict:
        names = protocol_members(right.cls)
        if isinstance(left, Named) and hierarchy.is_protocol(left.cls) and not on_class:
            have = set(protocol_members(left.cls))
            if any(name not in have for name in names):
                return False
        return self._assuming(
            left, right, lambda: all_of(self._has_member(left, right, name, on_class) for name in names)
        )

    def _has_member(self, left: Named | TupleOf, right: Named, name: str, on_class: bool) -> Verdict:
        if name == "__call__" and on_class and isinstance(left, Named):
            return self._constructs(left, right)
        have = find_member(left, name, on_class=on_class)
        if name == "__call__" and isinstance(left, Named) and _is_subclass(left.cls, type):
            have = MISSING  # what a metaclass makes of a call is the business of the constructor
        if have == MISSING:
            return False
        want = find_member(right, name)
        if isinstance(have, str) or isinstance(want, str):
            return None
        want = want._replace(form=replace_variables(want.form, {SELF: left}))
        if not _flags_fit(have, want, on_class):
            return False
        verdict = self._callable_member(have.form, want.form, names_matter=name == "__call__")
        if want.settable:
            verdict = all_of((verdict, self.is_subtype(want.form, have.form)))
        return verdict

    def _constructs(self, left: Named, right: Named) -> Verdict:
        """Whether the class of `left` itself can be called as the protocol `right` says."""
        call, made = find_member(right, "__call__"), constructor(left)
        if isinstance(call, str) or not isinstance(call.form, CallableOf):
            return None
        if made is not None:
            return self._callable_member(made, call.form, names_matter=True)
        return False if self.is_subtype(left, call.form.result) is False else None

    def _callable_member(self, have: Form, want: Form, *, names_matter: bool) -> Verdict:
        """`is_subtype` for members: their own type variables, not those of the class, may stand for anything."""
        free = {var: ANY for form in (have, want) for var in variables_of(form)}
        mine, theirs = replace_variables(have, free), replace_variables(want, free)
        if isinstance(mine, CallableOf) and isinstance(theirs, CallableOf):
            verdict = self._compare_callables(mine, theirs, names_matter)
        else:
            verdict = self.is_subtype(mine, theirs)
        return None if free and verdict else verdict

    # Callables, class objects, tuples

    def _compare_callables(self, left: CallableOf, right: CallableOf, names_matter: bool = True) -> Verdict:
        return all_of(
            (
                self.is_subtype(left.result, right.result),
                accepts_calls(left.parameters, right.parameters, self.is_subtype, names_matter=names_matter),
            )
        )

    def _callable(self, left: CallableOf, right: Form) -> Verdict:
        if isinstance(right, CallableOf):
            return self._compare_callables(left, right)
        if not isinstance(right, Named) or not hierarchy.is_protocol(right.cls):
            return False
        names = protocol_members(right.cls)
        if "__call__" in names:
            call = find_member(right, "__call__")
            verdict = None if isinstance(call, str) else self._callable_member(left, call.form, names_matter=True)
            if verdict is not True or len(names) == 1:
                return verdict
        others = set(names) - {"__call__", "__hash__"}
        return None if others and all(hasattr(_function, name) for name in others) else not others

    def _type_of(self, left: TypeOf, right: Form) -> Verdict:
        item = left.item
        match right:
            case TypeOf():
                return self.is_subtype(item, right.item)
            case CallableOf():
                # As mypy: the parameters of the constructor are not compared, a subclass may have others.
                return self.is_subtype(item, right.result)
            case Named():
                return self._class_object(item, right)
        return False

    def _class_object(self, item: Form, right: Named) -> Verdict:
        if item == ANY:
            return _is_subclass(type, right.cls) or right.cls is collections.abc.Hashable
        if isinstance(item, Variable):
            item = upper_bound(item.var)
        if not isinstance(item, Named) or not isinstance(item.cls, type):
            return None
        if right.cls is type:
            return True
        if issubclass(item.cls, Enum) and right.cls in _ENUM_VIEWS:
            return self.is_subtype(item, right.args[0])
        if hierarchy.is_protocol(right.cls) and (verdict := self._protocol(item, right, on_class=True)) is not False:
            return verdict
        metaclass = type(item.cls)
        return metaclass is not type and self._named(Named(metaclass), right)

    def _tuple(self, left: TupleOf, right: Form) -> Verdict:
        match right:
            case TupleOf():
                return self._compare_tuples(left, right)
            case Named():
                if right.cls in _TUPLE_VIEWS:
                    return all_of(self.is_subtype(item, right.args[0]) for item in left.items)
                if is_typed_dict(right.cls):
                    return False
                if hierarchy.is_protocol(right.cls):
                    return self._protocol(left, right)
        return False

    def _compare_tuples(self, left: TupleOf, right: TupleOf) -> Verdict:
        if right.middle is not None:
            return self._into_variadic(left, right)
        if left.middle is None:
            return len(left.prefix) == len(right.prefix) and self._pairwise(left.prefix, right.prefix)
        missing = len(right.prefix) - len(left.prefix) - len(left.suffix)
        if left.middle != ANY or missing < 0:
            return False  # it may have any length
        return self._pairwise((*left.prefix, *(ANY,) * missing, *left.suffix), right.prefix)

    def _into_variadic(self, left: TupleOf, right: TupleOf) -> Verdict:
        assert right.middle is not None
        before, after = len(right.prefix), len(right.suffix)
        if left.middle is None:
            items = left.prefix
            if len(items) < before + after:
                return False
            inner = (right.middle,) * (len(items) - before - after)
            return self._pairwise(items, (*right.prefix, *inner, *right.suffix))
        if left.middle == ANY and not left.prefix and not left.suffix:
            return True
        if len(left.prefix) < before or len(left.suffix) < after:
            return None if left.middle == ANY else False
        inner = (right.middle,) * (len(left.prefix) - before)
        tail = (right.middle,) * (len(left.suffix) - after)
        return self._pairwise(
            (*left.prefix, left.middle, *left.suffix),
            (*right.prefix, *inner, right.middle, *tail, *right.suffix),
        )

    def _pairwise(self, lefts: tuple[Form, ...], rights: tuple[Form, ...]) -> Verdict:
        return all_of(self.is_subtype(mine, theirs) for mine, theirs in zip(lefts, rights, strict=True))


def _function() -> None:
    """Stands for every function: its attributes are those that a callable is known to have."""


def upper_bound(variable: Any) -> Form:
    """What is known of every type a TypeVar can stand for: its bound, its constraints, or object."""
    if getattr(variable, "__constraints__", ()):
        return union_of(parse(each) for each in variable.__constraints__)
    bound = getattr(variable, "__bound__", None)
    return OBJECT if bound is None else parse(bound)


def _opened(form: Form) -> Form:
    return open_alias(form) if isinstance(form, AliasOf) else form


def _class_of(literal: LiteralOf) -> Form:
    return Named(type(literal.value))


def _is_subclass(cls: Any, parent: Any) -> bool:
    return isinstance(cls, type) and parent in cls.__mro__


def _flags_fit(have: Member, want: Member, on_class: bool) -> bool:
    """PEP 544: what can be set must be settable; class variables and class methods must be such."""
    if want.settable and not have.settable:
        return False
    if want.on_class and not have.on_class:
        return False
    if on_class:
        return want.is_method or ((have.class_variable or have.inferred) and not want.class_variable)
    return not want.settable or have.class_variable == want.class_variable


def _covers_literals(left: Form, right: UnionOf) -> bool:
    """Whether `right` lists every value of the class `left`: bool is `Literal[True, False]`, an enum its members."""
    if not isinstance(left, Named) or not isinstance(left.cls, type):
        return False
    listed = {item.value for item in right.items if isinstance(item, LiteralOf) and type(item.value) is left.cls}
    if left.cls is bool:
        return listed == {True, False}
    return bool(listed) and issubclass(left.cls, Enum) and listed == set(left.cls)
