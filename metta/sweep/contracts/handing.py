"""A wrapper's source: what it hands on to the function it wraps, and whether it gives back what that returns."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from functools import lru_cache
from types import CodeType
from typing import NamedTuple

_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Handing(NamedTuple):
    """How a wrapper calls what it wraps.

    Attributes:
        positional: so many positional arguments are its own, put before those that it was given.
        keywords: of the arguments it adds by name.
        gives_result: it returns what the call returns, unchanged, on every way.
    """

    positional: int
    keywords: frozenset[str]
    gives_result: bool


@lru_cache(maxsize=1024)
def handing(code: CodeType, wrapped: frozenset[str]) -> Handing | None:
    """How the function with this code calls what it wraps; None where its source does not tell.

    Args:
        wrapped: expressions that stand for the wrapped function in it: "fn", "self.fn".
    """
    function = _parsed(code)
    if function is None:
        return None
    own = list(_own(function))
    calls = [node for node in own if _is_call_of(node, wrapped)]
    handed = {(len(_added(call, function)), _keywords(call)) for call in calls if isinstance(call, ast.Call)}
    if len(handed) != 1 or any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in own):
        return None
    ((positional, keywords),) = handed
    return Handing(positional, keywords, _gives_result(function, own, wrapped))


def _parsed(code: CodeType) -> _Function | None:
    try:
        (found,) = ast.parse(textwrap.dedent(inspect.getsource(code))).body
    except (OSError, SyntaxError, ValueError, TypeError):
        return None
    return found if isinstance(found, _Function) and found.name == code.co_name else None


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """What stands in the function itself, not in one inside it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, (*_Function.__args__, ast.Lambda, ast.ClassDef)):
            yield from _own(child)


def _is_call_of(node: ast.AST | None, wrapped: frozenset[str]) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in wrapped


def _added(call: ast.Call, function: _Function) -> Sequence[ast.expr]:
    """The positional arguments that are none of the wrapper's own parameters."""
    given = {parameter.arg for parameter in (*function.args.posonlyargs, *function.args.args)}
    plain = [it for it in call.args if not isinstance(it, ast.Starred)]
    return [it for it in plain if not (isinstance(it, ast.Name) and it.id in given)]


def _keywords(call: ast.Call) -> frozenset[str]:
    return frozenset(it.arg for it in call.keywords if it.arg is not None)


def _gives_result(function: _Function, own: Sequence[ast.AST], wrapped: frozenset[str]) -> bool:
    def is_result(value: ast.expr | None) -> bool:
        return _is_call_of(value.value if isinstance(value, ast.Await) else value, wrapped)

    stored = [node.id for node in own if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)]
    assigned = [
        node.targets[0].id
        for node in own
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and is_result(node.value)
    ]
    results = {name for name in assigned if stored.count(name) == assigned.count(name)}
    returned = [node.value for node in own if isinstance(node, ast.Return)]
    return _ends(function.body) and all(
        is_result(value) or (isinstance(value, ast.Name) and value.id in results) for value in returned
    )


def _ends(body: Sequence[ast.stmt]) -> bool:
    """Whether control never passes the last statement: a function that it does pass returns None."""
    match body[-1] if body else None:
        case ast.Return() | ast.Raise():
            return True
        case ast.With(body=inner) | ast.AsyncWith(body=inner):
            return _ends(inner)
        case ast.If(body=then, orelse=otherwise):
            return _ends(then) and _ends(otherwise)
        case ast.While(test=ast.Constant(value=True), body=inner):
            return not any(isinstance(node, ast.Break) for statement in inner for node in ast.walk(statement))
        case ast.Try(body=inner, handlers=handlers, orelse=otherwise, finalbody=final):
            if _ends(final):
                return True
            return (_ends(otherwise) or _ends(inner)) and all(_ends(handler.body) for handler in handlers)
    return False
