"""Loops: loop-carried, loop-condition, unclosed-loop, empty-loop, a stray end or break."""

from __future__ import annotations

from typing import Any, NamedTuple

from metta.sweep import Context, Pipeline


class Model(NamedTuple):
    loss: float
    steps: int


class Report(NamedTuple):
    text: str


def step(loss: float) -> float:
    return loss / 2


def advance(model: Model) -> Model:
    return model._replace(steps=model.steps + 1)


def report(loss: float) -> Report:
    return Report(str(loss))


def label(loss: float) -> str:
    return str(loss)


def is_large(model: Model) -> bool:
    return model.loss > 1


def is_long(text: str) -> bool:
    return len(text) > 1


async def later(ctx: Context) -> bool:
    return bool(ctx.loss)


def maybe(ctx: Context) -> Any:
    return lambda: ctx


good = (
    Pipeline(loss=float)
    .loop_while(lambda ctx: ctx.loss > 1, max_iterations=10)
    .stage("step", step)
    .through(loss=float)
    .stage("label", label)
    .through(text=str)
    .break_if(lambda ctx: len(ctx.text) > 3)
    .end_loop(until=lambda ctx: ctx.text == "0")
)
good_value = Pipeline(Model).loop_while(is_large, max_iterations=3).stage("advance", advance).end_loop()
do_while = (
    Pipeline(loss=float)
    .loop_while()
    .stage("label", label)
    .through(text=str)
    .end_loop(until=lambda ctx: ctx.text == "0")
    .stage("use", lambda text: text)  # DN: untyped-stage
    .through(result=str)
)

lost = (
    Pipeline(loss=float).loop_while(lambda ctx: ctx.loss > 1).stage("report", report).end_loop()  # E: loop-carried
)
lost_at_the_break = (
    Pipeline(loss=float)
    .loop_while(lambda ctx: ctx.loss > 1)
    .stage("report", report)
    .break_if(lambda ctx: True)  # E: loop-carried
    .stage("restore", lambda: 1.0)  # DN: untyped-stage
    .through(loss=float)
    .end_loop()
)
value_replaced = (
    Pipeline(Model).loop_while(is_large).stage("report", report).end_loop()  # E: loop-carried
)
only_in_one_arm = (
    Pipeline(loss=float)
    .loop_while(lambda ctx: ctx.loss > 1)
    .conditional(
        lambda ctx: ctx.loss > 3,
        Pipeline().stage("report", report),
        step,
    )
    .end_loop()  # E: loop-carried
)

stray_end = Pipeline(loss=float).stage("step", step).through(loss=float).end_loop()  # E: end-loop-without-loop
end_twice = (
    Pipeline(loss=float)
    .loop_while(lambda ctx: ctx.loss > 1)
    .stage("step", step)
    .through(loss=float)
    .end_loop()
    .end_loop()  # E: end-loop-without-loop
)
end_in_an_arm = (
    Pipeline(loss=float)
    .loop_while(lambda ctx: ctx.loss > 1)  # E: unclosed-loop
    .conditional(
        lambda ctx: ctx.loss > 3,
        Pipeline().stage("step", step).through(loss=float).end_loop(),  # E: end-loop-without-loop
    )
    .compile()
)

stray_break = Pipeline(loss=float).stage("step", step).break_if(lambda ctx: True)  # E: break-without-loop
break_behind = (
    Pipeline(loss=float)
    .loop_while(lambda ctx: ctx.loss > 1)
    .stage("step", step)
    .through(loss=float)
    .end_loop()
    .break_if(lambda ctx: True)  # E: break-without-loop
)
break_in_an_arm = (
    Pipeline(loss=float)
    .loop_while(lambda ctx: ctx.loss > 1)
    .conditional(
        lambda ctx: ctx.loss > 3,
        Pipeline().break_if(lambda ctx: True),  # E: break-without-loop
        step,
    )
    .stage("again", step)  # E: maybe-missing-field
    .through(loss=float)
    .end_loop()
)

unclosed = (
    Pipeline(loss=float)
    .loop_while(lambda ctx: ctx.loss > 1)  # E: unclosed-loop
    .stage("step", step)
    .through(loss=float)
    .compile()
)
inner_unclosed = (
    Pipeline(loss=float)
    .loop_while(  # E: unclosed-loop
        lambda ctx: ctx.loss > 1,
    )
    .loop_while(lambda ctx: ctx.loss > 2)
    .stage("step", step)
    .through(loss=float)
    .end_loop()
    .compile()
)

empty = (
    Pipeline(loss=float).loop_while(lambda ctx: ctx.loss > 1).end_loop()  # D: empty-loop
)
empty_do_while = Pipeline(loss=float).loop_while().end_loop(until=lambda ctx: True)  # D: empty-loop
empty_inner = (
    Pipeline(loss=float)
    .loop_while(lambda ctx: ctx.loss > 1)
    .stage("step", step)
    .through(loss=float)
    .loop_while(lambda ctx: ctx.loss > 2)
    .end_loop()  # D: empty-loop
    .end_loop()
)

async_condition = (
    Pipeline(loss=float)
    .loop_while(later)  # E: loop-condition
    .stage("step", step)
    .through(loss=float)
    .end_loop()
)
async_until = (
    Pipeline(loss=float)
    .loop_while()
    .stage("step", step)
    .through(loss=float)
    .end_loop(
        until=later,  # E: loop-condition
    )
)
no_condition = (
    Pipeline(loss=float)
    .loop_while(
        True,  # E: loop-condition
        max_iterations=3,
    )
    .stage("step", step)
    .through(loss=float)
    .end_loop()
)
async_predicate = Pipeline(loss=float).conditional(later, step)  # E: loop-condition
wrong_condition = (
    Pipeline(loss=float)
    .loop_while(is_long)  # E: hook-signature
    .stage("step", step)
    .through(loss=float)
    .end_loop()
)
condition_of_two = Pipeline(loss=float).conditional(lambda a, b: a > b, step)  # E: hook-signature
no_passes = (
    Pipeline(loss=float)
    .loop_while(
        lambda ctx: ctx.loss > 1,
        max_iterations=0,  # E: setting-type
    )
    .stage("step", step)
    .through(loss=float)
    .end_loop()
)
