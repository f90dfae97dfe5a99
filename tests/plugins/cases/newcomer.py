"""The first slips of a newcomer, each beside the program that was meant."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, ParamSpec, TypeVar, reveal_type

from metta.sweep import Experiment, Pipeline, field

P = ParamSpec("P")
R = TypeVar("R")


def step(x: int) -> int:
    return x + 1


def text(x: int) -> str:
    return str(x)


class Ridge:
    penalty = 1.0


class Scaler:
    factor = 2

    def scaled(self, x: int) -> int:
        return x * self.factor


class Counts(NamedTuple):
    wins: int
    losses: int


@dataclass
class Plan:
    epochs: int


# -- an experiment as a stage -----------------------------------------------------------------------------------------


class Annotated(Experiment[int]):
    def pipeline(self) -> Pipeline:
        return Pipeline(x=int).stage("step", step).through(int)


class Bare(Experiment[int]):
    def pipeline(self):
        return Pipeline(x=int).stage("step", step).through(int)


class InStatements(Experiment[int]):
    def pipeline(self) -> Pipeline:
        pipeline = Pipeline(x=int)
        pipeline = pipeline.stage("step", step)
        pipeline = pipeline.through(int)
        return pipeline  # noqa: RET504


class Inferred(Experiment):
    def pipeline(self) -> Pipeline:
        return Pipeline().stage("step", step).through(int)


class Chosen(Experiment[int]):
    def __init__(self, short: bool) -> None:
        self.short = short

    def pipeline(self) -> Pipeline:
        if self.short:
            return Pipeline(x=int).stage("step", step).through(int)
        return Pipeline(n=int).stage("step", step, x=field("n")).through(int)


class Later(Annotated):
    """Inherits its pipeline."""


as_a_stage = Pipeline(x=int).stage("inner", Annotated()).through(y=int)
as_a_stage_bare = Pipeline(x=int).stage("inner", Bare()).through(y=int)
as_a_stage_in_statements = Pipeline(x=int).stage("inner", InStatements()).through(y=int)
as_a_stage_inherited = Pipeline(x=int).stage("inner", Later()).through(y=int)
as_a_stage_renamed = Pipeline(z=int).stage("inner", Annotated(), x=field("z")).through(y=int)
as_a_stage_inferred = Pipeline(x=int).stage("inner", Inferred()).through(y=int)
as_a_stage_chosen = Pipeline(n=int).stage("inner", Chosen(short=False)).through(y=int)
with_a_setting = Pipeline(z=int).stage("inner", Annotated(), x=3).through(y=int)

unknown_setting = Pipeline(x=int).stage(
    "inner",
    Annotated(),
    y=3,  # E: unknown-setting
)
missing_input = Pipeline(z=int).stage("inner", Annotated())  # E: missing-field
missing_input_bare = Pipeline(z=int).stage("inner", Bare())  # E: missing-field
missing_input_in_statements = Pipeline(z=int).stage("inner", InStatements())  # E: missing-field
missing_input_inherited = Pipeline(z=int).stage("inner", Later())  # E: missing-field
wrong_input = Pipeline(x=str).stage("inner", Annotated())  # E: stage-input
wrong_setting = Pipeline(z=int).stage(
    "inner",
    Annotated(),
    x="3",  # E: setting-type
)
wrong_output = (
    Pipeline(x=int)
    .stage("inner", Inferred())
    .through(
        y=str,  # E: stage-output
    )
)


class Outer(Experiment[str]):
    def pipeline(self) -> Pipeline:
        return Pipeline(x=int).stage("inner", Annotated()).through(y=int).stage("text", text, x=field("y")).through(str)


class OuterOfAnotherResult(Experiment[str]):
    def pipeline(self) -> Pipeline:
        return (
            Pipeline(x=int)
            .stage("inner", Annotated())
            .through(
                int,  # S: stage-output
            )
        )


class OuterOfFields(Experiment[str]):
    def pipeline(self) -> Pipeline:
        return (
            Pipeline(x=int).stage("text", text).through(y=str)  # S: stage-output
        )


class Unclosed(Experiment[int]):
    def pipeline(self) -> Pipeline:
        return (
            Pipeline(x=int)
            .loop_while(lambda c: c.x < 3)  # S: unclosed-loop
            .stage("step", step)
            .through(x=int)
        )


class UnclosedBare(Experiment[int]):
    def pipeline(self):
        return Pipeline(x=int).loop_while(lambda c: c.x < 3).stage("step", step).through(x=int)  # S: unclosed-loop


def unclosed() -> Pipeline:
    return Pipeline(x=int).loop_while(lambda c: c.x < 3).stage("step", step).through(x=int)  # S: unclosed-loop


def closed() -> Pipeline:
    return Pipeline(x=int).loop_while(lambda c: c.x < 3).stage("step", step).through(x=int).end_loop()


if TYPE_CHECKING:
    Annotated().run(x=3)
    Annotated().run(x=3, store=None, resume=False)
    Annotated().run(resume=True, allow_changed=True)
    Annotated().run(z=3)  # S: call-arg
    Annotated().run()  # S: call-arg
    Annotated().run(x="3")  # S: arg-type
    Annotated().run(x=3, resume=3.0)  # S: arg-type
    InStatements().run(x="3")  # S: arg-type
    reveal_type(Annotated().run(x=3))  # R: Run[int]
    Pipeline(x=int).stage("step", step).through(y=int).compile().run(x=1)
    Pipeline(x=int).stage("step", step).through(y=int).run(x=1)  # S: attr-defined

# -- methods, lambdas, functions that make pipelines ------------------------------------------------------------------

of_an_object = Pipeline(x=int).stage("scaled", Scaler().scaled).through(y=int)
of_its_class = Pipeline(x=int).stage("scaled", Scaler.scaled)  # E: missing-field
over_objects = Pipeline(scalers=list[Scaler], x=int).map("scaled", Scaler.scaled, over="scalers").through(ys=list[int])

penalty = Pipeline(ridge=Ridge).stage("p", lambda a: a.penalty, a=field("ridge")).through(p=float)  # DN: untyped-stage
lambda_misread = Pipeline(ridge=Ridge).stage(  # DN: untyped-stage
    "penalty",
    lambda a: a.penaltyy,  # S: attr-defined
    a=field("ridge"),
)
arms = Pipeline(x=int).parallel({"l": lambda x: x, "r": lambda x: x * 2}).through(l=int, r=int)  # DN: untyped-stage
lambda_arm_misread = Pipeline(x=int).parallel(
    {
        "l": lambda x: x + 1,  # DN: untyped-stage
        "r": lambda x: x.foo,  # S: attr-defined  # DN: untyped-stage
    }
)


def build(limit: int) -> Pipeline:
    return Pipeline(x=int).stage("step", step, x=limit).through(y=int)


built = Pipeline(x=int).stage("built", build(3))  # SN: untyped-stage
not_built = Pipeline(x=int).stage("built", build).through(y=int)  # E: stage-output

swapped = Pipeline(x=int).stage(
    step,  # E: not-a-stage
    "step",
)


# -- decorators -------------------------------------------------------------------------------------------------------


def repeated(fn: Callable[P, R]) -> Callable[P, list[R]]:
    @functools.wraps(fn)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> list[R]:
        return [fn(*args, **kwargs)]

    return wrapper


@repeated
def draw(x: int) -> float:
    return x / 2


drawn = Pipeline(x=int).stage("draw", draw).through(y=list[float])
drawn_wrong = (
    Pipeline(x=int)
    .stage("draw", draw)
    .through(
        y=float,  # E: stage-output
    )
)

# -- one mistake, one report ------------------------------------------------------------------------------------------


def share_of(x: int, share: float) -> float:
    return x * share


def counts(x: int) -> Counts:
    return Counts(x, x)


def use_counts(counts: Counts, x: int) -> int:
    return counts.wins + x


def use_more(counts: Counts) -> float:
    return counts.losses / 2


setting = Pipeline(x=int).stage("share", share_of, share=0.75).through(y=float)
setting_misspelt = Pipeline(x=int).stage(
    "share",
    share_of,
    shares=0.75,  # E: unknown-setting
)
wrong_contract = (
    Pipeline(x=int)
    .stage("counts", counts)
    .through(
        counts=list[Counts],  # E: stage-output
        log=lambda data: data.counts,
    )
    .stage("use", use_counts)
    .through(y=int)
    .stage("more", use_more)
    .through(z=float)
)
wrong_replacement = (
    Pipeline(x=int)
    .stage("counts", counts)
    .through(
        Plan,  # E: stage-output
        log=lambda data: data.wins,
    )
    .stage("use", lambda wins, losses: wins + losses)  # DN: untyped-stage
    .through(y=int)
)
misspelt_field = (
    Pipeline(x=int)
    .stage("counts", counts)
    .through(count=Counts)
    .loop_while(lambda ctx: ctx.x < 3, max_iterations=3)
    .stage("use", use_counts)  # E: missing-field
    .through(y=int)
    .stage("more", use_more)
    .through(z=float)
    .end_loop()
    .stage("again", use_more)
    .through(w=float)
)
renamed_field = (
    Pipeline(x=int)
    .stage("text", text)
    .through(winner=str)
    .stage(
        "step",
        step,
        x=field("winner"),  # E: stage-input
    )
)


def use_rate(rate: float) -> float:
    return rate


dropped_field = (
    Pipeline(x=int, rate=float).stage("counts", counts).through(Counts).stage("use", use_rate)  # E: stage-input
)
schema = (
    Pipeline(x=int)
    .stage("counts", counts)
    .through(
        Counts,
        schema=dict,  # E: hook-type
    )
)

# -- a named open pipeline may be given narrower types than its first step asks for -----------------------------------


def of_any_number(y: float) -> float:
    return y


named = (
    Pipeline()
    .stage("number", of_any_number)
    .through(z=float)
    .stage("step", step, x=field("y"))  # D: stage-input
    .through(w=int)
)
narrower = Pipeline(y=int).stage("inner", named).stage("use", step, x=field("w"))
