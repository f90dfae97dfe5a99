"""Without `from __future__ import annotations`: the same verdicts."""

from dataclasses import dataclass
from typing import NamedTuple, Optional

from metta.sweep import Context, Pipeline


class Output(NamedTuple):
    loss: float
    steps: int


@dataclass
class Node:
    value: float
    parent: "Optional[Node]" = None  # noqa: UP045


def train(seed: int) -> Output:
    return Output(1.0, seed)


def plant(seed: int) -> Node:
    return Node(float(seed))


def climb(value: float, parent: "Node | None") -> "Node":
    return Node(value, parent)


def use(loss: float, steps: "int") -> float:
    return loss * steps


def use_wrong(loss: "str") -> str:
    return loss


def whole(ctx: "Context") -> float:
    return float(ctx.loss)


good = (
    Pipeline(seed=int)
    .stage("train", train)
    .through(Output, log=lambda data: data.loss)
    .stage("use", use)
    .through(total=float)
    .stage("whole", whole)
    .through(more=float)
)
wrong_input = Pipeline(seed=int).stage("train", train).stage("use", use_wrong)  # E: stage-input
wrong_output = Pipeline(seed=int).stage("train", train).through(Node)  # E: stage-output
wrong_lambda = Pipeline(seed=int).stage("train", train).through(Output, log=lambda d: d.lost)  # S: attr-defined
tree = Pipeline(seed=int).stage("plant", plant).stage("climb", climb).through(Node)
tree_wrong = Pipeline(seed=int).stage("plant", plant).stage("climb", climb).through(Output)  # E: stage-output
