"""Settings of the command line, by declared type."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.cli.overrides import parse, split_overrides, type_of_attribute
from metta.sweep.errors import UsageError


class Color(Enum):
    RED = "red"
    BLUE = 2


class Point(NamedTuple):
    x: float
    y: int = 0


@dataclass
class Net:
    layers: list[int]
    name: str = "net"


class Row(TypedDict):
    a: int


@pytest.mark.parametrize(
    ("text", "tp", "value"),
    [
        ("3", int, 3),
        ("-3", int, -3),
        ("1e6", int, 1_000_000),
        ("3", float, 3.0),
        ("1e-3", float, 1e-3),
        ("inf", float, math.inf),
        ("TRUE", bool, True),
        ("0", bool, False),
        ("3", str, "3"),
        ("", str, ""),
        ("a=b", str, "a=b"),
        ("none", None | int, None),
        ("7", None | int, 7),
        ("null", str | None, None),
        ("x", str | None, "x"),
        ("1.0", int | float, 1.0),
        ("1", int | float, 1),
        ("1", int | str, 1),
        ("one", int | str, "one"),
        ("a/b", Path, Path("a/b")),
        ("RED", Color, Color.RED),
        ("red", Color, Color.RED),
        ("2", Color, Color.BLUE),
        ("sgd", Literal["sgd", "adam"], "sgd"),
        ("2", Literal[1, 2], 2),
        ("[1, 2]", list[int], [1, 2]),
        ("1,2", list[int], [1, 2]),
        ("[a,b]", list[str], ["a", "b"]),
        ("7", list[int], [7]),
        ("", list[int], []),
        ("[]", Sequence[float], []),
        ("1,2", Sequence[float], [1.0, 2.0]),
        ("1,a", tuple[int, str], (1, "a")),
        ("1,2,3", tuple[int, ...], (1, 2, 3)),
        ("1,1", set[int], {1}),
        ("red,BLUE", list[Color], [Color.RED, Color.BLUE]),
        ('{"a": 1}', dict[str, float], {"a": 1.0}),
        ('{"a": [1]}', Mapping[str, list[int]], {"a": [1]}),
        ('{"x": 1, "y": 2}', Point, Point(1.0, 2)),
        ('{"layers": [1]}', Net, Net([1])),
        ('{"a": 1}', Row, {"a": 1}),
        ("3", Annotated[int, "meta"], 3),
        ("3", Any, 3),
        ("0.5", None, 0.5),
        ("true", None, True),
        ("none", None, None),
        ("[1, 2]", None, [1, 2]),
        ("some text", None, "some text"),
    ],
)
def test_values(text: str, tp: Any, value: object) -> None:
    found = parse("name", text, tp)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "tp", "message"),
    [
        ("abc", int, "rate=abc: expected int, found 'abc'"),
        ("0.5", int, "rate=0.5: expected int, found '0.5'"),
        ("inf", int, "rate=inf: expected int, found 'inf'"),
        ("x", float, "rate=x: expected float, found 'x'"),
        ("maybe", bool, "rate=maybe: expected bool, found 'maybe' (write true or false)"),
        ("rde", Color, "rate=rde: expected one of RED, BLUE, found 'rde' (did you mean \"red\"?)"),
        ("adm", Literal["sgd", "adam"], "found 'adm' (did you mean \"adam\"?)"),
        ("1,x", list[int], "rate=1,x: expected list[int], found '1,x'"),
        ("1,2,3", tuple[int, int], "found '1,2,3' (2 values, found 3)"),
        ("[[1]]", set[list[int]], "found '[[1]]'"),
        ("a:1", dict[str, int], "found 'a:1' (write JSON, such as {\"a\": 1})"),
        ('{"x": "u"}', Point, "(x: expected float, found 'u')"),
        ('{"x": 1, "yy": 2}', Point, '(it has no "yy", did you mean "y"?)'),
        ("{}", Point, "missing 1 required positional argument: 'x'"),
        ("{}", Row, "rate={}: "),
        ("x", int | None, "found 'x'"),
        ("x", type(re), "a value of this type cannot be written on a command line"),
    ],
)
def test_what_does_not_fit(text: str, tp: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse("rate", text, tp)
    assert message in str(caught.value)


@given(st.text(), st.sampled_from([int, float, bool, list[int], dict[str, int], Color, Point, int | None, None]))
@settings(derandomize=True, max_examples=200)
def test_every_text_is_a_value_or_refused(text: str, tp: Any) -> None:
    with contextlib.suppress(UsageError):  # anything else would be a crash
        parse("name", text, tp)


def test_split() -> None:
    assert split_overrides(["a.b=1", "c==x=", "a.b=2", "d="]) == {"c": "=x=", "a.b": "2", "d": ""}
    for wrong in ("a", "=1", "a..b=1", "1a=2", "a-b=1"):
        with pytest.raises(UsageError, match="expected name=value"):
            split_overrides([wrong])


class Inner:
    declared: int | None = None

    def __init__(self, width: Sequence[int] = ()) -> None:
        self.width = width
        self.rate = 1
        self.flag = True
        self.names = ["a"]


def test_the_type_of_an_attribute() -> None:
    inner = Inner()
    names = ("declared", "width", "rate", "flag", "names")
    assert [type_of_attribute(inner, name) for name in names] == [int | None, Sequence[int], int | float, bool, None]
