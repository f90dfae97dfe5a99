"""Pipelines in pipelines, in arms, used twice; experiments as stages: field-redefined, recursive-pipeline, ..."""

from __future__ import annotations

from typing import NamedTuple

from metta.sweep import Experiment, Pipeline


class Scores(NamedTuple):
    accuracy: float
    loss: float


def train(steps: int) -> float:
    return float(steps)


def evaluate(weights: float) -> float:
    return weights


def label(weights: float) -> str:
    return str(weights)


def score(weights: float) -> Scores:
    return Scores(weights, 0.0)


inner = Pipeline(steps=int).stage("train", train).through(weights=float)
evaluation = Pipeline().stage("evaluate", evaluate).through(accuracy=float)

good = (
    Pipeline(steps=int)
    .stage("inner", inner)
    .stage("evaluation", evaluation)
    .stage("scores", Pipeline(weights=float).stage("score", score))
    .through(accuracy=float, loss=float)
)
good_replaced = Pipeline(steps=int).stage("inner", inner).stage("scores", Pipeline(weights=float).stage("s", score))

input_missing = Pipeline(step=int).stage("inner", inner)  # E: missing-field
input_of_another_type = Pipeline(steps=str).stage("inner", inner)  # E: stage-input
open_reads_nothing = Pipeline(steps=int).stage(
    "evaluation",
    Pipeline().stage("evaluate", evaluate).through(accuracy=float),  # E: missing-field
)
clash = (
    Pipeline(steps=int, weights=str)
    .stage("inner", inner)  # E: field-redefined
    .stage("label", label)  # E: stage-input
)
clash_inside = Pipeline(weights=float, accuracy=str).stage(
    "evaluation",
    Pipeline().stage("evaluate", evaluate).through(accuracy=float),  # E: field-redefined
)
contract_on_top = Pipeline(steps=int).stage("inner", inner).through(weight=float)  # E: stage-output
contract_of_another_type = (
    Pipeline(steps=int)
    .stage("inner", inner)
    .through(
        weights=str,  # E: stage-output
    )
)
never_bare = (
    Pipeline(weights=float).stage("scores", Pipeline().stage("score", score)).through(best=Scores)  # E: stage-output
)


class Study(Experiment[Scores]):
    """An experiment is a stage that returns what its run gives."""

    def pipeline(self) -> Pipeline:
        return Pipeline(weights=float).stage("score", score)


study_as_stage = (
    Pipeline(weights=float).stage("study", Study()).through(Scores).stage("use", evaluate)  # E: stage-input
)
study_good = Pipeline(weights=float).stage("study", Study()).through(accuracy=float, loss=float)


class Recursive(Experiment[Scores]):
    """Its pipeline contains itself."""

    def pipeline(self) -> Pipeline:
        return Pipeline(weights=float).stage("again", self)  # D: recursive-pipeline


recursive = Recursive().pipeline()


class Left(Experiment[Scores]):
    def pipeline(self) -> Pipeline:
        return Pipeline(weights=float).stage(
            "right",
            Right(),  # D: recursive-pipeline
        )


class Right(Experiment[Scores]):
    def pipeline(self) -> Pipeline:
        return Pipeline(weights=float).stage("left", Left())  # D: recursive-pipeline


left = Left().pipeline()
right = Right().pipeline()
