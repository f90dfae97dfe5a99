"""The context of the naive reading: types in place of values, one world for each way to a point of the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from metta.sweep import Context
from tests.pipeline.grammar_types import RECORDS, union


class World(NamedTuple):
    """The context on one way: types of fields and value. `extra`: it has fields besides the value's own."""

    fields: frozenset[tuple[str, Any]] = frozenset()
    value: Any = None
    own: frozenset[str] = frozenset()
    extra: bool = False


Worlds = frozenset[World]


def names_of(worlds: Worlds) -> dict[str, Any]:
    """Every field that some world has, with the union of its types."""
    found: dict[str, list[Any]] = {}
    for world in sorted(worlds, key=repr):
        for name, tp in sorted(world.fields, key=repr):
            found.setdefault(name, []).append(tp)
    return {name: union(types) for name, types in found.items()}


def definite(worlds: Worlds, name: str) -> bool:
    return all(any(n == name for n, _ in world.fields) for world in worlds)


def value_of_all(worlds: Worlds) -> Any:
    """The union of the values' types; None where a world has none."""
    if any(world.value is None for world in worlds):
        return None
    return union(sorted((world.value for world in worlds), key=repr))


def whole_is_value(worlds: Worlds) -> bool:
    return all(world.value is not None and not world.extra for world in worlds)


def whole_type(worlds: Worlds) -> Any:
    return value_of_all(worlds) if whole_is_value(worlds) else Context


def joined(*ways: Worlds) -> Worlds:
    """All worlds of several ways; a value that some of them lack is no value."""
    worlds: Worlds = frozenset().union(*ways)
    if value_of_all(worlds) is None:
        return frozenset(w._replace(value=None, own=frozenset(), extra=True) for w in worlds)
    return worlds


def worlds_of(tp: Any) -> Worlds:
    """The context behind `.through(tp)`: a NotRequired key is there or not."""
    ways: list[frozenset[tuple[str, Any]]] = [frozenset()]
    for name, member in RECORDS.get(tp, {}).items():
        with_it = [way | {(name, member.type)} for way in ways]
        ways = with_it if member.required else with_it + ways
    return frozenset(World(way, tp, frozenset(RECORDS.get(tp, {}))) for way in ways)


def with_field(worlds: Worlds, name: str, tp: Any) -> Worlds:
    return frozenset(
        World(
            frozenset({**dict(w.fields), name: tp}.items()),
            w.value,
            w.own,
            w.extra or (name not in w.own and not any(n == name for n, _ in w.fields)),
        )
        for w in worlds
    )


def start_of(inputs: Any) -> Worlds:
    """The worlds of declared inputs."""
    return frozenset([World(frozenset(inputs.items()))]) if isinstance(inputs, Mapping) else worlds_of(inputs)
