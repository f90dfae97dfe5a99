"""Loops, arms and maps as people write them, in methods and over many lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from metta.sweep import Context, Pipeline, field


class Batch(NamedTuple):
    images: list[float]
    label: str


@dataclass(frozen=True)
class Model:
    weights: list[float]
    loss: float


class Summary(NamedTuple):
    text: str


def start(images: list[float]) -> Model:
    return Model(images, 1.0)


def fit(model: Model, lr: float = 0.1) -> Model:
    return Model([w * lr for w in model.weights], model.loss / 2)


def lower(loss: float) -> float:
    return loss / 2


def worsen(loss: float) -> str:
    return str(loss)


def summarize(loss: float) -> Summary:
    return Summary(str(loss))


def describe(weights: list[float], loss: float) -> str:
    return f"{weights}: {loss}"


def use(text: str) -> str:
    return text


def score_one(weight: float, label: str) -> float:
    return weight * len(label)


def score_pair(weight: float, other: float) -> float:
    return weight * other


class Study:
    """Pipelines in methods, with what they read in other methods."""

    patience = 3

    def improve(self, model: Model, lr: float) -> Model:
        return fit(model, lr)

    def loops(self) -> Pipeline:
        return (
            Pipeline(images=list[float], label=str)
            .stage("start", start)
            .through(Model)
            .loop_while(
                lambda model: model.loss > 0.1 and len(model.weights) < self.patience,
                max_iterations=10,
            )
            .stage("fit", fit, lr=0.2)
            .stage("improve", self.improve, lr=0.3)
            .break_if(lambda model: model.loss < 0.01)
            .end_loop(until=lambda model: not model.weights)
            .stage("describe", describe)
            .through(text=str)
            .stage("use", use)
            .through(last=str)
        )

    def loses_the_model(self) -> Pipeline:
        return (
            Pipeline(images=list[float])
            .stage("start", start)
            .through(Model)
            .loop_while(lambda model: model.loss > 0.1)
            .stage("fit", fit)
            .stage("summarize", summarize)
            .end_loop()  # S: loop-carried
            .stage("use", use)  # S: maybe-missing-field
        )

    def changes_a_type(self) -> Pipeline:
        return (
            Pipeline(loss=float)
            .loop_while(lambda ctx: ctx.loss > 0.1)
            .stage("worsen", worsen)
            .through(
                loss=str,  # S: field-redefined
            )
            .end_loop()
        )

    def counts_wrongly(self) -> Pipeline:
        return (
            Pipeline(loss=float)
            .loop_while(
                lambda ctx: ctx.loss > 0.1,
                max_iterations="ten",  # S: setting-type
            )
            .stage("lower", lower)
            .through(loss=float)
            .end_loop()
        )

    def breaks_in_an_arm(self) -> Pipeline:
        return (
            Pipeline(loss=float)
            .loop_while(lambda ctx: ctx.loss > 0.1, max_iterations=3)
            .conditional(
                lambda ctx: ctx.loss > 0.5,
                Pipeline()
                .stage("lower", lower)
                .through(loss=float)
                .break_if(lambda ctx: ctx.loss < 0.2),  # S: break-without-loop
            )
            .end_loop()
        )

    def ends_twice(self) -> Pipeline:
        return (
            Pipeline(loss=float)
            .loop_while(lambda ctx: ctx.loss > 0.1, max_iterations=3)
            .stage("lower", lower)
            .through(loss=float)
            .end_loop()
            .stage("again", lower)
            .through(loss=float)
            .end_loop(  # S: end-loop-without-loop
                until=lambda ctx: ctx.loss < 0.2,
            )
        )

    def forgets_to_end(self) -> object:
        return (
            Pipeline(loss=float)
            .loop_while(  # S: unclosed-loop
                lambda ctx: ctx.loss > 0.1,
                max_iterations=3,
            )
            .stage("lower", lower)
            .through(loss=float)
            .compile()
        )


arms_good = (
    Pipeline(Batch)
    .parallel(
        {
            "model": start,
            "mean": Pipeline().stage("mean", lambda images: sum(images) / len(images)),  # DN: untyped-stage
        }
    )
    .through(model=Model, mean=float)
    .stage("fit", fit, lr=0.5)
    .through(model=Model)
    .stage("name", use, text=field("label"))
    .through(name=str)
)
arms_conflict = Pipeline(
    Batch
).parallel(  # E: parallel-conflict
    {
        "a": start,
        "b": Pipeline().stage("again", lambda images: images[1:]).through(images=list[float]),  # DN: untyped-stage
    }
)
arms_missing = Pipeline(Batch).parallel(
    [
        start,
        Pipeline().stage("lower", describe).through(text=str),  # E: missing-field
    ]
)
arms_lambda = Pipeline(Batch).parallel(
    [
        Pipeline().stage("start", start).through(Model, log=lambda data: data.weight),  # S: attr-defined
        start,
    ]
)
arms_union = (
    Pipeline(Batch)
    .stage("start", start)
    .through(Model)
    .conditional(
        lambda model: model.loss > 1,
        Pipeline().stage("fit", fit).through(better=Model),
        Pipeline().stage("describe", describe).through(better=str),
    )
    .stage("fit again", fit, model=field("better"))  # E: stage-input
    .through(last=Model)
)
arms_of_arms = (
    Pipeline(loss=float)
    .conditional(
        lambda ctx: ctx.loss > 1,
        Pipeline().conditional(
            lambda ctx: ctx.loss > 2,
            Pipeline().stage("worsen", worsen).through(text=str),
            Pipeline().stage("again", worsen).through(text=str),
        ),
        Pipeline().stage("other", worsen).through(text=str),
    )
    .stage("use", use)
    .through(last=str)
)
arms_of_arms_maybe = (
    Pipeline(loss=float)
    .conditional(
        lambda ctx: ctx.loss > 1,
        Pipeline().conditional(
            lambda ctx: ctx.loss > 2,
            Pipeline().stage("worsen", worsen).through(text=str),
        ),
        Pipeline().stage("other", worsen).through(text=str),
    )
    .stage("use", use)  # E: maybe-missing-field
    .through(last=str)
)

mapped_good = (
    Pipeline(weights=list[float], label=str)
    .map("score", score_one, over="weights", max_parallel=4)
    .through(
        scores=list[float],
        retry=2,
        on_error=lambda error: 0.0,
        log=lambda data: len(data.scores),
    )
    .map("pairs", score_pair, over="scores", other=2.0)
    .through(pairs=list[float])
)
mapped_over_nothing = Pipeline(weights=list[float], label=str).map(
    "score",
    score_one,
    over="weight",  # E: map-source
    max_parallel=4,
)
mapped_without_label = Pipeline(weights=list[float]).map(  # E: missing-field
    "score",
    score_one,
    over="weights",
)
mapped_setting = Pipeline(weights=list[float]).map(
    "pairs",
    score_pair,
    over="weights",
    other="2",  # E: setting-type
)
mapped_hook = (
    Pipeline(weights=list[float], label=str)
    .map("score", score_one, over="weights")
    .through(
        scores=list[float],
        log=lambda data: data.score,  # S: attr-defined
    )
)
mapped_parallel = Pipeline(weights=list[float], label=str).map(
    "score",
    score_one,
    over="weights",
    max_parallel="4",  # E: setting-type
)

contracts_good = Pipeline(images=list[float]).stage("start", start).through(Model, checkpoint=True, profile=False)
contracts_mixed = (
    Pipeline(images=list[float])
    .stage("start", start)
    .through(
        Model,
        retry=3,
        loss=float,  # E: mixed-contract
    )
)
contracts_of_a_value = (
    Pipeline(images=list[float])
    .stage("start", start)
    .through(
        Model([], 1.0),  # E: not-a-type
        retry=3,
    )
)
contracts_reserved = (
    Pipeline(loss=float)
    .stage("worsen", worsen)
    .through(
        monitor=str,  # E: reserved-name
    )
)
contracts_twice = (
    Pipeline(loss=float)
    .stage("worsen", worsen)
    .through(text=str)
    .through(retry=3)  # E: through-without-stage
    .stage("use", use)
)
contracts_skip = (
    Pipeline(loss=float)
    .stage("worsen", worsen)
    .through(
        text=str,
        skip_if=lambda data: data.loss > 3,  # E: skip-without-value
    )
    .stage("use", use)
)
contracts_skip_good = (
    Pipeline(loss=float)
    .stage("worsen", worsen)
    .through(
        text=str,
        skip_if=lambda data: data.loss > 3,
        default="",
    )
    .stage("again", lower)
    .through(loss=float, skip_if=lambda data: data.text == "")
)
same_name = (
    Pipeline(loss=float)
    .stage("lower", lower)
    .through(loss=float)
    .stage(
        "lower",  # E: duplicate-stage
        lower,
    )
    .through(loss=float)
)
whole_of_a_loop = (
    Pipeline(loss=float)
    .loop_while(lambda ctx: ctx.loss > 0.1, max_iterations=3)
    .stage("worsen", worsen)
    .through(text=str)
    .stage("lower", lower)
    .through(loss=float)
    .end_loop()
    .stage("whole", lambda ctx: ctx.get("text", ""))  # DN: untyped-stage
    .through(last=str)
    .stage("direct", lambda ctx: ctx.text)  # S: maybe-missing-field  # DN: untyped-stage
    .through(direct=str)
)


def show(ctx: Context) -> None:
    print(ctx.loss)


several_mistakes = (
    Pipeline(images=list[float])
    .stage("start", start, seed=3)  # E: unknown-setting
    .through(
        Model,
        retry=-1,  # E: hook-type
        log=lambda data: data.wights,  # S: attr-defined
        retires=3,  # E: unknown-hook
    )
    .stage("show", show)
    .stage("fit", fit, lr="0.1")  # E: setting-type
    .through(Summary)  # E: stage-output
    .stage("use", use)
)
