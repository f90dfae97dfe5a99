"""What people who met the language for the first time ran into."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypedDict

import pytest

from metta.sweep import Context, ContractError, ContractViolation, Experiment, Pipeline, RetryPolicy
from metta.sweep.errors import UsageError
from metta.sweep.pipeline.reporting import collecting

if TYPE_CHECKING:
    from collections.abc import Sequence


def up(n: int) -> int:
    return n + 1


def code_of(make: Callable[[], object]) -> str:
    with pytest.raises(ContractError) as raised:
        make()
    (found,) = raised.value.diagnostics
    return f"{found.code}: {found.message}"


async def falsehood(whole: Any) -> bool:
    await asyncio.sleep(0)
    return False


@pytest.mark.parametrize("condition", [lambda ctx: falsehood(ctx), lambda ctx: falsehood])
@pytest.mark.parametrize("kind", ["branch", "loop", "until"])
def test_a_condition_that_is_always_true_is_noticed_when_it_runs(condition: Any, kind: str) -> None:
    start = Pipeline(n=int)
    pipeline = {
        "branch": start.conditional(condition, Pipeline().stage("up", up).through(n=int)),
        "loop": start.loop_while(condition, max_iterations=3).stage("up", up).through(n=int).end_loop(),
        "until": start.loop_while().stage("up", up).through(n=int).end_loop(until=condition),
    }[kind]
    with pytest.raises(ContractViolation, match=r"gave a (coroutine|function): it has to give a truth value"):
        pipeline.compile().run(n=1)


def test_a_lambda_around_an_async_function_is_noticed_when_it_runs() -> None:
    pipeline = Pipeline(n=int).stage("fetch", lambda n: falsehood(n))
    with pytest.raises(ContractViolation, match="gave a coroutine"):
        pipeline.compile().run(n=1)


def test_an_experiment_gives_what_its_pipeline_ends_with() -> None:
    class Text(Experiment[float]):
        def pipeline(self) -> Pipeline:
            return Pipeline().stage("text", self.text).through(str)  # type: ignore[stage-output]

        def text(self) -> str:
            return "text"

    class Plain(Experiment):
        def pipeline(self) -> Pipeline:
            return Pipeline().stage("text", self.text).through(str)

        def text(self) -> str:
            return "text"

    declared = 'stage-output: experiment "Text" declares float; its pipeline ends with str'
    assert code_of(lambda: Pipeline().stage("e", Text()).through(score=float)) == declared
    assert code_of(lambda: Text().run(store=None)) == declared
    with collecting() as found:
        Pipeline().stage("e", Text()).through(score=float)
    assert [f"{it.code}: {it.message}" for it in found] == [declared]
    assert next(iter(found)).line == Text.pipeline.__code__.co_firstlineno + 1
    plain: Any = Plain()
    wrong = code_of(lambda: Pipeline().stage("e", plain).through(score=float))
    assert wrong == 'stage-output: stage "e" returns str; its contract is score: float'
    assert Pipeline().stage("e", Plain()).through(text=str).compile().run().text == "text"


def test_no_type_check_at_all() -> None:
    pipeline = Pipeline(n=int).stage("up", up).through(int, validate_type=False, transform=lambda data: "text")  # type: ignore[hook-signature]
    assert pipeline.compile().run(n=1) == "text"  # type: ignore[comparison-overlap]
    checked = Pipeline(n=int).stage("up", up).through(int, transform=lambda data: "text")  # type: ignore[hook-signature]
    with pytest.raises(ContractViolation, match="after its hooks"):
        checked.compile().run(n=1)


def test_a_positional_only_parameter_does_not_take_a_field() -> None:
    def scale(n: int, /) -> float:
        return n / 2

    wrong = code_of(lambda: Pipeline(n=int).stage("scale", scale).through(half=float))  # type: ignore[missing-field]
    assert wrong == (
        'missing-field: stage "scale" takes the context as a whole as n: int, which is positional-only; '
        "the context has n: int"
    )


def test_a_value_of_a_field_instead_of_its_type() -> None:
    wrong = code_of(lambda: Pipeline(n=int).stage("up", up).through(rows=[int]))  # type: ignore[unknown-hook]
    assert wrong.startswith('unknown-hook: "rows" is no hook and no parameter of stage "up", and list of 1 (type)')
    assert wrong.endswith("is no type for a field")


def test_builtins_take_the_value() -> None:
    assert Pipeline(str).stage("number", float).compile().run("3.5") == 3.5
    assert Pipeline(list[int]).stage("fixed", tuple).compile().run([1]) == (1,)


def test_an_input_may_be_called_self() -> None:
    def own(self: int) -> int:
        return self

    graph = Pipeline(self=int).stage("own", own).through(int).compile()
    assert graph.run(self=3) == graph(self=3) == asyncio.run(graph.arun(self=3)) == 3


def test_a_nested_pipeline_with_a_time_out() -> None:
    inner = Pipeline(n=int).stage("up", up).through(m=int)
    graph = Pipeline(n=int).stage("inner", inner).through(m=int, timeout=60).compile()
    assert graph.run(n=1).m == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Pipeline(n=int).map("m", up, over=[1, 2]),  # type: ignore[map-source]
            'map-source: map "m" runs over the field that over= names',
        ),
        (
            lambda: Pipeline(n=int).parallel({1: up}),  # type: ignore[reserved-name]
            "reserved-name: the keys of a parallel mapping are the names",
        ),
        (lambda: Pipeline(n=int).parallel({"log": up}), 'reserved-name: "log" cannot be a field'),  # type: ignore[reserved-name]
    ],
)
def test_arguments_of_the_wrong_kind(call: Callable[[], object], message: str) -> None:
    assert code_of(call).startswith(message)


def test_a_retry_policy_says_what_it_takes() -> None:
    with pytest.raises(UsageError, match="backoff"):
        RetryPolicy(backoff=3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="max_attempts is an int >= 1"):
        RetryPolicy(max_attempts=True)


def test_an_empty_pipeline_is_named_after_its_variable() -> None:
    nothing = Pipeline()
    assert nothing.compile().name.endswith("test_an_empty_pipeline_is_named_after_its_variable")


def test_an_annotation_that_names_nothing_is_a_note() -> None:
    def train(rate: "Rate") -> "Weight":  # type: ignore[name-defined]  # noqa: F821, UP037
        return rate

    notes = Pipeline(rate=float).stage("train", train).through(weight=float).compile().notes
    assert [note.message for note in notes] == [
        'the annotation of rate of stage "train" names "Rate", which is not known at run time: it is not checked',
        'the return annotation of stage "train" names "Weight", which is not known at run time: it is not checked',
    ]


OddKeys = TypedDict("OddKeys", {"class": int, "value": int, "field0": int, "field1": int})


def test_fields_called_like_our_own_variables() -> None:
    """An inlined pipeline has variables of its own; those of fields and of the value never meet."""

    def give(n: int) -> OddKeys:
        return {"class": n, "value": n + 1, "field0": n + 2, "field1": n + 3}

    def read(value: int, field0: int, field1: int, ctx: Context) -> int:
        return 1000 * value + 100 * field0 + 10 * field1 + int(ctx.get("class"))

    inner = Pipeline(n=int).stage("give", give).through(OddKeys).stage("read", read).through(total=int)
    outer = Pipeline(n=int).stage("inner", inner).through(total=int)
    assert outer.compile().run(n=1).total == 2341
    assert inner.compile().run(n=1).total == 2341


OURS = ["passes1", "n1_x", "field0", "more", "value", "result", "entry1", "state", "Context", "run", "x", "given"]


@pytest.mark.parametrize("name", [*OURS, "_value", "_builtins__", "_name__", "a\nb", "#", "é", "1", "\ud800"])
def test_stages_called_like_what_the_generated_code_defines(name: str) -> None:
    inner = Pipeline(x=int).stage(name, lambda x: x + 1).through(y=int)
    pipeline = (
        Pipeline(x=int)
        .stage(name, lambda x: x + 1)
        .through(x=int)
        .loop_while(lambda ctx: ctx.x < 5, max_iterations=9)
        .stage("next" + name, lambda x: x + 1)
        .through(x=int)
        .end_loop()
        .stage("inner", inner)
        .through(y=int)
        .stage("again", Pipeline().stage(name, lambda x: x + 2).through(z=int))
    )
    assert pipeline.compile().run(x=0)._asdict() == {"x": 5, "y": 6, "z": 7}


def test_an_optional_input_is_no_field_even_if_a_field_has_its_name() -> None:
    """The first step of a loop's body reads the input on every pass; the field of its name is another thing."""
    seen: list[str] = []

    def read(a: int, b: str = "own") -> None:
        seen.append(b)

    def give() -> tuple[str, int]:
        return "field", len(seen)

    pipeline = (
        Pipeline()
        .loop_while(lambda ctx: len(seen) < 3)
        .stage("read", read)
        .stage("give", give)
        .through(b=str, n=int)
        .end_loop()
    )
    result = pipeline.compile().run(a=1, b="input")
    assert (seen, result.b, result.n) == (["input"] * 3, "field", 3)  # type: ignore[maybe-missing-field]


class Answer(TypedDict):
    text: str


def answer(n: int) -> Answer:
    return {}  # type: ignore[typeddict-item]


@pytest.mark.parametrize("through", [None, ((Answer,), {}), ((), {"text": str})])
def test_a_dict_without_a_key_of_its_type_is_blamed_on_its_stage(through: Any) -> None:
    pipeline: Any = Pipeline(n=int).stage("answer", answer)
    if through is not None:
        pipeline = pipeline.through(*through[0], **through[1])
    graph = pipeline.stage("shout", lambda text: text).through(loud=str).compile()
    with pytest.raises(ContractViolation, match='stage "answer" broke its contract'):
        graph.run(n=1)


def test_a_function_that_makes_a_pipeline_was_meant_to_be_called() -> None:
    def build() -> Pipeline:
        return Pipeline(n=int).stage("up", up).through(n=int)

    uncalled: Any = build
    with pytest.raises(ContractError) as raised:
        Pipeline(n=int).stage("inner", uncalled).through(n=int)
    (found,) = raised.value.diagnostics
    assert (found.code, found.remedy.partition(" nests")[0]) == (
        "stage-output",
        'call it: .stage("inner", build(...))',
    )


def test_a_name_and_a_function_in_each_others_place_are_one_mistake() -> None:
    swapped: Any = (up, "up")
    with collecting() as found:
        Pipeline(n=int).stage(*swapped).through(n=int)
    assert [d.code for d in found] == ["not-a-stage"]


def test_a_name_that_is_imported_for_type_checkers_only() -> None:
    def total(texts: Sequence[str]) -> int:
        return len(texts)

    with collecting() as found:
        Pipeline(texts=list[str]).stage("total", total).through(n=int)
    (note,) = found
    assert (note.code, note.found) == ("untyped-stage", "Sequence")
