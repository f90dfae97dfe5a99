"""Programs that mypy is timed on: pipelines as somebody would write them, and the same class without types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

IMPORT = "from metta.sweep import Pipeline\n"

UNTYPED_SURFACE = """\
from typing import Any

class Pipeline:
    def __init__(self, value: Any = ..., /, **fields: Any) -> None: ...
    def stage(self, name: Any, fn: Any, /, **settings: Any) -> Any: ...
    def through(self, contract: Any = ..., /, **keywords: Any) -> Any: ...
"""
"""What a library has that gives no types: every call is accepted, and nothing is known of its result."""


class Writing(NamedTuple):
    """One way to write a pipeline whose stages take an int and return one.

    Attributes:
        inputs: arguments of `Pipeline`.
        parameter: of stage {i}; the stage before it is {before}.
        contract: arguments of the `.through` of stage {i}.
        statements: whether each stage is a statement with a variable of its own, in place of one long expression.
    """

    inputs: str
    parameter: str
    contract: str
    statements: bool = False


KEYWORD = Writing("y0=int", "y{before}", "y{i}=int")
"""Every stage adds a field: the context grows."""

POSITIONAL = Writing("int", "value", "int")
HOOKS = KEYWORD._replace(contract="y{i}=int, validate=lambda data: data.y{i} > 0")
STATEMENTS = KEYWORD._replace(statements=True)


def program(writing: Writing, pipelines: int, stages: int, *, shared: bool = False) -> str:
    """The text of a module.

    Args:
        pipelines: how many there are, each of them in a variable called pipeline0, pipeline1, ...
        stages: of each pipeline, each with a contract: two builder calls.
        shared: all pipelines use the same functions; else every stage has a function of its own.
    """
    lines: list[str] = []
    for number in range(pipelines):
        owner = 0 if shared else number
        if owner == number:
            lines += _functions(writing, owner, stages)
        lines += _pipeline(writing, number, owner, stages)
    return IMPORT + "\n".join(lines) + "\n"


def _functions(writing: Writing, owner: int, stages: int) -> Iterator[str]:
    for i in range(1, stages + 1):
        parameter = writing.parameter.format(before=i - 1)
        yield f"def stage{owner}_{i}({parameter}: int) -> int:"
        yield f"    return {parameter} + {i}"


def _pipeline(writing: Writing, number: int, owner: int, stages: int) -> Iterator[str]:
    calls = [
        (f'.stage("stage {i}", stage{owner}_{i})', f".through({writing.contract.format(i=i)})")
        for i in range(1, stages + 1)
    ]
    name, begin = f"pipeline{number}", f"Pipeline({writing.inputs})"
    if writing.statements:
        yield f"{name}_0 = {begin}"
        yield from (f"{name}_{i} = {name}_{i - 1}{''.join(pair)}" for i, pair in enumerate(calls, 1))
        yield f"{name} = {name}_{stages}"
        return
    yield f"{name} = ("
    yield f"    {begin}"
    yield from (f"    {call}" for pair in calls for call in pair)
    yield ")"
