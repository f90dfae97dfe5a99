"""The hooks of one `.through`, or of `with_global_hooks`, as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from metta.sweep.contracts.flow.given import Given, whole_given
from metta.sweep.contracts.flow.hook_table import CALLABLE_HOOKS, CHANGERS, HOOK_NAMES, VALUE_HOOKS
from metta.sweep.contracts.flow.hooks import check_callable_hook, check_skip
from metta.sweep.contracts.flow.misuse import unknown_global_hook
from metta.sweep.contracts.flow.oracle import TypeOracle
from metta.sweep.contracts.flow.output import Keyword, Output, Positional, Shape, output
from metta.sweep.contracts.flow.problems import Problem
from metta.sweep.contracts.flow.state import Field, FieldMap, PersistentMap, State
from metta.sweep.contracts.signature import Signature

T = TypeVar("T")


class HookValue(NamedTuple, Generic[T]):
    """The value of a hook, as far as the rules need it.

    Attributes:
        signature: of a callable; None where it cannot be read, and for other values.
        misfit: the value in words where it cannot stand under its name (no callable, or of the wrong type).
    """

    signature: Signature[T] | None = None
    misfit: str = ""


class NestedEnd(NamedTuple, Generic[T]):
    """A nested pipeline without a contract: its first and final context, and the names of the fields that leave it.

    `leaving` is None for an open pipeline, which runs on the context itself.
    """

    start: State[T]
    end: State[T]
    leaving: Sequence[str] | None


def hook_problems(
    stage: str,
    hooks: Mapping[str, HookValue[T]],
    out: Output[T],
    state: State[T],
    oracle: TypeOracle[T],
    *,
    is_map: bool = False,
    nested: NestedEnd[T] | None = None,
) -> list[Problem]:
    """What is wrong with the hooks of one stage.

    Args:
        out: its output.
        state: the context before it.
        nested: of a nested pipeline without a contract; the data of its hooks is its final whole.
    """
    data = _data(out, state, oracle) if nested is None else whole_given(nested.end, oracle)
    # In a map, skip_if and on_error see one element.
    given: Given[T] = Given(None) if is_map else whole_given(state, oracle)
    problems: list[Problem] = []
    for name, value in hooks.items():
        problem = _value_problem(stage, name, value)
        if problem is None and name in CALLABLE_HOOKS:
            problem = check_callable_hook(stage, name, value.signature, data, given, oracle)
        if problem is None and name == "on_error" and out.contract is not None:
            problem = _handler_problem(stage, value.signature, out.contract, oracle, is_map=is_map)
        if problem is not None:
            problems.append(problem)
    if out.shape is Shape.KEEP and nested is None:
        problems += [_nothing_to_change(stage, name) for name in CHANGERS if name in hooks]
    # An element of a map that is skipped is left out, or takes its default: neither touches the contract's list.
    if "skip_if" in hooks and not is_map:
        problem = _skip_problem(stage, "default" in hooks, out, state, oracle, nested)
        if problem is not None:
            problems.append(problem)
    return problems


def global_hook_problems(hooks: Mapping[str, HookValue[T]], oracle: TypeOracle[T]) -> list[Problem]:
    """What is wrong with the hooks of `with_global_hooks`, as far as it does not depend on a stage."""
    unknown: Given[T] = Given(None)
    problems = [unknown_global_hook(name) for name in hooks if name not in HOOK_NAMES]
    for name, value in hooks.items():
        if name not in HOOK_NAMES:
            continue
        problem = _value_problem(_EVERY_STAGE, name, value)
        if problem is None and name in CALLABLE_HOOKS:
            problem = check_callable_hook(_EVERY_STAGE, name, value.signature, unknown, unknown, oracle, is_global=True)
        if problem is not None:
            problems.append(problem)
    return problems


_EVERY_STAGE = "(every stage)"


def data_type(out: Output[T], state: State[T], oracle: TypeOracle[T]) -> T | None:
    """The contract's whole: what the hooks of the membrane are given; without a contract, the context as it was."""
    return _data(out, state, oracle).type


def _data(out: Output[T], state: State[T], oracle: TypeOracle[T]) -> Given[T]:
    contract = out.contract
    if contract is None:
        return whole_given(state, oracle) if out.shape is Shape.KEEP else Given(None)
    if isinstance(contract, Keyword):
        fields: FieldMap[T] = PersistentMap.of({name: Field(tp) for name, tp in contract.fields.items()})
        return whole_given(State(fields), oracle)
    return Given(contract.type)


def element_type(contract: Positional[T] | Keyword[T] | None, oracle: TypeOracle[T]) -> T | None:
    """What one element of a map's list must be; None where it is not known."""
    if isinstance(contract, Keyword):
        listed = next(iter(contract.fields.values())) if len(contract.fields) == 1 else None
    else:
        listed = None if contract is None else contract.type
    return None if listed is None else oracle.element_of(listed)


def _value_problem(stage: str, hook: str, value: HookValue[T]) -> Problem | None:
    if not value.misfit:
        return None
    expected = VALUE_HOOKS.get(hook, "a callable")
    return Problem(
        "hook-type",
        f'hook "{hook}" of stage "{stage}" takes {expected}; found {value.misfit}',
        expected=expected,
        found=value.misfit,
        remedy=f"pass {expected}",
        argument=hook,
        at="through",
    )


def _handler_problem(
    stage: str,
    signature: Signature[T] | None,
    contract: Positional[T] | Keyword[T],
    oracle: TypeOracle[T],
    *,
    is_map: bool,
) -> Problem | None:
    """`hook-signature` for an on_error that returns what cannot stand for the output of the stage."""
    if signature is None or signature.returns is None:
        return None
    values = [member for member in oracle.members_of(signature.returns) if not oracle.is_none(member)]
    element = element_type(contract, oracle) if is_map else None
    if not values or (is_map and element is None):
        return None
    returns = oracle.join(values)
    _, problems = output(stage, returns, contract if element is None else Positional(element), oracle)
    if not problems:
        return None
    expected, found = f"None or {problems[0].expected}", oracle.describe(returns)
    return Problem(
        "hook-signature",
        f'hook "on_error" of stage "{stage}" returns {found}; it must return {expected}',
        expected=expected,
        found=found,
        remedy="return what the stage would return, or None to let the error go on",
        argument="on_error",
        at="through",
    )


def _nothing_to_change(stage: str, hook: str) -> Problem:
    return Problem(
        "hook-signature",
        f'hook "{hook}" of stage "{stage}" has no data to change: the stage returns None',
        expected="a stage with a contract",
        found="-> None",
        remedy="let the stage return what it sets, or change the data in a stage of its own",
        argument=hook,
        at="through",
    )


def _skip_problem(
    stage: str,
    has_default: bool,
    out: Output[T],
    state: State[T],
    oracle: TypeOracle[T],
    nested: NestedEnd[T] | None,
) -> Problem | None:
    """`skip-without-value`: what the stage would set or replace must be there before it."""
    if state.open or state.unknown:
        return None
    replaces = False
    sets: Mapping[str, T | None] = {}
    if nested is not None:
        end = nested.end
        replaces = end.replacements != nested.start.replacements
        names = end.fields if nested.leaving is None else nested.leaving
        sets = {name: None for name in names if (known := end.fields.get(name)) is not None and known.definite}
    elif isinstance(out.contract, Positional):
        replaces = (
            not state.has_value or state.value is None or oracle.is_assignable(state.value, out.contract.type) is False
        )
    elif isinstance(out.contract, Keyword):
        sets = out.contract.fields
    elif out.shape is Shape.UNKNOWN:
        return None
    present = [name for name, known in state.fields.items() if known.definite]
    return check_skip(stage, sets, replaces, has_default, present)


def isolates(stage: str) -> Problem:
    """A note: a time-out moves a sync stage to a worker process."""
    return Problem(
        "timeout-isolates",
        f'sync stage "{stage}" has a time-out: it runs in a worker process, '
        "so what it writes to self or to globals does not come back",
        expected="arguments and a result that can be stored",
        found="a sync stage with timeout=",
        remedy="return what the stage computes, or make it async",
        argument="timeout",
        at="through",
        note=True,
    )
