"""Section 5 of the language: parallel and map."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, NamedTuple

import pytest

from metta.sweep import Context, ContractViolation, Pipeline
from tests.pipeline.records import AsNamedTuple
from tests.pipeline.running import failure, fields, run, value


class Result(NamedTuple):
    loss: float


def double(x: int) -> int:
    return 2 * x


def text_of(x: int) -> str:
    return str(x)


async def slow(x: int) -> float:
    await asyncio.sleep(0)
    return x / 2


def train(trial: int, scale: int = 1, *, shift: int = 0) -> Result:
    return Result(float(trial * scale + shift))


async def atrain(trial: int, scale: int = 1) -> Result:
    await asyncio.sleep(0)
    return Result(float(trial * scale))


# -- parallel --------------------------------------------------------------------------------------------------------


def test_results_come_in_the_declared_order() -> None:
    gate = threading.Event()

    def first(x: int) -> str:
        assert gate.wait(10)
        return "first"

    def second(x: int) -> str:
        gate.set()
        return "second"

    pipeline = Pipeline(x=int).parallel([first, second])
    assert pipeline.compile().run(x=1) == ["first", "second"]
    assert value(pipeline) == "list[str]"


def test_the_value_is_the_list_of_the_arms_wholes() -> None:
    pipeline = Pipeline(x=int).parallel([double, text_of, Pipeline().stage("double", double).through(y=int)])
    assert value(pipeline) == "list[int | str | Context]"
    assert run(pipeline, x=2) == [4, "2", Context(x=2, y=4)]
    assert fields(pipeline) == {}


def test_with_a_keyword_contract_the_fields_before_stay() -> None:
    pipeline = Pipeline(x=int).parallel([double, double]).through(both=list[int])
    assert run(pipeline, x=2) == Context(x=2, both=[4, 4])


def test_with_a_positional_contract_they_go() -> None:
    assert run(Pipeline(x=int).parallel([double, double]).through(list[int]), x=2) == [4, 4]


def test_one_field_per_key() -> None:
    pipeline = Pipeline(x=int).parallel({"twice": double, "text": text_of})
    assert run(pipeline, x=2) == Context(x=2, twice=4, text="2")
    assert fields(pipeline) == {"x": "int", "twice": "int", "text": "str"}


def test_keys_under_a_contract() -> None:
    pipeline = Pipeline(x=int).parallel({"twice": double, "text": text_of})
    assert run(pipeline.through(text=str, twice=int), x=2) == Context(x=2, text="2", twice=4)
    assert run(pipeline.through(text=str), x=2) == Context(x=2, text="2"), "extra ones are dropped"

    class Both(NamedTuple):
        twice: int
        text: str

    assert run(pipeline.through(Both), x=2) == Both(4, "2")
    assert run(Pipeline(x=int).parallel({"only": double}), x=2) == Context(x=2, only=4)
    assert run(Pipeline(x=int).parallel({"only": double}).through(only=int), x=2) == Context(x=2, only=4)


def test_async_and_sync_arms() -> None:
    pipeline = Pipeline(x=int).parallel([double, slow, Pipeline().stage("slow", slow).through(half=float)])
    assert run(pipeline, x=2) == [4, 1.0, Context(x=2, half=1.0)]
    assert run(Pipeline(x=int).parallel({"a": slow}), x=2) == Context(x=2, a=1.0)


def test_arms_see_a_snapshot_and_only_their_wholes_leave() -> None:
    arm = Pipeline().stage("double", double).through(y=int).stage("text", lambda y: str(y)).through(str)
    assert run(Pipeline(x=int).parallel([arm, arm]).through(texts=list[str]), x=2) == Context(x=2, texts=["4", "4"])


def test_an_arm_of_the_value() -> None:
    def name_of(record: AsNamedTuple) -> str:
        return record.name

    assert run(Pipeline(AsNamedTuple).parallel([name_of, double]), AsNamedTuple(1, "a")) == ["a", 2]


def test_parallel_may_be_the_first_step() -> None:
    assert run(Pipeline().parallel([double, text_of]), x=2) == [4, "2"]


def test_an_arm_replacing_its_context_in_a_nested_pipeline_is_no_conflict() -> None:
    def make(x: int) -> AsNamedTuple:
        return AsNamedTuple(x + 1, "a")

    arm = Pipeline().stage("nested", Pipeline(x=int).stage("make", make))
    pipeline = Pipeline(n=int).stage("make", lambda n: AsNamedTuple(n, "o")).through(AsNamedTuple).parallel([arm, arm])
    assert run(pipeline, n=1) == [AsNamedTuple(2, "a")] * 2


def test_a_loop_or_a_conditional_in_an_arm() -> None:
    loop = (
        Pipeline()
        .stage("y", double)
        .through(y=int)
        .loop_while(lambda ctx: ctx.y < 50)
        .stage("more", lambda y: y * 2)
        .through(y=int)
        .end_loop()
        .stage("give", lambda y: y)
        .through(int)
    )
    branch = Pipeline().conditional(lambda ctx: ctx.x > 1, double, text_of)
    assert run(Pipeline(x=int).parallel([loop, branch]), x=2) == [64, 4]


def test_the_contract_of_a_parallel_is_checked_where_it_is_not_proven() -> None:
    pipeline = Pipeline(x=int).parallel([lambda x: "a", lambda x: "b"]).through(both=list[int])  # type: ignore[stage-output]
    assert "expected int" in str(failure(ContractViolation, pipeline, x=1))


# -- map -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fn", [train, atrain])
def test_a_map_runs_once_per_element(fn: Any) -> None:
    pipeline = Pipeline(trials=list[int]).map("train", fn, over="trials", max_parallel=2).through(results=list[Result])
    assert run(pipeline, trials=[1, 2, 3]) == Context(trials=[1, 2, 3], results=[Result(1), Result(2), Result(3)])
    assert run(pipeline, trials=[]) == Context(trials=[], results=[])


def test_without_through_a_map_acts_as_its_list() -> None:
    pipeline = Pipeline(trials=list[int]).map("train", train, over="trials")
    assert run(pipeline, trials=[1]) == [Result(1)]
    assert value(pipeline) == "list[Result]"


def test_the_other_parameters_bind_as_usual() -> None:
    pipeline = Pipeline(trials=list[int], scale=int).map("train", train, over="trials", shift=5).through(r=list[Result])
    assert run(pipeline, trials=[1, 2], scale=10).r == [Result(15), Result(25)]
    through = Pipeline(trials=list[int]).map("train", train, over="trials").through(r=list[Result], scale=3, shift=1)
    assert run(through, trials=[1, 2]).r == [Result(4), Result(7)]


def test_the_rest_of_a_map_may_take_the_whole_by_position() -> None:
    def use(trial: int, whole: Any, /) -> tuple[int, int]:
        return trial, len(whole.trials)

    def of_context(trial: int, ctx: Context) -> tuple[int, int]:
        return trial, len(ctx.trials)

    assert run(Pipeline(trials=list[int]).map("use", use, over="trials"), trials=[5, 6]) == [(5, 2), (6, 2)]
    assert run(Pipeline(trials=list[int]).map("use", of_context, over="trials"), trials=[5, 6]) == [(5, 2), (6, 2)]


def test_a_map_over_a_field_of_the_value_and_over_any_iterable() -> None:
    class Batch(NamedTuple):
        trials: frozenset[int]

    assert run(Pipeline(Batch).map("double", double, over="trials"), Batch(frozenset([3]))) == [6]
    assert run(Pipeline(xs=dict[str, int]).map("upper", str.upper, over="xs").through(list[str]), xs={"a": 1}) == ["A"]
    assert run(Pipeline(xs=tuple[int, ...]).map("double", double, over="xs"), xs=(1, 2)) == [2, 4]


def test_an_optional_parameter_reads_a_maybe_set_field_in_a_map() -> None:
    pipeline = (
        Pipeline(trials=list[int])
        .conditional(lambda ctx: len(ctx.trials) > 1, Pipeline().stage("scale", lambda: 10).through(scale=int))
        .map("train", train, over="trials")
        .through(r=list[Result])
    )
    assert run(pipeline, trials=[1]).r == [Result(1)]
    assert run(pipeline, trials=[1, 2]).r == [Result(10), Result(20)]


def test_at_most_max_parallel_run_at_once() -> None:
    running, most, lock = 0, 0, threading.Lock()
    pair = threading.Barrier(2)

    def stage(trial: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        pair.wait(10)
        with lock:
            running -= 1
        return trial

    assert Pipeline(ts=list[int]).map("m", stage, over="ts", max_parallel=2).compile().run(ts=[1, 2, 3, 4]) == [
        1,
        2,
        3,
        4,
    ]
    assert most == 2


def test_control_hooks_act_on_each_element_the_others_see_the_list() -> None:
    seen: list[Any] = []
    tries: list[int] = []

    def flaky(trial: int) -> int:
        tries.append(trial)
        if trial == 2 and tries.count(2) < 3:
            raise OSError("again")
        if trial == 3:
            raise ValueError("never")
        return trial

    pipeline = (
        Pipeline(ts=list[int])
        .map("flaky", flaky, over="ts", max_parallel=1)
        .through(
            rs=list[int],
            retry=2,
            on_error=lambda error, trial: -trial,
            skip_if=lambda trial: trial == 4,
            default=0,
            log=seen.append,
            transform=lambda data: data._replace(rs=[*data.rs, 100]),
        )
    )
    assert pipeline.compile().run(ts=[1, 2, 3, 4]) == Context(ts=[1, 2, 3, 4], rs=[1, 2, -3, 0, 100])
    assert [tries.count(trial) for trial in (1, 2, 3, 4)] == [1, 3, 3, 0]
    assert seen == [Context(rs=[1, 2, -3, 0, 100])]


def test_an_element_that_is_skipped_without_a_default_is_left_out() -> None:
    pipeline = Pipeline(ts=list[int]).map("double", double, over="ts").through(rs=list[int], skip_if=lambda t: t > 1)
    assert run(pipeline, ts=[1, 2, 0]) == Context(ts=[1, 2, 0], rs=[2, 0])


def test_what_stands_in_for_an_element_is_checked() -> None:
    def bad(trial: int) -> int:
        raise ValueError

    pipeline = Pipeline(ts=list[int]).map("bad", bad, over="ts").through(rs=list[int], on_error=lambda error: "text")  # type: ignore[hook-signature]
    assert "expected int, found str" in str(failure(ContractViolation, pipeline, ts=[1]))
