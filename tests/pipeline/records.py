"""One record of each kind, all with the same two fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, NotRequired, Protocol, TypedDict

import attrs
from pydantic import BaseModel


class AsNamedTuple(NamedTuple):
    x: int
    name: str


@dataclass(frozen=True)
class AsDataclass:
    x: int
    name: str


class AsTypedDict(TypedDict):
    x: int
    name: str


class AsModel(BaseModel):
    x: int
    name: str


@attrs.frozen
class AsAttrs:
    x: int
    name: str


class Loose(TypedDict):
    """A record with a key that may be missing."""

    x: int
    name: NotRequired[str]


class HasX(Protocol):
    @property
    def x(self) -> int: ...


RECORDS: list[type[Any]] = [AsNamedTuple, AsDataclass, AsTypedDict, AsModel, AsAttrs]


def read(record: Any, name: str) -> Any:
    """A field of a record, whatever its kind."""
    return record[name] if isinstance(record, dict) else getattr(record, name)
