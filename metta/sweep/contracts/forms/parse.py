"""From a run-time annotation to a `Form`."""

from __future__ import annotations

import collections.abc
import dataclasses
import sys
import types
import typing
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ForwardRef, Literal, Union, get_args, get_origin

import typing_extensions

from metta.sweep.contracts.forms import model, typeshed
from metta.sweep.contracts.forms.model import (
    ANY,
    ANYTHING,
    NEVER,
    NONE,
    SELF,
    AliasOf,
    CallableOf,
    Form,
    LiteralOf,
    Named,
    Parameter,
    Special,
    TupleOf,
    Unresolved,
    Variable,
    replace_variables,
    type_of,
    union_of,
    variables_of,
)
from metta.sweep.contracts.hints import Scope, resolve


def _named(name: str) -> tuple[Any, ...]:
    """`name` from typing and typing_extensions: two objects on some versions of Python, one on others."""
    found = (getattr(module, name, None) for module in (typing, typing_extensions))
    return tuple(dict.fromkeys(each for each in found if each is not None))


ALIASES = _named("TypeAliasType")
NEW_TYPES = _named("NewType")
QUALIFIERS = tuple(
    each for name in ("Final", "ClassVar", "Required", "NotRequired", "ReadOnly") for each in _named(name)
)
_ANY = _named("Any")
_NEVER = _named("Never") + _named("NoReturn")
_SELF = _named("Self")
_NAMED_TUPLE = _named("NamedTuple")
_STRING = _named("LiteralString")
_ANNOTATED = _named("Annotated")
_UNPACK = _named("Unpack")
_CONCATENATE = _named("Concatenate")
_TYPE_VARIABLES = _named("TypeVar")
_OTHER_VARIABLES = _named("ParamSpec") + _named("TypeVarTuple")
_LITERALS = _named("Literal")
_UNIONS = (Union, types.UnionType)

# Special forms that are classes at run time.
_NOT_ALONE = frozenset(each for name in ("Annotated", "Generic", "Protocol") for each in _named(name))


def normalize(tp: Any) -> Any:
    """`tp`, with `None` as the `NoneType` it stands for in an annotation."""
    return type(None) if tp is None else tp


def is_type_form(value: Any) -> bool:
    """Whether `value` can stand where a type is expected: a class, `list[int]`, `A | B`, `Literal["a"]`, a `NewType`...

    None, strings, type variables, qualifiers such as `Final[int]`, and bare special forms such as `Union` cannot.
    """
    # `type(value)` first: most are plain classes.
    if type(value) is type or isinstance(value, type):
        return value not in _NOT_ALONE
    if isinstance(value, (types.GenericAlias, types.UnionType, *NEW_TYPES, *ALIASES)):
        return True
    if isinstance(value, (str, ForwardRef, *_TYPE_VARIABLES, *_OTHER_VARIABLES)):
        return False
    if any(value is each for each in (*_ANY, *_NEVER, *_STRING)):
        return True
    origin = get_origin(value)
    return origin is not None and not any(origin is each for each in (*QUALIFIERS, *_UNPACK, *_CONCATENATE))


def strip_qualifiers(tp: Any) -> tuple[Any, frozenset[str]]:
    """`tp` without `Annotated` and qualifiers (`Final`, `ClassVar`, `Required`...) around it; the names of those."""
    found: set[str] = set()
    while True:
        origin = get_origin(tp)
        if any(tp is each for each in QUALIFIERS):
            return Any, frozenset(found | {_special_name(tp)})
        if origin in _ANNOTATED:
            tp = tp.__origin__
        elif origin in QUALIFIERS:
            found.add(_special_name(origin))
            (tp,) = get_args(tp)
        elif isinstance(tp, dataclasses.InitVar):
            tp = tp.type
        else:
            return tp, frozenset(found)


def _special_name(form: Any) -> str:
    return str(getattr(form, "_name", None) or getattr(form, "__name__", form))


def parse(tp: Any) -> Form:
    """The form of the annotation `tp`.

    Args:
        tp: an annotation as `hints.resolve` returns it; None stands for `NoneType`, a string is `Unresolved`.
    """
    if tp is None or tp is type(None):
        return NONE
    if type(tp) is type:
        return _parse_class(tp)
    if isinstance(tp, (str, ForwardRef)):
        return Unresolved(tp if isinstance(tp, str) else tp.__forward_arg__, tp)
    stripped, _ = strip_qualifiers(tp)
    if stripped is not tp:
        form = parse(stripped)
        return form if isinstance(form, Special) else _given(form, tp)
    if isinstance(tp, _TYPE_VARIABLES):
        return Variable(tp)
    if isinstance(tp, NEW_TYPES):
        return Named(tp, (), tp)
    if isinstance(tp, ALIASES):
        return AliasOf(tp, (), tp)
    if (special := _parse_special(tp)) is not None:
        return special
    origin = get_origin(tp)
    if origin is None:
        return _parse_class(tp) if isinstance(tp, type) else Unresolved(repr(tp), tp)
    return _parse_generic(tp, origin)


def _parse_special(tp: Any) -> Form | None:
    # By identity: `==` on a foreign object may be anything.
    if any(tp is each for each in _ANY):
        return ANY
    if any(tp is each for each in _NEVER):
        return NEVER
    if any(tp is each for each in _SELF):
        return SELF
    if any(tp is each for each in _NAMED_TUPLE):
        return Named(typing.NamedTuple, (), tp)
    if any(tp is each for each in _STRING):
        return Named(str, (), str)
    if any(tp is each for each in _OTHER_VARIABLES) or isinstance(tp, _OTHER_VARIABLES):
        return ANY
    return None


def _given(form: Form, tp: Any) -> Form:
    """A copy of `form` that remembers it was written as `tp`."""
    copy = object.__new__(type(form))
    for name in type(form).__slots__:
        setattr(copy, name, getattr(form, name))
    copy.given = tp
    return copy


def _parse_class(cls: Any) -> Form:
    if cls is tuple:
        return TupleOf((), ANY, (), tuple)
    if cls is type:
        return model.TypeOf(ANY, type)
    if cls is collections.abc.Callable:
        return CallableOf(ANYTHING, ANY, cls)
    if cls in _ANY:
        return ANY
    if cls in _NOT_ALONE:
        return Unresolved(cls.__name__, cls)
    if (generic := getattr(cls, "__pydantic_generic_metadata__", None)) and generic["args"]:
        # `Model[int]` is a class of its own there.
        return Named(generic["origin"], tuple(parse(arg) for arg in generic["args"]), cls)
    return Named(cls, default_args(cls), cls)


@lru_cache(maxsize=4096)
def parameters(cls: Any) -> tuple[Any, ...]:
    """The type parameters of a class, in order: `(K, V)` for dict, `()` for a class that is not generic."""
    if (row := typeshed.row_of(cls)) is not None:
        return row.parameters
    declared = getattr(cls, "__parameters__", None)
    if isinstance(declared, tuple):
        return declared
    if not isinstance(cls, type):
        return ()
    # `class Names(list[T])`: generic without `Generic`.
    found: dict[Any, None] = {}
    for base in cls.__dict__.get("__orig_bases__", ()):
        found.update(dict.fromkeys(variables_of(parse(base))))
    return tuple(found)


def default_args(cls: Any) -> tuple[Form, ...]:
    """The arguments of a bare generic class: the default of each parameter, else `Any`."""
    return tuple(_default_of(each) for each in parameters(cls))


def _default_of(variable: Any) -> Form:
    has_default = getattr(variable, "has_default", None)
    if has_default is None or not has_default():
        return ANY
    return parse(variable.__default__)


def _parse_generic(tp: Any, origin: Any) -> Form:
    args = get_args(tp)
    if any(origin is each for each in _UNIONS):
        return union_of((parse(arg) for arg in args), tp)
    if origin in _LITERALS:
        return union_of((NONE if arg is None else LiteralOf(arg, Literal[arg]) for arg in args), tp)
    if origin is tuple:
        return _parse_tuple(tp, args)
    if origin is type:
        return type_of(parse(args[0]) if args else ANY, tp)
    if origin is collections.abc.Callable:
        return _parse_callable(tp, args)
    if isinstance(origin, ALIASES):
        return AliasOf(origin, tuple(parse(arg) for arg in args), tp)
    if isinstance(origin, type):
        if any(isinstance(each, _OTHER_VARIABLES) for each in parameters(origin)):
            return Named(origin, tuple(_parse_argument(arg) for arg in args), tp)
        given = tuple(parse(arg) for arg in args)
        return Named(origin, given + default_args(origin)[len(given) :], tp)
    return Unresolved(repr(tp), tp)


def _parse_argument(arg: Any) -> Form:
    """An argument of a class with a ParamSpec or a TypeVarTuple: it may be a list of types."""
    if isinstance(arg, (list, tuple)):
        return TupleOf(tuple(parse(each) for each in arg))
    return ANY if arg is Ellipsis else parse(arg)


def _parse_tuple(tp: Any, args: tuple[Any, ...]) -> Form:
    if not args and getattr(tp, "_name", None) == "Tuple":
        return TupleOf((), ANY, (), tp)
    if len(args) == 2 and args[1] is Ellipsis:
        return TupleOf((), parse(args[0]), (), tp)
    prefix: list[Form] = []
    suffix: list[Form] = []
    middle: Form | None = None
    for arg in args:
        unpacked = _unpacked(arg)
        inner = None if unpacked is None else parse(unpacked)
        if inner is None:
            (prefix if middle is None else suffix).append(parse(arg))
        elif isinstance(inner, TupleOf) and (middle is None or inner.middle is None):
            (prefix if middle is None else suffix).extend(inner.prefix)
            middle = inner.middle if middle is None else middle
            suffix.extend(inner.suffix)
        else:  # a TypeVarTuple
            return Unresolved(repr(tp), tp)
    return TupleOf(tuple(prefix), middle, tuple(suffix), tp)


def _unpacked(arg: Any) -> Any:
    """`tuple[...]` of `*tuple[...]` or `Unpack[tuple[...]]`, else None."""
    if getattr(arg, "__unpacked__", False) is True:
        return get_origin(arg)[get_args(arg)]
    if get_origin(arg) in _UNPACK:
        return get_args(arg)[0]
    return None


def _parse_callable(tp: Any, args: tuple[Any, ...]) -> Form:
    if not args:
        return CallableOf(ANYTHING, ANY, tp)
    declared, result = args
    return CallableOf(_parse_parameters(declared), parse(result), tp)


def _parse_parameters(declared: Any) -> tuple[Parameter, ...]:
    if get_origin(declared) in _CONCATENATE:
        *first, rest = get_args(declared)
        return (*_parse_parameters(first), *_parse_parameters(rest))
    if not isinstance(declared, (list, tuple)):  # `...` or a ParamSpec: whatever the arguments are
        return ANYTHING
    return tuple(_parse_parameter(each) for each in declared)


def _parse_parameter(tp: Any) -> Parameter:
    unpacked = _unpacked(tp)
    form = parse(tp if unpacked is None else unpacked)
    if unpacked is None:
        return Parameter(form)
    item = form.middle if isinstance(form, TupleOf) and not form.prefix and not form.suffix else None
    return Parameter(ANY if item is None else item, model.STAR)


def open_alias(form: AliasOf) -> Form:
    """What an alias stands for, its type arguments filled in."""
    alias = form.alias
    module = sys.modules.get(getattr(alias, "__module__", None) or "")
    scope = Scope({} if module is None else vars(module), {alias.__name__: alias})
    value = parse(resolve(alias.__value__, scope))
    names: Sequence[Any] = getattr(alias, "__type_params__", ())
    args = form.args + (ANY,) * (len(names) - len(form.args))
    return replace_variables(value, dict(zip(names, args, strict=False)))
