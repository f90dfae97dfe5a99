"""What a decorator makes of the signature of the function it wraps.

`functools.wraps` copies the annotations of the wrapped function over the wrapper's own, so the wrapper does not say any
more what it takes and gives. But its code leads to the decorator that it was written in, and whose annotations say it:
`Callable[P, R] -> Callable[P, list[R]]` is solved as a type checker does. What a decorator does not say, its source may
(contracts/handing.py): one that hands arguments and result on changes nothing. The rest is unknown, not wrong.
"""

from __future__ import annotations

import collections.abc
import inspect
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from inspect import CO_VARARGS, CO_VARKEYWORDS
from types import CodeType, FunctionType, GenericAlias
from typing import Any, Concatenate, NamedTuple, TypeVar, get_args, get_origin

from metta.sweep.contracts.handing import Handing, handing
from metta.sweep.contracts.hints import enclosing_locals, own_annotations
from metta.sweep.contracts.signature import (
    Kind,
    Parameter,
    Signature,
    annotations_of,
    awaited,
    drop_positional,
    is_marked_async,
)
from metta.sweep.contracts.unify import substitute, unify

_LOCALS = ".<locals>."


@dataclass(frozen=True, slots=True)
class _Decorator:
    """A function that is given another one and returns a wrapper: its annotations, as far as there are any."""

    parameters: Mapping[str, Any]
    returns: Any


class _Solved(NamedTuple):
    """What the annotations of a decorator say; None, and Any as the result: nothing."""

    parameters: tuple[Parameter[Any], ...] | None = None
    returns: Any = Any
    is_async: bool = False
    is_same: bool = False  # the result is that of the wrapped function, whatever it is


def of_wrapper(wrapper: FunctionType, wrapped: Any, inside: Signature[Any]) -> Signature[Any]:
    """The signature of a function that carries the one it wraps (`__wrapped__`).

    Args:
        inside: the signature of `wrapped`.
    """
    holding = [name for name, value in _cells(wrapper).items() if value is wrapped]
    decorator = _decorator_of(wrapper)
    solved = _Solved()
    if decorator is not None:
        name = next((it for it in holding if it in decorator.parameters), _first_callable(decorator))
        if _is_identity(decorator, name):
            return inside
        solved = _solve(decorator, name, inside, wrapper)
    if solved.returns is Any and not solved.is_same and own_annotations(wrapper) != own_annotations(wrapped):
        # The annotations of the wrapper were not copied over.
        solved = _Solved(solved.parameters, *awaited(substitute(annotations_of(wrapper).get("return", Any), {})))
    if solved.parameters is None and not wrapper.__code__.co_flags & (CO_VARARGS | CO_VARKEYWORDS):
        solved = solved._replace(parameters=_written(wrapper, inside))
    return _merged(inside, solved, handing(wrapper.__code__, frozenset(holding)), wrapper)


def of_instance(call: Signature[Any], instance: Any, wrapped: Any, inside: Signature[Any]) -> Signature[Any]:
    """The signature of an object that carries the function it wraps (`functools.update_wrapper(self, fn)`).

    Args:
        call: the signature of its `__call__`, without `self`.
        inside: the signature of `wrapped`.
    """
    method = inspect.getattr_static(type(instance), "__call__")
    if not isinstance(method, FunctionType):
        return inside
    made = inspect.getattr_static(type(instance), "__init__")
    taken = annotations_of(made).values() if isinstance(made, FunctionType) else ()
    form = next(filter(_is_callable, taken), Any)
    returns = Any if call.returns is None else substitute(call.returns, _solution(form, inside))
    has_stars = method.__code__.co_flags & (CO_VARARGS | CO_VARKEYWORDS)
    solved = _Solved(None if has_stars else call.parameters, *awaited(returns))
    holding = frozenset(f"self.{name}" for name, value in vars(instance).items() if value is wrapped)
    return _merged(inside, solved, handing(method.__code__, holding), method)


def of_unmarked(wrapper: FunctionType, read: Callable[[Any], Signature[Any] | None]) -> Signature[Any] | None:
    """The signature of a wrapper without `__wrapped__`; None where its decorator does not say what it wraps.

    Args:
        wrapper: takes `*args: P.args, **kwargs: P.kwargs`, and so what the wrapped function takes.
        read: gives the signature of that one.
    """
    decorator = _decorator_of(wrapper)
    if decorator is None:
        return None
    cells = _cells(wrapper)
    name = next((it for it, form in decorator.parameters.items() if _is_callable(form) and callable(cells.get(it))), "")
    inside = read(cells[name]) if name else None
    if inside is None:
        return None
    solved = _solve(decorator, name, inside, wrapper)
    return None if solved.parameters is None else _merged(inside, solved, None, wrapper)


def _merged(inside: Signature[Any], solved: _Solved, handed: Handing | None, wrapper: FunctionType) -> Signature[Any]:
    """What is said first, else what is handed on, else what is likely: the parameters of the wrapped function."""
    is_async = is_marked_async(wrapper)
    parameters = solved.parameters
    if parameters is None:
        parameters = inside.parameters if handed is None else _left(inside.parameters, handed)
    overloads = inside.overloads if parameters == inside.parameters else ()
    found = replace(inside, parameters=parameters, overloads=overloads)
    if solved.returns is not Any:
        return replace(found, returns=solved.returns, is_async=is_async or solved.is_async, overloads=())
    if solved.is_same or (handed is not None and handed.gives_result):
        return replace(found, is_async=is_async or inside.is_async)
    return replace(
        found,
        returns=None,
        is_async=is_async or inside.is_async,
        overloads=(),
        hidden_by="" if inside.returns is None else _name(wrapper),
        may_be_async=inside.is_async and not is_async,
    )


def _name(wrapper: FunctionType) -> str:
    """What its user calls the decorator."""
    return wrapper.__code__.co_qualname.partition(_LOCALS)[0].removesuffix(".__call__")


def _left(parameters: tuple[Parameter[Any], ...], handed: Handing) -> tuple[Parameter[Any], ...]:
    for _ in range(handed.positional):
        parameters = drop_positional(parameters)
    return tuple(it for it in parameters if it.name not in handed.keywords)


def _written(wrapper: FunctionType, inside: Signature[Any]) -> tuple[Parameter[Any], ...]:
    """The parameters in the code of a wrapper that takes no others; typed where they are those of the wrapped one."""
    code = wrapper.__code__
    known = {it.name: it.type for it in inside.parameters}
    count = code.co_argcount + code.co_kwonlyargcount
    optional = {*code.co_varnames[code.co_argcount - len(wrapper.__defaults__ or ()) : code.co_argcount]}
    optional |= set(wrapper.__kwdefaults__ or ())
    return tuple(
        Parameter(
            name,
            Kind.POSITIONAL_ONLY
            if index < code.co_posonlyargcount
            else Kind.POSITIONAL_OR_KEYWORD
            if index < code.co_argcount
            else Kind.KEYWORD_ONLY,
            known.get(name),
            name not in optional,
        )
        for index, name in enumerate(code.co_varnames[:count])
    )


# -- what the annotations say -----------------------------------------------------------------------------------------


def _is_callable(form: Any) -> bool:
    return get_origin(form) is collections.abc.Callable


def _first_callable(decorator: _Decorator) -> str:
    forms = decorator.parameters.items()
    return next((name for name, form in forms if _is_callable(form) or isinstance(form, TypeVar)), "")


def _is_identity(decorator: _Decorator, name: str) -> bool:
    """`F -> F`: the wrapper is as good as what it wraps."""
    return isinstance(decorator.returns, TypeVar) and decorator.parameters.get(name) is decorator.returns


def _solve(decorator: _Decorator, name: str, inside: Signature[Any], wrapper: FunctionType) -> _Solved:
    taken, given = decorator.parameters.get(name), decorator.returns
    if not (_is_callable(taken) and _is_callable(given)):
        return _Solved()
    solution = _solution(taken, inside)
    parameters = _parameters(taken, given, solution, inside, wrapper)
    if _result(taken) == _result(given):
        # Not by way of a solution, which would lose what overloads say.
        return _Solved(parameters, is_same=True)
    return _Solved(parameters, *awaited(substitute(_result(given), solution)))


def _solution(form: Any, inside: Signature[Any]) -> dict[Any, Any]:
    """What the type variables of a `Callable[...]` stand for when it is given the function."""
    if not _is_callable(form):
        return {}
    result: Any = Any if inside.returns is None else inside.returns
    if inside.is_async:
        result = GenericAlias(Coroutine, (Any, Any, result))
    pairs = [(_result(form), result)]
    pairs += [(it, own.type) for it, own in zip(_prefix(form), inside.parameters, strict=False) if own.type is not None]
    patterns, actuals = zip(*pairs, strict=True)
    return unify(tuple.__class_getitem__(patterns), tuple.__class_getitem__(actuals))


def _result(form: Any) -> Any:
    return (get_args(form) or (Any,))[-1]


def _prefix(form: Any) -> tuple[Any, ...]:
    """The types of the positional parameters that a `Callable[...]` lists."""
    first = (get_args(form) or (...,))[0]
    if get_origin(first) is Concatenate:
        return get_args(first)[:-1]
    return tuple(first) if isinstance(first, list) else ()


def _rest(form: Any) -> Any:
    """P of `Callable[P, R]` and `Callable[Concatenate[A, P], R]`; `...` where that is written, None without any."""
    first = (get_args(form) or (...,))[0]
    if get_origin(first) is Concatenate:
        return get_args(first)[-1]
    return None if isinstance(first, list) else first


def _parameters(
    taken: Any, given: Any, solution: dict[Any, Any], inside: Signature[Any], wrapper: FunctionType
) -> tuple[Parameter[Any], ...] | None:
    rest = _rest(given)
    left: tuple[Parameter[Any], ...] = ()
    if rest is not None:
        if rest is ... or rest is not _rest(taken):
            return None
        left = inside.parameters
        for _ in _prefix(taken):
            left = drop_positional(left)
    code = wrapper.__code__
    names = code.co_varnames[: code.co_argcount]
    added = tuple(
        Parameter(
            names[index] if index < len(names) else f".{index}", Kind.POSITIONAL_ONLY, substitute(form, solution), True
        )
        for index, form in enumerate(_prefix(given))
    )
    return added + left


# -- where the wrapper was written ------------------------------------------------------------------------------------


def _cells(wrapper: FunctionType) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, cell in zip(wrapper.__code__.co_freevars, wrapper.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return found


def _decorator_of(wrapper: FunctionType) -> _Decorator | None:
    """The function that the wrapper was written in; None where it cannot be reached, or is not annotated.

    One that stands in another function, because the decorator takes arguments, is what the other one says it returns.
    """
    levels = wrapper.__code__.co_qualname.split(_LOCALS)[:-1]
    for depth in reversed(range(len(levels))):
        function = _function(wrapper, levels[: depth + 1])
        path = [] if function is None else _path(function.__code__, wrapper.__code__)
        if function is None or not path:
            continue
        hints = annotations_of(function)
        found = _Decorator({name: hints[name] for name in _positional(path[0]) if name in hints}, hints.get("return"))
        for code in path[1:-1]:
            if not _is_callable(found.returns) or _rest(found.returns) is not None:
                return None
            found = _Decorator(
                dict(zip(_positional(code), _prefix(found.returns), strict=False)), _result(found.returns)
            )
        return found
    return None


def _function(wrapper: FunctionType, levels: list[str]) -> FunctionType | None:
    """The function of that name: of the module, of a class in it, or of a function that is still running."""
    first, *rest = levels[-1].split(".")
    if len(levels) == 1:
        spaces = [wrapper.__globals__]
    else:
        spaces = enclosing_locals(wrapper.__globals__, _LOCALS.join(levels))
    for names in spaces:
        found = names.get(first)
        for name in rest:
            found = inspect.getattr_static(found, name, None)
        found = inspect.unwrap(found) if callable(found) else getattr(found, "__func__", None)
        if isinstance(found, FunctionType):
            return found
    return None


def _path(outer: CodeType, inner: CodeType) -> list[CodeType]:
    """The codes from one function to another inside it, both included; empty where it is not inside."""
    if outer is inner:
        return [outer]
    for constant in outer.co_consts:
        if isinstance(constant, CodeType) and (rest := _path(constant, inner)):
            return [outer, *rest]
    return []


def _positional(code: CodeType) -> tuple[str, ...]:
    return code.co_varnames[: code.co_argcount]
