"""A pipeline with one of everything, for drawings."""

from __future__ import annotations

from typing import NamedTuple

from metta.sweep import Experiment, Pipeline, RetryPolicy


class Batch(NamedTuple):
    rows: list[int]
    name: str


def load(path: str) -> Batch:
    return Batch([len(path)], path)


def fit(rows: list[int], rate: float = 0.1) -> float:
    return rate * sum(rows)


def shrink(rows: list[int]) -> list[int]:
    return rows[1:]


def describe(rows: list[int], name: str) -> str:
    return f"{name}: {rows}"


def score_one(row: int) -> float:
    return float(row)


def announce(name: str) -> None:
    print(name)


class Tuning(Experiment[float]):
    """An experiment inside the pipeline."""

    def pipeline(self) -> Pipeline:
        return Pipeline(rows=list[int]).stage("fit", fit).through(float)


cleaning = (
    Pipeline()
    .stage("shrink", shrink)
    .through(rows=list[int])
    .stage("announce", announce)
    .with_global_hooks(debug=lambda stage, data: None)
)

everything = (
    Pipeline(path=str)
    .stage("load", load)
    .through(Batch, retry=RetryPolicy(max_attempts=3), timeout=90, validate=lambda batch: batch.rows, log=print)
    .stage("clean", cleaning)
    .loop_while(lambda now: len(now.rows) > 1, max_iterations=5)
    .stage("shrink", shrink)
    .through(rows=list[int])
    .break_if(lambda now: not now.rows)
    .end_loop(until=lambda now: now.rows == [0])
    .conditional(
        lambda now: now.name == 'a "quoted" <name>',
        Pipeline().stage("quick", fit, rate=1.0).through(loss=float),
        Pipeline().stage("slow", fit).through(loss=float, checkpoint=True).stage("say", announce),
    )
    .parallel({"summary": describe, "quality": Pipeline(rows=list[int]).stage("fit", fit)})
    .map("score", score_one, over="rows", max_parallel=2)
    .through(scores=list[float])
    .stage("tune", Tuning())
    .through(quality=float, retry=1)
    .with_global_hooks(metrics=lambda stage, data: None)
)
