"""Joins, loops, fan-out and nesting: what control flow does to the context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import TypeVar

from metta.sweep.contracts.flow.oracle import TypeOracle
from metta.sweep.contracts.flow.output import fits_in_value, not_rebuilt, same_type
from metta.sweep.contracts.flow.problems import Problem, context_text, describe, did_you_mean
from metta.sweep.contracts.flow.state import ASSUMED, Field, PersistentMap, State

T = TypeVar("T")


def whole(state: State[T], oracle: TypeOracle[T]) -> T | None:
    """The type of the whole: the value's, or the Context view's; None where it is not known."""
    if state.unknown or state.open:
        return None
    return state.value if state.whole_is_value else oracle.view(state)


def join(one: State[T], other: State[T], oracle: TypeOracle[T], names: tuple[str, str], where: str) -> State[T]:
    """The context after a conditional.

    Args:
        names: the arms in words, such as '"then"' and '"otherwise"'.
        where: the conditional in words.
    """
    if one is other:
        return one
    left, right = one.fields.as_dict(), other.fields.as_dict()
    merged: dict[str, Field[T]] = {}
    dropped = other.replacements - one.replacements
    for name, a in left.items():
        b = right.get(name)
        if b is not None:
            merged[name] = _both(a, b, oracle, _joined(names, where))
        elif not other.unknown:  # an unknown context may have it
            merged[name] = _only(a, names, dropped > 0, where)
    for name, b in right.items():
        if name not in left and not one.unknown:
            merged[name] = _only(b, names[::-1], dropped < 0, where)
    has_value = one.has_value and other.has_value
    pure = one.whole_is_value and other.whole_is_value
    return State(
        PersistentMap.of(merged),
        _union(one.value, other.value, oracle) if has_value else None,
        has_value,
        (frozenset(merged) if pure else one.own | other.own) if has_value else frozenset(),
        pure,
        one.open or other.open,
        one.unknown or other.unknown,
        one.replaced_by if one.replaced_by == other.replaced_by else "",
        max(one.replacements, other.replacements),
    )


def _only(known: Field[T], arms: Sequence[str], is_dropped: bool, where: str) -> Field[T]:
    """A field that the first of the arms has and the other has not, or has dropped."""
    if not known.definite or known == ASSUMED:
        return known
    arm, other = arms
    origin = (
        f"the {other} arm of {where} replaces the context" if is_dropped else f"only the {arm} arm of {where} sets it"
    )
    return Field(known.type, False, origin)


def _joined(arms: Sequence[str], where: str) -> str:
    return f"joined types of the {arms[0]} and {arms[1]} arms of {where}"


def _both(a: Field[T], b: Field[T], oracle: TypeOracle[T], joined: str = "") -> Field[T]:
    """A field that both have; `joined` says so where its types differ."""
    if a is b:
        return a
    tp = _union(a.type, b.type, oracle)
    if a.definite and b.definite:
        return Field(tp, True, "" if tp is a.type else joined)
    return Field(tp, False, b.origin if a.definite else a.origin)


def _union(a: T | None, b: T | None, oracle: TypeOracle[T]) -> T | None:
    if a is None or b is None:
        return None
    if a is b or a == b:
        return a
    return oracle.join([a, b])


def carried(entry: State[T], end: State[T], oracle: TypeOracle[T], where: str) -> list[Problem]:
    """`loop-carried`: at the end of the body and at each break the entry fields must be what they were."""
    if end.unknown:
        return []
    problems = _value_carried(entry, end, oracle, where)
    if end.fields is not entry.fields:
        after = end.fields.as_dict()
        for name, before in entry.fields.items():
            now = after.get(name)
            if now is before or (problems and name in entry.own):
                continue
            if now is None:
                by = f': stage "{end.replaced_by}" replaced the context' if end.replaced_by else ""
                problems.append(_not_carried(where, name, describe(before.type, oracle), f"gone{by}"))
            elif before.definite and not now.definite:
                problems.append(_not_carried(where, name, "definitely set", f"only maybe set ({now.origin})"))
            elif before.type is not None and now.type is not None:
                if not same_type(before.type, now.type, oracle):
                    problems.append(
                        _not_carried(where, name, describe(before.type, oracle), describe(now.type, oracle))
                    )
    return problems


def _value_carried(entry: State[T], end: State[T], oracle: TypeOracle[T], where: str) -> list[Problem]:
    if not entry.has_value:
        return []
    expected = describe(entry.value, oracle)
    if not end.has_value:
        return [_not_carried(where, "the value", expected, "gone")]
    if entry.value is None or end.value is None or same_type(entry.value, end.value, oracle):
        return []
    return [_not_carried(where, "the value", expected, describe(end.value, oracle))]


def _not_carried(where: str, name: str, expected: str, found: str) -> Problem:
    shown = name if name == "the value" else f'"{name}"'
    return Problem(
        "loop-carried",
        f"{where}: {shown} enters the loop as {expected}; here it is {found}",
        expected=expected,
        found=found,
        remedy="let the body leave every field it was given as it found it: "
        "use keyword contracts, or carry the field in the record",
    )


def after_loop(
    entry: State[T],
    end: State[T],
    breaks: Sequence[State[T]],
    oracle: TypeOracle[T],
    *,
    has_condition: bool,
    where: str,
) -> State[T]:
    """The context after a loop whose body ends in `end` and is left early in `breaks`.

    A field first set in the body is maybe set; without a condition (do-while) it is set if it stands before the
    first break.
    """
    origin = f"{where} may run zero times" if has_condition else f"{where} may be left before it is set"
    fields = entry.fields
    exits = [end, *breaks]
    for name in dict.fromkeys(name for state in exits for name in state.fields):
        found = [state.fields.get(name) for state in exits]
        before = entry.fields.get(name)
        if before is not None:
            if any(known is not before for known in found):
                # Equal, but another object: the field was set again, which a nested pipeline and an arm must see.
                now_set = not has_condition and all(f is not None and f.definite for f in found)
                definite = before.definite or now_set
                fields = fields.set(name, Field(before.type, definite, "" if definite else before.origin))
            continue
        known = reduce(lambda a, b: _both(a, b, oracle), [f for f in found if f is not None])
        if known == ASSUMED:
            fields = fields.set(name, known)
            continue
        definite = not has_condition and known.definite and None not in found
        if not definite and (entry.unknown or end.unknown):
            continue  # an unknown context may have it
        fields = fields.set(name, known if definite or not known.definite else Field(known.type, False, origin))
    ways = [entry, *exits] if has_condition else exits
    has_value = all(state.has_value for state in ways)
    pure = all(state.whole_is_value for state in ways)
    return State(
        fields,
        reduce(lambda a, b: _union(a, b, oracle), [state.value for state in ways]) if has_value else None,
        has_value,
        frozenset().union(*(state.own for state in ways)) if has_value else frozenset(),
        pure,
        any(state.open for state in ways),
        any(state.unknown for state in ways),
        reduce(lambda a, b: a if a == b else "", [state.replaced_by for state in ways]),
        max(state.replacements for state in ways),
    )


def parallel_conflicts(outer: State[T], arms: Mapping[str, State[T]], where: str) -> list[Problem]:
    """`parallel-conflict`: an arm rebinds a field of the outer context; arms see a snapshot."""
    problems = []
    for arm, state in arms.items():
        if state.replacements != outer.replacements:
            continue
        for name, before in outer.fields.items():
            now = state.fields.get(name)
            if now is not before and now != ASSUMED:
                problems.append(
                    Problem(
                        "parallel-conflict",
                        f'arm "{arm}" of {where} rebinds "{name}", which was set before the arms began',
                        expected=f'"{name}" left alone: arms see a snapshot',
                        found=f'a contract that sets "{name}"',
                        remedy="use another name in the arm, or replace its context with .through(T)",
                    )
                )
    return problems


def map_element(stage: str, over: str, state: State[T], oracle: TypeOracle[T]) -> tuple[T | None, list[Problem]]:
    """The element type of the field a map runs over."""
    known = state.fields.get(over)
    if known is None:
        if state.open or state.unknown:
            return None, []
        found = context_text(state, oracle)
        message = f'map "{stage}" runs over "{over}"; the context has {found}' + did_you_mean(over, list(state.fields))
        return None, [_map_source(message, f'a field "{over}"', found)]
    if not known.definite and not state.open:
        message = f'map "{stage}" runs over "{over}", which may not be set: {known.origin}'
        return None, [_map_source(message, f'"{over}" definitely set', known.origin)]
    if known.type is None or oracle.is_any(known.type):
        return None, []
    element = oracle.element_of(known.type)
    if element is None:
        found = oracle.describe(known.type)
        return None, [
            _map_source(f'map "{stage}" runs over {over}: {found}, which is not iterable', "an Iterable", found)
        ]
    return element, []


def _map_source(message: str, expected: str, found: str) -> Problem:
    return Problem(
        "map-source",
        message,
        expected=expected,
        found=found,
        remedy="over= names a field that is an Iterable and definitely set",
        argument="over",
    )


def nested_effect(
    stage: str, outer: State[T], start: State[T], end: State[T], oracle: TypeOracle[T]
) -> tuple[State[T], list[str], list[Problem]]:
    """What a closed nested pipeline does to the context around it.

    Args:
        start: the context of its declared inputs.
        end: its final context.

    Returns:
        The outer context afterwards, the names that leave the nested pipeline, and problems.
    """
    if end.replacements != start.replacements or end.unknown:
        after = replace(
            end,
            replaced_by=stage,
            open=outer.open and end.unknown,
            replacements=outer.replacements + end.replacements - start.replacements,
        )
        return after, list(end.fields), []
    fields, pure = outer.fields, outer.pure
    problems: list[Problem] = []
    leaving: list[str] = []
    for name, known in end.fields.items():
        if start.fields.get(name) is known:
            continue
        before = outer.fields.get(name)
        if before is not None and before.type is not None and known.type is not None:
            if oracle.is_assignable(known.type, before.type) is False:
                expected, found = oracle.describe(before.type), oracle.describe(known.type)
                problems.append(
                    Problem(
                        "field-redefined",
                        f'nested pipeline "{stage}" sets {name}: {found}; the context has {name}: {expected}',
                        expected=expected,
                        found=found,
                        remedy="a field keeps its type: rename it inside, or give the stage a contract",
                    )
                )
                continue
        problem = not_rebuilt(stage, name, outer, oracle)
        if problem is not None:
            problems.append(problem)
            continue
        leaving.append(name)
        pure = pure and before is not None and fits_in_value(name, before, outer, oracle)
        if before is None:
            fields = fields.set(name, known)
        else:
            definite = before.definite or known.definite
            fields = fields.set(name, Field(before.type, definite, "" if definite else known.origin))
    return outer.with_fields(fields, pure=pure), leaving, problems
