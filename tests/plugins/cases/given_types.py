"""A type that a call gives is known once the call is checked, also where a lambda has to have its types before."""

from __future__ import annotations

from metta.sweep import Pipeline


def count(x: int) -> int:
    return x


def kind_of_count() -> type[int]:
    return int


def size() -> int:
    return 3


alone = Pipeline(x=int).stage("count", count).through(y=kind_of_count())
beside_a_lambda = Pipeline(x=int).stage("count", count).through(y=kind_of_count(), validate=lambda data: True)
by_position = Pipeline(x=int).stage("count", count).through(kind_of_count(), validate=lambda data: True)


def no_type() -> None:
    Pipeline(x=int).stage("count", count).through(y=size(), validate=lambda data: True)  # S: unknown-hook
