"""The values that annotations are parsed into.

A `Form` is frozen by convention: nothing writes to one after `__init__`. Two forms are equal when their parts are.
`given` is the annotation a form was parsed from; it takes no part in equality and lets `render` hand back what
the user wrote. (Plain classes and not dataclasses: this module is on the import path of `Pipeline`.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Never, Self

# `Verdict` is True, False, or None: it cannot be known.
Verdict = bool | None

#: The default of `given`: the form was computed, not parsed.
NOT_GIVEN: Final = object()


class Form:
    """A parsed type."""

    __slots__ = ("given",)
    given: Any

    def key(self) -> tuple[Any, ...]:
        """The parts that make this form what it is."""
        return ()

    def __eq__(self, other: object) -> bool:
        return self is other or (type(self) is type(other) and isinstance(other, Form) and self.key() == other.key())

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.key()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self.key()!r}"


class Special(Form):
    """`Any`, `Never`, `None` and `Self`: compared by name."""

    __slots__ = ("name",)

    def __init__(self, name: str, given: Any) -> None:
        self.name: str = name
        self.given: Any = given

    def key(self) -> tuple[Any, ...]:
        return (self.name,)


class Unresolved(Form):
    """A forward reference that nothing resolves, or a construct without a rule: equal only to itself."""

    __slots__ = ("name",)

    def __init__(self, name: str, given: Any) -> None:
        self.name: str = name
        self.given: Any = given

    def key(self) -> tuple[Any, ...]:
        return (self.name,)


class Named(Form):
    """A class (or a `NewType`) with its type arguments: always as many as the class has parameters."""

    __slots__ = ("args", "cls")

    def __init__(self, cls: Any, args: tuple[Form, ...] = (), given: Any = NOT_GIVEN) -> None:
        self.cls: Any = cls
        self.args: tuple[Form, ...] = args
        self.given: Any = given

    def key(self) -> tuple[Any, ...]:
        return (self.cls, self.args)


class TupleOf(Form):
    """`tuple[P1, P2, *tuple[M, ...], S1]`: a prefix, perhaps a part of any length, a suffix."""

    __slots__ = ("middle", "prefix", "suffix")

    def __init__(
        self,
        prefix: tuple[Form, ...],
        middle: Form | None = None,
        suffix: tuple[Form, ...] = (),
        given: Any = NOT_GIVEN,
    ) -> None:
        self.prefix: tuple[Form, ...] = prefix
        self.middle: Form | None = middle
        self.suffix: tuple[Form, ...] = suffix
        self.given: Any = given

    def key(self) -> tuple[Any, ...]:
        return (self.prefix, self.middle, self.suffix)

    @property
    def items(self) -> tuple[Form, ...]:
        """Every form that occurs in it, in order."""
        return (*self.prefix, *(() if self.middle is None else (self.middle,)), *self.suffix)


class UnionOf(Form):
    """Two or more forms, none of them a union."""

    __slots__ = ("items",)

    def __init__(self, items: tuple[Form, ...], given: Any = NOT_GIVEN) -> None:
        self.items: tuple[Form, ...] = items
        self.given: Any = given

    def key(self) -> tuple[Any, ...]:
        return (frozenset(self.items),)


class LiteralOf(Form):
    """One value of a `Literal`: its type counts, `Literal[1]` is not `Literal[True]`."""

    __slots__ = ("value",)

    def __init__(self, value: Any, given: Any = NOT_GIVEN) -> None:
        self.value: Any = value
        self.given: Any = given

    def key(self) -> tuple[Any, ...]:
        return (type(self.value), self.value)


class TypeOf(Form):
    """`type[X]`, X not a union."""

    __slots__ = ("item",)

    def __init__(self, item: Form, given: Any = NOT_GIVEN) -> None:
        self.item: Form = item
        self.given: Any = given

    def key(self) -> tuple[Any, ...]:
        return (self.item,)


class Variable(Form):
    """A type variable."""

    __slots__ = ("var",)

    def __init__(self, var: Any, given: Any = NOT_GIVEN) -> None:
        self.var: Any = var
        self.given: Any = var if given is NOT_GIVEN else given

    def key(self) -> tuple[Any, ...]:
        return (self.var,)


class AliasOf(Form):
    """A `TypeAliasType`, perhaps with arguments; it is opened only where it is compared: it may be recursive."""

    __slots__ = ("alias", "args")

    def __init__(self, alias: Any, args: tuple[Form, ...] = (), given: Any = NOT_GIVEN) -> None:
        self.alias: Any = alias
        self.args: tuple[Form, ...] = args
        self.given: Any = given

    def key(self) -> tuple[Any, ...]:
        return (self.alias, self.args)


# The kinds of parameters, numbered as `inspect.Parameter` numbers them.
POSITIONAL: Final = 0
EITHER: Final = 1
STAR: Final = 2
KEYWORD: Final = 3
STAR_STAR: Final = 4


class Parameter(Form):
    """One parameter of a callable. A positional-only one has no name."""

    __slots__ = ("form", "kind", "name", "required")

    def __init__(self, form: Form, kind: int = POSITIONAL, name: str = "", required: bool = True) -> None:
        self.form: Form = form
        self.kind: int = kind
        self.name: str = name if kind in (EITHER, KEYWORD) else ""
        self.required: bool = required and kind not in (STAR, STAR_STAR)
        self.given: Any = NOT_GIVEN

    def key(self) -> tuple[Any, ...]:
        return (self.form, self.kind, self.name, self.required)


class CallableOf(Form):
    """A callable. `Callable[..., R]` has the parameters `*args: Any, **kwargs: Any`."""

    __slots__ = ("parameters", "result")

    def __init__(self, parameters: tuple[Parameter, ...], result: Form, given: Any = NOT_GIVEN) -> None:
        self.parameters: tuple[Parameter, ...] = parameters
        self.result: Form = result
        self.given: Any = given

    def key(self) -> tuple[Any, ...]:
        return (self.parameters, self.result)


ANY: Final = Special("Any", Any)
NEVER: Final = Special("Never", Never)
NONE: Final = Special("None", type(None))
SELF: Final = Special("Self", Self)
OBJECT: Final = Named(object, (), object)
#: The parameters of `Callable[..., R]`.
ANYTHING: Final = (Parameter(ANY, STAR), Parameter(ANY, STAR_STAR))


def union_of(forms: Iterable[Form], given: Any = NOT_GIVEN) -> Form:
    """The union of `forms`: flat, without duplicates; one form stays itself, none is `Never`."""
    flat: dict[Form, None] = {}
    for form in forms:
        flat.update(dict.fromkeys(form.items if isinstance(form, UnionOf) else (form,)))
    items = tuple(form for form in flat if form != NEVER)
    if len(items) > 1:
        return UnionOf(items, given)
    return items[0] if items else NEVER


def type_of(item: Form, given: Any = NOT_GIVEN) -> Form:
    """`type[item]`; of a union it is the union of the types."""
    if isinstance(item, UnionOf):
        return union_of((TypeOf(member) for member in item.items), given)
    return TypeOf(item, given)


def replace_variables(form: Form, mapping: Mapping[Any, Form]) -> Form:
    """`form` with its type variables replaced as `mapping` says; `form` itself if none of them occurs.

    `mapping` is from `TypeVar` to `Form`; the key `SELF` replaces `Self`.
    """
    if not mapping:
        return form
    match form:
        case Variable():
            return mapping.get(form.var, form)
        case Special():
            return mapping.get(form, form)
        case Named():
            args = _replace_all(form.args, mapping)
            return form if args is form.args else Named(form.cls, args)
        case AliasOf():
            args = _replace_all(form.args, mapping)
            return form if args is form.args else AliasOf(form.alias, args)
        case UnionOf():
            items = _replace_all(form.items, mapping)
            return form if items is form.items else union_of(items)
        case TypeOf():
            item = replace_variables(form.item, mapping)
            return form if item is form.item else type_of(item)
        case TupleOf():
            items = _replace_all(form.items, mapping)
            if items is form.items or items == form.items:
                return form
            before, after = len(form.prefix), len(items) - len(form.suffix)
            middle = None if form.middle is None else items[before]
            return TupleOf(items[:before], middle, items[after:])
        case CallableOf():
            parameters = tuple(
                Parameter(replace_variables(each.form, mapping), each.kind, each.name, each.required)
                for each in form.parameters
            )
            result = replace_variables(form.result, mapping)
            if parameters == form.parameters and result is form.result:
                return form
            return CallableOf(parameters, result)
    return form


def _replace_all(forms: tuple[Form, ...], mapping: Mapping[Any, Form]) -> tuple[Form, ...]:
    replaced = tuple(replace_variables(form, mapping) for form in forms)
    return forms if all(new is old for new, old in zip(replaced, forms, strict=True)) else replaced


def variables_of(form: Form) -> tuple[Any, ...]:
    """The type variables that occur in `form`, in order, each once."""
    found: dict[Any, None] = {}
    _collect_variables(form, found)
    return tuple(found)


def has_any(form: Form) -> bool:
    """Whether Any occurs in `form`: what it accepts is then not all known."""
    match form:
        case Named() | AliasOf():
            return any(map(has_any, form.args))
        case UnionOf() | TupleOf():
            return any(map(has_any, form.items))
        case TypeOf():
            return has_any(form.item)
        case CallableOf():
            return has_any(form.result) or any(has_any(parameter.form) for parameter in form.parameters)
    return form is ANY


def _collect_variables(form: Form, found: dict[Any, None]) -> None:
    match form:
        case Variable():
            found[form.var] = None
        case Named() | AliasOf():
            for arg in form.args:
                _collect_variables(arg, found)
        case UnionOf() | TupleOf():
            for item in form.items:
                _collect_variables(item, found)
        case TypeOf():
            _collect_variables(form.item, found)
        case CallableOf():
            for parameter in form.parameters:
                _collect_variables(parameter.form, found)
            _collect_variables(form.result, found)
