"""What an expression denotes as a contract: the plugin reads the text, run time has the object."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from metta.sweep.contracts import assignable
from metta.sweep.contracts import summary as runtime
from metta_mypy.type_expressions import UNKNOWN, NotAType, read_type, summarize
from metta_mypy.wording import describe
from tests.plugins.program import SHOW, Program, program, programs

TYPES = [
    *("int", "str", "object", "None", "Any", "Never", "list", "dict", "tuple", "type", "Callable"),
    *("list[int]", "dict[str, float]", "tuple[int, ...]", "tuple[int, str]", "tuple[()]", "type[int]", "Type[int]"),
    *("Optional[int]", "Union[int, str]", "int | None", "int | str | None", "None | int", "list[int | None]"),
    *("Callable[[int], str]", "Callable[..., int]", "Callable[[], None]", "dict[str, Callable[[int], str]]"),
    *("List[int]", "List", "Dict[str, int]", "Tuple[int, str]", "Tuple[int, ...]", "Annotated[int, 3]"),
    *('Literal["a"]', 'Literal[1, -2, True, "b"]', "Literal[Color.RED]", 'Literal[b"x"]', "Literal[Flag]"),
    *("Point", "Movie", "Tagged[int]", "Keyed[int]", "Box[int]", "Box", "Data", "Model", "HasName", "Outer.Inner"),
    *("UserId", "Names", "Color", "Alias", "Flag", "Number", "Many[int]", "Json", "Op", "Positive", "IntTuple"),
    *("collections.OrderedDict[str, int]", "typing.Any", "collections.abc.Sequence[int]", "Mapping[str, list[int]]"),
    *("typing.Optional[Box[int]]", "PairTuple", "Pair[str, int]", "Maybe[int]"),
]
VALUES = [
    *("3", "-3", "0.5", '"text"', 'b"bytes"', "True", "[int]", "[Data]", "[1, 2]", "[1, 2, 3, 4]", "[]"),
    *('{"a": int}', "{1}", "(int, str)", '[[1], (2,), {"a": 1}]', "lambda d: d", "value", "Outer.method", "3 | 4"),
    f'"{"x" * 50}"',
]
# mypy knows the type of these, not the value.
TYPED = {
    "value()": "a value of type int",
    "numbers": "a value of type list[int]",
    "numbers[0]": "a value of type int",
    "point": "a value of type Point",
    "Color.RED": "a value of type Color",
    "1 + 2": "a value of type int",
    "not 3": "a value of type bool",
    "3 if maybe else 4": "int (3)",
    "T": "TypeVar (T)",
    "Generic": "typing.Generic",
    "Final": "typing.Final",
    "Final[int]": "typing.Final[...]",
}
# Run time decides.
OPEN = ['list["int"]', 'int | list["int"]', "make()", "one", "maybe", "int if maybe else str", 'Annotated["int", 1]']
# mypy forgets how these were written.
REWRITTEN = {"LiteralString": "str", "NoReturn": "Never", "Defaulted": "Defaulted[int]", "Union": "typing.Union"}

ASKED = [*TYPES, *VALUES, *TYPED, *OPEN, *REWRITTEN]
TEXT = (
    """
from __future__ import annotations
import collections, collections.abc, typing
from collections.abc import *
from typing import Any, Annotated, Dict, Final, Generic, List, Literal, LiteralString, NoReturn, Never, Optional
from typing import Tuple, Type, Union
from tests.plugins.record_zoo import Keyed, Model
from tests.contracts.type_zoo import *

one: type[Data] = Data
maybe: Any = 3
Alias = dict[str, int]
Maybe = Optional[T]
numbers = [1]
point = Point(1, "")
def make() -> type[int]: return int
def value() -> int: return 3
class Outer:
    class Inner: ...
    def method(self) -> None: ...
"""
    + SHOW
    + "".join(f"show({it})\n" for it in ASKED)
)


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    # Older versions do not know closed TypedDicts, and mypy finds fault with `Maybe[int]` as a value.
    with program(TEXT, programs(tmp_path_factory), allow=["[call-arg]", "[misc]"]) as it:
        yield it


def read(checked: Program, text: str) -> object:
    found = read_type(checked.shown[ASKED.index(text)], checked.checker)
    return found if isinstance(found, NotAType) or found is UNKNOWN else describe(found)


@pytest.mark.parametrize("text", TYPES)
def test_types(checked: Program, text: str) -> None:
    value = eval(text, checked.names)
    assert value is None or assignable.is_type_form(value)
    assert read(checked, text) == assignable.describe(value)


@pytest.mark.parametrize("text", VALUES)
def test_values(checked: Program, text: str) -> None:
    value = eval(text, checked.names)
    assert not assignable.is_type_form(value)
    found = read(checked, text)
    assert isinstance(found, NotAType)
    folded = text == "3 | 4"
    assert found.description == ("a value of type int" if folded else runtime.summarize(value, 60))


@pytest.mark.parametrize("text", TYPED)
def test_values_of_known_type(checked: Program, text: str) -> None:
    found = read(checked, text)
    assert isinstance(found, NotAType)
    assert found.description == TYPED[text]


@pytest.mark.parametrize("text", OPEN)
def test_what_run_time_decides(checked: Program, text: str) -> None:
    assert read(checked, text) is UNKNOWN


def test_what_is_written_otherwise(checked: Program) -> None:
    assert read(checked, "LiteralString") == "str"
    assert read(checked, "NoReturn") == "Never"
    assert read(checked, "Defaulted") == "Defaulted[int]"


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("[int]", "write list[int]"),
        ("[Data]", "write list[Data]"),
        ("value", "pass a type, not a function"),
        ("lambda d: d", "pass a type, not a function"),
        ("3", "pass the type itself, not a value of it"),
        ("[1, 2]", "pass the type itself, not a value of it"),
        ("Union", "give it its arguments in brackets"),
        ("Final", "pass the type itself, not a value of it"),
    ],
)
def test_remedies(checked: Program, text: str, remedy: str) -> None:
    found = read(checked, text)
    assert isinstance(found, NotAType)
    assert found.remedy == remedy


def test_a_value_of_no_known_type(checked: Program) -> None:
    assert summarize(checked.shown[ASKED.index("numbers")], None) == "an unknown value"
