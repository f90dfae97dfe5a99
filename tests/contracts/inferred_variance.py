"""Classes whose type parameter has no declared variance: what `class Producer[I]` makes from Python 3.12 on."""

# mypy: ignore-errors
# It knows inferred variance in the new syntax only.

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

from typing_extensions import TypeVar

I = TypeVar("I", infer_variance=True)  # noqa: E741


class Producer(Generic[I]):
    def get(self) -> I:
        raise NotImplementedError

    def all(self) -> Sequence[I]:
        raise NotImplementedError


class Consumer(Generic[I]):
    def put(self, item: I) -> None: ...


class Cell(Generic[I]):
    item: I


class PrivateCell(Generic[I]):
    _item: I

    def get(self) -> I:
        return self._item


class Hidden(Generic[I]):
    def __init__(self, item: I) -> None:
        self.item = item

    def get(self) -> I:
        return self.item


class Chain(Generic[I]):
    def then(self) -> Chain[I]:
        return self

    def get(self) -> I:
        raise NotImplementedError


class Listed(list[I], Generic[I]):
    pass
