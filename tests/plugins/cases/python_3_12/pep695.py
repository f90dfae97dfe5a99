"""The syntax of Python 3.12: type parameters and `type` statements."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from metta.sweep import Pipeline

type Scores = dict[str, float]
type Number = int | float


class Pair[T](NamedTuple):
    left: T
    right: T


class Box[T]:
    def __init__(self, item: T) -> None:
        self.item = item

    def put(self, label: T) -> T:
        return label


def first[T](items: list[T]) -> T:
    return items[0]


def timed[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    return function


def make_scores(seed: int) -> Scores:
    return {"a": float(seed)}


def make_pair(seed: int) -> Pair[float]:
    return Pair(float(seed), 1.0)


def use_scores(scores: dict[str, float]) -> float:
    return sum(scores.values())


def use_number(number: Number) -> float:
    return float(number)


def use_left(left: str) -> str:
    return left


@timed
def decorated(number: float) -> str:
    return str(number)


good = Pipeline(seed=int).stage("make", make_scores).through(scores=Scores).stage("use", use_scores)
wrong = Pipeline(seed=int).stage("make", make_scores).through(scores=dict[str, int])  # E: stage-output
alias = Pipeline(number=int).stage("use", use_number)
alias_wrong = Pipeline(number=str).stage("use", use_number)  # E: stage-input
generic = Pipeline(items=list[float]).stage("first", first).through(number=float).stage("use", use_number)
generic_wrong = Pipeline(items=list[float]).stage("first", first).through(number=str)  # E: stage-output
pair = Pipeline(seed=int).stage("make", make_pair).through(Pair[float])
pair_wrong = Pipeline(seed=int).stage("make", make_pair).stage("use", use_left)  # E: stage-input
box = Pipeline(label=str).stage("put", Box("a").put).through(text=str)
box_wrong = Pipeline(label=int).stage("put", Box("a").put).through(text=str)  # S: stage-input  # D: stage-output
decorated_good = Pipeline(number=float).stage("d", decorated).through(text=str)
decorated_wrong = Pipeline(number=float).stage("d", decorated).through(text=bytes)  # E: stage-output
lambda_wrong = (
    Pipeline(seed=int)
    .stage("make", make_pair)
    .through(
        Pair[float],
        log=lambda data: data.middle,  # S: attr-defined
    )
)
