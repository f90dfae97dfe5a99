"""The types that a lambda's parameters get from the place it stands in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mypy.checker import TypeChecker
from mypy.nodes import ARG_NAMED, ARG_OPT, ARG_POS, ARG_STAR, Argument, LambdaExpr
from mypy.types import AnyType, CallableType, Type, TypeOfAny

_POSITIONAL = (ARG_POS, ARG_OPT)


def accepts_count(expression: LambdaExpr, count: int) -> bool:
    """Whether the lambda can be called with so many positional arguments."""
    positional = [a for a in expression.arguments if a.kind in _POSITIONAL]
    required = sum(a.kind == ARG_POS for a in positional)
    variadic = any(a.kind == ARG_STAR for a in expression.arguments)
    keyword = any(a.kind == ARG_NAMED for a in expression.arguments)
    return required <= count and (variadic or count <= len(positional)) and not keyword


def called_with(expression: LambdaExpr, given: Sequence[Type | None], api: TypeChecker) -> CallableType:
    """A callable type for the lambda, its first parameters typed so; the rest, and what is not known, is Any."""
    positional = [a for a in expression.arguments if a.kind in _POSITIONAL]
    known = {a.variable.name: tp for a, tp in zip(positional, given, strict=False)}
    return named(expression, known, api)


def named(expression: LambdaExpr, known: Mapping[str, Type | None], api: TypeChecker) -> CallableType:
    """A callable type for the lambda, its parameters typed by name."""
    any_type = AnyType(TypeOfAny.special_form)
    arguments: list[Argument] = expression.arguments
    return CallableType(
        [known.get(a.variable.name) or any_type for a in arguments],
        [a.kind for a in arguments],
        [a.variable.name for a in arguments],
        any_type,
        api.named_generic_type("builtins.function", []),
    )
