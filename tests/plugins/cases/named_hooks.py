"""Named functions as hooks and conditions: by what their parameter takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypedDict

from metta.sweep import Context, Pipeline


class Output(NamedTuple):
    loss: float
    steps: int


class HasLoss(Protocol):
    @property
    def loss(self) -> float: ...


class HasAccuracy(Protocol):
    @property
    def accuracy(self) -> float: ...


class HasTextLoss(Protocol):
    @property
    def loss(self) -> str: ...


class Losses(TypedDict):
    loss: float


def train(seed: int) -> Output:
    return Output(1.0, seed)


def halve(loss: float) -> float:
    return loss / 2


def of_output(data: Output) -> bool:
    return data.loss > 1


def of_number(data: int) -> bool:
    return data > 1


def of_anything(data: object) -> bool:
    return data is not None


def of_any(data: Any) -> bool:
    return bool(data.loss)


def of_context(data: Context) -> bool:
    return bool(data.loss)


def of_protocol(data: HasLoss) -> bool:
    return data.loss > 1


def of_another_protocol(data: HasAccuracy) -> bool:
    return data.accuracy > 1


def of_text_protocol(data: HasTextLoss) -> bool:
    return data.loss == "1"


def with_default(data: Output, limit: float = 1.0) -> bool:
    return data.loss > limit


def by_keyword(*, data: Output) -> bool:
    return data.loss > 1


def nothing() -> bool:
    return True


async def later(data: Output) -> bool:
    return data.loss > 1


def makes_a_check(limit: float) -> Callable[[Output], bool]:
    return lambda data: data.loss > limit


def stop_at(data: Output) -> Callable[[], bool]:
    return lambda: data.loss > 1


class Check:
    def __call__(self, data: Output) -> bool:
        return data.loss > 1

    def method(self, data: Output) -> bool:
        return data.loss > 1

    def of_text(self, data: str) -> bool:
        return data == "1"

    @staticmethod
    def static(data: Output) -> bool:
        return data.loss > 1

    @classmethod
    def of_class(cls, data: int) -> bool:
        return data > 1


check = Check()

good_hooks = (
    Pipeline(seed=int)
    .stage("train", train)
    .through(
        Output,
        before=of_output,
        after=of_anything,
        log=of_any,
        metrics=print,
        debug=repr,
        monitor=with_default,
        validate=of_protocol,
        assert_fn=makes_a_check(3.0),
        archive=later,
    )
    .stage("again", train, seed=3)
    .through(Output, before=check, after=check.method, log=Check.static, debug=check.static)
)
bad_hooks = (
    Pipeline(seed=int)
    .stage("train", train)
    .through(
        Output,
        before=of_number,  # E: hook-signature
        after=by_keyword,  # E: hook-signature
        log=nothing,  # E: hook-signature
        validate=of_another_protocol,  # E: hook-signature
        assert_fn=of_text_protocol,  # E: hook-signature
        metrics=check.of_text,  # E: hook-signature
        debug=Check.of_class,  # E: hook-signature
    )
)
good_conditions = (
    Pipeline(Output)
    .conditional(of_output, Pipeline().stage("halve", halve).through(loss=float))
    .conditional(of_protocol, Pipeline().stage("halve", halve).through(loss=float))
    .conditional(of_anything, Pipeline().stage("halve", halve).through(loss=float))
    .conditional(with_default, Pipeline().stage("halve", halve).through(loss=float))
    .loop_while(check.method, max_iterations=3)
    .stage("halve", halve)
    .through(loss=float)
    .break_if(makes_a_check(0.1))
    .end_loop(until=check)
)
good_context_conditions = (
    Pipeline(loss=float)
    .conditional(of_context, Pipeline().stage("halve", halve).through(loss=float))
    .conditional(of_protocol, Pipeline().stage("halve", halve).through(loss=float))
    .conditional(of_any, Pipeline().stage("halve", halve).through(loss=float))
    .conditional(of_anything, Pipeline().stage("halve", halve).through(loss=float))
)
bad_predicate = (
    Pipeline(Output).conditional(of_number, Pipeline().stage("halve", halve).through(loss=float))  # E: hook-signature
)
bad_loop = (
    Pipeline(Output)
    .loop_while(later)  # E: loop-condition
    .stage("halve", halve)
    .through(loss=float)
    .break_if(stop_at)  # E: loop-condition
    .break_if(nothing)  # E: hook-signature
    .end_loop(until=check.of_text)  # E: hook-signature
)
called_condition = (
    Pipeline(Output)
    .loop_while(check.method(Output(1.0, 1)))  # E: loop-condition
    .stage("halve", halve)
    .through(loss=float)
    .end_loop()
)
context_is_no_output = (
    Pipeline(loss=float).stage("halve", halve).through(half=float, skip_if=of_output, default=0.0)  # E: hook-signature
)
gives_no_typed_dict = Pipeline(Output).stage("halve", halve).through(Losses)  # E: stage-output


def to_float(data: Output) -> float:
    return data.loss


def handle(error: Exception) -> Output:
    print(error)
    return Output(0.0, 0)


changed = Pipeline(seed=int).stage("train", train).through(Output, transform=to_float)  # E: hook-signature
on_error_good = Pipeline(seed=int).stage("train", train).through(Output, on_error=handle)


def handle_number(error: Exception) -> float:
    print(error)
    return 0.0


on_error_result = Pipeline(seed=int).stage("train", train).through(Output, on_error=handle_number)  # E: hook-signature
on_error_lambda = (
    Pipeline(seed=int)
    .stage("train", train)
    .through(
        Output,
        on_error=lambda error: 0.0,  # S: hook-signature
    )
)
