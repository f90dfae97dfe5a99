"""The effect of whole builder calls on the context, asked of the rule book directly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict, TypeVar, overload

import pytest

from metta.sweep.contracts import flow
from metta.sweep.contracts.flow import (
    Field,
    HookValue,
    How,
    Keyword,
    Loop,
    NestedEnd,
    Output,
    PersistentMap,
    Positional,
    Problem,
    Setting,
    Shape,
    State,
    ValueKind,
)
from metta.sweep.contracts.runtime_oracle import RuntimeOracle
from metta.sweep.contracts.signature import Kind, signature_of

T = TypeVar("T")


class Loose(TypedDict):
    x: int
    y: NotRequired[str]


class View:
    """Stands for the Context view."""


class Pair(NamedTuple):
    x: int
    y: str


ORACLE = RuntimeOracle(View)
OF_X: flow.Contract[Any] = Keyword({"x": int})
START: State[Any] = State(PersistentMap.of({"x": Field(int), "names": Field(list[str])}))


def codes(problems: Iterable[Problem]) -> list[str]:
    return [problem.code for problem in problems]


def effect(fn: Callable[..., Any], contract: Any = None, **more: Any) -> flow.StageEffect[Any]:
    return flow.stage_effect("s", signature_of(fn), {}, contract, START, ORACLE, **more)


def with_fields(**fields: Any) -> State[Any]:
    return State(PersistentMap.of({name: Field(tp) for name, tp in fields.items()}))


def double(x: int) -> int:
    return 2 * x


def first_of(names: list[T]) -> T:
    return names[0]


def same(element: T) -> T:
    return element


def nothing(x: int) -> None: ...
def untyped(x: int): ...  # type: ignore[no-untyped-def]
def shout(name: str, x: int) -> str:
    return name * x


# -- stages ---------------------------------------------------------------------------------------------------------


def test_the_oracle_lists_types_and_sees_type_variables() -> None:
    assert ORACLE.list_of(int) == list[int]
    assert ORACLE.list_of(None) == list[Any]
    assert ORACLE.any_type() is Any
    assert [ORACLE.is_generic(tp) for tp in (int, list[int], T, list[T])] == [False, False, True, True]  # type: ignore[valid-type]


def test_a_stage_with_a_contract() -> None:
    found = effect(double, Keyword({"y": int}))
    assert [argument.how for argument in found.binding.arguments] == [How.FIELD]
    assert found.output == Output(Shape.BARE, Keyword({"y": int}), True)
    assert dict(found.after.fields.items()) == {**START.fields.as_dict(), "y": Field(int)}
    assert not found.problems


@pytest.mark.parametrize(
    ("fn", "shape", "value"),
    [(double, Shape.VALUE, int), (nothing, Shape.KEEP, None), (untyped, Shape.UNKNOWN, None)],
)
def test_a_stage_without_a_contract(fn: Callable[..., Any], shape: Shape, value: Any) -> None:
    found = effect(fn)
    assert (found.output.shape, found.after.value, found.after.unknown) == (shape, value, shape is Shape.UNKNOWN)
    assert (found.after is START) == (shape is Shape.KEEP)


@overload
def chosen(x: str) -> str: ...
@overload
def chosen(x: int) -> bytes: ...
def chosen(x: int | str) -> bytes | str:
    return str(x)


@overload
def by_setting(x: int, raw: Literal[True]) -> bytes: ...
@overload
def by_setting(x: int, raw: Literal[False] = ...) -> str: ...
def by_setting(x: int, raw: bool = False) -> bytes | str:
    return str(x)


@overload
def generic(names: set[T]) -> set[T]: ...
@overload
def generic(names: list[T]) -> T: ...
def generic(names: Any) -> Any:
    return names


def test_the_return_type_of_a_generic_stage_is_solved() -> None:
    assert effect(first_of).after.value is str
    assert effect(generic).after.value is str


def test_the_arguments_choose_among_overloads() -> None:
    assert effect(chosen).after.value is bytes
    assert effect(by_setting).after.value is str
    signature = signature_of(by_setting)
    for value, returns in ((True, bytes), (False, str)):
        found = flow.stage_effect("s", signature, {"raw": Setting(value)}, None, START, ORACLE)
        assert found.after.value is returns
    mapped = flow.map_effect("m", signature_of(chosen), "names", {}, None, START, ORACLE)
    assert mapped.after.value == list[str]


def test_overloads_of_an_earlier_function_of_the_name_do_not_count() -> None:
    first = "@overload\ndef f(x: int) -> int: ...\n@overload\ndef f(x: str) -> str: ...\ndef f(x): return x"
    cells = [(first, Shape.UNKNOWN), ("\n\n\n\n\n\ndef f(x: int | str) -> bytes: return b''", Shape.VALUE)]
    names: dict[str, Any] = {"__name__": "notebook", "overload": overload}
    for number, (text, shape) in enumerate(cells):
        exec(compile(text, f"cell {number}", "exec"), names)
        found = flow.stage_effect("s", signature_of(names["f"]), {}, None, with_fields(x=int | str), ORACLE)
        assert found.output.shape is shape


@pytest.mark.parametrize("tp", [int | str, Any, None])
def test_which_overload_is_meant_may_not_be_known(tp: Any) -> None:
    found = flow.stage_effect("s", signature_of(chosen), {}, None, with_fields(x=tp), ORACLE)
    assert (found.output.shape, found.after.unknown, list(found.problems)) == (Shape.UNKNOWN, True, [])


def test_problems_come_in_the_order_of_the_call() -> None:
    def misfit(missing: int) -> str:
        return str(missing)

    contract = Keyword({"x": str})
    assert codes(effect(misfit, contract).problems) == ["missing-field", "field-redefined"]
    ended = effect(misfit, contract, end=State(value=bytes, has_value=True, pure=True))
    assert codes(ended.problems) == ["stage-output", "missing-field", "field-redefined"]


def test_an_experiment_gives_what_its_class_declares() -> None:
    def end(tp: Any) -> State[Any]:
        return State(value=tp, has_value=True, pure=True)

    assert flow.experiment_output("e", None, end(int), ORACLE) == (int, None)
    assert flow.experiment_output("e", Any, end(int), ORACLE) == (int, None)
    assert flow.experiment_output("e", float, end(int), ORACLE) == (float, None)
    assert flow.experiment_output("e", str, State(unknown=True), ORACLE) == (str, None)
    declared, problem = flow.experiment_output("e", str, end(int), ORACLE)
    assert declared is str
    assert problem is not None
    assert problem.message == 'experiment "e" declares str; its pipeline ends with int'


def test_a_map_gives_a_list() -> None:
    found = flow.map_effect("m", signature_of(shout), "names", {}, None, START, ORACLE)
    assert [argument.how for argument in found.binding.arguments] == [How.ELEMENT, How.FIELD]
    assert (found.after.value, list(found.problems)) == (list[str], [])
    unknown = flow.map_effect("m", signature_of(untyped), "names", {}, None, START, ORACLE)
    assert unknown.after.value == list[Any]
    generic = flow.map_effect("m", signature_of(same), "names", {}, None, START, ORACLE)
    assert generic.after.value == list[str]
    nowhere = flow.map_effect("m", signature_of(shout), "trials", {}, Keyword({"y": int}), START, ORACLE)
    assert codes(nowhere.problems) == ["map-source", "stage-output"]


# -- nested pipelines and inputs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contract", "shape", "message"),
    [
        (Keyword({"x": int}), Shape.RECORD, ""),
        (Positional(Pair), Shape.DYNAMIC, 'does not set "y"'),
        (Positional(Loose), Shape.RECORD, ""),
        (Positional(View), Shape.VALUE, ""),
        (Positional(int), Shape.DYNAMIC, "its contract is int"),
        (Keyword({"x": str}), Shape.DYNAMIC, "sets x: int; its contract is x: str"),
        (Keyword({"maybe": int}), Shape.DYNAMIC, 'may not set "maybe": an arm'),
    ],
)
def test_the_contract_of_a_nested_pipeline(contract: Any, shape: Shape, message: str) -> None:
    end = State(START.fields.set("maybe", Field(int, False, "an arm")))
    out, problems = flow.nested_output("n", end, contract, ORACLE)
    assert out.shape is shape
    assert len(problems) == bool(message)
    assert all(message in problem.message and problem.at == "through" for problem in problems)


def test_a_nested_value_is_read_as_a_record() -> None:
    end: State[Any] = flow.replaced("inside", Pair, State(), ORACLE)
    out, problems = flow.nested_output("n", end, Keyword({"y": str}), ORACLE)
    assert (out.shape, problems) == (Shape.RECORD, [])
    _, problems = flow.nested_output("n", end, Keyword({"pair": Pair}), ORACLE)
    assert codes(problems) == ["stage-output"]


def test_settings_of_a_pipeline_without_inputs() -> None:
    (problem,) = flow.unknown_inputs("n", {"x": Setting(3, None, "through")})
    assert (problem.code, problem.argument, problem.at) == ("unknown-setting", "x", "through")


def test_inputs_begin_a_context_and_make_a_call() -> None:
    fields = flow.start_state(Keyword({"x": int}), {"y": str}, ORACLE)
    assert (list(fields.fields), dict(fields.optional), fields.has_value) == (["x"], {"y": str}, False)
    value = flow.start_state(Positional(Pair), {}, ORACLE)
    assert (value.value, list(value.fields), value.replacements) == (Pair, ["x", "y"], 0)
    call = flow.input_signature("n", OF_X, {"y": str})
    assert [(p.name, p.kind, p.required) for p in call.parameters] == [
        ("x", Kind.KEYWORD_ONLY, True),
        ("y", Kind.KEYWORD_ONLY, False),
    ]
    (whole,) = flow.input_signature("n", Positional(Pair), {}).parameters
    assert (whole.kind, whole.type) == (Kind.POSITIONAL_ONLY, Pair)


def _positional_only(value, /): ...  # type: ignore[no-untyped-def]
def _view_and_field(view: View, x: int, y: str = "") -> None: ...
def _view_only(view: View, /) -> None: ...
def _two_positional_only(x: int, y: str, /) -> None: ...


@pytest.mark.parametrize(
    ("fn", "settings", "contract", "optional"),
    [
        (_view_and_field, {}, Keyword({"x": int}), {"y": str}),
        (_view_and_field, {"x": Setting(1)}, Keyword({}), {"y": str}),
        (_view_and_field, {"x": Setting(None, "other")}, Keyword({"other": int}), {"y": str}),
        (_positional_only, {}, Positional(Any), {}),
        (_view_only, {}, Keyword({}), {}),
        (_two_positional_only, {}, Keyword({}), {}),
    ],
)
def test_what_a_first_stage_asks_for(
    fn: Callable[..., Any], settings: Mapping[str, Setting], contract: Any, optional: Mapping[str, Any]
) -> None:
    asked = flow.asked_of_stage(signature_of(fn), settings, ORACLE)
    assert flow.inferred_inputs(asked) == (contract, optional)


def test_what_several_arms_ask_for() -> None:
    one = list(flow.asked_of_inputs(OF_X, {"y": str}))
    other = list(flow.asked_of_inputs(Keyword({"x": float, "y": bytes}), {}))
    assert flow.inferred_inputs([*one, *other]) == (Keyword({"x": int, "y": bytes}), {})
    value = flow.asked_of_inputs(Positional(Pair), {})
    assert flow.inferred_inputs([*one, *value]) == (Positional(Pair), {})


# -- loops, branches, arms --------------------------------------------------------------------------------------------


async def _later(view: View) -> bool:
    return True


def _function(view: View) -> Callable[[], bool]:
    return lambda: True


def _of_pair(pair: Pair) -> bool:
    return True


@pytest.mark.parametrize(
    ("fn", "state", "expected"),
    [
        (lambda ctx: True, START, None),
        (_later, START, "loop-condition"),
        (_function, START, "loop-condition"),
        (lambda: True, START, "hook-signature"),
        (_of_pair, START, "hook-signature"),
        (_of_pair, State(open=True), None),
    ],
)
def test_conditions(fn: Callable[..., Any], state: State[Any], expected: str | None) -> None:
    problem = flow.condition_problem(flow.UNTIL, signature_of(fn), state, ORACLE)
    assert (problem.code if problem is not None else None) == expected
    assert problem is None or problem.argument == "until"


def test_a_condition_that_cannot_be_called() -> None:
    problem = flow.uncallable_condition(flow.PREDICATE, "3", "int")
    assert problem.message == "the predicate of the conditional is 3, which cannot be called"
    assert flow.condition_problem(flow.PREDICATE, None, START, ORACLE) is None


def test_a_loop_ends_in_what_its_body_and_its_breaks_leave() -> None:
    body = State(START.fields.set("y", Field(int)))
    after, problems = flow.end_of_loop(Loop(START), body, ORACLE, has_condition=False, first="train")
    assert (after.fields.get("y"), problems) == (Field(int), [])
    left = Loop(START).left_in(START)
    after, _ = flow.end_of_loop(left, body, ORACLE, has_condition=False, first="train")
    assert after.fields.get("y") == Field(int, False, 'the loop around "train" may be left before it is set')
    after, _ = flow.end_of_loop(Loop(START), body, ORACLE, has_condition=True, first="train")
    assert after.fields.get("y") == Field(int, False, 'the loop around "train" may run zero times')


def test_a_loop_carries_its_entry() -> None:
    gone = with_fields(y=int)
    assert codes(flow.break_problems(Loop(START), gone, ORACLE)) == ["loop-carried", "loop-carried"]
    _, problems = flow.end_of_loop(Loop(START), gone, ORACLE, has_condition=True, first="train")
    assert [problem.message.partition(":")[0] for problem in problems] == ['the loop around "train"'] * 2


def test_a_branch_says_which_arm() -> None:
    after = flow.branch(State(START.fields.set("y", Field(int))), START, ORACLE, "train")
    assert after.fields.get("x") is START.fields.get("x")
    assert after.fields.get("y") == Field(int, False, 'only the "then" arm of the conditional around "train" sets it')


def _whole(tp: Any) -> State[Any]:
    return flow.replaced("arm", tp, START, ORACLE)


def test_parallel_arms_give_a_list_or_a_field_each() -> None:
    ends = {"a": _whole(int), "b": _whole(str)}
    listed = flow.parallel_effect("parallel", ends, ["a", "b"], None, START, ORACLE, keyed=False)
    assert (listed.after.value, list(listed.problems)) == (list[int | str], [])
    unknown: dict[str, State[Any]] = {"a": _whole(int), "b": State(unknown=True)}
    found = flow.parallel_effect("parallel", unknown, [], None, START, ORACLE, keyed=False)
    assert found.after.value == list[Any]
    keyed = flow.parallel_effect("parallel", ends, ["a", "b"], None, START, ORACLE, keyed=True)
    assert list(keyed.after.fields) == ["x", "names", "a", "b"]
    contract = Keyword({"a": bytes, "c": int})
    wrong = flow.parallel_effect("parallel", ends, [], contract, START, ORACLE, keyed=True)
    assert [(p.code, p.argument, p.found) for p in wrong.problems] == [
        ("stage-output", "a", "int"),
        ("stage-output", "c", "no such key"),
    ]


def test_an_open_arm_leaves_the_fields_before_it_alone() -> None:
    # Equal, but another object: set again inside.
    rebound = {"a": State(START.fields.set("x", Field(int)))}
    found = flow.parallel_effect("parallel", rebound, ["a"], None, START, ORACLE, keyed=False)
    assert codes(found.problems) == ["parallel-conflict"]
    assert not flow.parallel_effect("parallel", rebound, [], None, START, ORACLE, keyed=False).problems


# -- keywords ---------------------------------------------------------------------------------------------------------


def kind_of(value: str) -> ValueKind:
    """Values of these tests are the names of their kinds."""
    return ValueKind(value)


SORTED = {
    "retry": "other",
    "log": "type",
    "schema": "type",
    "score": "type",
    "x": "text",
    "note": "text",
    "named": "rename",
    "rate": "other",
    "_hidden": "type",
}


def test_the_keywords_of_a_through() -> None:
    hooks, fields, settings, problems = flow.sort_keywords(SORTED, kind_of, signature_of(double), positional=False)
    assert list(hooks) == ["retry", "schema"]
    assert list(fields) == ["score", "note"]
    assert list(settings) == ["x", "named", "rate"]
    assert [(p.code, p.argument) for p in problems] == [("reserved-name", "log"), ("reserved-name", "_hidden")]


def test_the_keywords_beside_a_positional_contract() -> None:
    hooks, fields, settings, problems = flow.sort_keywords(SORTED, kind_of, None, positional=True)
    assert (list(hooks), fields) == (["retry", "schema"], {})
    assert list(settings) == ["x", "note", "named", "rate"]
    assert [(p.code, p.argument) for p in problems] == [
        ("reserved-name", "log"),
        ("mixed-contract", "score"),
        ("mixed-contract", "_hidden"),
    ]


def test_declared_inputs() -> None:
    def not_a_type(what: str, value: str, argument: str) -> Problem:
        return flow.not_a_type(what, value, argument)

    fields = {"x": "type", "y": "text", "z": "other", "get": "other", "retry": "type"}
    problems = flow.input_problems(fields, kind_of, not_a_type)
    assert [(p.code, p.argument) for p in problems] == [
        ("not-a-type", "z"),
        ("reserved-name", "get"),
        ("reserved-name", "retry"),
    ]


def test_what_a_partial_binds() -> None:
    signature = signature_of(double)
    assert signature is not None
    (problem,) = flow.bound_problems("s", signature, {"x": Setting("a")}, 1, ORACLE)
    assert (problem.code, problem.argument) == ("setting-type", 1)
    # That it has no readable parameters is said where the stage stands.
    variadic = signature_of(lambda *args: None)
    assert variadic is not None
    assert not flow.bound_problems("s", variadic, {}, 1, ORACLE)


# -- hooks ------------------------------------------------------------------------------------------------------------


class Watching(RuntimeOracle):
    """Remembers the fields of every view it is asked for."""

    def __init__(self) -> None:
        super().__init__(View)
        self.views: list[list[str]] = []

    def view(self, state: State[Any], /) -> Any:
        self.views.append(list(state.fields))
        return super().view(state)


def of(fn: Callable[..., Any]) -> HookValue[Any]:
    return HookValue(signature_of(fn))


def hook_codes(hooks: Mapping[str, HookValue[Any]], contract: Any, state: State[Any] = START, **more: Any) -> list[str]:
    out: Output[Any] = Output(Shape.KEEP if contract is None else Shape.VALUE, contract, True)
    return codes(flow.hook_problems("s", hooks, out, state, ORACLE, **more))


def test_the_data_of_a_keyword_contract_is_its_own_fields() -> None:
    oracle = Watching()
    out: Output[Any] = Output(Shape.BARE, Keyword({"score": float}), True)
    assert flow.data_type(out, START, oracle) is View
    assert oracle.views == [["score"]]
    assert flow.data_type(Output(Shape.VALUE, Positional(Pair), True), START, oracle) is Pair


def test_hooks_of_a_stage() -> None:
    assert hook_codes({"retry": HookValue(misfit="str ('3')"), "log": HookValue(misfit="int (3)")}, None) == [
        "hook-type",
        "hook-type",
    ]
    assert hook_codes({"validate": of(lambda data: True)}, Positional(Pair)) == []
    assert hook_codes({"validate": of(_of_pair)}, Positional(int)) == ["hook-signature"]
    enrich = {"enrich": of(lambda data: data)}
    assert hook_codes(enrich, None) == ["hook-signature"]
    assert hook_codes(enrich, None, nested=NestedEnd(START, START, None)) == []
    # It sees the context, in a map one element.
    of_input = {"cache_key": of(_of_pair)}
    assert hook_codes(of_input, Keyword({"y": int})) == ["hook-signature"]
    assert hook_codes(of_input, Keyword({"y": int}), is_map=True) == []


def test_a_stage_that_may_be_skipped() -> None:
    skip = {"skip_if": of(lambda data: True)}
    assert hook_codes(skip, Keyword({"y": int})) == ["skip-without-value"]
    assert hook_codes(skip, Keyword({"x": int})) == []
    assert hook_codes({**skip, "default": HookValue()}, Keyword({"y": int})) == []
    assert hook_codes(skip, Keyword({"y": int}), is_map=True) == []
    assert hook_codes(skip, Positional(Pair)) == ["skip-without-value"]
    assert hook_codes(skip, Positional(Pair), _whole(Pair)) == []
    inside = State(START.fields.set("y", Field(int)))
    assert hook_codes(skip, None, nested=NestedEnd(START, inside, None)) == ["skip-without-value"]
    assert hook_codes(skip, None, nested=NestedEnd(START, inside, ["x"])) == []
    maybe = State(START.fields.set("y", Field(int, False, "an arm")))
    assert hook_codes(skip, None, nested=NestedEnd(START, maybe, None)) == []


def test_global_hooks() -> None:
    hooks = {"before": of(lambda stage, data: None), "after": of(lambda data: None), "befor": HookValue[Any]()}
    problems = flow.global_hook_problems(hooks, ORACLE)
    assert [(p.code, p.argument) for p in problems] == [("unknown-hook", "befor"), ("hook-signature", "after")]


def test_the_element_of_a_maps_contract() -> None:
    contracts: Sequence[Any] = (Positional(list[int]), Keyword({"y": list[str]}), Keyword({"y": int, "z": int}), None)
    assert [flow.element_type(contract, ORACLE) for contract in contracts] == [int, str, None, None]
