"""Section 4 of the language, from the pipeline to the result: hooks, hook sets, global hooks."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel, PositiveFloat

from metta.sweep import (
    Context,
    ContractError,
    ContractViolation,
    HookSet,
    Pipeline,
    RetryPolicy,
    StageTimeout,
)
from metta.sweep.errors import UsageError
from tests.pipeline.running import Recorder, failure, run


class Output(NamedTuple):
    loss: float
    note: str = ""


class Checked(BaseModel):
    loss: PositiveFloat


def train(steps: int) -> Output:
    return Output(1.0 / steps if steps else 1.0)


def loss_of(steps: int) -> float:
    return 1.0 / steps


def show(steps: int) -> None:
    return None


def recorded(seen: Recorder) -> dict[str, Any]:
    def noted(name: str) -> Any:
        return seen.hook(name, lambda data: data._replace(note=data.note + name[0]))

    observers = ("before", "after", "log", "metrics", "debug", "monitor", "validate", "assert_fn")
    return {name: seen.hook(name) for name in observers} | {
        name: noted(name) for name in ("filter", "transform", "enrich")
    }


ORDER = [
    *("before", "validate", "assert_fn", "filter", "transform", "enrich"),
    *("log", "metrics", "debug", "monitor", "after"),
]


@pytest.mark.parametrize("is_async", [False, True])
def test_hooks_act_in_their_order(is_async: bool) -> None:
    async def atrain(steps: int) -> Output:
        await asyncio.sleep(0)
        return train(steps)

    seen = Recorder()
    stage = atrain if is_async else train
    pipeline = Pipeline(steps=int).stage("train", stage).through(Output, **recorded(seen))
    assert pipeline.compile().run(steps=2) == Output(0.5, "fte")
    assert seen.names == ORDER
    assert [data.note for _, data in seen.calls] == ["", "", "", "", "f", "ft", *["fte"] * 5]


def test_the_data_of_a_keyword_contract_is_the_context_of_its_fields() -> None:
    seen = Recorder()
    pipeline = Pipeline(steps=int).stage("loss", loss_of).through(loss=float, log=seen.hook("log"))
    assert run(pipeline, steps=2) == Context(steps=2, loss=0.5)
    assert seen.calls[0] == ("log", Context(loss=0.5))


def test_the_data_of_a_stage_that_returns_none_is_the_context_as_it_was() -> None:
    seen = Recorder()
    pipeline = Pipeline(steps=int).stage("show", show).through(before=seen.hook("before"), after=seen.hook("after"))
    assert run(pipeline, steps=2) == Context(steps=2)
    assert seen.calls[:2] == [("before", Context(steps=2)), ("after", Context(steps=2))]


def test_an_observer_that_fails_does_not_fail_the_stage(caplog: pytest.LogCaptureFixture) -> None:
    def broken(data: Output) -> None:
        raise ValueError("broken log")

    assert run(Pipeline(steps=int).stage("train", train).through(Output, log=broken), steps=1) == Output(1.0)
    assert "broken log" in caplog.text


@pytest.mark.parametrize("name", ["before", "after"])
def test_before_and_after_do_fail_it(name: str) -> None:
    def broken(data: Output) -> None:
        raise ValueError("broken hook")

    pipeline = Pipeline(steps=int).stage("train", train).through(Output, **{name: broken})
    assert str(failure(ValueError, pipeline, steps=1)) == "broken hook"


def test_checks_reject_the_output() -> None:
    stage = Pipeline(steps=int).stage("train", train)
    error = failure(ContractViolation, stage.through(Output, validate=lambda data: data.loss > 1), steps=2)
    assert error.stage == "train"
    assert str(error) == 'stage "train": validate rejects the output; found Output(loss=0.5, note="")'

    def is_small(data: Output) -> None:
        assert data.loss < 0.1, "too large"

    error = failure(ContractViolation, stage.through(Output, assert_fn=is_small), steps=2)
    assert "assert_fn rejects the output: too large" in str(error)
    error = failure(ContractViolation, stage.through(Output, schema=Checked, transform=lambda d: d), steps=-2)
    assert "schema Checked rejects the output: loss: Input should be greater than 0" in str(error)


def test_a_changer_must_keep_the_type() -> None:
    pipeline = Pipeline(steps=int).stage("train", train).through(Output, transform=lambda data: data.loss)  # type: ignore[hook-signature]
    assert "broke its contract Output after its hooks: expected Output, found float" in str(
        failure(ContractViolation, pipeline, steps=2)
    )
    keyword = Pipeline(steps=int).stage("loss", loss_of).through(loss=float, enrich=lambda d: d._replace(loss="a"))  # type: ignore[arg-type]
    assert "loss: expected float, found str" in str(failure(ContractViolation, keyword, steps=2))


def test_retry_counts_retries_a_policy_counts_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metta.sweep.runtime.pauses.sleep", lambda seconds: None)
    tries: list[int] = []

    def flaky(steps: int) -> float:
        tries.append(steps)
        if len(tries) < steps:
            raise OSError("again")
        return 1.0

    stage = Pipeline(steps=int).stage("flaky", flaky)
    assert stage.through(x=float, retry=2).compile().run(steps=3).x == 1.0
    tries.clear()
    with pytest.raises(OSError, match="again"):
        stage.through(x=float, retry=1).compile().run(steps=3)
    tries.clear()
    policy = RetryPolicy(max_attempts=3, on=(OSError,))
    assert stage.through(x=float, retry=policy).compile().run(steps=3).x == 1.0
    tries.clear()
    with pytest.raises(OSError, match="again"):
        stage.through(x=float, retry=RetryPolicy(max_attempts=3, on=(ValueError,))).compile().run(steps=3)
    assert tries == [3]


def test_an_async_stage_is_cancelled_at_its_time_out() -> None:
    cancelled: list[bool] = []

    async def slow(steps: int) -> float:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return 1.0

    pipeline = Pipeline(steps=int).stage("slow", slow).through(x=float, timeout=0.01)
    with pytest.raises(StageTimeout, match=r'stage "slow" was stopped after its time-out of 0\.01 s'):
        pipeline.compile().run(steps=1)
    assert cancelled == [True]


def failing(steps: int) -> Output:
    raise ValueError("no")


def test_on_error_gives_a_value_that_meets_the_contract() -> None:
    stage = Pipeline(steps=int).stage("failing", failing)
    assert run(stage.through(Output, on_error=lambda error: Output(0.0, str(error))), steps=1) == Output(0.0, "no")
    seen = Recorder()
    assert run(stage.through(Output, on_error=lambda error, data: seen.hook("data")(data) or Output(1)), steps=1)
    assert seen.calls[0] == ("data", Context(steps=1))
    assert str(failure(ValueError, stage.through(Output, on_error=lambda error: None), steps=1)) == "no"


def test_on_error_for_fields_is_shaped_like_an_unannotated_output() -> None:
    stage = Pipeline(steps=int).stage("failing", failing)
    assert run(stage.through(loss=float, on_error=lambda error: 0.25), steps=1) == Context(steps=1, loss=0.25)
    assert run(stage.through(loss=float, on_error=lambda error: Output(0.5)), steps=1) == Context(steps=1, loss=0.5)
    two = stage.through(loss=float, note=str, on_error=lambda error: {"note": "n", "loss": 0.0})
    assert run(two, steps=1) == Context(steps=1, loss=0.0, note="n")


def test_what_stands_in_for_an_output_is_checked_even_where_the_annotation_proves_it() -> None:
    pipeline = Pipeline(steps=int).stage("failing", failing).through(Output, on_error=lambda error: "text")  # type: ignore[hook-signature]
    assert "expected Output, found str" in str(failure(ContractViolation, pipeline, steps=1))


def test_on_error_of_a_stage_that_returns_none_lets_the_run_go_on() -> None:
    def fails(steps: int) -> None:
        raise ValueError

    assert run(Pipeline(steps=int).stage("f", fails).through(on_error=lambda error: True), steps=1) == Context(steps=1)


def test_a_stage_is_skipped_with_a_default() -> None:
    stage = Pipeline(steps=int).stage("train", train)
    pipeline = stage.through(Output, skip_if=lambda ctx: ctx.steps > 5, default=Output(9.0))
    assert run(pipeline, steps=1) == Output(1.0)
    assert run(pipeline, steps=6) == Output(9.0)
    fields = stage.through(loss=float, note=str, skip_if=lambda ctx: ctx.steps > 5, default=(9.0, "skipped"))
    assert run(fields, steps=6) == Context(steps=6, loss=9.0, note="skipped")


def test_a_skipped_stage_leaves_what_was_there() -> None:
    pipeline = (
        Pipeline(steps=int)
        .stage("train", train)
        .through(Output)
        .stage("halve", lambda loss: loss / 2)
        .through(loss=float, skip_if=lambda out: out.loss < 0.1)
        .stage("use", lambda loss, note: (loss, note))
        .through(tuple[float, str])
    )
    assert run(pipeline, steps=1) == (0.5, "")
    assert run(pipeline, steps=100) == (0.01, "")


def test_a_skipped_replacement_leaves_the_value_that_was_there() -> None:
    def again(out: Output) -> Output:
        return Output(out.loss * 2, "again")

    pipeline = (
        Pipeline(steps=int)
        .stage("train", train)
        .stage("again", again)
        .through(Output, skip_if=lambda out: out.loss < 0.1)
        .stage("use", lambda loss, note: (loss, note))
        .through(a=float, b=str)
    )
    assert run(pipeline, steps=1) == Context(loss=2.0, note="again", a=2.0, b="again")
    assert run(pipeline, steps=100) == Context(loss=0.01, note="", a=0.01, b="")


def test_hook_sets_combine() -> None:
    seen = Recorder()
    debug = HookSet(log=seen.hook("log"), debug=seen.hook("debug"))
    production = HookSet(retry=2, log=seen.hook("production"))
    both = debug | production
    assert dict(both) == {"log": production["log"], "debug": debug["debug"], "retry": 2}
    assert repr(HookSet(retry=2)) == "HookSet(retry=2)"
    pipeline = Pipeline(steps=int).stage("train", train).through(Output, **both)
    assert pipeline.compile().run(steps=1) == Output(1.0)
    assert seen.names == ["production", "debug"]
    from_dict = {"retry": 1} | HookSet(cache=True)
    assert isinstance(from_dict, HookSet)
    with pytest.raises(UsageError, match='"lag" is no hook \\(did you mean "log"\\?\\)'):
        HookSet(lag=print)  # type: ignore[call-arg]


# -- global hooks -----------------------------------------------------------------------------------------------------


def test_global_hooks_get_the_name_of_the_stage_and_before_its_input() -> None:
    seen = Recorder()
    pipeline = (
        Pipeline(steps=int)
        .stage("train", train)
        .through(Output)
        .stage("loss", lambda loss: loss)
        .through(copy=float)
        .with_global_hooks(before=seen.hook("before"), after=seen.hook("after"))
    )
    assert pipeline.compile().run(steps=2) == Context(loss=0.5, note="", copy=0.5)
    assert seen.calls == [
        ("before", "train", Context(steps=2)),
        ("after", "train", Output(0.5)),
        ("before", "loss", Output(0.5)),
        ("after", "loss", Context(copy=0.5)),
    ]


def test_global_hooks_reach_stages_in_loops_arms_and_nested_pipelines_but_not_these_themselves() -> None:
    seen = Recorder()
    inner = Pipeline(steps=int).stage("inner", loss_of).through(loss=float)
    pipeline = (
        Pipeline(steps=int)
        .loop_while(lambda ctx: ctx.steps < 2)
        .stage("more", lambda steps: steps + 1)
        .through(steps=int)
        .end_loop()
        .conditional(lambda ctx: True, Pipeline().stage("arm", loss_of).through(a=float))
        .parallel({"p": loss_of})
        .stage("nested", inner)
        .through(log=lambda data: None)
        .with_global_hooks(before=lambda stage, data: seen.calls.append((stage,)))
    )
    pipeline.compile().run(steps=1)
    assert seen.names == ["more", "arm", "loss_of", "inner"]


def test_a_local_control_hook_wins_observers_both_run() -> None:
    seen = Recorder()
    tries: list[int] = []

    def flaky(steps: int) -> float:
        tries.append(steps)
        raise OSError("again")

    pipeline = (
        Pipeline(steps=int)
        .stage("flaky", flaky)
        .through(x=float, retry=1, on_error=lambda error: 0.0, log=seen.hook("local"))
        .with_global_hooks(retry=5, on_error=lambda stage, error: 1.0, log=seen.hook("global"))
    )
    assert pipeline.compile().run(steps=1) == Context(steps=1, x=0.0)
    assert len(tries) == 2
    assert seen.calls == [("local", Context(x=0.0)), ("global", "flaky", Context(x=0.0))]


def test_global_hooks_of_a_nested_pipeline_are_the_inner_ones() -> None:
    seen = Recorder()
    inner = Pipeline(steps=int).stage("loss", loss_of).through(x=float).with_global_hooks(log=seen.hook("inner"))
    outer = Pipeline(steps=int).stage("nested", inner).with_global_hooks(log=seen.hook("outer"), retry=3)
    outer.compile().run(steps=1)
    assert seen.names == ["inner", "outer"]
    run(Pipeline(steps=int).stage("other", loss_of).through(x=float), steps=1)
    assert seen.names == ["inner", "outer"], "a pipeline without them is not touched"


def test_global_hooks_can_be_added_twice() -> None:
    seen = Recorder()
    once = Pipeline(steps=int).stage("loss", loss_of).through(x=float).with_global_hooks(log=seen.hook("first"))
    twice = once.with_global_hooks(log=seen.hook("second"))
    twice.compile().run(steps=1)
    assert sorted(seen.names) == ["first", "second"]
    seen.calls.clear()
    once.compile().run(steps=1)
    assert seen.names == ["first"]


def test_an_async_hook_in_a_sync_pipeline_is_refused() -> None:
    async def log(data: Output) -> bool:
        return True

    pipeline = Pipeline(steps=int).stage("train", train).through(Output, validate=log)
    with pytest.raises((UsageError, ContractError), match="async"):
        pipeline.compile().run(steps=1)
