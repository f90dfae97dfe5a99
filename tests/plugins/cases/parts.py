"""Open pipelines with a name: each use decides them, as if they were written there."""

from __future__ import annotations

from metta.sweep import Pipeline


def shift(x: int) -> int:
    return x + 1


def scale(x: int, factor: int) -> float:
    return x / factor


def show(y: float) -> str:
    return str(y)


def length(text: str) -> int:
    return len(text)


inner = (
    Pipeline()
    .stage("shift", shift)
    .through(x=int)
    .stage("scale", scale)  # E: missing-field, stage-input
    .through(y=float)
)
good = Pipeline(x=int, factor=int).stage("inner", inner).stage("show", show).through(text=str)
without_a_factor = Pipeline(x=int).stage("inner", inner)
another_factor = Pipeline(x=int, factor=str).stage("inner", inner)
in_an_arm = (
    Pipeline(x=int, factor=int).conditional(lambda ctx: ctx.x > 1, inner).stage("show", show)  # E: maybe-missing-field
)
in_both_arms = Pipeline(x=int, factor=int).conditional(lambda ctx: ctx.x > 1, inner, inner).stage("show", show)
rebinds = Pipeline(x=int, factor=int).parallel([inner, shift])  # E: parallel-conflict
contract = Pipeline(x=int, factor=int).stage("inner", inner).through(y=float).stage("show", show)
wrong_contract = (
    Pipeline(x=int, factor=int).stage("inner", inner).through(z=float)  # E: stage-output
)
first_step = Pipeline().stage("inner", inner).stage("show", show)
first_step_declared = Pipeline(x=int, factor=int).stage("first", inner).stage("show", show)

outer = Pipeline().stage("inner", inner).stage("show", show).through(text=str)
twice = Pipeline(x=int, factor=int).stage("outer", outer).stage("length", length).through(size=int)


def in_a_function() -> Pipeline:
    local = Pipeline().stage("shift", shift).through(x=int).stage("scale", scale).through(y=float)
    return Pipeline(x=int, factor=int).stage("local", local).stage("show", show).through(text=str)


def in_a_function_wrong() -> Pipeline:
    local = Pipeline().stage("shift", shift).through(x=int).stage("scale", scale).through(y=float)  # S: missing-field
    return Pipeline(x=int).stage("local", local).stage("show", show).through(text=str)
