"""A module whose annotations are all strings, for the tests of signatures and records."""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from typing import TYPE_CHECKING, Generic, NotRequired, TypedDict, TypeVar

if TYPE_CHECKING:
    from decimal import Decimal

T = TypeVar("T")


class Trial:
    pass


def train(trial: Trial, rates: list[float] | None = None) -> dict[str, Trial]:
    return {}


def unresolvable(price: Decimal, count: int) -> list[Decimal]:
    return []


@dataclass
class Box(Generic[T]):
    content: T
    label: str = ""


@dataclass
class Seeded:
    seed: InitVar[int]
    size: int = 1


class Options(TypedDict):
    rate: float
    note: NotRequired[str]


class Runner:
    class Setup:
        pass

    def run(self, setup: Setup) -> Runner:
        return self
