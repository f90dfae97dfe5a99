"""The rule book itself: how a parameter is bound, what a contract does, what joins and loops leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NotRequired, TypedDict

import pytest

from metta.sweep.contracts import flow
from metta.sweep.contracts.flow import (
    EMPTY,
    Field,
    How,
    Keyword,
    PersistentMap,
    Positional,
    Setting,
    Shape,
    State,
)
from metta.sweep.contracts.runtime_oracle import RuntimeOracle
from metta.sweep.contracts.signature import Kind, Parameter, Signature, signature_of


class View:
    """Stands for the Context view."""


class Pair(NamedTuple):
    x: int
    y: str


class Loose(TypedDict):
    x: int
    y: NotRequired[str]


ORACLE = RuntimeOracle(View)


def state(value: Any = None, **fields: Any) -> State[Any]:
    """A context of fields; a name ending in _ is maybe set."""
    known = {
        n.rstrip("_"): Field(t, not n.endswith("_"), "a branch" if n.endswith("_") else "") for n, t in fields.items()
    }
    if value is None:
        return State(PersistentMap.of(known))
    found = flow.replaced("maker", value, State(), ORACLE)
    if not known:
        return found
    merged = PersistentMap.of({**found.fields.as_dict(), **known})
    return found.with_fields(merged, pure=False)


def bound(fn: Callable[..., Any], context: State[Any], **settings: Any) -> dict[str, How]:
    binding, problems = flow.bind("s", signature_of(fn), {n: Setting(v) for n, v in settings.items()}, context, ORACLE)
    assert [p.code for p in problems if not p.note] == []
    return {a.parameter.name: a.how for a in binding.arguments}


def rejected(fn: Callable[..., Any], context: State[Any], **settings: Any) -> list[str]:
    _, problems = flow.bind("s", signature_of(fn), {n: Setting(v) for n, v in settings.items()}, context, ORACLE)
    return [problem.code for problem in problems]


def one(x: int) -> None: ...
def two(x: int, y: str) -> None: ...
def optional(x: int = 0) -> None: ...
def of_pair(pair: Pair) -> None: ...
def of_loose(loose: Loose) -> None: ...
def of_list(items: list[int]) -> None: ...
def of_view(view: View) -> None: ...
def of_any(data: Any) -> None: ...
def of_whole(data: Any, /, x: int) -> None: ...
def with_rest(x: int, **rest: str) -> None: ...


@pytest.mark.parametrize(
    ("fn", "context", "settings", "expected"),
    [
        (one, state(x=int), {}, {"x": How.FIELD}),
        (one, state(x=bool), {}, {"x": How.FIELD}),
        (one, state(x=int), {"x": 3}, {"x": How.SETTING}),
        (two, state(x=int), {"y": "a"}, {"x": How.FIELD, "y": How.SETTING}),
        (optional, state(), {}, {}),
        (optional, state(x=int), {}, {"x": How.FIELD}),
        (optional, state(x_=int), {}, {"x": How.MAYBE_FIELD}),
        (of_pair, state(Pair), {}, {"pair": How.VALUE}),
        (of_pair, state(Pair, z=int), {}, {"pair": How.VALUE}),
        (of_pair, state(x=int, y=str), {}, {"pair": How.RECORD}),
        (of_pair, state(pair=Pair), {}, {"pair": How.FIELD}),
        (of_loose, state(x=int, y_=str), {}, {"loose": How.RECORD}),
        (of_list, state(list[int]), {}, {"items": How.VALUE}),
        (of_view, state(x=int), {}, {"view": How.CONTEXT}),
        (of_view, state(Pair), {}, {"view": How.CONTEXT}),
        (of_any, state(Pair), {}, {"data": How.WHOLE}),
        (of_any, state(data=int), {}, {"data": How.FIELD}),
        (of_whole, state(x=int), {}, {"data": How.WHOLE, "x": How.FIELD}),
        (with_rest, state(x=int), {"z": "a"}, {"x": How.FIELD, "z": How.SETTING}),
        (one, State(open=True), {}, {"x": How.LATER}),
        (one, State(unknown=True), {}, {"x": How.LATER}),
        (two, State(open=True), {}, {"x": How.LATER, "y": How.LATER}),
    ],
)
def test_binding(fn: Any, context: State[Any], settings: dict[str, Any], expected: dict[str, How]) -> None:
    assert bound(fn, context, **settings) == expected


@pytest.mark.parametrize(
    ("fn", "context", "settings", "expected"),
    [
        (one, state(), {}, ["missing-field"]),
        (one, state(y=int), {}, ["missing-field"]),
        (one, state(x=str), {}, ["stage-input"]),
        (one, state(x_=int), {}, ["maybe-missing-field"]),
        (one, state(list[int]), {}, ["stage-input"]),
        (two, state(x=str, y=int), {}, ["stage-input", "stage-input"]),
        (two, state(), {}, ["missing-field"]),
        (two, state(list[int]), {}, ["missing-field"]),
        (optional, state(x=str), {}, ["stage-input"]),
        (of_pair, state(x=int), {}, ["missing-field"]),
        (of_pair, state(x=int, y_=str), {}, ["maybe-missing-field"]),
        (of_pair, state(x=int, y=int), {}, ["stage-input"]),
        (of_loose, state(z=int), {}, ["missing-field"]),
        (one, state(x=int), {"x": "a"}, ["setting-type"]),
        (one, state(x=int), {"z": 1}, ["unknown-setting"]),
        (with_rest, state(x=int), {"z": 1}, ["setting-type"]),
        (one, State(PersistentMap.of({"x": Field(str)}), open=True), {}, ["stage-input"]),
    ],
)
def test_binding_that_cannot_be(fn: Any, context: State[Any], settings: dict[str, Any], expected: list[str]) -> None:
    assert rejected(fn, context, **settings) == expected


@pytest.mark.parametrize(
    ("returns", "contract", "shape", "proven"),
    [
        (int, Positional(float), Shape.VALUE, True),
        (Any, Positional(int), Shape.VALUE, False),
        (list[Any], Positional(list[int]), Shape.VALUE, False),
        (dict[str, Any], Positional(dict[str, Any]), Shape.VALUE, True),
        (None, Positional(int), Shape.VALUE, False),
        (int, Keyword({"x": int}), Shape.BARE, True),
        (list[Any], Keyword({"x": list[int]}), Shape.BARE, False),
        (Pair, Keyword({"x": int}), Shape.RECORD, True),
        (Pair, Keyword({"pair": Pair}), Shape.BARE, True),
        (Pair, Keyword({"y": str, "x": int}), Shape.RECORD, True),
        (dict[str, int], Keyword({"x": int}), Shape.MAPPING, False),
        (dict[str, int], Keyword({"x": dict[str, int]}), Shape.BARE, True),
        (dict[str, object], Keyword({"x": int, "y": str}), Shape.MAPPING, False),
        (tuple[int, str], Keyword({"x": int, "y": str}), Shape.TUPLE, True),
        (tuple[int, Any], Keyword({"x": int, "y": str}), Shape.TUPLE, False),
        (None, Keyword({"x": int}), Shape.DYNAMIC, False),
        (type(None), None, Shape.KEEP, True),
        (Pair, None, Shape.VALUE, True),
        (None, None, Shape.UNKNOWN, False),
        (View, None, Shape.UNKNOWN, False),
    ],
)
def test_output(returns: Any, contract: Any, shape: Shape, proven: bool) -> None:
    found, problems = flow.output("s", returns, contract, ORACLE)
    assert [p.code for p in problems if not p.note] == []
    assert (found.shape, found.proven) == (shape, proven)


@pytest.mark.parametrize(
    ("returns", "contract", "argument"),
    [
        (str, Positional(int), 0),
        (Pair, Keyword({"x": int, "z": str}), "z"),
        (Pair, Keyword({"x": str, "y": str}), "x"),
        (Loose, Keyword({"x": int, "y": str}), "y"),
        (tuple[int, str], Keyword({"x": int, "y": int}), "y"),
        (tuple[int, str], Keyword({"x": int}), "x"),
        (dict[str, int], Keyword({"x": str, "y": int}), "x"),
    ],
)
def test_output_that_cannot_be(returns: Any, contract: Any, argument: str | int) -> None:
    _, problems = flow.output("s", returns, contract, ORACLE)
    assert [(p.code, p.argument, p.at) for p in problems] == [("stage-output", argument, "through")]


def types(found: State[Any]) -> dict[str, str]:
    return {n: ORACLE.describe(f.type) + ("" if f.definite else "?") for n, f in found.fields.items()}


def test_contracts_move_the_context() -> None:
    after, problems = flow.advance("s", Keyword({"z": int}), state(Pair), ORACLE)
    assert (types(after), after.whole_is_value, problems) == ({"x": "int", "y": "str", "z": "int"}, False, [])
    after, _ = flow.advance("s", Keyword({"x": int}), state(Pair), ORACLE)
    assert after.whole_is_value
    after, _ = flow.advance("s", Positional(Loose), after, ORACLE)
    assert (types(after), after.whole_is_value, after.replaced_by) == ({"x": "int", "y": "str?"}, True, "s")
    assert flow.whole(after, ORACLE) is Loose
    assert flow.whole(state(Pair, z=int), ORACLE) is View
    assert flow.whole(flow.unknown_after("s", after), ORACLE) is None


def test_a_join() -> None:
    arms = ('"then"', '"otherwise"')
    both = flow.join(state(x=int, y=str), state(x=str, z=int), ORACLE, arms, "it")
    assert types(both) == {"x": "int | str", "y": "str?", "z": "int?"}
    known = both.fields.get("y")
    assert known is not None
    assert known.origin == 'only the "then" arm of it sets it'
    values = flow.join(state(Pair), state(Loose), ORACLE, arms, "it")
    assert values.whole_is_value
    assert ORACLE.describe(values.value) == "Pair | Loose"
    assert not flow.join(state(Pair), state(x=int), ORACLE, arms, "it").has_value
    same = state(x=int)
    assert flow.join(same, same, ORACLE, arms, "it") is same


@pytest.mark.parametrize(
    ("has_condition", "breaks", "expected"),
    [
        (True, [], {"x": "int", "y": "str?"}),
        (False, [], {"x": "int", "y": "str"}),
        (False, [state(x=int)], {"x": "int", "y": "str?"}),
        (False, [state(x=int, y=str)], {"x": "int", "y": "str"}),
        (False, [state(x=int, y=str, z=int)], {"x": "int", "y": "str", "z": "int?"}),
        (False, [state(x=int, y=int)], {"x": "int", "y": "str | int"}),
    ],
)
def test_after_a_loop(has_condition: bool, breaks: Sequence[State[Any]], expected: Mapping[str, str]) -> None:
    end = state(x=int, y=str)
    found = flow.after_loop(state(x=int), end, breaks, ORACLE, has_condition=has_condition, where="it")
    assert types(found) == expected


def test_what_a_loop_must_carry() -> None:
    def codes(entry: State[Any], end: State[Any]) -> list[str]:
        return [problem.found for problem in flow.carried(entry, end, ORACLE, "it")]

    assert codes(state(x=int), state(x=int, y=str)) == []
    assert codes(state(x=int), state(y=str)) == ["gone"]
    assert codes(state(x=int), state(x=str)) == ["str"]
    assert codes(state(x=int), state(x_=int)) == ["only maybe set (a branch)"]
    assert codes(state(x_=int), state(x_=int)) == []
    assert codes(state(Pair), state(Loose)) == ["Loose"]
    assert codes(state(Pair), state(Pair)) == []
    assert codes(state(list[int]), state(x=int)) == ["gone"]


def test_what_leaves_a_nested_pipeline() -> None:
    start = state(x=int)
    end, _ = flow.advance("s", Keyword({"y": str, "x": int}), start, ORACLE)
    after, leaving, problems = flow.nested_effect("n", state(x=int, z=int), start, end, ORACLE)
    assert (types(after), leaving, problems) == ({"x": "int", "z": "int", "y": "str"}, ["x", "y"], [])
    _, _, problems = flow.nested_effect("n", state(y=int), start, end, ORACLE)
    assert [problem.code for problem in problems] == ["field-redefined"]
    outer = state(Pair)
    replaced = flow.replaced("s", Loose, start, ORACLE)
    after, leaving, _ = flow.nested_effect("n", outer, start, replaced, ORACLE)
    assert (types(after), leaving) == ({"x": "int", "y": "str?"}, ["x", "y"])
    assert after.replacements > outer.replacements, "behind it, others must see that the context was replaced"


def test_arms_that_rebind() -> None:
    outer = state(x=int)
    rebound, _ = flow.advance("s", Keyword({"x": int}), outer, ORACLE)
    added, _ = flow.advance("s", Keyword({"y": int}), outer, ORACLE)
    dropped = flow.replaced("s", Pair, outer, ORACLE)
    found = flow.parallel_conflicts(outer, {"a": rebound, "b": added, "c": dropped}, "it")
    assert [problem.code for problem in found] == ["parallel-conflict"]
    assert 'arm "a"' in found[0].message


def test_long_contexts_are_cut_in_messages() -> None:
    many = state(**{f"field_{i}": int for i in range(50)})
    assert flow.context_text(many, ORACLE, 40) == "field_0: int, field_1: int, ..."
    assert flow.context_text(state(), ORACLE) == "nothing"
    assert flow.context_text(state(list[int]), ORACLE) == "the value list[int]"
    assert flow.context_text(State(EMPTY, list[int], True, pure=True), ORACLE) == "the value list[int]"


class Words:
    """An oracle whose types are words, "a|b" the union: the rules need nothing of Python's own types."""

    def is_assignable(self, source: str, target: str) -> bool:
        return set(source.split("|")) <= set(target.split("|"))

    def join(self, types: Sequence[str]) -> str:
        return "|".join(dict.fromkeys(part for tp in types for part in tp.split("|")))

    def describe(self, tp: str) -> str:
        return tp

    def __getattr__(self, name: str) -> Any:
        answers = {"accepts": True, "view": "view", "describe_value": "a value"}
        return lambda *args: answers.get(name, False if name.startswith("is_") else None)


def test_the_rules_ask_only_the_oracle() -> None:
    oracle: Any = Words()
    start: State[str] = State(PersistentMap.of({"x": Field("cat")}))
    reads = Signature("s", (Parameter("x", Kind.POSITIONAL_OR_KEYWORD, "cat|dog", True),), "fish", False)
    binding, problems = flow.bind("s", reads, {}, start, oracle)
    assert ([a.how for a in binding.arguments], problems) == ([How.FIELD], [])
    wrong = Signature("s", (Parameter("x", Kind.POSITIONAL_OR_KEYWORD, "dog", True),), "fish", False)
    _, problems = flow.bind("s", wrong, {}, start, oracle)
    assert problems[0].message == 'stage "s" takes x: dog; the context has x: cat'
    other, _ = flow.advance("s", Keyword({"x": "cat", "y": "fish"}), start, oracle)
    joined = flow.join(start, other, oracle, ("a", "b"), "it")
    assert {n: (f.type, f.definite) for n, f in joined.fields.items()} == {"x": ("cat", True), "y": ("fish", False)}
