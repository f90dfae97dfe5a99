"""What each hook of `.through` is given and gives back, and whether a callable fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from metta.sweep.contracts.flow.binding import is_positional
from metta.sweep.contracts.flow.hook_table import CALLABLE_HOOKS
from metta.sweep.contracts.flow.oracle import TypeOracle
from metta.sweep.contracts.flow.problems import Problem, describe
from metta.sweep.contracts.signature import Kind, Parameter, Signature

T = TypeVar("T")


def check_callable_hook(
    stage: str,
    hook: str,
    signature: Signature[T] | None,
    data: T | None,
    given: T | None,
    returned: T | None,
    oracle: TypeOracle[T],
    *,
    is_global: bool = False,
    string: T | None = None,
) -> Problem | None:
    """`hook-signature`: the callable must take what the hook is given and return what it must give.

    Args:
        data: the contract's whole; None where it is not known.
        given: the whole before the stage.
        returned: what a transformation must return (the contract's whole).
        is_global: a global hook takes the stage's name first.
        string: the oracle's `str`, for checkpoint_path.
    """
    if signature is None:
        return None
    rule = CALLABLE_HOOKS[hook]
    first: list[T | None] = [string] if is_global else []
    main = {"data": data, "input": given, "error": None}[rule.takes]
    shapes: list[list[T | None]] = [[*first, main]]
    if rule.takes == "error":
        shapes.append([*first, None, given])
    arity = [s for s in shapes if _accepts_count(signature, len(s))]
    names = {"data": "data", "input": "input", "error": "error"}[rule.takes]
    expected = f"({'stage, ' if is_global else ''}{names})"
    if rule.takes == "error":
        expected += f" or {expected[:-1]}, data)"
    if not arity:
        found = f"({', '.join(p.name for p in signature.parameters)})"
        return _bad(stage, hook, f"takes {found}; it is called with {expected}", expected, found)
    shape = arity[-1]
    for parameter, argument in zip(_positional(signature), shape, strict=False):
        if parameter.type is None or argument is None:
            continue
        if oracle.is_assignable(argument, parameter.type) is False:
            wanted, found = oracle.describe(argument), oracle.describe(parameter.type)
            return _bad(stage, hook, f"takes {parameter.name}: {found}; it is called with {wanted}", wanted, found)
    target = {"data": returned, "str": string}.get(rule.gives)
    if target is not None and signature.returns is not None and rule.gives in ("data", "str"):
        if oracle.is_assignable(signature.returns, target) is False:
            wanted, found = describe(target, oracle), oracle.describe(signature.returns)
            return _bad(stage, hook, f"returns {found}; it must return {wanted}", wanted, found)
    return None


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


def check_condition(
    what: str, signature: Signature[T] | None, whole: T | None, oracle: TypeOracle[T], argument: str | int
) -> Problem | None:
    """A condition of a loop or a conditional: it takes the whole."""
    if signature is None:
        return None
    if not _accepts_count(signature, 1):
        found = f"({', '.join(p.name for p in signature.parameters)})"
        message = f"{what} takes {found}; it is called with the context"
    else:
        first = next(iter(_positional(signature)), None)
        if first is None or first.type is None or whole is None:
            return None
        if oracle.is_assignable(whole, first.type) is not False:
            return None
        found = oracle.describe(first.type)
        message = f"{what} takes {first.name}: {found}; it is called with {oracle.describe(whole)}"
    return Problem(
        "hook-signature",
        message,
        expected="(context)" if whole is None else oracle.describe(whole),
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
