"""Pipelines in odd places: class bodies, comprehensions, conditional expressions, nested functions, subclasses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from metta.sweep import Pipeline

if TYPE_CHECKING:
    from metta.sweep import Context


class Score(NamedTuple):
    accuracy: float


def evaluate(size: int) -> Score:
    return Score(float(size))


def use(accuracy: float) -> float:
    return accuracy


def use_two(loss: float, more: float) -> float:
    return loss + more


FINAL: Final = Pipeline(size=int).stage("evaluate", evaluate).through(Score)
from_final = FINAL.stage("use", use).through(result=float)
from_final_wrong = FINAL.stage("use", use_two).through(result=float)  # E: missing-field


def whole(ctx: Context) -> float:
    return float(ctx.size)


of_a_hidden_context = Pipeline(size=int).stage("whole", whole).through(result=float)  # DN: untyped-stage
of_a_hidden_context_wrong = (
    Pipeline(size=int)
    .stage("whole", whole)  # DN: untyped-stage
    .through(result=str)  # E: stage-output
)


class Holder:
    """Built in the body of a class, and read from it."""

    base = Pipeline(size=int).stage("evaluate", evaluate).through(Score)
    longer = base.stage("use", use).through(result=float)
    wrong = base.stage("use", use_two).through(result=float)  # E: missing-field

    def __init__(self) -> None:
        self.own = Pipeline(size=int).stage("evaluate", evaluate).through(Score)

    def go_on(self) -> Pipeline:
        return self.own.stage("use", use_two).through(result=float)  # S: missing-field

    @property
    def made(self) -> Pipeline[int, Score]:
        return Pipeline(int).stage("evaluate", evaluate).through(Score)


from_a_class = Holder.base.stage("use", use_two)  # E: missing-field
from_an_instance = Holder().own.stage("use", use_two)  # E: missing-field
from_a_property = Holder().made.stage("use", use_two)  # E: missing-field
from_a_property_good = Holder().made.stage("use", use)

chosen = FINAL if len(__name__) > 3 else Pipeline(size=int).stage("other", evaluate).through(Score)
from_chosen = chosen.stage("use", use)
several = [Pipeline(size=int).stage(f"evaluate {i}", evaluate).through(Score) for i in range(3)]
from_several = several[0].stage("use", use)
by_name = {name: Pipeline(size=int).stage(name, evaluate).through(Score) for name in ("a", "b")}
in_a_comprehension = [
    Pipeline(size=int).stage(name, evaluate).through(Score).stage("use", use_two)  # S: missing-field
    for name in ("a",)
]
if (walrus := Pipeline(size=int).stage("evaluate", evaluate).through(Score)) is not None:
    from_walrus = walrus.stage("use", use_two)  # E: missing-field
    from_walrus_good = walrus.stage("use", use)
stages: list[tuple[str, Callable[..., Any]]] = [("a", evaluate), ("b", use)]
from_a_registry = Pipeline(size=int)
for name, stage in stages:
    from_a_registry = from_a_registry.stage(name, stage)  # SN: untyped-stage
starred = Pipeline(size=int).stage(*stages[0]).through(accuracy=float)
from_starred = starred.stage("use", use_two)  # E: missing-field
from_starred_good = starred.stage("use", use)
arguments: dict[str, Any] = {"size": int}
from_arguments = Pipeline(**arguments).stage("evaluate", evaluate).through(Score)


class Named(Pipeline):
    """A pipeline with a name of its own; what it declares is known all the same."""


def subclassed() -> None:
    Named(size=int).stage("evaluate", evaluate).through(Score).stage("use", use)


@contextmanager
def opened() -> Iterator[Pipeline[int, Score]]:
    yield Pipeline(int).stage("evaluate", evaluate).through(Score)


def managed() -> None:
    with opened() as pipeline:
        pipeline.stage("use", use)
        pipeline.stage("use", use_two)  # S: missing-field
    try:
        pipeline.stage("use", use_two)  # S: missing-field
    finally:
        print(lambda: pipeline.stage("use", use_two))  # S: missing-field


def generated() -> Iterator[Pipeline]:
    for size in range(3):
        yield Pipeline(size=int).stage("evaluate", evaluate, size=size).through(Score).stage("use", use)
        yield Pipeline(size=str).stage("evaluate", evaluate).through(Score)  # S: stage-input


def nested_function() -> Pipeline:
    def inner(accuracy: float, scale: float = 1.0) -> str:
        return str(accuracy * scale)

    return (
        Pipeline(size=int)
        .stage("evaluate", evaluate)
        .through(Score)
        .stage("inner", inner, scale="2")  # S: setting-type
        .through(
            text=int,  # S: stage-output
        )
    )


def matched(kind: str) -> Pipeline:
    match kind:
        case "a":
            return Pipeline(size=int).stage("evaluate", evaluate).through(Score)
        case _:
            return Pipeline(sizes=int, more=str).stage("evaluate", evaluate).through(Score)  # S: missing-field


assert FINAL.stage("use", use) is not None
assert str(Pipeline(size=int).stage("evaluate", evaluate).through(float))  # E: stage-output
