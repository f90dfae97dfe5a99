"""What a callable asks for and gives back, for every kind of callable Python has.

A plain function is read straight from its code object (a few microseconds: a pipeline of 10,000 stages
reads 10,000 of them); everything else is taken apart until functions are left, or read by `inspect`.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from inspect import CO_COROUTINE, CO_ITERABLE_COROUTINE, CO_VARARGS, CO_VARKEYWORDS, iscoroutinefunction
from types import CodeType, FunctionType, MappingProxyType, MethodType, WrapperDescriptorType
from typing import Any, Generic, ParamSpecArgs, Self, TypeVar, get_args, get_origin, get_overloads

from metta.sweep.contracts.hints import (
    Scope,
    enclosing_locals,
    is_resolved,
    own_annotations,
    resolve,
    substitute,
    type_arguments,
)

T = TypeVar("T")


class Kind(IntEnum):
    """How a parameter takes its argument; the values are those of `inspect.Parameter.kind`."""

    POSITIONAL_ONLY = 0
    POSITIONAL_OR_KEYWORD = 1
    VAR_POSITIONAL = 2
    KEYWORD_ONLY = 3
    VAR_KEYWORD = 4


@dataclass(frozen=True, slots=True)
class Parameter(Generic[T]):
    """One parameter; `type` is None where there is no annotation."""

    name: str
    kind: Kind
    type: T | None
    required: bool


@dataclass(frozen=True, slots=True)
class Signature(Generic[T]):
    """What a call needs and yields.

    Args:
        name: as messages call it, see `source_name`.
        parameters: those still open: without `self` and what a `functools.partial` has bound.
        returns: the declared type of the finished result (awaited); None where there is no annotation.
        is_async: whether a call returns an awaitable.
        bound: keywords bound by `functools.partial`; they are listed nowhere in `parameters`.
        overloads: of an overloaded function, where they return different types; `returns` is Any then.
        hidden_by: the decorator that does not say what becomes of the result; `returns` is None then.
        may_be_async: only a call shows whether it returns an awaitable (a plain wrapper around an async function).
    """

    name: str
    parameters: tuple[Parameter[T], ...]
    returns: T | None
    is_async: bool
    bound: Mapping[str, object] = field(default_factory=lambda: _NOTHING, hash=False)
    overloads: tuple[Signature[T], ...] = ()
    hidden_by: str = ""
    may_be_async: bool = False


def overloaded(implementation: Signature[T], overloads: Sequence[Signature[T]], unknown: T) -> Signature[T]:
    """The signature of an overloaded function: called as its implementation is, it returns what its overloads say.

    Args:
        unknown: Any: what it returns before it is known which of the overloads a call means.
    """
    first = overloads[0].returns
    if all(it.returns == first for it in overloads):
        return replace(implementation, returns=first)
    return replace(implementation, returns=unknown, overloads=tuple(overloads))


# One for all: in a pipeline of 10,000 stages the collector counts 10,000 empty dicts, too.
_NOTHING: Mapping[str, object] = MappingProxyType({})


def signature_of(fn: object) -> Signature[Any] | None:
    """The signature of any callable, or None where it cannot be read (some builtins) or called.

    Args:
        fn: a function, bound, class or static method, partial, lambda, callable object, class,
            `nn.Module` (read by `forward`), or one of them behind decorators: what these make of it as their
            annotations say, or their source; otherwise the parameters are those of `__wrapped__`.

    String annotations are resolved where they were written; one that cannot be stays a `ForwardRef`.
    """
    return _read(fn, None)


def code_of(fn: object) -> CodeType | None:
    """The user's code that a call runs, behind decorators and partials; None for builtins."""
    inner = _innermost(fn)
    if isinstance(inner, type):
        inner = _constructor(inner)
    elif not isinstance(inner, FunctionType):
        module = _as_module(inner)
        inner = _innermost(_call_method(inner) if module is None else module.forward)
    return inner.__code__ if isinstance(inner, FunctionType) else None


def source_name(fn: object) -> str:
    """What its user calls it: "MyExperiment.train", "Net" for an instance, "lambda at train.py:12"."""
    inner = fn if type(fn) is FunctionType and not fn.__dict__ else _innermost(fn)
    if isinstance(inner, FunctionType) and inner.__name__ == "<lambda>":
        return f"lambda at {os.path.basename(inner.__code__.co_filename)}:{inner.__code__.co_firstlineno}"
    name = getattr(inner, "__qualname__", None)
    if not isinstance(name, str):
        name = type(inner).__qualname__
    return name.rpartition("<locals>.")[2]


def _read(fn: Any, owner: Any) -> Signature[Any] | None:
    """`signature_of` for a callable looked up on the class (or generic class with arguments) `owner`."""
    if isinstance(fn, FunctionType):
        extra = fn.__dict__
        if not extra or not ("__wrapped__" in extra or "__signature__" in extra):
            return _of_wrapper(fn, owner) if _passes_parameters_on(fn) else _of_function(fn, owner)
    elif isinstance(fn, MethodType):
        inside = _read(fn.__func__, fn.__self__ if isinstance(fn.__self__, type) else type(fn.__self__))
        return inside and _without_first(inside)
    elif isinstance(fn, functools.partial):
        return _of_partial(fn)
    elif isinstance(fn, staticmethod):
        return _read(fn.__func__, owner)
    elif not callable(fn):
        return None
    elif isinstance(fn, type) or isinstance(get_origin(fn), type):
        return _of_class(fn)
    if (marked := _of_marked(fn, owner)) is not None:
        return marked
    if (module := _as_module(fn)) is not None:
        inside = _read(module.forward, type(module))
        return inside and replace(inside, name=source_name(fn))
    if (call := _call_method(fn)) is not None:
        inside = _read(call, type(fn))
        return inside and replace(inside, name=source_name(fn))
    return _by_inspect(fn, owner)


def _of_function(fn: FunctionType, owner: Any) -> Signature[Any]:
    """A plain function, with its overloads."""
    signature = _of_code(fn, owner)
    if owner is None and "." in fn.__qualname__:
        signature = _with_self(signature, fn)
    registered = get_overloads(fn)
    if not registered:
        return signature
    written: list[Any] = [getattr(it, "__func__", it) for it in registered]
    # The registry goes by names: a later function of the same name is not what these were written for.
    own = [it for it in written if it.__code__.co_filename == fn.__code__.co_filename]
    return overloaded(signature, [_of_code(it, owner) for it in own], Any) if own else signature


def _with_self(signature: Signature[Any], fn: FunctionType) -> Signature[Any]:
    """A method taken from its class has the class for its `self`, as type checkers have it."""
    first, *others = signature.parameters or (None,)
    owner = _class_of(fn)
    if first is None or first.type is not None or first.kind > Kind.POSITIONAL_OR_KEYWORD or owner is None:
        return signature
    return replace(signature, parameters=(replace(first, type=owner), *others))


def _class_of(fn: FunctionType) -> type | None:
    """The class in whose body a function was written; None where it cannot be found."""
    *classes, name = fn.__qualname__.rpartition("<locals>.")[2].split(".")
    if not classes:
        return None
    spaces = enclosing_locals(fn.__globals__, fn.__qualname__) if "<locals>" in fn.__qualname__ else [fn.__globals__]
    for names in spaces:
        found: Any = names.get(classes[0])
        for part in classes[1:]:
            found = vars(found).get(part) if isinstance(found, type) else None
        if isinstance(found, type) and isinstance(vars(found).get(name), FunctionType):
            return found
    return None


def _of_code(fn: FunctionType, owner: Any) -> Signature[Any]:
    """Read from the code object, in the layout the data model documents."""
    code = fn.__code__
    flags = code.co_flags
    names = code.co_varnames
    positional = code.co_argcount
    count = positional + code.co_kwonlyargcount
    annotations = annotations_of(fn, owner)
    first_default = positional - len(fn.__defaults__ or ())
    keyword_defaults = fn.__kwdefaults__ or ()
    found: list[Parameter[Any]] = []
    for index in range(positional):
        name = names[index]
        kind = Kind.POSITIONAL_ONLY if index < code.co_posonlyargcount else Kind.POSITIONAL_OR_KEYWORD
        found.append(Parameter(name, kind, annotations.get(name), index < first_default))
    if flags & CO_VARARGS:
        name = names[count]
        found.append(Parameter(name, Kind.VAR_POSITIONAL, annotations.get(name), False))
    for name in names[positional:count]:
        found.append(Parameter(name, Kind.KEYWORD_ONLY, annotations.get(name), name not in keyword_defaults))
    if flags & CO_VARKEYWORDS:
        name = names[count + bool(flags & CO_VARARGS)]
        found.append(Parameter(name, Kind.VAR_KEYWORD, annotations.get(name), False))
    returns = annotations.get("return")
    if flags & _RETURNS_AWAITABLE:
        return Signature(source_name(fn), tuple(found), returns, True)
    result, awaitable = awaited(returns)
    return Signature(source_name(fn), tuple(found), result, awaitable or is_marked_async(fn))


_RETURNS_AWAITABLE = CO_COROUTINE | CO_ITERABLE_COROUTINE


def is_marked_async(fn: Any) -> bool:
    """An async function, or one that says it is (`inspect.markcoroutinefunction`)."""
    if isinstance(fn, FunctionType) and not fn.__dict__:
        return bool(fn.__code__.co_flags & _RETURNS_AWAITABLE)
    return iscoroutinefunction(fn)


def awaited(returns: Any) -> tuple[Any, bool]:
    """What awaiting a declared result gives, and whether there is anything to await."""
    origin = returns if type(returns) is type else get_origin(returns) or returns
    if not isinstance(origin, type) or not hasattr(origin, "__await__"):
        return returns, False
    method = origin.__await__
    waiting = _of_function(method, returns) if isinstance(method, FunctionType) else None
    if waiting is not None and waiting.returns is not None:
        # __await__ returns Generator[Any, Any, R].
        sides = get_args(waiting.returns)
        result = sides[2] if len(sides) == 3 else Any
        return returns if result is Self else result, True
    # Awaitable[R], Coroutine[Y, S, R], Future[R], Task[R]: R is the last.
    return (get_args(returns) or (Any,))[-1], True


def annotations_of(fn: FunctionType, owner: Any = None) -> Mapping[str, Any]:
    """The annotations of a function, resolved; what is inherited from `Base[int]` has int for the variable of Base."""
    raw = own_annotations(fn)
    if not all(is_resolved(annotation) for annotation in raw.values()):
        scope = _scope(fn, owner)
        raw = {name: resolve(annotation, scope) for name, annotation in raw.items()}
    if owner is None or not any(map(_has_variables, raw.values())):
        return raw
    arguments = type_arguments(owner).get(_body(fn, owner), {})
    return {name: substitute(annotation, arguments) for name, annotation in raw.items()}


def _has_variables(annotation: Any) -> bool:
    return isinstance(annotation, TypeVar) or bool(getattr(annotation, "__parameters__", ()))


def _body(fn: FunctionType, owner: Any) -> type:
    """The class whose body holds a function that was looked up on `owner`."""
    found: type = get_origin(owner) or owner
    name = fn.__qualname__.rpartition("<locals>.")[2].rpartition(".")[0].rpartition(".")[2]
    return next((base for base in found.__mro__ if base.__name__ == name), found)


def _scope(fn: FunctionType, owner: Any) -> Scope:
    """The names the annotations of `fn` can see: closure, type parameters, class body, module."""
    names: dict[str, object] = {}
    if owner is None and "." in fn.__qualname__ and "<locals>" not in fn.__qualname__:
        first, *rest = fn.__qualname__.split(".")[:-1]
        owner = functools.reduce(lambda it, name: getattr(it, name, None), rest, fn.__globals__.get(first))
    if isinstance(get_origin(owner) or owner, type):
        names.update(Scope.of_class(_body(fn, owner)).localns)
    names.update((variable.__name__, variable) for variable in getattr(fn, "__type_params__", ()))
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=False):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return Scope(fn.__globals__, names, fn.__qualname__)


def _of_partial(fn: functools.partial[Any]) -> Signature[Any] | None:
    inside = _read(fn.func, None)
    if inside is None:
        return None
    left = inside.parameters
    for _ in fn.args:
        left = drop_positional(left)
    open_parameters: list[Parameter[Any]] = []
    after_bound = False
    for parameter in left:
        if parameter.name in fn.keywords and parameter.kind in (
            Kind.POSITIONAL_OR_KEYWORD,
            Kind.KEYWORD_ONLY,
        ):
            after_bound = after_bound or parameter.kind is Kind.POSITIONAL_OR_KEYWORD
            continue
        # Behind a bound one, a position would hit the bound one: only the name can reach these.
        if after_bound and parameter.kind is Kind.POSITIONAL_OR_KEYWORD:
            parameter = replace(parameter, kind=Kind.KEYWORD_ONLY)
        if not (after_bound and parameter.kind is Kind.VAR_POSITIONAL):
            open_parameters.append(parameter)
    bound = {**inside.bound, **fn.keywords}
    return replace(inside, parameters=tuple(open_parameters), bound=bound, overloads=())


def _without_first(signature: Signature[Any]) -> Signature[Any]:
    overloads = tuple(_without_first(it) for it in signature.overloads)
    return replace(signature, parameters=drop_positional(signature.parameters), overloads=overloads)


def drop_positional(parameters: tuple[Parameter[Any], ...]) -> tuple[Parameter[Any], ...]:
    """Without the parameter that takes the first positional argument; `*args` takes any number."""
    if parameters and parameters[0].kind <= Kind.POSITIONAL_OR_KEYWORD:
        return parameters[1:]
    return parameters


def _of_marked(fn: Any, owner: Any) -> Signature[Any] | None:
    """A callable that carries the signature to show, or the function it wraps."""
    marks = getattr(fn, "__dict__", None)
    if not isinstance(marks, Mapping):
        return None
    if marks.get("__signature__") is not None:
        return _by_inspect(fn, owner)
    if not callable(wrapped := marks.get("__wrapped__")):
        return None
    inside = _read(wrapped, owner)
    if inside is None:
        return None
    from metta.sweep.contracts import wrappers

    if isinstance(fn, FunctionType):
        return wrappers.of_wrapper(fn, wrapped, inside)
    call = None if _as_module(fn) is not None else _call_method(fn)
    own = None if call is None else _read(call, type(fn))
    return inside if own is None else wrappers.of_instance(own, fn, wrapped, inside)


_STARS = CO_VARARGS | CO_VARKEYWORDS


def _passes_parameters_on(fn: FunctionType) -> bool:
    """Whether it takes `*args: P.args, **kwargs: P.kwargs`."""
    return fn.__code__.co_flags & _STARS == _STARS and any(
        isinstance(it, ParamSpecArgs) for it in annotations_of(fn).values()
    )


def _of_wrapper(fn: FunctionType, owner: Any) -> Signature[Any]:
    """A wrapper without `functools.wraps`, seen through where its decorator is annotated."""
    from metta.sweep.contracts.wrappers import of_unmarked

    return of_unmarked(fn, lambda wrapped: _read(wrapped, owner)) or _of_function(fn, owner)


def _of_class(cls: Any) -> Signature[Any] | None:
    """A class, or a generic class with arguments: its constructor, which returns the class itself."""
    from metta.sweep.contracts.records import Family, constructor_types, family_of, record_fields

    origin: type = get_origin(cls) or cls
    if family_of(cls) is Family.TYPED_DICT:
        keys = (record_fields(cls) or {}).items()
        keywords = tuple(Parameter(name, Kind.KEYWORD_ONLY, it.type, it.required) for name, it in keys)
        return Signature(source_name(origin), keywords, cls, False)
    init = _constructor(origin)
    inside = _read(init, cls) if init is not None else None
    inside = _without_first(inside) if inside is not None else _by_inspect(origin, cls)
    if inside is None:
        return None
    known = constructor_types(cls)
    parameters = tuple(replace(p, type=known.get(p.name, p.type)) for p in inside.parameters)
    result, is_async = awaited(cls)
    return Signature(source_name(origin), parameters, result, is_async)


def _constructor(cls: Any) -> Any:
    """The function `cls(...)` runs, when one method alone decides; None: ask `inspect`."""
    if type(cls).__call__ is not type.__call__ or "__signature__" in vars(cls):
        return None
    made: list[Any] = [
        getattr(cls, name) for name in ("__init__", "__new__") if getattr(cls, name) is not getattr(object, name)
    ]
    return made[0] if len(made) == 1 and isinstance(made[0], FunctionType) else None


def _as_module(fn: Any) -> Any:
    """The `torch.nn.Module` behind an instance of it, without importing torch; else None."""
    base = getattr(getattr(sys.modules.get("torch"), "nn", None), "Module", None)
    if not isinstance(base, type) or not isinstance(fn, base):
        return None
    # `torch.compile(module)` is a module around the user's own.
    original = getattr(fn, "_orig_mod", None)
    return original if isinstance(original, base) else fn


def _call_method(fn: Any) -> Any:
    """The bound `__call__` of an instance whose class defines it in Python; else None."""
    for base in type(fn).__mro__:
        if "__call__" in base.__dict__:
            found = base.__dict__["__call__"]
            if isinstance(found, WrapperDescriptorType):
                return None
            return found.__get__(fn, type(fn)) if hasattr(type(found), "__get__") else found
    return None


def _innermost(fn: Any) -> Any:
    """Behind partials, bound methods, decorators and `__call__`: a function, a class, or what is left."""
    while True:
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif isinstance(fn, (MethodType, staticmethod)):
            fn = fn.__func__
        elif isinstance(get_origin(fn), type):
            fn = get_origin(fn)
        elif not isinstance(fn, type) and callable(inner := getattr(fn, "__dict__", {}).get("__wrapped__")):
            fn = inner
        else:
            return fn


def _by_inspect(fn: Any, owner: Any) -> Signature[Any] | None:
    """What `inspect.signature` knows: builtins, extension types, metaclasses, `__signature__`."""
    try:
        shown = inspect.signature(fn)
    except (ValueError, TypeError):
        return None
    inner = _innermost(fn)
    if isinstance(inner, FunctionType):
        scope = _scope(inner, owner)
    else:
        scope = Scope.of_class(inner if isinstance(inner, type) else type(inner))
    arguments = type_arguments(owner).get(get_origin(owner) or owner, {})

    def typed(annotation: Any) -> Any:
        return None if annotation is inspect.Parameter.empty else substitute(resolve(annotation, scope), arguments)

    parameters = tuple(
        Parameter(
            name=it.name,
            kind=Kind(it.kind),
            type=typed(it.annotation),
            required=it.default is it.empty and it.kind not in (it.VAR_POSITIONAL, it.VAR_KEYWORD),
        )
        for it in shown.parameters.values()
    )
    result, awaitable = awaited(typed(shown.return_annotation))
    return Signature(source_name(fn), parameters, result, awaitable or iscoroutinefunction(fn))
