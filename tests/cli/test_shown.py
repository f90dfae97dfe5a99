"""How values, tracebacks and times are shown."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import click
import pytest

from metta.sweep import Context, Pipeline
from metta.sweep.cli.shown import jsonable, result_lines, seconds_of, table, user_traceback
from metta.sweep.errors import UsageError
from metta.sweep.report.text import cells


class Kind(Enum):
    A = "a"


@dataclass
class Pair:
    left: object
    right: object


def test_values_as_json() -> None:
    value = {"n": math.nan, 1: Pair(Kind.A, Path("x")), "s": {2, 1}, "t": (1, None), "c": Context(a=1.5), "o": print}
    assert jsonable(value) == {
        "n": None,
        "1": {"left": "a", "right": "x"},
        "s": [1, 2],
        "t": [1, None],
        "c": {"a": 1.5},
        "o": "<built-in function print>",
    }
    ring: list[object] = []
    ring.append(ring)
    assert "..." in str(jsonable(ring))


class Exploding:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_results_for_people() -> None:
    assert result_lines(Context(a=1, b="x" * 500)) == ["a = 1", f"b = '{'x' * 198}…"]
    assert result_lines(0.5) == ["0.5"]
    assert result_lines(Pair(1, 2)) == ["left = 1", "right = 2"]
    assert result_lines(Exploding()) == ["<Exploding, whose repr raised RuntimeError>"]


def broken(x: int) -> int:
    return helper(x)


def helper(x: int) -> int:
    raise ValueError("mine")


def trace_of(call: Callable[[], object]) -> str:
    try:
        call()
    except Exception:
        return user_traceback(traceback.format_exc())
    raise AssertionError("it should have failed")


def test_a_traceback_begins_in_the_code_of_the_user() -> None:
    graph = Pipeline(x=int).stage("broken", broken).through(y=int).compile()
    lines = trace_of(lambda: graph.run(x=1)).splitlines()
    files = [line.split('"')[1] for line in lines if line.lstrip().startswith("File")]
    assert lines[0] == "Traceback (most recent call last):"
    assert set(files) == {__file__}
    assert "in broken" in "".join(lines)
    assert lines[-1] == "ValueError: mine"


def test_a_traceback_without_code_of_the_user_is_empty() -> None:
    ours = UsageError.__module__.replace(".", "/")
    file = Path(__file__).parents[2] / f"{ours}.py"
    text = f'Traceback (most recent call last):\n  File "{file}", line 1, in x\n    y\nE: z\n'
    assert user_traceback(text) == ""


def test_chained_tracebacks_keep_both_parts() -> None:
    def chained() -> None:
        try:
            helper(1)
        except ValueError as error:
            raise KeyError("second") from error

    text = trace_of(chained)
    assert text.count("Traceback (most recent call last):") == 2
    assert "direct cause" in text


@pytest.mark.parametrize(
    ("text", "seconds"), [("30d", 2_592_000), ("12h", 43_200), ("90m", 5_400), ("2", 172_800), ("1.5h", 5_400)]
)
def test_spans(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


def test_what_is_no_span() -> None:
    with pytest.raises(click.BadParameter, match="expected something like 30d"):
        seconds_of("soon")


def test_tables() -> None:
    assert table(["a", "bb"], [["ccc", "d"], ["e", ""]]) == "a    bb\nccc  d\ne"


def test_a_table_lines_up_wide_characters() -> None:
    lines = table(["stage", "state"], [["训练模型", "done"], ["load 🚀", "done"], ["fit", "done"]]).splitlines()
    assert {cells(line[: line.index("done")]) for line in lines[1:]} == {cells("训练模型  ")}
