"""Lambdas as hooks and conditions: what they read, and what they return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, NotRequired, TypedDict

from metta.sweep import Context, Pipeline


class Output(NamedTuple):
    loss: float
    steps: int


@dataclass(frozen=True)
class Model:
    loss: float
    layers: list[int]


class Config(TypedDict):
    lr: float
    momentum: NotRequired[float]


def train(steps: int) -> Output:
    return Output(1.0 / steps, steps)


def build(steps: int) -> Model:
    return Model(1.0, [steps])


def halve(loss: float) -> float:
    return loss / 2


def name_it(loss: float) -> str:
    return str(loss)


def configure(steps: int) -> Config:
    return {"lr": 1.0 / steps}


async def is_done(loss: float) -> bool:
    return loss < 1


# -- what hooks read --------------------------------------------------------------------------------------------------

hooks_good = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(
        Output,
        before=lambda data: print(data.loss),
        after=lambda out: print(out.steps),
        log=lambda data: f"{data.loss:.3f} after {data.steps}",
        metrics=lambda data: {"loss": data.loss},
        validate=lambda data: data.loss < 10 and data.steps > 0,
        assert_fn=lambda data: data.loss > 0,
        transform=lambda data: data._replace(loss=data.loss * 2),
        filter=lambda data: data,
        enrich=lambda data: Output(data.loss, data.steps + 1),
        serialize=lambda data: [data.loss, data.steps],
        checkpoint_path=lambda data: f"step-{data.steps}.bin",
        cache_key=lambda data: data.steps,
        archive=lambda data: None,
        on_error=lambda error, data: Output(0.0, data.steps),
    )
)
hooks_misspelt = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(
        Output,
        before=lambda data: print(data.los),  # S: attr-defined
        log=lambda data: f"{data.loss:.3f}",
        validate=lambda data: data.loss < 10 and data.epochs > 0,  # S: attr-defined
        checkpoint_path=lambda data: f"step-{data.step}.bin",  # S: attr-defined
        cache_key=lambda data: data.step,  # S: attr-defined
        metrics=lambda data: {
            "steps": data.steps,
            "loss": data.lost,  # S: attr-defined
        },
        on_error=lambda error, data: Output(0.0, data.stpes),  # S: attr-defined
    )
)
one_field = (
    Pipeline(steps=int)
    .stage("build", build)
    .through(Model)
    .stage("halve", halve)
    .through(loss=float, log=lambda data: data.loss, after=lambda data: print(data.layers))  # S: attr-defined
)
several_fields = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(
        loss=float,
        steps=int,
        log=lambda data: data.loss + data.steps,
        metrics=lambda data: data.loss.lower(),  # S: attr-defined
    )
)
skip_sees_the_input = (
    Pipeline(steps=int)
    .stage("build", build)
    .through(Model, skip_if=lambda data: data.steps == 0, default=Model(0.0, []))
    .stage("train", train, steps=3)
    .through(Output, skip_if=lambda data: data.steps == 0, default=Output(0.0, 0))  # S: attr-defined
)
of_an_error = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(Output, on_error=lambda error: Output(float(len(error.args)), 0))
    .stage("again", train)
    .through(Output, on_error=lambda error: Output(error.loss, 0))  # S: attr-defined
)
typed_dict_hooks = (
    Pipeline(steps=int)
    .stage("configure", configure)
    .through(
        Config,
        log=lambda data: data["lr"],
        metrics=lambda data: data["rl"],  # S: typeddict-item
    )
)

# -- what hooks return ------------------------------------------------------------------------------------------------

returns_another_type = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(
        Output,
        transform=lambda data: data.loss,  # S: hook-signature
    )
)
filter_gives_a_truth_value = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(
        Output,
        retry=2,
        filter=lambda data: data.loss < 3,  # S: hook-signature
    )
)
path_is_a_number = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(Output, checkpoint_path=lambda data: data.steps)  # S: hook-signature
)
error_gives_nothing = Pipeline(steps=int).stage("train", train).through(Output, on_error=lambda error: None)
takes_two = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(
        Output,
        log=lambda data, stage: None,  # E: hook-signature
    )
)
takes_a_default = Pipeline(steps=int).stage("train", train).through(Output, log=lambda data, digits=3: None)
takes_any_number = Pipeline(steps=int).stage("train", train).through(Output, log=lambda *args: print(args))
on_every_stage = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(Output)
    .with_global_hooks(
        before=lambda stage, data: print(stage.upper(), data),
        after=lambda stage, data: print(stage.uper()),  # S: attr-defined
    )
)

# -- conditions -------------------------------------------------------------------------------------------------------

conditions_good = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(Output)
    .conditional(lambda out: out.loss > 1 and out.steps < 9, halve)
)
predicate_misspelt = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(Output)
    .conditional(
        lambda out: out.lost > 1,  # S: attr-defined
        Pipeline().stage("halve", halve).through(loss=float),
    )
)
loop_good = (
    Pipeline(loss=float)
    .loop_while(lambda ctx: ctx.loss > 1, max_iterations=3)
    .stage("name", name_it)
    .through(name=str)
    .break_if(lambda ctx: ctx.name.startswith("0"))
    .stage("halve", halve)
    .through(loss=float)
    .end_loop(until=lambda ctx: ctx.loss < 0.1 and ctx.name != "1")
)
loop_misspelt = (
    Pipeline(loss=float)
    .loop_while(
        lambda ctx: ctx.los > 1,  # S: attr-defined
        max_iterations=3,
    )
    .stage("name", name_it)
    .through(name=str)
    .break_if(lambda ctx: ctx.name.startswith(0))  # S: arg-type
    .stage("halve", halve)
    .through(loss=float)
    .end_loop(
        until=lambda ctx: ctx.loss < 0.1 or ctx.nam == "1",  # S: attr-defined
    )
)
body_field_in_the_condition = (
    Pipeline(loss=float)
    .loop_while(lambda ctx: ctx.name == "1")  # S: attr-defined
    .stage("name", name_it)
    .through(name=str)
    .end_loop()
)
maybe_in_a_condition = (
    Pipeline(loss=float)
    .conditional(lambda ctx: ctx.loss > 1, Pipeline().stage("name", name_it).through(name=str))
    .conditional(
        lambda ctx: ctx.get("name", "").startswith("1"),
        Pipeline().stage("halve", halve).through(loss=float),
    )
    .loop_while(lambda ctx: len(ctx.name) > 3, max_iterations=3)  # S: maybe-missing-field
    .stage("again", halve)
    .through(loss=float)
    .end_loop(until=lambda ctx: ctx.name == "1")  # S: maybe-missing-field
)
maybe_in_a_hook = (
    Pipeline(loss=float)
    .conditional(lambda ctx: ctx.loss > 1, Pipeline().stage("name", name_it).through(name=str))
    .stage("halve", halve)
    .through(
        loss=float,
        skip_if=lambda data: data.name == "1",  # S: maybe-missing-field
        cache_key=lambda data: data.get("name"),
        on_error=lambda error, data: (
            len(
                data.name  # S: maybe-missing-field
            )
            + data.loss
        ),
    )
)
coroutine = (
    Pipeline(loss=float)
    .loop_while(lambda ctx: is_done(ctx.loss), max_iterations=3)  # S: loop-condition
    .stage("halve", halve)
    .through(loss=float)
    .break_if(lambda ctx: is_done(ctx.loss))  # S: loop-condition
    .stage("again", halve)
    .through(loss=float)
    .end_loop(until=lambda ctx: is_done(ctx.loss))  # S: loop-condition
    .conditional(
        lambda ctx: is_done(ctx.loss),  # S: loop-condition
        halve,
    )
)
returns_a_function = Pipeline(loss=float).conditional(
    lambda ctx: lambda: ctx.loss > 1,  # S: loop-condition
    halve,
)
shorter = Pipeline().stage("halve", halve).through(loss=float)
truth_values = (
    Pipeline(Model)
    .conditional(lambda model: model.layers, shorter)
    .conditional(lambda model: [n for n in model.layers if n > 3] or None, shorter)
    .conditional(lambda model: (n := len(model.layers)) > 3 and n < 9, shorter)
    .conditional(lambda model: any(layer.bit_length() > 3 for layer in model.layers), shorter)
    .conditional(lambda model: any(layer.lower() for layer in model.layers), shorter)  # S: attr-defined
)


def as_context(ctx: Context) -> bool:
    return bool(ctx.loss > 1)


called_inside = Pipeline(loss=float).conditional(lambda ctx: as_context(ctx), halve)
called_wrongly = Pipeline(loss=float).conditional(lambda ctx: halve(ctx) > 1, halve)  # S: arg-type
