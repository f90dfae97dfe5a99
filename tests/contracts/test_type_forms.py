"""Everything that `assignable` says about one type: text, elements, mapping values, what awaiting gives."""

# mypy: disable-error-code="valid-type, name-defined"

from __future__ import annotations

import asyncio
import collections
import typing
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import (
    Annotated,
    Any,
    ClassVar,
    Concatenate,
    Final,
    ForwardRef,
    Generic,
    Literal,
    LiteralString,
    Never,
    Optional,
    ParamSpec,
    Protocol,
    Required,
    Union,
)

import pytest
from typing_extensions import ReadOnly, Unpack

from metta.sweep.contracts.assignable import (
    awaited,
    describe,
    element_of,
    is_type_form,
    join,
    mapping_value,
    normalize,
    plain_tuple,
)
from tests.contracts import type_zoo as zoo

P = ParamSpec("P")


class Inner:
    class Nested:
        pass


DESCRIPTIONS: list[tuple[Any, str]] = [
    (int, "int"),
    (zoo.Dog, "Dog"),
    (Inner.Nested, "Nested"),
    (None, "None"),
    (type(None), "None"),
    (Any, "Any"),
    (Never, "Never"),
    (list, "list"),
    (list[int], "list[int]"),
    (typing.List[int], "list[int]"),  # noqa: UP006
    (typing.List, "list"),  # noqa: UP006
    (typing.Mapping[str, int], "Mapping[str, int]"),
    (dict[str, list[zoo.Dog]], "dict[str, list[Dog]]"),
    (Optional[float], "float | None"),  # noqa: UP045
    (float | None, "float | None"),
    (Union[int, str, None], "int | str | None"),  # noqa: UP007
    (Literal["a"], 'Literal["a"]'),
    (Literal["a", 1, True, None], 'Literal["a", 1, True, None]'),
    (Literal["a", "b"] | None, 'Literal["a", "b"] | None'),
    (Literal[zoo.Color.RED], "Literal[Color.RED]"),
    (Annotated[int, "positive"], "int"),
    (list[Annotated[int, "positive"]], "list[int]"),
    (zoo.UserId, "UserId"),
    (zoo.T, "T"),
    (list[zoo.T], "list[T]"),
    (ForwardRef("Missing"), "Missing"),
    ("Missing | None", "Missing | None"),
    (list["Missing"], "list[Missing]"),  # noqa: F821
    (tuple[int, ...], "tuple[int, ...]"),
    (tuple[()], "tuple[()]"),
    (tuple, "tuple"),
    (tuple[int, str], "tuple[int, str]"),
    (tuple[int, *tuple[str, ...]], "tuple[int, *tuple[str, ...]]"),
    (Callable[[int, str], bool], "Callable[[int, str], bool]"),
    (Callable[[], None], "Callable[[], None]"),
    (Callable[..., int], "Callable[..., int]"),
    (Callable[Concatenate[int, P], int], "Callable[Concatenate[int, P], int]"),
    (Callable, "Callable"),
    (typing.Callable, "Callable"),
    (type[int], "type[int]"),
    (type, "type"),
    (zoo.Box[int], "Box[int]"),
    (zoo.Json, "Json"),
    (zoo.Many[int], "Many[int]"),
    (Final[int], "int"),
    (ClassVar[int], "int"),
    (Required[int], "int"),
    (ReadOnly[int], "int"),
    (LiteralString, "LiteralString"),
    (zoo.Movie, "Movie"),
    (zoo.Wrapped[int], "Wrapped[int]"),
    (lambda: 1, "a lambda"),
]


@pytest.mark.parametrize(("tp", "text"), DESCRIPTIONS, ids=[text for _, text in DESCRIPTIONS])
def test_describe(tp: Any, text: str) -> None:
    assert describe(tp) == text


FORMS: list[Any] = [
    *(int, list, object, zoo.Dog, zoo.Movie, zoo.Point, zoo.HasName, zoo.Color, Any, Never, LiteralString),
    *(list[int], typing.List[int], typing.List, typing.Callable, Callable[[int], str], tuple[int, ...], type[int]),  # noqa: UP006
    *(int | None, Optional[int], Union[int, str], Literal["a"], Annotated[int, 1]),  # noqa: UP007, UP045
    *(zoo.UserId, zoo.Json, zoo.Many[int], zoo.Box[int], zoo.Box, list["Missing"], type(None)),  # noqa: F821
]
NOT_FORMS: list[Any] = [
    *(None, 1, "int", "", ForwardRef("int"), [int], (int, str), {"a": int}, True, 1.5, print, lambda: 1, ...),
    *(Union, Optional, Literal, Annotated, Final, ClassVar, zoo.T, P, Final[int], ClassVar[int], Required[int]),
    *(zoo.Color.RED, zoo.Dog(), Concatenate, Unpack[tuple[int, ...]], typing.Self, Generic, Protocol),
]


@pytest.mark.parametrize("value", FORMS)
def test_type_forms(value: Any) -> None:
    assert is_type_form(value)


@pytest.mark.parametrize("value", NOT_FORMS)
def test_values_that_are_no_types(value: Any) -> None:
    assert not is_type_form(value)


def test_normalize() -> None:
    assert normalize(None) is type(None)
    assert normalize(int) is int


class TestJoin:
    def test_order_and_duplicates(self) -> None:
        assert join([int, str, int]) == int | str
        assert describe(join([str, int, str])) == "str | int"
        assert describe(join([bool, int])) == "bool | int"

    def test_one_is_itself(self) -> None:
        tp = list[int]
        assert join([tp]) == tp
        assert join([tp, tp]) == tp

    def test_unions_are_flattened(self) -> None:
        assert join([int | None, str, None]) == int | None | str

    def test_any_takes_all(self) -> None:
        assert join([int, Any]) is Any

    def test_nothing(self) -> None:
        assert join([]) is Never

    def test_none(self) -> None:
        assert join([None]) is type(None)


class Ready(Awaitable[int]):
    def __await__(self) -> Generator[Any, Any, int]:
        yield
        return 1


@pytest.mark.parametrize(
    ("tp", "result"),
    [
        (Coroutine[Any, Any, int], int),
        (Awaitable[list[str]], list[str]),
        (asyncio.Future[int], int),
        (asyncio.Task[str], str),
        (Ready, int),
        (zoo.Waits, int),
        (Awaitable, Any),
        (zoo.Task, int),
        (int, int),
        (list[Awaitable[int]], list[Awaitable[int]]),
        (None, None),
        (Any, Any),
        (AsyncIterator[int], AsyncIterator[int]),
    ],
)
def test_awaited(tp: Any, result: Any) -> None:
    assert awaited(tp) == result


class Numbers(Generic[zoo.T]):
    def __iter__(self) -> Numbers[zoo.T]:
        return self

    def __next__(self) -> zoo.T:
        raise StopIteration


class Silent:
    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(())


class Batches(Protocol):
    def __iter__(self) -> Iterator[list[int]]: ...


@pytest.mark.parametrize(
    ("tp", "element"),
    [
        (list[int], int),
        (list[zoo.Dog], zoo.Dog),
        (Sequence[int | None], int | None),
        (Iterable[list[str]], list[str]),
        (Generator[int, str, bool], int),
        (dict[str, int], str),
        (Mapping[int, str], int),
        (collections.Counter[str], str),
        (str, str),
        (bytes, int),
        (range, int),
        (Literal["abc"], str),
        (tuple[int, ...], int),
        (tuple[int, str], int | str),
        (zoo.Point, int | str),
        (zoo.Movie, str),
        (set[zoo.Color], zoo.Color),
        (type[zoo.Color], zoo.Color),
        (zoo.Ints, int),
        (zoo.Listing[str], str),
        (zoo.Trials, zoo.Dog),
        (zoo.Registry[int], str),
        (zoo.IterOnly, int),
        (zoo.Loader, zoo.Dog),
        (zoo.Names, str),
        (Numbers[int], int),
        (Batches, list[int]),
        (list[int] | set[str], int | str),
        (zoo.Many[int], int),
        (Annotated[list[int], "x"], int),
        (list, Any),
        (Any, Any),
        (Silent, Any),
        ("Missing", Any),
        (int, None),
        (None, None),
        (int | list[int], None),
        (Callable[[], int], None),
        (type[int], None),
        (zoo.Dog, None),
        (zoo.GetItemOnly, None),
        (object, None),
    ],
)
def test_element_of(tp: Any, element: Any) -> None:
    assert element_of(tp) == element


def test_an_element_keeps_what_was_written() -> None:
    positive = Annotated[int, "positive"]
    assert element_of(list[positive]) == positive


@pytest.mark.parametrize(
    ("tp", "value"),
    [
        (dict[str, float], float),
        (Mapping[str, int | None], int | None),
        (collections.OrderedDict[str, list[int]], list[int]),
        (collections.defaultdict[str, int], int),
        (collections.Counter[str], int),
        (zoo.Scores, float),
        (zoo.Registry[int], int),
        (dict[str, int] | Mapping[str, str], int | str),
        (dict, Any),
        (dict[Any, int], int),
        (dict[int, float], None),
        (zoo.Movie, None),
        (zoo.Wrapped[int], None),
        (list[str], None),
        (zoo.Data, None),
        (dict[str, int] | None, None),
        (Any, None),
        (None, None),
        (object, None),
    ],
)
def test_mapping_value(tp: Any, value: Any) -> None:
    assert mapping_value(tp) == value


@pytest.mark.parametrize(
    ("tp", "items"),
    [
        (tuple[int, str], (int, str)),
        (tuple[list[int]], (list[int],)),
        (typing.Tuple[int, str], (int, str)),  # noqa: UP006
        (Annotated[tuple[int, str], "x"], (int, str)),
        (tuple[()], ()),
        (tuple[int, None], (int, type(None))),
        (tuple[int, ...], None),
        (tuple, None),
        (zoo.Point, None),
        (zoo.Tagged[int], None),
        (zoo.PairTuple, None),
        (list[int], None),
        (tuple[int, *tuple[str, ...]], None),
        (Any, None),
    ],
)
def test_plain_tuple(tp: Any, items: Any) -> None:
    assert plain_tuple(tp) == items
