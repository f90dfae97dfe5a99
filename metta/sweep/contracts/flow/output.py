"""What a stage gives: its return type against its contract, and the context behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, NamedTuple, TypeVar

from metta.sweep.contracts.flow.oracle import TypeOracle
from metta.sweep.contracts.flow.problems import Problem, describe, did_you_mean
from metta.sweep.contracts.flow.state import ASSUMED, EMPTY, Field, FieldMap, PersistentMap, State

T = TypeVar("T")


class Positional(NamedTuple, Generic[T]):
    """`.through(T)`: replaces the context."""

    type: T


@dataclass(frozen=True, slots=True)
class Keyword(Generic[T]):
    """`.through(a=A, b=B)`: adds fields. `type` is None only for inferred, un-annotated inputs."""

    fields: Mapping[str, T | None] = field(default_factory=dict)


Contract = Positional[T] | Keyword[T]


class Shape(Enum):
    """How the result of the call becomes the contract's data."""

    KEEP = "keep"  # None: the context stays as it was
    VALUE = "value"  # the result is the value
    BARE = "bare"  # the result is the one field
    RECORD = "record"  # the fields are read from a record
    TUPLE = "tuple"  # the fields in the declared order
    MAPPING = "mapping"  # the fields are keys
    DYNAMIC = "dynamic"  # un-annotated under a contract: decided by the result, checked
    UNKNOWN = "unknown"  # un-annotated without a contract: the context is unknown from here on


class Output(NamedTuple, Generic[T]):
    """The decision about one result.

    `proven`: the declared return type guarantees the contract, so that validate_type="auto" checks nothing.
    `contract` is the effective one (`-> R` without `.through` acts as `.through(R)`), None for KEEP and UNKNOWN.
    `is_wrong`: the return type contradicts the contract, which has been told: no type stands in it.
    """

    shape: Shape
    contract: Positional[T] | Keyword[T] | None
    proven: bool
    is_wrong: bool = False


def output(
    stage: str,
    returns: T | None,
    contract: Positional[T] | Keyword[T] | None,
    oracle: TypeOracle[T],
    *,
    is_nested: bool = False,
) -> tuple[Output[T], list[Problem]]:
    """Compare the declared (awaited) return type with the contract.

    Args:
        is_nested: the result is the final whole of a nested pipeline: it is always read as a record.
    """
    if contract is None:
        return _implied(stage, returns, oracle)
    if isinstance(contract, Positional):
        return _positional(stage, returns, contract, oracle)
    return _keyword(stage, returns, contract, oracle, is_nested)


def _implied(stage: str, returns: T | None, oracle: TypeOracle[T]) -> tuple[Output[T], list[Problem]]:
    if returns is None:
        return Output(Shape.UNKNOWN, None, False), [
            Problem(
                "untyped-stage",
                f'stage "{stage}" has no return annotation and no contract: '
                "what follows it is checked only at run time",
                expected="a return annotation or .through(...)",
                found="neither",
                remedy="annotate what the stage returns (-> None if nothing)",
                note=True,
            )
        ]
    if oracle.is_none(returns):
        return Output(Shape.KEEP, None, True), []
    if oracle.is_context(returns) or oracle.is_any(returns):
        return Output(Shape.UNKNOWN, None, False), []
    return Output(Shape.VALUE, Positional(returns), True), []


def _untyped(stage: str) -> Problem:
    return Problem(
        "untyped-stage",
        f'stage "{stage}" has no return annotation: its contract is checked only at run time',
        expected="a return annotation",
        found="none",
        remedy="annotate what the stage returns",
        note=True,
    )


def _positional(
    stage: str, returns: T | None, contract: Positional[T], oracle: TypeOracle[T]
) -> tuple[Output[T], list[Problem]]:
    if returns is None:
        return Output(Shape.VALUE, contract, False), [_untyped(stage)]
    verdict = oracle.is_assignable(returns, contract.type)
    if verdict is False:
        return disputed(contract, oracle), [_mismatch(stage, oracle.describe(returns), oracle.describe(contract.type))]
    return Output(Shape.VALUE, contract, _proves(verdict, returns, contract.type, oracle)), []


def _mismatch(stage: str, found: str, expected: str, detail: str = "") -> Problem:
    return Problem(
        "stage-output",
        f'stage "{stage}" returns {found}; its contract is {expected}{detail}',
        expected=expected,
        found=found,
        remedy="change the return annotation or the contract, so that the one fits the other",
        argument=0,
        at="through",
    )


def _keyword(
    stage: str, returns: T | None, contract: Keyword[T], oracle: TypeOracle[T], is_nested: bool
) -> tuple[Output[T], list[Problem]]:
    if returns is None:
        return Output(Shape.DYNAMIC, contract, False), [_untyped(stage)]
    if oracle.is_any(returns) or oracle.is_context(returns):
        return Output(Shape.RECORD if is_nested else Shape.DYNAMIC, contract, False), []
    wanted = contract.fields
    members = oracle.fields_of(returns)
    verdict, reason, wrong = _record_gives(members, wanted, oracle)
    if members is not None and reason == "":
        return Output(Shape.RECORD, contract, verdict), []
    if len(wanted) == 1 and not is_nested:
        (expected,) = wanted.values()
        bare = True if expected is None else oracle.is_assignable(returns, expected)
        if bare is not False:
            return Output(Shape.BARE, contract, _proves(bare, returns, expected, oracle)), []
    item = oracle.mapping_value(returns)
    if item is not None:
        if oracle.is_any(item) or oracle.is_object(item):
            return Output(Shape.MAPPING, contract, False), []
        if all(t is None or oracle.is_assignable(item, t) is not False for t in wanted.values()):
            return Output(Shape.MAPPING, contract, False), []
    items = oracle.plain_tuple(returns) if len(wanted) > 1 else None
    if items is not None and len(items) == len(wanted):
        pairs = list(zip(items, wanted.values(), strict=True))
        verdicts = [t is None or oracle.is_assignable(i, t) for i, t in pairs]
        if False not in verdicts:
            proven = all(_proves(v, i, t, oracle) for v, (i, t) in zip(verdicts, pairs, strict=True))
            return Output(Shape.TUPLE, contract, proven), []
        wrong = list(wanted)[verdicts.index(False)]
    expected_text = ", ".join(f"{name}: {describe(t, oracle)}" if t is not None else name for name, t in wanted.items())
    problem = _mismatch(stage, oracle.describe(returns), expected_text, reason and f" ({reason})")
    return disputed(contract, oracle), [problem.on(wrong or next(iter(wanted), None), "through")]


def disputed(contract: Positional[T] | Keyword[T], oracle: TypeOracle[T]) -> Output[T]:
    """The output of a stage that does not give its contract: which of the two is wrong is not known."""
    if isinstance(contract, Positional):
        return Output(Shape.DYNAMIC, Positional(oracle.any_type()), False, True)
    return Output(Shape.DYNAMIC, Keyword(dict.fromkeys(contract.fields)), False, True)


def _proves(verdict: bool | None, found: T, expected: T | None, oracle: TypeOracle[T]) -> bool:
    """Whether the annotation guarantees the contract: Any is assignable to everything and guarantees nothing."""
    if expected is None or found is expected:
        return True
    return verdict is True and (found == expected or not oracle.is_gradual(found))


def _record_gives(
    members: Mapping[str, tuple[T, bool]] | None, wanted: Mapping[str, T | None], oracle: TypeOracle[T]
) -> tuple[bool, str, str]:
    """(proven, reason why the record does not give the fields or '', the field it does not give or '')."""
    if members is None:
        return False, "", ""
    proven = True
    for name, expected in wanted.items():
        if name not in members:
            return False, f'it has no field "{name}"' + did_you_mean(name, list(members)), name
        found, required = members[name]
        if not required:
            return False, f'its key "{name}" is NotRequired', name
        verdict = True if expected is None else oracle.is_assignable(found, expected)
        if verdict is False:
            return False, f"its {name} is {oracle.describe(found)}", name
        proven = proven and _proves(verdict, found, expected, oracle)
    return proven, "", ""


def advance(
    stage: str,
    contract: Positional[T] | Keyword[T],
    state: State[T],
    oracle: TypeOracle[T],
) -> tuple[State[T], list[Problem]]:
    """The context behind a contract."""
    if isinstance(contract, Positional):
        return replaced(stage, contract.type, state, oracle), []
    fields, pure = state.fields, state.pure
    problems: list[Problem] = []
    for name, tp in contract.fields.items():
        known = fields.get(name)
        if known is None:
            pure = False
        elif known == ASSUMED:
            continue
        else:
            problem = _rebinding(stage, name, tp, known, state, oracle)
            if problem is not None:
                problems.append(problem)
                continue
            pure = pure and fits_in_value(name, known, state, oracle)
            if known.type is not None and not (tp is not None and oracle.is_context(tp)):
                # A view is one of the same type, but may have other fields now.
                tp = known.type
        fields = fields.set(name, Field(tp))
    return state.with_fields(fields, pure=pure), problems


def fits_in_value(name: str, known: Field[T], state: State[T], oracle: TypeOracle[T]) -> bool:
    """Whether a known field that is set again can be replaced in the value, however the value came about.

    After a join the value is a union, and a field that only one of its members has fits into that one alone.
    """
    is_union = name in state.own and state.value is not None and oracle.fields_of(state.value) is None
    return known.definite or not is_union


def _rebinding(
    stage: str, name: str, tp: T | None, known: Field[T], state: State[T], oracle: TypeOracle[T]
) -> Problem | None:
    if tp is not None and known.type is not None and not same_type(tp, known.type, oracle):
        expected, found = oracle.describe(known.type), oracle.describe(tp)
        return Problem(
            "field-redefined",
            f'stage "{stage}" sets {name}: {found}; the context already has {name}: {expected}',
            expected=expected,
            found=found,
            remedy="a field keeps its type: use another name, or replace the context with .through(T)",
            argument=name,
            at="through",
        )
    problem = not_rebuilt(stage, name, state, oracle)
    return None if problem is None else problem.on(name, "through")


def not_rebuilt(stage: str, name: str, state: State[T], oracle: TypeOracle[T]) -> Problem | None:
    """`field-redefined` where a field of the value is set again and the value cannot be built with another one."""
    if name not in state.own or not state.has_value or state.value is None:
        return None
    reason = oracle.unreplaceable(state.value, name)
    if not reason:
        return None
    record = oracle.describe(state.value)
    return Problem(
        "field-redefined",
        f'stage "{stage}" rebinds "{name}" of {record}, which cannot be rebuilt: {reason}',
        expected="a field that can be replaced",
        found=reason,
        remedy=f"use another name, or replace the context with a new {record}",
    )


def same_type(one: T, other: T, oracle: TypeOracle[T]) -> bool:
    """Whether the types accept one another; an unknown verdict counts as yes."""
    return one is other or (
        oracle.is_assignable(one, other) is not False and oracle.is_assignable(other, one) is not False
    )


def replaced(stage: str, tp: T, state: State[T], oracle: TypeOracle[T]) -> State[T]:
    """The context that holds only a value of type `tp` and its own fields."""
    members = oracle.fields_of(tp)
    if members is None:
        return State(EMPTY, tp, True, pure=True, replaced_by=stage, replacements=state.replacements + 1)
    fields: FieldMap[T] = PersistentMap.of(
        {
            name: Field(t, required, "" if required else f'"{name}" is a NotRequired key')
            for name, (t, required) in members.items()
        }
    )
    return State(
        fields,
        tp,
        True,
        own=frozenset(members),
        pure=True,
        replaced_by=stage,
        replacements=state.replacements + 1,
    )


def unknown_after(stage: str, state: State[T]) -> State[T]:
    """The context behind an un-annotated stage: nothing is verified any more."""
    return State(open=state.open, unknown=True, replaced_by=stage, replacements=state.replacements + 1)
