"""Validation hooks: validate_type, schema, validate and assert_fn reject data before it reaches the next stage.

What they reject is a `ContractViolation`: it names the stage that produced the data and shows it. Corrected against
the documents: `assert` is a statement and cannot stand in a lambda; return the condition (any falsy value but None
rejects), or pass a function that asserts. And a validator that only observes returns None, which passes.
"""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel, Field

from metta.sweep import ContractViolation, Pipeline


class Metrics(NamedTuple):
    """What an evaluation gives."""

    accuracy: float
    confusion: list[list[int]]


class MetricsSchema(BaseModel):
    """What the dashboard accepts."""

    accuracy: float = Field(ge=0, le=1)


def evaluate(confusion: list[list[int]]) -> Metrics:
    """Accuracy from a confusion matrix (rows: truth, columns: prediction)."""
    right = sum(row[i] for i, row in enumerate(confusion))
    return Metrics(right / max(1, sum(map(sum, confusion))), confusion)


def is_square(data: Metrics) -> None:
    """A function may assert; it returns None when all is well."""
    assert all(len(row) == len(data.confusion) for row in data.confusion), "the confusion matrix is not square"


pipeline = (
    Pipeline(confusion=list[list[int]])
    .stage("evaluate", evaluate)
    .through(
        Metrics,
        validate_type="deep",  # every element of every list
        schema=MetricsSchema,
        validate=lambda data: len(data.confusion) > 1,
        assert_fn=is_square,
    )
)


def main() -> None:
    """Good data passes, three kinds of bad data do not."""
    graph = pipeline.compile()
    print(f"accuracy {graph.run(confusion=[[8, 2], [1, 9]]).accuracy}")
    inputs: list[list[list[int]]] = [[[5]], [[1, 2, 3], [4, 5, 6]], [[-3, 0], [0, 1]]]
    for confusion in inputs:
        try:
            graph.run(confusion=confusion)
        except ContractViolation as error:
            print(f"rejected: {error}")


if __name__ == "__main__":
    main()
