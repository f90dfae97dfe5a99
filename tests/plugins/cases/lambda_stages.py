"""Lambdas as stages: their parameters are the fields of the context, and what they return is known."""

from __future__ import annotations

from typing import NamedTuple

from metta.sweep import Pipeline


class Trial(NamedTuple):
    lr: float
    name: str


def suggest(count: int) -> list[Trial]:
    return [Trial(0.1, "a")] * count


def show(text: str) -> None:
    print(text)


def use(number: int) -> int:
    return number


def use_count(count: int) -> int:
    return count


by_name = (
    Pipeline(count=int)
    .stage("suggest", suggest)
    .through(trials=list[Trial])
    .stage("first", lambda trials: trials[0])  # DN: untyped-stage
    .through(best=Trial)
    .stage("name", lambda best, count: best.name * count)  # DN: untyped-stage
    .through(text=str)
    .stage("show", show)
)
reads_no_such_attribute = (
    Pipeline(count=int)
    .stage("suggest", suggest)
    .through(trials=list[Trial])
    .stage("first", lambda trials: trials[0].learning_rate)  # S: attr-defined  # DN: untyped-stage
    .through(lr=float)
)
reads_no_such_field = (
    Pipeline(count=int)
    .stage("suggest", suggest)
    .through(trials=list[Trial])
    .stage("first", lambda trails, count: trails[count])  # S: index  # DN: untyped-stage
    .through(best=Trial)
)
reads_two_that_are_not_there = (
    Pipeline(count=int)
    .stage("suggest", suggest)
    .through(trials=list[Trial])
    .stage("first", lambda trails, index: trails[index])  # E: missing-field  # DN: untyped-stage
    .through(best=Trial)
)
whole = (
    Pipeline(count=int, name=str)
    .stage("whole", lambda ctx: ctx.name * ctx.count)  # DN: untyped-stage
    .through(text=str)
    .stage("of a value", lambda ctx: Trial(0.1, ctx.text))  # DN: untyped-stage
    .through(Trial)
    .stage("trial", lambda trial: trial.lr)  # DN: untyped-stage
    .through(lr=float)
)
whole_misspelt = (
    Pipeline(count=int, name=str)
    .stage("whole", lambda ctx: ctx.nam * ctx.count)  # S: attr-defined  # DN: untyped-stage
    .through(text=str)
)
value_misspelt = (
    Pipeline(Trial)
    .stage("trial", lambda trial: trial.rl)  # S: attr-defined  # DN: untyped-stage
    .through(lr=float)
)
returns_another_type = (
    Pipeline(count=int)
    .stage("double", lambda count: str(count) * 2)  # DN: untyped-stage
    .through(number=int)  # S: stage-output
    .stage("use", use)
)
returns_the_type = (
    Pipeline(count=int)
    .stage("double", lambda count: count * 2)  # DN: untyped-stage
    .through(number=int)
    .stage("use", use)
)
returns_a_tuple = (
    Pipeline(count=int)
    .stage("pair", lambda count: (count, str(count)))  # DN: untyped-stage
    .through(
        number=int,
        text=str,
    )
    .stage("swapped", lambda count: (str(count), count))  # DN: untyped-stage
    .through(
        other=int,  # S: stage-output
        more=str,
    )
)
implied = (
    Pipeline(count=int)
    .stage("make", lambda count: Trial(count / 2, "a"))  # DN: untyped-stage
    .stage("name", lambda name: name.upper())  # DN: untyped-stage
    .through(text=str)
    .stage("show", show)
)
with_settings = (
    Pipeline(count=int)
    .stage("scale", lambda count, factor: count * factor, factor=2.0)  # DN: untyped-stage
    .through(scaled=float)
    .stage("again", lambda count, factor=1.0: count * factor, facto=3.0)  # E: unknown-setting  # DN: untyped-stage
    .through(more=float)
)

mapped = (
    Pipeline(count=int)
    .stage("suggest", suggest)
    .through(trials=list[Trial])
    .map("names", lambda trial: trial.name, over="trials")  # DN: untyped-stage
    .through(names=list[str])
    .map("lengths", lambda name, count: len(name) * count, over="names")  # DN: untyped-stage
    .through(lengths=list[int])
    .map("again", lambda name: name.real, over="names")  # S: attr-defined  # DN: untyped-stage
    .through(again=list[str])
)
mapped_wrongly = (
    Pipeline(trials=list[Trial])
    .map(  # DN: untyped-stage
        "rates",
        lambda trial: trial.rate,  # S: attr-defined
        over="trials",
    )
    .through(rates=list[float])
    .map("names", lambda trial: trial.name, over="trials")  # DN: untyped-stage
    .through(
        names=list[int],  # S: stage-output
    )
)

in_an_arm = Pipeline(trial=Trial, count=int).parallel(
    {
        "name": Pipeline().stage("name", lambda trial: trial.name).through(name=str),  # DN: untyped-stage
        "lr": Pipeline()
        .stage("lr", lambda trial: trial.lrs)  # S: attr-defined  # DN: untyped-stage
        .through(lr=float),
    }
)
arms = (
    Pipeline(trial=Trial, count=int)
    .parallel(
        [
            lambda trial: trial.lr,  # DN: untyped-stage
            lambda trial, count: trial.name * count,  # DN: untyped-stage
            lambda ctx: ctx.count,  # DN: untyped-stage
            use_count,
        ]
    )
    .through(all=list[float | str | int])
    .parallel(
        {
            "text": lambda ctx: ctx.trial.name,  # DN: untyped-stage
            "rate": lambda trial: trial.lr,  # DN: untyped-stage
        }
    )
    .stage("show", show)
)
arms_misspelt = (
    Pipeline(trial=Trial, count=int)
    .parallel(
        [
            lambda ctx: ctx.trail.lr,  # S: attr-defined  # DN: untyped-stage
            lambda trial: trial.rl,  # S: attr-defined  # DN: untyped-stage
            lambda trial, count: trial.name + count,  # S: operator  # DN: untyped-stage
            lambda name, time: name + time,  # E: missing-field  # DN: untyped-stage
            use_count,
        ]
    )
    .through(all=list[object])
)
arms_of_a_tuple = Pipeline(trial=Trial).parallel(
    (
        lambda ctx: ctx.trial.rl,  # S: attr-defined  # DN: untyped-stage
        lambda trial: trial.lr,  # DN: untyped-stage
    )
)
arms_return_another_type = (
    Pipeline(trial=Trial)
    .parallel(
        {
            "text": lambda ctx: ctx.trial.lr,  # DN: untyped-stage
            "rate": lambda trial: trial.lr,  # DN: untyped-stage
        }
    )
    .stage("show", show)  # S: stage-input
)
arms_of_a_value = (
    Pipeline(Trial)
    .parallel([lambda trial: trial.lr, lambda trial: trial.name])  # DN: untyped-stage
    .through(list[float | str])
)
arms_of_an_open_one = Pipeline().parallel(
    [
        lambda trial: trial.lr,  # N: untyped-stage
        lambda: 1,  # DN: untyped-stage
    ]
)
arms_in_an_arm = Pipeline(trial=Trial, count=int).conditional(
    lambda ctx: ctx.count > 1,
    Pipeline().parallel(
        [
            lambda ctx: ctx.trial.lr,  # DN: untyped-stage
            lambda trial: trial.rl,  # S: attr-defined  # DN: untyped-stage
        ]
    ),
)
