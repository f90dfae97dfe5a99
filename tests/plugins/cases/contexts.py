"""A `Context`: its attributes, `get`, `_replace`, and what passes as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, reveal_type

from metta.sweep import Context, Pipeline


class Output(NamedTuple):
    loss: float
    steps: int


class HasLoss(Protocol):
    @property
    def loss(self) -> float: ...


def measure(score: float) -> float:
    return score * 2


def train(score: float) -> Output:
    return Output(score, 1)


def report(ctx: Context) -> str:
    print(ctx.score, ctx.whatever)
    return str(ctx.get("score"))


def of_loss(has: HasLoss) -> float:
    return has.loss


def untyped_context(ctx: Any) -> float:
    return float(ctx.score)


bonus = Pipeline().stage("measure", measure).through(bonus=float)
maybe = Pipeline(score=float, name=str).conditional(lambda ctx: ctx.score > 1, bonus).compile()
value = Pipeline(score=float).stage("train", train).through(Output).stage("m", of_loss).through(more=float).compile()

reads_the_context = (
    Pipeline(score=float)
    .stage("report", report)
    .through(text=str)
    .stage("untyped", untyped_context)
    .through(total=float)
)
contract_of_a_report = (
    Pipeline(score=float)
    .stage("report", report)
    .through(
        text=int,  # E: stage-output
    )
)


def attributes() -> None:
    ctx = maybe.run(score=1.0, name="a")
    print(ctx.score.is_integer(), ctx.name.upper())
    print(ctx.scores)  # S: attr-defined
    print(ctx.name.uper())  # S: attr-defined
    print(ctx.bonus)  # S: maybe-missing-field
    print(ctx.get("bonus", 0.0) + 1)
    print(ctx.get("bonus") + 1)  # S: operator
    print(ctx.get("score") + 1)
    whole = value.run(score=1.0)
    print(whole.loss + whole.steps + whole.more)
    print(whole.lost)  # S: attr-defined


def replaced() -> None:
    ctx = maybe.run(score=1.0, name="a")
    print(ctx._replace(score=2.0).score, ctx._replace(name="b", score=1).name)
    ctx._replace(score="2")  # S: arg-type
    ctx._replace(scores=2.0)  # S: call-arg
    print(ctx._replace(score=2.0).scores)  # S: attr-defined


def assigned() -> None:
    ctx = maybe.run(score=1.0, name="a")
    text: str = ctx.name
    number: int = ctx.name  # S: assignment
    print(text, number)


def takes_a_float(number: float) -> None:
    print(number)


def passed_on() -> None:
    ctx = maybe.run(score=1.0, name="a")
    report(ctx)
    takes_a_float(ctx.score)
    takes_a_float(ctx.name)  # S: arg-type
    takes_a_float(ctx)  # S: arg-type


if TYPE_CHECKING:
    result = maybe.run(score=1.0, name="a")
    reveal_type(result)  # R: Context[TypedDict({'score': float, 'name': str, 'bonus'?: float}), None]
    reveal_type(result.score)  # R: float
    reveal_type(result.get("bonus"))  # R: float | None
    reveal_type(result.get("bonus", "none"))  # R: float | str
    reveal_type(value.run(score=1.0))  # R: Context[TypedDict({'loss': float, 'steps': int, 'more': float})
