"""Annotations as they were written -> types, resolved where they were written.

`typing.get_type_hints` gives up on a whole function when one name is missing, and does not see names
that are local to an enclosing function. Here each annotation is resolved for itself, and one that
cannot be resolved stays a `ForwardRef`: unknown, not wrong.
"""

from __future__ import annotations

import builtins
import sys
import typing
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from inspect import get_annotations
from types import CodeType, SimpleNamespace
from typing import Any, ForwardRef, Literal, TypeVar, get_args, get_origin

_NOT_FOUND = object()


@dataclass(frozen=True, slots=True)
class Scope:
    """The names an annotation can see.

    Args:
        globalns: the names of its module.
        localns: names nearer than the module's: closure, type parameters, class body.
        qualname: of the function or class that carries it, to find the functions around it.
    """

    globalns: dict[str, Any]
    localns: Mapping[str, object] = field(default_factory=dict)
    qualname: str = ""

    @classmethod
    def of_class(cls, owner: type) -> Scope:
        """The names an annotation in the body of `owner` can see."""
        module = sys.modules.get(owner.__module__)
        own = {parameter.__name__: parameter for parameter in getattr(owner, "__type_params__", ())}
        own.update((name, value) for name, value in vars(owner).items() if not name.startswith("__"))
        own.setdefault(owner.__name__, owner)
        return cls({} if module is None else vars(module), own, owner.__qualname__)


def own_annotations(obj: Any) -> dict[str, Any]:
    """The annotations written on this very function or class, unresolved; never an error."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(obj, format=annotationlib.Format.FORWARDREF)
    if isinstance(obj, type):
        return get_annotations(obj)
    found = getattr(obj, "__annotations__", None)
    return found if isinstance(found, dict) else {}


def is_resolved(annotation: Any) -> bool:
    """Whether `resolve` would return the annotation as it is; a cheap test that needs no scope."""
    return type(annotation) is type or (annotation is not None and not _mentions_text(annotation))


def resolve(annotation: Any, scope: Scope) -> Any:
    """The type an annotation stands for.

    `None` becomes `NoneType`, a string is evaluated, strings inside a generic too. What cannot be
    evaluated stays a `ForwardRef` (`Any` when it is no expression at all).
    """
    if annotation is None:
        return type(None)
    if isinstance(annotation, type):
        return annotation
    if isinstance(annotation, ForwardRef):
        if (module := getattr(annotation, "__forward_module__", None)) is not None:
            known = module if hasattr(module, "__dict__") else sys.modules.get(module)
            scope = Scope(vars(known), scope.localns, scope.qualname) if known is not None else scope
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        return _resolve_text(annotation, scope)
    return _resolve_nested(annotation, scope) if _mentions_text(annotation) else annotation


def _resolve_text(text: str, scope: Scope) -> Any:
    # Most annotations are one name: a few dictionary look-ups instead of a compilation.
    if text in scope.localns:
        value: Any = scope.localns[text]
    elif text in scope.globalns:
        value = scope.globalns[text]
    else:
        value = getattr(builtins, text, _NOT_FOUND)
    if value is _NOT_FOUND:
        value = _evaluate(text, scope)
    if isinstance(value, (str, ForwardRef)):
        # An alias that is itself a string; one level is enough, and a cycle must end.
        return value if isinstance(value, ForwardRef) else _evaluate(value, scope)
    return resolve(value, scope)


def _evaluate(text: str, scope: Scope) -> Any:
    try:
        code = _compiled(text)
    except SyntaxError:
        return Any
    try:
        return eval(code, scope.globalns, dict(scope.localns))
    except NameError:
        pass
    except Exception:
        return ForwardRef(text)
    try:
        return eval(
            code, scope.globalns, ChainMap(dict(scope.localns), *enclosing_locals(scope.globalns, scope.qualname))
        )
    except Exception:
        return ForwardRef(text)


@lru_cache(maxsize=2048)
def _compiled(text: str) -> CodeType:
    return compile(text.strip() or "None", "<annotation>", "eval")


def _resolve_nested(annotation: Any, scope: Scope) -> Any:
    """`list["Trial"]`: what `typing` resolves for itself, given the names."""
    holder = SimpleNamespace(__annotations__={"it": annotation})
    for names in (
        dict(scope.localns),
        dict(ChainMap(dict(scope.localns), *enclosing_locals(scope.globalns, scope.qualname))),
    ):
        try:
            return typing.get_type_hints(holder, scope.globalns, names, include_extras=True)["it"]
        except Exception:
            continue
    return annotation


def _mentions_text(annotation: Any) -> bool:
    if isinstance(annotation, (str, ForwardRef)):
        return True
    if get_origin(annotation) is Literal:
        return False
    parts = annotation if isinstance(annotation, (list, tuple)) else getattr(annotation, "__args__", ())
    return isinstance(parts, (list, tuple)) and any(_mentions_text(part) for part in parts)


def enclosing_locals(globalns: dict[str, Any], qualname: str) -> list[dict[str, Any]]:
    """The local names of the functions around the one of that name that are still running, innermost first.

    A type defined in a function is usually used by a pipeline built in the same call. Annotations are
    no part of the closure, so this is the only place where such a name can be found.
    """
    around: list[str] = []
    outer = qualname
    while ".<locals>." in outer:
        outer = outer.rpartition(".<locals>.")[0]
        around.append(outer)
    found: list[dict[str, Any]] = []
    frame = sys._getframe(1) if around else None
    while frame is not None:
        if frame.f_code.co_qualname in around and frame.f_globals is globalns:
            found.append(frame.f_locals)
        frame = frame.f_back
    return found


def substitute(form: Any, arguments: Mapping[Any, Any]) -> Any:
    """The type with its type variables replaced; those not in `arguments` stay."""
    if isinstance(form, TypeVar):
        return arguments.get(form, form)
    free = getattr(form, "__parameters__", ())
    # A generic class itself has parameters too, but is not written with them.
    if not free or isinstance(form, type) or not any(variable in arguments for variable in free):
        return form
    return form[tuple(arguments.get(variable, variable) for variable in free)]


def type_arguments(tp: Any) -> dict[type, dict[Any, Any]]:
    """For every class a type inherits from: what its type variables stand for there.

    `class Ints(Box[int])` gives `{Ints: {}, Box: {T: int}, object: {}}`.
    """
    found: dict[type, dict[Any, Any]] = {}

    def visit(form: Any) -> None:
        origin = get_origin(form) or form
        if not isinstance(origin, type) or origin in found:
            return
        arguments = dict(zip(getattr(origin, "__parameters__", ()), get_args(form), strict=False))
        found[origin] = arguments
        for base in origin.__dict__.get("__orig_bases__", origin.__bases__):
            # Generic[T] and Protocol[T] only declare the variables, and cannot be substituted.
            if getattr(get_origin(base), "__name__", "") not in ("Generic", "Protocol"):
                visit(substitute(base, arguments))

    visit(tp)
    return found
