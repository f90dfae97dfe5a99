"""Right pipelines, none of which a plain type checker may report. They are run, too."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final

from metta.sweep import Context, Experiment, Hooks, HookSet, Pipeline, RetryPolicy
from tests.typing.records import (
    Batch,
    Checked,
    Config,
    Model,
    Network,
    Report,
    Settings,
    advance,
    anything,
    by_name,
    halve,
    read_fields,
    read_loss,
    read_rate,
    read_rows,
    scale,
    show,
    slow,
    text_length,
    to_batch,
    to_config,
    to_dict,
    to_float,
    to_list,
    to_model,
    to_network,
    to_report,
    to_text,
    to_wide,
    untyped,
)

DEBUG: Final = False
hooks: Hooks = {"log": print, "retry": 2}
bag: dict[str, Any] = {"log": print}
quiet: Hooks = {"retry": 3, "validate": lambda data: data is not None}
plain = {"retry": 2, "timeout": 3.0}
production = HookSet(log=print) | HookSet(retry=2)


def give(value: Any) -> Any:
    return value


class Study(Experiment[float]):
    def pipeline(self) -> Pipeline:
        return Pipeline(x=float).stage("halve", halve).through(float)


class Trainer:
    def __call__(self, x: float) -> float:
        return x

    def train(self, x: float) -> float:
        return x


# What a stage reads: the value as a whole, its fields, the context, nothing.
values = (
    Pipeline(int)
    .stage("float", to_float)
    .through(float)
    .stage("show", show)
    .stage("halve", halve)
    .through(float, log=lambda x: print(x + 1), retry=RetryPolicy(max_attempts=2))
    .stage("scale", scale, factor=2.0)
    .through(float)
    .stage("by name", by_name)
    .through(float)
    .stage("bound", functools.partial(scale, factor=2.0))
    .through(float)
    .stage("object", Trainer())
    .through(float)
    .stage("method", Trainer().train)
    .through(float)
    .stage("context", lambda ctx: 1.0)
    .through(float)
    .stage("text", to_text)
    .through(str, validate=lambda text: text.isdigit() or True)
    .stage("length", text_length)
    .through(int)
    .stage("wider", to_float)
)
fields = (
    Pipeline(int)
    .stage("model", to_model)
    .through(Model, transform=lambda data: data._replace(steps=3), assert_fn=lambda data: data.loss >= 0)
    .stage("advance", advance)
    .through(Model)
    .stage("fields", read_fields)
    .through(float)
)
one_field = Pipeline(Model).stage("loss", read_loss).through(float)
of_a_dataclass = Pipeline(int).stage("batch", to_batch).through(Batch).stage("rows", read_rows).through(total=float)
of_attrs = Pipeline(Settings).stage("rate", read_rate)
of_pydantic = Pipeline(Checked).stage("loss", read_loss)
of_a_typed_dict = Pipeline(Config).stage("rate", read_rate)
awaited = Pipeline(int).stage("slow", slow).through(float).stage("halve", halve)
nothing_declared = Pipeline().stage("float", to_float).through(float).stage("halve", halve)
by_field = Pipeline(x=int).stage("float", to_float).through(y=float).stage("x again", to_list).through(xs=list[int])
mixed = Pipeline(Model).stage("loss", read_loss).through(more=float).stage("fields", read_fields)


def reads_context(ctx: Context) -> int:
    return len(ctx._asdict())


of_the_context = Pipeline(x=int).stage("count", reads_context).through(n=int)
of_the_context_of_a_value = Pipeline(int).stage("count", reads_context).through(int)

# Contracts that are wider than what is returned.
wide_class = Pipeline(int).stage("wide", to_wide).through(Network)
wide_union = Pipeline(int).stage("float", to_float).through(float | None)
wide_number = Pipeline(int).stage("int", lambda x: 3).through(float)
wide_list = Pipeline(int).stage("list", to_list).through(Sequence[int])
wide_dict = Pipeline(int).stage("dict", to_dict).through(dict[str, Any])
wide_object = Pipeline(int).stage("network", to_network).through(object)
no_annotation = Pipeline(int).stage("untyped", untyped).through(int)
no_type = Pipeline(int).stage("anything", anything).through(float)
given = Pipeline(int).stage("float", to_float).stage("given", give).through(Model)

# Hooks in bags.
with_hooks = Pipeline(int).stage("float", to_float).through(float, **hooks)
with_bag = Pipeline(int).stage("model", to_model).through(Model, **bag)
with_set = Pipeline(int).stage("model", to_model).through(Model, **production)
with_fields = Pipeline(x=int).stage("float", to_float).through(y=float, **production)
with_hooks_and_a_record = Pipeline(int).stage("model", to_model).through(Model, **hooks)
with_hooks_and_a_dataclass = Pipeline(int).stage("batch", to_batch).through(Batch, **hooks)
with_hooks_and_a_dict = Pipeline(int).stage("config", to_config).through(Config, **hooks)
with_hooks_and_a_union = Pipeline(int).stage("model", to_model).through(Model | None, **hooks)
with_more_hooks = Pipeline(int).stage("model", to_model).through(Model, **(hooks | {"timeout": 3.0}))
with_either = Pipeline(int).stage("model", to_model).through(Model, **(hooks if DEBUG else quiet))
with_either_and_fields = Pipeline(int).stage("model", to_model).through(loss=float, **(hooks if DEBUG else quiet))
with_either_alone = (
    Pipeline(int).stage("model", to_model).through(**(hooks if DEBUG else quiet)).stage("fields", read_fields)
)
with_a_plain_dict = Pipeline(int).stage("batch", to_batch).through(Batch, **plain)
with_a_plain_dict_and_fields = Pipeline(int).stage("float", to_float).through(y=float, **plain)


def chosen(debug: bool, more: Hooks) -> Pipeline:
    both = Pipeline(int).stage("model", to_model).through(Model, **(hooks if debug else quiet))
    return both.stage("advance", advance).through(Model, **more)


hooks_only = Pipeline(int).stage("float", to_float).through(retry=2, on_error=lambda error: 0.0).stage("h", halve)
globally = Pipeline(int).stage("float", to_float).with_global_hooks(before=lambda stage, data: print(stage, data))

# Loops and arms.
loop = (
    Pipeline(Model)
    .loop_while(lambda m: m.steps < 3, max_iterations=10)
    .stage("advance", advance)
    .break_if(lambda m: m.steps > 5)
    .end_loop(until=lambda m: m.loss < 0)
    .stage("fields", read_fields)
)
loop_of_fields = (
    Pipeline(x=float)
    .loop_while(lambda ctx: ctx.x > 1)
    .stage("halve", halve)
    .through(x=float)
    .stage("text", to_text)
    .through(text=str)
    .end_loop()
    .stage("last", halve)
)
arms = (
    Pipeline(int)
    .conditional(
        lambda x: x > 1,
        Pipeline().stage("float", to_float).through(float),
        Pipeline().stage("plain", to_float).through(float),
    )
    .stage("halve", halve)
)
one_arm = Pipeline(x=int).conditional(lambda ctx: ctx.x > 1, Pipeline().stage("f", to_float).through(y=float))
functions = Pipeline(int).conditional(lambda x: x > 1, to_float, to_list)
declared_arm = Pipeline(Model).conditional(lambda m: m.loss > 1, Pipeline(Model).stage("a", advance).through(Model))
records = Pipeline(Model).conditional(
    lambda m: m.loss > 1, Pipeline().stage("f", read_fields).through(x=float), Pipeline().stage("r", read_loss)
)

# Several at once, and pipelines in pipelines.
together = Pipeline(int).parallel([to_float, to_list, Pipeline().stage("f", to_float)]).through(list[Any])
by_key = (
    Pipeline(x=int).parallel({"a": to_float, "b": to_list}).through(a=float, b=list[int]).stage("loss", lambda a: a)
)
elements = Pipeline(xs=list[float]).map("halve", halve, over="xs", max_parallel=2).through(halves=list[float])
elements_of_a_record = Pipeline(Batch).map("halve", halve, over="rows")
nested = Pipeline(int).stage("inner", Pipeline(int).stage("float", to_float).through(float)).stage("outer", halve)
study = Pipeline(x=float).stage("study", Study()).through(float)
graph = Pipeline(x=float).stage("graph", Pipeline(x=float).stage("halve", halve).compile())


def any_pipeline(x: Any) -> Pipeline:
    return Pipeline(x).stage("x", x).through(x).stage("y", x, setting=3).conditional(x, x, x).loop_while(x).end_loop(x)


def text(pipeline: Pipeline[int, float]) -> Pipeline[int, str]:
    return pipeline.stage("text", to_text).through(str)


whole: float = values.compile().run(3)
again: float = fields.compile()(3)
keywords = by_field.compile().run(x=3)
report: str = text(Pipeline(int).stage("float", to_float)).compile().run(3)
reported = Pipeline(float).stage("report", to_report).through(Report).compile().run(1.0).text.upper()
