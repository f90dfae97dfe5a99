"""Arms and elements: parallel-conflict, map-source, and what their stages read and give."""

from __future__ import annotations

from typing import NamedTuple

from metta.sweep import Context, Pipeline


class Result(NamedTuple):
    loss: float


def train(trial: int, lr: float = 0.1) -> Result:
    return Result(trial * lr)


def train_text(trial: str) -> Result:
    return Result(float(trial))


def keyword_only(*, trial: int) -> Result:
    return Result(float(trial))


def total(results: list[Result]) -> float:
    return sum(result.loss for result in results)


def count(trials: list[int]) -> int:
    return len(trials)


def first(trials: list[int]) -> int:
    return trials[0]


def need(missing: int) -> int:
    return missing


good = (
    Pipeline(trials=list[int], lr=float)
    .map("train", train, over="trials", max_parallel=2)
    .through(results=list[Result])
    .parallel({"sum": total, "n": count})
    .through(sum=float, n=int)
    .parallel([count, Pipeline().stage("first", first).through(x=int)])
    .through(both=list[int | Context])
)
good_implied = Pipeline(trials=list[int]).map("train", train, over="trials").stage("total", total)

conflict = Pipeline(trials=list[int], n=int).parallel(  # E: parallel-conflict
    [
        Pipeline().stage("count", count).through(n=int),
        first,
    ]
)
conflict_by_name = Pipeline(trials=list[int], n=int).parallel(  # E: parallel-conflict
    {"a": Pipeline().stage("count", count).through(n=int)}
)
conflict_in_a_loop = Pipeline(trials=list[int], n=int).parallel(  # E: parallel-conflict
    [
        Pipeline().loop_while(lambda ctx: ctx.n > 3, max_iterations=3).stage("count", count).through(n=int).end_loop(),
        first,
    ]
)
replaced_in_an_arm = Pipeline(trials=list[int], n=int).parallel([Pipeline().stage("count", count), first])

not_there = Pipeline(trials=list[int]).map("train", train, over="trails")  # E: map-source
not_iterable = Pipeline(n=int).map("train", train, over="n")  # E: map-source
not_declared = Pipeline().map(
    "train",
    train,
    over="trials",  # E: map-source
)
maybe_unset = (
    Pipeline(n=int)
    .conditional(
        lambda ctx: ctx.n > 1,
        Pipeline()
        .stage("list", lambda n: [n])  # DN: untyped-stage
        .through(trials=list[int]),
    )
    .map(
        "train",
        train,
        over="trials",  # E: map-source
    )
)

wrong_element = Pipeline(trials=list[int]).map("train", train_text, over="trials")  # E: stage-input
element_is_a_setting = Pipeline(trials=list[int]).map("train", train, over="trials", trial=3)  # E: stage-input
no_positional = Pipeline(trials=list[int]).map("train", keyword_only, over="trials")  # E: stage-input
wrong_results = (
    Pipeline(trials=list[int]).map("train", train, over="trials").through(results=list[float])  # E: stage-output
)
no_room = Pipeline(trials=list[int]).map(
    "train",
    train,
    over="trials",
    max_parallel=0,  # E: setting-type
)

wrong_list = Pipeline(trials=list[int]).parallel([count, first]).through(results=list[str])  # E: stage-output
wrong_key = (
    Pipeline(trials=list[int])
    .parallel({"a": count, "b": first})
    .through(
        a=int,
        c=int,  # E: stage-output
    )
)
wrong_type_of_key = Pipeline(trials=list[int]).parallel({"a": count}).through(a=str)  # E: stage-output
arm_reads_nothing = Pipeline(trials=list[int]).parallel([count, need])  # E: missing-field
