"""Values against annotations, while a pipeline runs."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ForwardRef, Literal, Never, NewType, NotRequired, Protocol, TypedDict, TypeVar

import numpy as np
import numpy.typing as npt
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import TypeAliasType

from metta.sweep.contracts.values import check_value, summarize
from tests.contracts.annotated_strings import Box

Meters = NewType("Meters", float)
# Spelt out: mypy has no recursive aliases on the oldest Python.
_json = ForwardRef("Json")
_members: Any = dict[str, _json] | list[_json] | int | None  # type: ignore[valid-type]
Json = TypeAliasType("Json", _members)


@dataclass
class Point:
    x: int
    scores: dict[str, float]


class Options(TypedDict):
    rate: float
    note: NotRequired[str]


class HasX(Protocol):
    x: int

    @property
    def scores(self) -> dict[str, float]: ...


class Closes(Protocol):
    def close(self) -> None: ...


class Model(pydantic.BaseModel):
    x: int


@dataclass
class Link:
    next: "Link | None"


POINT = Point(1, {"a": 0.5})

FITS: list[tuple[object, Any]] = [
    (1, int), (True, int), (1, float), (True, float), (1, complex), (0.5, complex), (np.float64(1), float),
    (None, None), (None, int | None), (3, int | None), ("a", Literal["a", "b"]), (1, Any), (1, object),
    ([], list[int]), ([1, 2], Sequence[int]), ((1, "a"), tuple[int, str]), ((), tuple[()]),
    ((1, 2, 3), tuple[int, ...]),
    ("abc", Sequence[str]), ({1, 2}, set[int]), (frozenset({"a"}), Iterable[str]), ({"a": 1}, Iterable[str]),
    ({"a": 1}, Mapping[str, float]), (collections.Counter("ab"), collections.Counter[str]),
    (collections.deque([1]), collections.deque[int]), ({"a": [1]}, dict[str, list[int]]),
    (POINT, Point), (POINT, HasX), ({"rate": 1}, Options), ({"rate": 1, "note": "n", "more": 0}, Options),
    (Model(x=1), Model), (Box(1), Box[int]), (Box("a"), Box), (len, Callable[[str], int]), (int, type[int]),
    (bool, type[int | str]), (list[int], type[list[int]]), (Point, type[Any]), (1.5, Meters),
    (1, Annotated[int, "unit"]),
    (np.zeros(2), npt.NDArray[np.float64]), (np.zeros(2), np.ndarray), (5, ForwardRef("Unknown")), (5, TypeVar("T")),
    ({"a": [{"b": None}]}, Json), (open, Callable[..., Any]),
]  # fmt: skip

WRONG: list[tuple[object, Any, str]] = [
    (1.0, int, "expected int, found float (1.0)"),
    ("1", float, 'expected float, found str ("1")'),
    (1j, float, "expected float, found complex (1j)"),
    (np.float32(1), float, "expected float, found float32 (1.0)"),
    (None, int, "expected int, found None"),
    (0, None, "expected None, found int (0)"),
    (0.5, int | str | None, "expected int | str | None, found float (0.5)"),
    ("c", Literal["a", "b"], 'expected Literal["a", "b"], found str ("c")'),
    (True, Literal[1], "expected Literal[1], found bool (True)"),
    ([1, "x"], list[int], '[1]: expected int, found str ("x")'),
    ((1, 2), list[int], "expected list[int], found tuple of 2 (1, 2)"),
    ((1,), tuple[int, str], "expected tuple[int, str], found tuple of 1 (1)"),
    ((1, 2), tuple[int, str], "[1]: expected str, found int (2)"),
    (3, str | None, "expected str | None, found int (3)"),
    ([3], list[str] | None, "[0]: expected str, found int (3)"),
    ([3], list[str | None] | None, "[0]: expected str | None, found int (3)"),
    ((1,), tuple[()], "expected tuple[()], found tuple of 1 (1)"),
    ({"a": "x"}, dict[str, float], '["a"]: expected float, found str ("x")'),
    ({1: 1.0}, dict[str, float], "key 1: expected str, found int (1)"),
    ({1}, set[str], "an element: expected str, found int (1)"),
    ({"a": 1}, collections.Counter[str], "expected Counter[str], found dict of 1"),
    (Point(1, {"a": "x"}), Point, 'scores["a"]: expected float, found str ("x")'),  # type: ignore[dict-item]
    ({"x": 1}, Point, 'expected Point, found dict of 1 ("x": 1)'),
    ({"note": "n"}, Options, 'missing key "rate", found dict of 1 ("note": "n")'),
    ({"rate": 1, "note": 2}, Options, '["note"]: expected str, found int (2)'),
    (3, Options, "expected Options, found int (3)"),
    (3, HasX, "missing attribute x, found int (3)"),
    (3, Closes, "missing attribute close, found int (3)"),
    (Model.model_construct(x="a"), Model, 'x: expected int, found str ("a")'),
    (Box("a"), Box[int], 'content: expected int, found str ("a")'),
    (3, Callable[[int], int], "expected Callable[[int], int], found int (3)"),
    (str, type[int], "expected type[int], found class str"),
    (3, type[int], "expected type[int], found int (3)"),
    ("far", Meters, 'expected float, found str ("far")'),
    (np.zeros(2, dtype=np.int64), npt.NDArray[np.float64], "found ndarray of shape (2,), int64"),
    (1, Never, "expected Never, found int (1)"),
    ("x", Json, "expected dict[str, Json] | list[Json] | int | None, found str"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "tp"), FITS)
def test_fits(value: object, tp: Any) -> None:
    assert check_value(value, tp) is None
    assert check_value(value, tp, deep=True) is None


@pytest.mark.parametrize(("value", "tp", "message"), WRONG)
def test_wrong(value: object, tp: Any, message: str) -> None:
    assert message in (check_value(value, tp) or "it fits")
    assert message in (check_value(value, tp, deep=True) or "it fits")


def test_the_name_of_the_value_leads_the_path() -> None:
    assert check_value({"a": "x"}, dict[str, float], path="results") == 'results["a"]: expected float, found str ("x")'
    points: list[Any] = [POINT, Point(2, {"b": 1.0, 1: 1.0})]  # type: ignore[dict-item]
    assert check_value(points, list[Point], path="points") == "key 1 of points[1].scores: expected str, found int (1)"


def test_first_and_last_and_all_if_deep() -> None:
    middle = [1, "x", 2]
    assert check_value(middle, list[int]) is None
    assert check_value(middle, list[int], deep=True) == '[1]: expected int, found str ("x")'
    mapping = {"a": 1, "b": "x", "c": 2}
    assert check_value(mapping, dict[str, int]) is None
    assert check_value(mapping, dict[str, int], deep=True) is not None
    assert check_value({"a": 1, "b": "x"}, dict[str, int]) == '["b"]: expected int, found str ("x")'


def test_iterators_are_not_advanced() -> None:
    values: Iterator[Any] = iter(["a", "b"])
    assert check_value(values, Iterator[int]) is None
    assert check_value(values, Iterable[int], deep=True) is None
    assert list(values) == ["a", "b"]
    assert check_value(3, Iterator[int]) is not None
    assert check_value(itertools.count(), Iterable[str], deep=True) is None


def test_endless_structures_end() -> None:
    link = Link(None)
    link.next = link
    assert check_value(link, Link) is None
    chain = Link(None)
    for _ in range(5000):
        chain = Link(chain)
    assert check_value(chain, Link, deep=True) is None


# --- values are judged as they were generated -------------------------------------------------------------

LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers() | st.booleans()),
    (float, st.floats() | st.integers()),
    (str, st.text()),
    (type(None), st.none()),
    (bytes, st.binary()),
]


def of(generic: Any, *arguments: Any) -> Any:
    """The generic with arguments that are only known while the test runs."""
    return generic[arguments]


def typed(depth: int = 2) -> st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]]:
    """Pairs of a type and a strategy of its values."""
    leaf = st.sampled_from(LEAVES)
    if depth == 0:
        return leaf
    inner = typed(depth - 1)
    return st.one_of(
        leaf,
        inner.map(lambda it: (of(list, it[0]), st.lists(it[1], max_size=4))),
        inner.map(lambda it: (of(Sequence, it[0]), st.lists(it[1], max_size=3).map(tuple))),
        inner.map(lambda it: (of(dict, str, it[0]), st.dictionaries(st.text(), it[1], max_size=3))),
        inner.map(lambda it: (it[0] | None, it[1] | st.none())),
        inner.map(lambda it: (of(Box, it[0]), it[1].map(Box))),
        st.tuples(inner, inner).map(lambda it: (of(tuple, it[0][0], it[1][0]), st.tuples(it[0][1], it[1][1]))),
    )


class Stranger:
    """Fits none of the generated types."""


def spoil(value: Any) -> Any:
    """The same value with a stranger in its first place that can hold one."""
    if isinstance(value, (list, tuple)) and value:
        return type(value)([spoil(value[0]), *value[1:]])
    if isinstance(value, dict) and value:
        first, *_ = value
        return {**value, first: spoil(value[first])}
    return Box(spoil(value.content)) if isinstance(value, Box) else Stranger()


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.data())
def test_verdict_agrees_with_how_a_value_was_made(data: st.DataObject) -> None:
    tp, strategy = data.draw(typed())
    value = data.draw(strategy)
    for deep in (False, True):
        assert check_value(value, tp, deep=deep) is None
        assert check_value(spoil(value), tp, deep=deep) is not None


# --- summaries -------------------------------------------------------------------------------------------


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class BrokenList(list[int]):
    def __iter__(self) -> Iterator[int]:
        raise RuntimeError("no")


class Talkative:
    def __repr__(self) -> str:
        return "first line\nsecond line " * 1_000_000


class Forwarding:
    """Reads any attribute from elsewhere: it may have to wait for it."""

    read: list[str] = []  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        self.read.append(name)
        raise AttributeError(name)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "int (3)"),
        (None, "None"),
        ("it's", 'str ("it\'s")'),
        ("x" * 100, f'str of 100 ("{"x" * 37}...")'),
        (b"ab", "bytes (b'ab')"),
        ([1, 2, 3, 4], "list of 4 (1, 2, 3, ...)"),
        (list(range(5000)), "list of 5,000 (0, 1, 2, ...)"),
        ((), "empty tuple"),
        ({"a": [1]}, 'dict of 1 ("a": list of 1)'),
        (POINT, "Point(x=1, scores=dict of 1)"),
        (np.zeros((2, 3), dtype=np.float32), "ndarray of shape (2, 3), float32"),
        ([np.zeros(3)], "list of 1 (ndarray of shape (3,), float64)"),
        (ValueError("bad\nluck"), 'ValueError ("bad\\nluck")'),
        (Point, "class Point"),
        (len, "builtin_function_or_method len"),
        (Broken(), "Broken"),
        (BrokenList([1]), "BrokenList"),
        (object(), "object"),
    ],
)
def test_summaries(value: object, text: str) -> None:
    assert summarize(value) == text


def test_a_summary_is_one_short_line() -> None:
    text = summarize(Talkative())
    assert text.startswith("Talkative (first line second line")
    assert len(text) <= 200
    assert "\n" not in text
    assert len(summarize(["x" * 1000] * 1000, limit=50)) <= 50
    assert summarize(Forwarding()) == "Forwarding"
    assert Forwarding.read == []
    assert summarize(10**5000) == "int (of 16,610 bits)"


def test_a_tensor_by_its_shape() -> None:
    torch = pytest.importorskip("torch")
    assert summarize(torch.zeros(3, 2)) == "Tensor of shape (3, 2), float32"
    assert summarize(torch.tensor(1.5)) == "Tensor (1.5)"
