"""What a stage returns against its contract, and what contracts do: stage-output, field-redefined, ..."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from dataclasses import field as dataclass_field
from typing import Any, NamedTuple, NotRequired, TypedDict

from metta.sweep import Pipeline


class Output(NamedTuple):
    loss: float
    epochs: int


class Partial(TypedDict):
    loss: float
    epochs: NotRequired[int]


@dataclass
class Derived:
    x: int
    y: int = dataclass_field(init=False, default=0)


@dataclass
class Built:
    x: int
    seed: InitVar[int] = 0


def a_float(x: int) -> float:
    return float(x)


def a_record(x: int) -> Output:
    return Output(1.0, x)


def a_partial(x: int) -> Partial:
    return {"loss": float(x)}


def a_tuple(x: int) -> tuple[float, int]:
    return 1.0, x


def a_mapping(x: int) -> Mapping[str, float]:
    return {"loss": float(x)}


def anything(x: int) -> Any:
    return x


def untyped(x: int):  # type: ignore[no-untyped-def]
    return x


def show(output: Output) -> None:
    print(output)


def nothing(x: int) -> None:
    print(x)


good = (
    Pipeline(x=int)
    .stage("bare", a_float)
    .through(loss=float)
    .stage("record", a_record)
    .through(epochs=int)
    .stage("tuple", a_tuple)
    .through(a=float, b=int)
    .stage("mapping", a_mapping)
    .through(c=float, d=float)
    .stage("any", anything)
    .through(e=str)
    .stage("untyped", untyped)  # N: untyped-stage
    .through(f=str)
    .stage("nothing", nothing)
    .stage("record again", a_record)
    .through(Output)
)

positional = Pipeline(x=int).stage("float", a_float).through(int)  # E: stage-output
bare = Pipeline(x=int).stage("float", a_float).through(loss=str)  # E: stage-output
no_such_field = (
    Pipeline(x=int)
    .stage("record", a_record)
    .through(
        loss=float,
        epoch=int,  # E: stage-output
    )
)
field_type = (
    Pipeline(x=int)
    .stage("record", a_record)
    .through(
        loss=float,
        epochs=str,  # E: stage-output
    )
)
not_required = Pipeline(x=int).stage("partial", a_partial).through(loss=float, epochs=int)  # E: stage-output
tuple_order = (
    Pipeline(x=int)
    .stage("tuple", a_tuple)
    .through(
        loss=float,
        epochs=str,  # E: stage-output
    )
)
tuple_length = Pipeline(x=int).stage("tuple", a_tuple).through(a=float, b=int, c=int)  # E: stage-output
never_by_position = Pipeline(x=int).stage("record", a_record).through(a=float, b=int)  # E: stage-output
mapping_values = Pipeline(x=int).stage("mapping", a_mapping).through(loss=float, name=str)  # E: stage-output
gives_nothing = Pipeline(x=int).stage("nothing", nothing).through(loss=float)  # E: stage-output

redefined = (
    Pipeline(x=int)
    .stage("float", a_float)
    .through(loss=float)
    .stage("again", untyped)  # N: untyped-stage
    .through(
        loss=int,  # E: field-redefined
    )
)
redefined_input = Pipeline(x=int).stage("float", a_float).through(x=float)  # E: field-redefined
same_type_again = Pipeline(x=int).stage("float", a_float).through(y=float).stage("b", a_float).through(y=float)


def derive(x: int) -> Derived:
    return Derived(x)


def build(x: int) -> Built:
    return Built(x)


def one_more(x: int) -> int:
    return x + 1


not_rebuilt = (
    Pipeline(x=int)
    .stage("derive", derive)
    .through(Derived)
    .stage("more", one_more)
    .through(x=int)  # E: field-redefined
)
not_rebuilt_either = (
    Pipeline(x=int).stage("build", build).through(Built).stage("more", one_more).through(x=int)  # E: field-redefined
)
read_only = Pipeline(x=int).stage("derive", derive).through(Derived).stage("more", one_more).through(z=int)

mixed = Pipeline(x=int).stage("record", a_record).through(Output, name=str)  # E: mixed-contract
mixed_lines = (
    Pipeline(x=int)
    .stage("record", a_record)
    .through(
        Output,
        retry=2,
        name=str,  # E: mixed-contract
    )
)
mixed_input = Pipeline(Output, name=str).stage("show", show)  # E: mixed-contract

twice = Pipeline(x=int).stage("float", a_float).through(y=float).through(z=float)  # E: through-without-stage
first = Pipeline(x=int).through(y=float)  # E: through-without-stage
after_a_conditional = (
    Pipeline(x=int).conditional(lambda ctx: ctx.x > 1, a_float).through(y=float)  # E: through-without-stage
)

not_a_type = Pipeline(x=int).stage("float", a_float).through(3.0)  # E: not-a-type
a_function = Pipeline(x=int).stage("float", a_float).through(a_record)  # E: not-a-type
input_value = Pipeline(x=3).stage("float", a_float)  # E: not-a-type
input_list = Pipeline([int]).stage("float", a_float)  # E: not-a-type

reserved = Pipeline(x=int).stage("float", a_float).through(metrics=dict[str, float])  # E: reserved-name
reserved_get = Pipeline(x=int).stage("float", a_float).through(get=float)  # E: reserved-name
private = Pipeline(x=int).stage("float", a_float).through(_loss=float)  # E: reserved-name
reserved_input = Pipeline(
    x=int,
    timeout=float,  # E: reserved-name
).stage("float", a_float)


class Reported(NamedTuple):
    metrics: dict[str, float]
    get: int


def report(x: int) -> Reported:
    return Reported({}, x)


def use(metrics: dict[str, float], get: int) -> float:
    return metrics["loss"] + get


the_way_out = Pipeline(x=int).stage("report", report).stage("use", use).through(total=float)
