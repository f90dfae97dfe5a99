"""Type variables: what they stand for, and types with them filled in."""

# mypy: disable-error-code="valid-type, name-defined"

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Never, Self

import pytest

from metta.sweep.contracts.assignable import substitute, unify
from tests.contracts import type_zoo as zoo
from tests.contracts.type_zoo import K, T


@pytest.mark.parametrize(
    ("pattern", "actual", "solution"),
    [
        (T, int, {T: int}),
        (list[T], list[int], {T: int}),
        (list[T], list, {T: Any}),
        (list[T], Any, {T: Any}),
        (list[T], int, {}),
        (list[int], list[int], {}),
        (Sequence[T], list[int], {T: int}),
        (Iterable[T], dict[str, int], {T: str}),
        (Mapping[K, T], dict[str, list[int]], {K: str, T: list[int]}),
        (Mapping[str, T], zoo.Scores, {T: float}),
        (Iterable[T], str, {T: str}),
        (Iterable[T], zoo.Loader, {T: zoo.Dog}),
        (Iterable[T], zoo.Ints, {T: int}),
        (Iterable[T], tuple[int, str], {T: int | str}),
        (tuple[T, K], tuple[int, str], {T: int, K: str}),
        (tuple[T, ...], tuple[int, str], {T: int | str}),
        (tuple[T, K], zoo.Point, {T: int, K: str}),
        (tuple[T, T], tuple[int, int], {T: int}),
        (tuple[T, T], tuple[int, str], {T: int | str}),
        (T | None, int | None, {T: int}),
        (T | None, int, {T: int}),
        (T | None, None, {}),
        (list[T] | None, list[int] | None, {T: int}),
        (list[T] | T, list[int], {T: int}),
        (list[T], list[int] | list[str], {T: int | str}),
        (Callable[[T], K], Callable[[int], str], {T: int, K: str}),
        (Callable[[int], T], zoo.Counts, {T: str}),
        (Callable[..., T], type[zoo.Dog], {T: zoo.Dog}),
        (type[T], type[int], {T: int}),
        (zoo.Box[T], zoo.IntBox, {T: int}),
        (zoo.Box[T], zoo.ListBox[int], {T: list[int]}),
        (zoo.Getter[T], zoo.Source[int], {T: int}),
        (zoo.Wrapped[T], zoo.Wrapped[int], {T: int}),
        (zoo.Tagged[T], zoo.Tagged[zoo.Dog], {T: zoo.Dog}),
        (dict[str, list[T]], dict[str, list[zoo.Dog]], {T: zoo.Dog}),
        (zoo.Many[T], list[int], {T: int}),
        (list[T], zoo.Many[int], {T: int}),
    ],
)
def test_unify(pattern: Any, actual: Any, solution: dict[Any, Any]) -> None:
    assert unify(pattern, actual) == solution


@pytest.mark.parametrize(
    ("tp", "mapping", "result"),
    [
        (T, {T: int}, int),
        (list[T], {T: int}, list[int]),
        (dict[K, list[T]], {K: str, T: int}, dict[str, list[int]]),
        (T | None, {T: int}, int | None),
        (T | None, {T: str | None}, str | None),
        (tuple[T, ...], {T: int}, tuple[int, ...]),
        (tuple[T, K], {T: int, K: str}, tuple[int, str]),
        (Callable[[T], K], {T: int, K: str}, Callable[[int], str]),
        (Callable[..., T], {T: int}, Callable[..., int]),
        (type[T], {T: int}, type[int]),
        (zoo.Box[T], {T: int}, zoo.Box[int]),
        (zoo.Many[T], {T: int}, zoo.Many[int]),
        (list[T], {}, list[Any]),
        (list[T], {K: int}, list[Any]),
        (T, {T: None}, type(None)),
        (int, {T: str}, int),
        (list[int], {T: str}, list[int]),
        (None, {T: int}, None),
    ],
)
def test_substitute(tp: Any, mapping: dict[Any, Any], result: Any) -> None:
    assert substitute(tp, mapping) == result


def test_substitute_with_another_default() -> None:
    assert substitute(dict[K, T], {K: str}, default=object) == dict[str, object]


def test_substitute_keeps_what_it_does_not_replace() -> None:
    assert substitute(Callable[[Never, T], Self], {T: int}) == Callable[[Never, int], Self]
    positive = Annotated[int, "positive"]
    assert substitute(dict[positive, T], {T: str}) == dict[positive, str]


def test_there_and_back() -> None:
    pattern = dict[str, tuple[list[T], K]]
    actual = dict[str, tuple[list[int], float]]
    assert substitute(pattern, unify(pattern, actual)) == actual
