"""From a `Form` back to an annotation, and from an annotation to text."""

from __future__ import annotations

import collections.abc
import json
import types
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

from metta.sweep.contracts.forms import model
from metta.sweep.contracts.forms.model import (
    NOT_GIVEN,
    AliasOf,
    CallableOf,
    Form,
    LiteralOf,
    Named,
    TupleOf,
    TypeOf,
    UnionOf,
)
from metta.sweep.contracts.forms.parse import strip_qualifiers
from metta.sweep.errors import InternalError


def render(form: Form) -> Any:
    """The run-time annotation of `form`: what the user wrote where it was parsed, else put together anew."""
    if form.given is not NOT_GIVEN:
        return form.given
    match form:
        case Named():
            return form.cls[_rendered(form.args)] if form.args else form.cls
        case AliasOf():
            return form.alias[_rendered(form.args)] if form.args else form.alias
        case UnionOf():
            return Union[_rendered(form.items)]  # noqa: UP007
        case LiteralOf():
            return Literal[form.value]
        case TypeOf():
            return types.GenericAlias(type, (render(form.item),))
        case TupleOf():
            return _render_tuple(form)
        case CallableOf():
            return _render_callable(form)
    raise InternalError(f"no annotation for {form!r}")


def _rendered(forms: tuple[Form, ...]) -> tuple[Any, ...]:
    return tuple(render(form) for form in forms)


def _render_tuple(form: TupleOf) -> Any:
    if form.middle is None:
        return types.GenericAlias(tuple, _rendered(form.prefix))
    variadic = types.GenericAlias(tuple, (render(form.middle), ...))
    if not form.prefix and not form.suffix:
        return variadic
    return types.GenericAlias(tuple, (*_rendered(form.prefix), *variadic, *_rendered(form.suffix)))


def _render_callable(form: CallableOf) -> Any:
    simple = all(each.kind == model.POSITIONAL for each in form.parameters)
    parameters = [render(each.form) for each in form.parameters] if simple else ...
    return collections.abc.Callable[parameters, render(form.result)]


def describe(tp: Any) -> str:
    """The annotation `tp` in the words of its author: `list[Trial]`, `float | None`, `Literal["a"]`.

    A class is shown by its name alone; whoever prints two different types that read the same adds the modules.
    """
    if tp is None or tp is type(None):
        return "None"
    if tp is Ellipsis:
        return "..."
    if isinstance(tp, str):
        return tp
    if (written := getattr(tp, "__forward_arg__", None)) is not None:
        return str(written)
    if type(tp) is type:
        return tp.__name__
    if isinstance(tp, (list, tuple)):
        return f"[{', '.join(map(describe, tp))}]"
    stripped, _ = strip_qualifiers(tp)
    if stripped is not tp:
        return describe(stripped)
    return _describe_form(tp)


def _describe_form(tp: Any) -> str:
    origin, args = get_origin(tp), get_args(tp)
    if origin in (Union, types.UnionType):
        return " | ".join(map(describe, args))
    if origin is Literal:
        return f"Literal[{', '.join(map(_describe_value, args))}]"
    if origin is None:
        return _name_of(tp)
    if origin is tuple and not args and getattr(tp, "_name", "") != "Tuple":
        return "tuple[()]"
    name = f"*{_name_of(origin)}" if getattr(tp, "__unpacked__", False) is True else _name_of(origin)
    if origin is collections.abc.Callable and args:
        parameters, result = args
        return f"{name}[{describe(parameters)}, {describe(result)}]"
    return f"{name}[{', '.join(map(describe, args))}]" if args else name


def _describe_value(value: Any) -> str:
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _name_of(tp: Any) -> str:
    name = getattr(tp, "__name__", None) or getattr(tp, "_name", None)
    if name == "<lambda>":
        return "a lambda"
    return str(name) if name else repr(tp).replace("typing.", "")
