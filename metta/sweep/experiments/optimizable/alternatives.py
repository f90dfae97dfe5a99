"""Alternatives by name, so that a search space has texts to choose from, which every table and store can hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeVar

from metta.sweep.errors import UsageError

T = TypeVar("T")


def by_name(argument: str, alternatives: Iterable[T]) -> Mapping[str, T]:
    """Name -> alternative: its class, followed by a number where several are of one class ("BestOfN 2").

    Args:
        argument: what a message calls them.
        alternatives: in order.

    Raises:
        UsageError: there is none, or one is a class.
    """
    named: dict[str, T] = {}
    seen = Counter[str]()
    for alternative in alternatives:
        if isinstance(alternative, type):
            raise UsageError(f"{argument}: {alternative.__name__} is a class: write {alternative.__name__}()")
        kind = type(alternative).__name__
        seen[kind] += 1
        named[kind if seen[kind] == 1 else f"{kind} {seen[kind]}"] = alternative
    if not named:
        raise UsageError(f"{argument} is empty: give at least one")
    return named
