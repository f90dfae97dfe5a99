"""What a conditional or a loop may leave unset: maybe-missing-field."""

from __future__ import annotations

from typing import NamedTuple, NotRequired, TypedDict

from metta.sweep import Context, Pipeline


class Config(TypedDict):
    lr: float
    momentum: NotRequired[float]


class Exploited(NamedTuple):
    score: float
    near: int


class Explored(NamedTuple):
    score: float
    far: int


def measure(score: float) -> float:
    return score * 2


def use(bonus: float) -> float:
    return bonus


def use_with_default(bonus: float = 0.0) -> float:
    return bonus


def use_context(ctx: Context) -> float:
    return float(ctx.get("bonus", 0.0))


def exploit(score: float) -> Exploited:
    return Exploited(score, 1)


def explore(score: float) -> Explored:
    return Explored(score, 1)


def sgd(lr: float, momentum: float) -> float:
    return lr + momentum


def take_text(score: str) -> float:
    return float(score)


def name_it(score: float) -> str:
    return str(score)


bonus = Pipeline().stage("measure", measure).through(bonus=float)

in_both = Pipeline(score=float).conditional(lambda ctx: ctx.score > 1, bonus, bonus).stage("use", use)
with_default = (
    Pipeline(score=float)
    .conditional(lambda ctx: ctx.score > 1, bonus)
    .stage("default", use_with_default)
    .through(total=float)
    .stage("context", use_context)
    .through(again=float)
)
in_one = (
    Pipeline(score=float).conditional(lambda ctx: ctx.score > 1, bonus).stage("use", use)  # E: maybe-missing-field
)
in_the_other = (
    Pipeline(score=float)
    .conditional(
        lambda ctx: ctx.score > 1,
        Pipeline().stage("name", name_it).through(name=str),
        bonus,
    )
    .stage("use", use)  # E: maybe-missing-field
)
in_a_loop = (
    Pipeline(score=float)
    .loop_while(lambda ctx: ctx.score > 1, max_iterations=3)
    .stage("measure", measure)
    .through(bonus=float)
    .end_loop()
    .stage("use", use)  # E: maybe-missing-field
)
behind_a_break = (
    Pipeline(score=float)
    .loop_while()
    .stage("name", name_it)
    .through(name=str)
    .break_if(lambda ctx: len(ctx.name) > 3)
    .stage("measure", measure)
    .through(bonus=float)
    .end_loop(until=lambda ctx: ctx.bonus > 3)
    .stage("name is set", lambda name: name)  # DN: untyped-stage
    .through(copy=str)
    .stage("use", use)  # E: maybe-missing-field
)
not_required = Pipeline(Config).stage("sgd", sgd)  # E: maybe-missing-field
dropped = (
    Pipeline(score=float)
    .conditional(lambda ctx: ctx.score > 1, exploit, explore)
    .stage("near", lambda near: near)  # E: maybe-missing-field  # DN: untyped-stage
    .through(n=int)
)
set_again = (
    Pipeline(score=float)
    .conditional(lambda ctx: ctx.score > 1, bonus)
    .stage("measure", measure)
    .through(bonus=float)
    .stage("use", use)
)
common_field = Pipeline(score=float).conditional(lambda ctx: ctx.score > 1, exploit, explore).stage("measure", measure)
joined_type = (
    Pipeline(x=float)
    .conditional(
        lambda ctx: ctx.x > 1,
        Pipeline().stage("a", lambda x: x).through(score=float),  # DN: untyped-stage
        Pipeline().stage("b", lambda x: str(x)).through(score=str),  # DN: untyped-stage
    )
    .stage("text", take_text)  # E: stage-input
)
