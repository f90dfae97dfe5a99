"""The hooks of through: hook-signature, hook-type, unknown-hook, skip-without-value, unstorable, timeout-isolates."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

from pydantic import BaseModel

from metta.sweep import Context, HookSet, Pipeline, RetryPolicy, exponential
from metta.sweep.executors import Executor, LocalExecutor


class Output(NamedTuple):
    loss: float


class Checked(BaseModel):
    loss: float


def train(steps: int) -> Output:
    return Output(1.0 / steps)


def mean(loss: float) -> float:
    return loss


async def slow(loss: float) -> float:
    return loss


def is_fine(data: Output) -> bool:
    return data.loss < 1


def of_steps(data: int) -> bool:
    return data > 0


def two(data: Output, other: int) -> bool:
    return data.loss < other


def to_text(data: Output) -> str:
    return str(data)


def double(data: Output) -> Output:
    return Output(data.loss * 2)


def failed(error: Exception) -> Output:
    print(error)
    return Output(0.0)


def failed_with_data(error: Exception, data: Context) -> Output:
    print(error, data)
    return Output(0.0)


good = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(
        Output,
        before=print,
        after=lambda data: print(data),
        log=to_text,
        validate=is_fine,
        assert_fn=lambda data: data.loss > 0,
        schema=Checked,
        transform=double,
        serialize=to_text,
        retry=RetryPolicy(max_attempts=3, backoff=exponential(base=0.1), on=(OSError,)),
        on_error=failed_with_data,
        checkpoint=True,
        checkpoint_path=lambda data: f"{data.loss}.txt",
        cache=True,
        cache_key=lambda data: data.steps,
        validate_type="deep",
        profile=True,
    )
    .stage("slow", slow)
    .through(mean=float, timeout=timedelta(seconds=3), retry=2, on_error=lambda error: 0.0)
)

takes_two = Pipeline(steps=int).stage("train", train).through(Output, validate=two)  # E: hook-signature
takes_none = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(
        Output,
        log=lambda: None,  # E: hook-signature
    )
)
takes_another_type = Pipeline(steps=int).stage("train", train).through(Output, validate=of_steps)  # E: hook-signature
gives_another_type = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(
        Output,
        transform=to_text,  # E: hook-signature
    )
)
path_is_no_string = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(
        Output,
        checkpoint_path=double,  # E: hook-signature
    )
)
error_takes_three = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(Output, on_error=lambda error, data, more: None)  # E: hook-signature
)
untyped_observer = (
    Pipeline(steps=int)
    .stage("show", lambda steps: print(steps))  # DN: untyped-stage
    .stage("print", lambda steps: print(steps))  # DN: untyped-stage
    .through(before=print)
)


def show(steps: int) -> None:
    print(steps)


no_data = Pipeline(steps=int).stage("show", show).through(transform=lambda data: data)  # E: hook-signature
observed = Pipeline(steps=int).stage("show", show).through(before=lambda data: print(data.steps), retry=2)

production = HookSet(log=print, retry=3) | HookSet(timeout=5)
bag: dict[str, Any] = {"validate": two, "log": print}
DEBUG = True
from_a_set = Pipeline(loss=float).stage("slow", slow).through(result=float, **production)
from_a_bag = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(
        Output,
        **(bag if DEBUG else production),  # D: hook-signature
    )
)

negative = Pipeline(steps=int).stage("train", train).through(Output, retry=-1)  # E: hook-type
text = Pipeline(steps=int).stage("train", train).through(Output, retry="3")  # E: hook-type
no_time = Pipeline(loss=float).stage("slow", slow).through(x=float, timeout=0)  # E: hook-type
not_callable = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(
        Output,
        log="loss",  # E: hook-type
        checkpoint=1,  # E: hook-type
    )
)
no_model = Pipeline(steps=int).stage("train", train).through(Output, schema=Output)  # E: hook-type
bad_default = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(
        Output,
        skip_if=lambda data: data.steps == 0,
        default=0.0,  # E: hook-type
    )
)

misspelt = Pipeline(steps=int).stage("train", train).through(Output, retires=3)  # E: unknown-hook
misspelt_bag: dict[str, Any] = {"chekpoint": True}
in_a_bag = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(
        Output,
        **misspelt_bag,  # D: unknown-hook
    )
)
on_parallel = Pipeline(loss=float).parallel([mean, slow]).through(results=list[float], lr=0.1)  # E: unknown-hook
globally = Pipeline(loss=float).stage("mean", mean).with_global_hooks(befor=print)  # E: unknown-hook
global_signature = (
    Pipeline(loss=float).stage("mean", mean).with_global_hooks(before=lambda data: None)  # E: hook-signature
)
global_value = Pipeline(loss=float).stage("mean", mean).with_global_hooks(retry=-2)  # E: hook-type
good_global = Pipeline(loss=float).stage("mean", mean).with_global_hooks(before=lambda stage, data: print(stage))

skipped = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(
        Output,
        skip_if=lambda data: data.steps == 0,  # E: skip-without-value
    )
)
skipped_field = (
    Pipeline(loss=float)
    .stage("mean", mean)
    .through(x=float, skip_if=lambda data: data.loss > 1)  # E: skip-without-value
)
skipped_one_of_two = (
    Pipeline(loss=float)
    .stage("pair", lambda loss: (loss, loss))  # DN: untyped-stage
    .through(
        loss=float,
        other=float,
        skip_if=lambda data: data.loss > 1,  # E: skip-without-value
    )
)
skipped_with_default = (
    Pipeline(loss=float).stage("mean", mean).through(x=float, skip_if=lambda data: data.loss > 1, default=0.0)
)
skipped_set_before = Pipeline(loss=float).stage("mean", mean).through(loss=float, skip_if=lambda data: data.loss > 1)
skipped_value = (
    Pipeline(Output)
    .stage("same", double)
    .through(Output, skip_if=lambda data: data.loss > 1)
    .stage("nothing", print)  # DN: untyped-stage
    .through(skip_if=lambda data: data.loss > 1)
)
skipped_elements = (
    Pipeline(losses=list[float])
    .map("mean", mean, over="losses")
    .through(means=list[float], skip_if=lambda loss: loss > 1)
)
skipped_element_of_another_type = (
    Pipeline(losses=list[float])
    .map("mean", mean, over="losses")
    .through(
        means=list[float],
        skip_if=lambda loss: loss > 1,
        default=[0.0],  # E: hook-type
    )
)


def make_callback(loss: float) -> Callable[[int], int]:
    return lambda x: x + int(loss)


unstorable = (
    Pipeline(loss=float)
    .stage("callback", make_callback)
    .through(callback=Callable[[int], int], checkpoint=True)  # D: unstorable
)
unstorable_value = (
    Pipeline(loss=float)
    .stage("callback", make_callback)
    .through(
        Callable[[int], int],
        checkpoint=True,  # D: unstorable
    )
)
unstorable_implied = (
    Pipeline(loss=float).stage("callback", make_callback).through(checkpoint=True)  # D: unstorable
)
not_asked_for = Pipeline(loss=float).stage("callback", make_callback).through(callback=Callable[[int], int])

isolated = Pipeline(loss=float).stage("mean", mean).through(x=float, timeout=3)  # DN: timeout-isolates
isolated_lines = (
    Pipeline(loss=float)
    .stage("mean", mean)
    .through(
        x=float,
        timeout=timedelta(minutes=1),  # DN: timeout-isolates
    )
)
isolated_map = (
    Pipeline(losses=list[float])
    .map("mean", mean, over="losses")
    .through(means=list[float], timeout=3)  # DN: timeout-isolates
)

by_name = Pipeline(loss=float).stage("mean", mean).through(x=float, executor="local")
by_class = Pipeline(loss=float).stage("mean", mean).through(x=float, executor=LocalExecutor)
by_factory = Pipeline(loss=float).stage("mean", mean).through(x=float, executor=partial(LocalExecutor, max_workers=1))


def opened() -> LocalExecutor:
    raise AssertionError("it is only ever looked at")


by_function = Pipeline(loss=float).stage("mean", mean).through(x=float, executor=opened)


def given(executor: Executor) -> object:
    """As an object: it is not made here, as that would start processes."""
    return Pipeline(loss=float).stage("mean", mean).through(x=float, executor=executor)


no_executor = Pipeline(loss=float).stage("mean", mean).through(x=float, executor=4)  # E: hook-type
no_executor_class = (
    Pipeline(loss=float)
    .stage("mean", mean)
    .through(
        x=float,
        executor=Checked,  # E: hook-type
    )
)
no_field = Pipeline(loss=float).stage("mean", mean).through(float, executor=str)  # E: hook-type
other_kind = Pipeline(loss=float).stage("mean", mean).through(float, executor=ThreadPoolExecutor)  # E: hook-type
