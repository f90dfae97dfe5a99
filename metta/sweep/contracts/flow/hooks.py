"""What each hook of `.through` is given and gives back, and whether a callable fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from metta.sweep.contracts.flow.binding import is_positional
from metta.sweep.contracts.flow.given import Given, misfit
from metta.sweep.contracts.flow.hook_table import CALLABLE_HOOKS
from metta.sweep.contracts.flow.oracle import TypeOracle
from metta.sweep.contracts.flow.problems import Problem, describe, is_nameless, typed
from metta.sweep.contracts.signature import Kind, Parameter, Signature

T = TypeVar("T")


def check_callable_hook(
    stage: str,
    hook: str,
    signature: Signature[T] | None,
    data: Given[T],
    given: Given[T],
    oracle: TypeOracle[T],
    *,
    is_global: bool = False,
) -> Problem | None:
    """`hook-signature`: the callable must take what the hook is given and return what it must give.

    Args:
        data: the contract's whole, which a hook that replaces the data returns as well.
        given: the whole before the stage.
        is_global: a global hook takes the stage's name first.
    """
    if signature is None:
        return None
    rule = CALLABLE_HOOKS[hook]
    first: list[Given[T]] = [Given(oracle.builtin(str))] if is_global else []
    main: Given[T] = {"data": data, "input": given}.get(rule.takes, Given(None))
    shapes: list[list[Given[T]]] = [[*first, main]]
    if rule.takes == "error":
        shapes.append([*first, main, given])
    arity = [s for s in shapes if _accepts_count(signature, len(s))]
    expected = f"({'stage, ' if is_global else ''}{rule.takes})"
    if rule.takes == "error":
        expected += f" or {expected[:-1]}, data)"
    if not arity:
        found = _shown(signature, oracle)
        return _bad(stage, hook, f"takes {found}; it is called with {expected}", expected, found)
    for index, (parameter, argument) in enumerate(zip(_positional(signature), arity[-1], strict=False)):
        if parameter.type is None:
            continue
        takes = f"takes {typed(parameter.name, parameter.type, oracle)}; it is called with"
        if rule.takes == "error" and index == len(first):
            if not _takes_errors(parameter.type, oracle):
                return _bad(stage, hook, f"{takes} an exception", "Exception", oracle.describe(parameter.type))
        elif (wrong := misfit(argument, parameter.type, oracle)) is not None:
            wanted, found = describe(argument.type, oracle), oracle.describe(parameter.type)
            return _bad(stage, hook, f"{takes} {wrong}", wanted, found)
    target = {"data": data.type, "str": oracle.builtin(str)}.get(rule.gives)
    if target is not None and signature.returns is not None:
        if oracle.is_assignable(signature.returns, target) is False:
            wanted, found = describe(target, oracle), oracle.describe(signature.returns)
            return _bad(stage, hook, f"returns {found}; it must return {wanted}", wanted, found)
    return None


def _takes_errors(tp: T, oracle: TypeOracle[T]) -> bool:
    """Whether some exception can be passed: one class of them will do, or a Protocol that one of them may fit."""
    error = oracle.builtin(BaseException)
    return any(
        oracle.is_assignable(error, member) is not False
        or oracle.is_assignable(member, error) is not False
        or oracle.protocol_of(member) is not None
        for member in oracle.members_of(tp)
    )


def _bad(stage: str, hook: str, what: str, expected: str, found: str) -> Problem:
    return Problem(
        "hook-signature",
        f'hook "{hook}" of stage "{stage}" {what}',
        expected=expected,
        found=found,
        remedy=f"write {hook}=lambda {expected.split(' or ')[0].strip('()')}: ..."
        if expected.startswith("(")
        else f"make the hook fit {expected}",
        argument=hook,
        at="through",
    )


def _positional(signature: Signature[Any]) -> Sequence[Parameter[Any]]:
    return [p for p in signature.parameters if is_positional(p)]


def _accepts_count(signature: Signature[Any], count: int) -> bool:
    positional = _positional(signature)
    required = sum(p.required for p in positional)
    variadic = any(p.kind is Kind.VAR_POSITIONAL for p in signature.parameters)
    keyword = any(p.kind is Kind.KEYWORD_ONLY and p.required for p in signature.parameters)
    return required <= count and (variadic or count <= len(positional)) and not keyword


def _shown(signature: Signature[T], oracle: TypeOracle[T]) -> str:
    """The parameters as one would write them, without their types: "(data, *, verbose)"."""
    parts: list[str] = []
    has_star = False
    for parameter in signature.parameters:
        if parameter.kind is Kind.KEYWORD_ONLY and not has_star:
            parts.append("*")
        has_star = has_star or parameter.kind in (Kind.VAR_POSITIONAL, Kind.KEYWORD_ONLY)
        stars = {Kind.VAR_POSITIONAL: "*", Kind.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        name = typed(parameter.name, parameter.type, oracle) if is_nameless(parameter.name) else parameter.name
        parts.append(stars + name)
    return f"({', '.join(parts)})"


def check_condition(
    what: str, signature: Signature[T] | None, whole: Given[T], oracle: TypeOracle[T], argument: str | int
) -> Problem | None:
    """A condition of a loop or a conditional: it takes the whole."""
    if signature is None:
        return None
    if not _accepts_count(signature, 1):
        found = _shown(signature, oracle)
        message = f"{what} takes {found}; it is called with the context"
    else:
        first = next(iter(_positional(signature)), None)
        if first is None or first.type is None:
            return None
        wrong = misfit(whole, first.type, oracle)
        if wrong is None:
            return None
        found = oracle.describe(first.type)
        message = f"{what} takes {typed(first.name, first.type, oracle)}; it is called with {wrong}"
    return Problem(
        "hook-signature",
        message,
        expected="(context)" if whole.type is None else oracle.describe(whole.type),
        found=found,
        remedy="write it as lambda ctx: ...",
        argument=argument,
    )


def check_skip(
    stage: str, sets: Mapping[str, T | None], replaces: bool, has_default: bool, present: Sequence[str]
) -> Problem | None:
    """`skip-without-value`: a skipped stage leaves something unset.

    Args:
        sets: the fields the stage would set.
        replaces: the contract replaces the context and the context has no such value yet.
        present: the names that are definitely set before.
    """
    if has_default:
        return None
    unset = [name for name in sets if name not in present]
    if not unset and not replaces:
        return None
    what = ", ".join(f'"{n}"' for n in unset) if unset else "the value"
    return Problem(
        "skip-without-value",
        f'stage "{stage}" may be skipped, and then {what} would not be set',
        expected=f"{what} set before, or default=",
        found="neither",
        remedy="give default=..., or set it before the stage",
        argument="skip_if",
        at="through",
    )
