"""The values that `encoding` has written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mypy.types import Type

from metta.sweep.contracts.flow import Field, PersistentMap
from metta_mypy.field_book import FieldBook


def decode(
    text: str, types: Sequence[Type], stamps: Sequence[str], book: FieldBook, classes: Mapping[str, type]
) -> Any:
    """The value that was encoded; None in place of what was left out.

    Args:
        types: those it needs, in the order in which the text needs them.
        stamps: of its fields, in the same order.
        classes: by name: the dataclasses, NamedTuples and enums that may occur in the value.
    """
    return _Reader(iter(types), iter(stamps), book, classes).value(json.loads(text))


class _Reader:
    """Takes types and stamps from their lists in the order of the text."""

    def __init__(
        self, types: Iterator[Type], stamps: Iterator[str], book: FieldBook, classes: Mapping[str, type]
    ) -> None:
        self._types = types
        self._stamps = stamps
        self._book = book
        self._classes = classes

    def value(self, read: Any) -> Any:
        if not isinstance(read, list):
            return read
        tag, *rest = read
        match tag:
            case "t":
                return next(self._types)
            case "f" | "ft":
                field = Field(next(self._types) if tag == "ft" else None, *rest)
                return self._book.field(field, next(self._stamps))
            case "m":
                return PersistentMap.of(self._items(rest))
            case "d":
                return self._items(rest)
            case "s":
                return frozenset(rest)
            case "l":
                return tuple(map(self.value, rest))
            case "e":
                return self._classes[rest[0]](rest[1])
        return self._classes[rest[0]](**self._items(rest[1:]))

    def _items(self, rest: list[Any]) -> dict[str, Any]:
        return {name: self.value(item) for name, item in zip(rest[::2], rest[1::2], strict=True)}
