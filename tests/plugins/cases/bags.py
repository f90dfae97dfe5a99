"""Hooks that come in bags: typed dicts, `HookSet`, and a choice between two."""

# ruff: noqa: PIE804  (bags that are written out are a case, too)

from __future__ import annotations

from typing import Any, NamedTuple, TypedDict

from metta.sweep import HookSet, Pipeline
from metta.sweep.pipeline.hooks import Hooks


class Output(NamedTuple):
    loss: float


class Typed(TypedDict, total=False):
    retry: int
    checkpoint: bool


class Times(TypedDict):
    timeout: float


class Misspelt(TypedDict, total=False):
    retry: int
    chekpoint: bool


class Mixed(TypedDict):
    lr: float
    retries: int


def train(steps: int, lr: float = 0.1) -> Output:
    return Output(lr / steps)


def log_it(data: Output) -> None:
    print(data)


DEBUG = len(__name__) > 3

debug_hooks: Hooks = {"log": print, "retry": 0}
production_hooks: Hooks = {"retry": 3, "checkpoint": True}
typed: Typed = {"retry": 3}
times: Times = {"timeout": 3}
misspelt: Misspelt = {"retry": 3, "chekpoint": True}
mixed: Mixed = {"lr": 0.1, "retries": 3}
untyped: dict[str, Any] = {"log": print}
inferred = {"log": log_it}
production = HookSet(log=print, retry=3)
both = production | HookSet(checkpoint=True)

good_typed = Pipeline(steps=int).stage("train", train).through(Output, **debug_hooks)
good_choice = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(Output, **(debug_hooks if DEBUG else production_hooks))
    .stage("again", train, steps=3)
    .through(Output, validate=lambda data: data.loss > 1, **(production if DEBUG else both))
)
good_mixed_choice = Pipeline(steps=int).stage("train", train).through(Output, **(production if DEBUG else untyped))
good_inferred = Pipeline(steps=int).stage("train", train).through(Output, **inferred)
good_two_bags = Pipeline(steps=int).stage("train", train).through(Output, **typed, **times)  # DN: timeout-isolates
good_written_out = (
    Pipeline(steps=int).stage("train", train).through(Output, **{"retry": 3, "log": log_it}, checkpoint=True)
)
good_local = Pipeline(steps=int).stage("train", train).through(loss=float, checkpoint=False, **production)

in_a_typed_bag = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(
        Output,
        **misspelt,  # E: unknown-hook
    )
)
in_one_of_two = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(
        Output,
        **(typed if DEBUG else misspelt),  # S: unknown-hook
    )
)
beside_a_bag = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(
        Output,
        retires=3,  # E: unknown-hook
        log=lambda data: data.lost,  # S: attr-defined
        **typed,
    )
)
value_of_a_bag = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(
        Output,
        **{"retry": "three"},  # D: hook-type
    )
)
of_another_type = Pipeline(steps=int).stage("train", train).through(Output, **{"log": 3})  # D: hook-type
behind_a_bag = (
    Pipeline(steps=int)
    .stage("train", train)
    .through(loss=float, **production)
    .stage("again", train, steps="3")  # E: setting-type
    .through(loss=float, **both)
)


def wrong_bag() -> None:
    bag: Hooks = {"chekpoint": True}  # S: typeddict-unknown-key
    print(bag)
