"""Keywords of a stage: unknown-setting, setting-type, unknown-hook."""

from __future__ import annotations

import functools

from metta.sweep import Pipeline


def train(steps: int, *, lr: float = 0.1, name: str = "adam", schedule: tuple[float, ...] = ()) -> float:
    return steps * lr + len(name) + sum(schedule)


def flexible(steps: int, **options: object) -> float:
    return steps + len(options)


good = (
    Pipeline(steps=int)
    .stage("train", train, lr=1, name="sgd", schedule=(0.1, 0.2))
    .through(loss=float)
    .stage("again", train)
    .through(float, lr=0.2, name="sgd")
)
good_open_keywords = Pipeline(steps=int).stage("flexible", flexible, anything=3).through(x=float, more=4)

unknown = (
    Pipeline(steps=int)
    .stage("train", train, learning_rate=0.1)  # E: unknown-setting
    .through(loss=float)
)
misspelt = Pipeline(steps=int).stage(
    "train",
    train,
    lr=0.1,
    nam="sgd",  # E: unknown-setting
)
wrong = Pipeline(steps=int).stage("train", train, lr="fast")  # E: setting-type
wrong_on_the_second_line = Pipeline(steps=int).stage(
    "train",
    train,
    name=3,  # E: setting-type
    schedule=(0.1, "x"),  # E: setting-type
)
options = {"lr": "fast"}
wrong_in_a_bag = Pipeline(steps=int).stage(
    "train",
    train,
    **options,  # D: setting-type
)

on_through = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(
        loss=float,
        lr="fast",  # E: setting-type
        retires=3,  # E: unknown-hook
    )
)
not_a_hook = Pipeline(steps=int).stage("train", train).through(float, chekpoint=True)  # E: unknown-hook
not_a_hook_either = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(
        float,
        time_out=3,  # E: unknown-hook
    )
)

bound = Pipeline(steps=int).stage("train", functools.partial(train, lr=0.3)).through(loss=float)
bound_wrong = Pipeline(steps=int).stage(
    "train",
    functools.partial(train, lr="x"),  # D: setting-type  # S: arg-type
)
bound_unknown = Pipeline(steps=int).stage(
    "train",
    functools.partial(train, rate=0.1),  # D: unknown-setting  # S: call-arg
)


def configure(scale: float) -> float:
    return scale


nested = Pipeline(scale=float).stage("configure", configure).through(result=float)
nested_setting = Pipeline().stage("nested", nested, scale=2.0)
nested_wrong = Pipeline().stage("nested", nested, scale="big")  # E: setting-type
nested_unknown = Pipeline(scale=float).stage("nested", nested, skale=2.0)  # E: unknown-setting
