"""Classes for the tests of the codec."""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass, field
from typing import Any, Generic, NamedTuple, NotRequired, Protocol, TypedDict, TypeVar

import attrs
import pydantic

T = TypeVar("T")


class Color(enum.Enum):
    RED = 1
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mode(enum.StrEnum):
    MIN = "min"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: float
    y: object = None


@dataclass
class Plain:
    a: int
    b: list[Point] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Frozen:
    name: str
    _: KW_ONLY
    color: Color = Color.RED
    inner: Plain | None = None


@dataclass
class Child(Plain):
    c: str = "child"


@dataclass
class Doubling:
    """Its constructor must not run again: it would double twice."""

    value: int
    factor: InitVar[int] = 2
    computed: int = field(init=False)
    missing: int = field(init=False)

    def __post_init__(self, factor: int) -> None:
        self.value *= factor
        self.computed = self.value + 1
        self.beside = [self.value]

    @functools.cached_property
    def callback(self) -> Any:
        return lambda: self.value


@dataclass(slots=True)
class Node(Generic[T]):
    value: T
    next: Node[T] | None = None


@dataclass
class Holder(Generic[T]):
    item: T


class Base:
    """No record; its subclasses are."""


@dataclass
class Derived(Base):
    a: int


class HasLoss(Protocol):
    loss: float


@dataclass
class Outer:
    @dataclass
    class Inner:
        a: int

    inner: Inner


@dataclass
class AlsoError(Exception):
    a: int


class Options(TypedDict):
    point: Point
    level: NotRequired[Level]


@attrs.frozen(cache_hash=True)
class Attrs:
    a: int
    _private: tuple[Point, ...] = ()
    made: int = attrs.field(init=False, default=7)


@attrs.define(slots=False)
class OpenAttrs:
    a: Any
    converted: int = attrs.field(converter=int, default=0)


@attrs.frozen(slots=False, cache_hash=True)
class HashedAttrs:
    a: str


class Model(pydantic.BaseModel):
    a: int
    b: Frozen | None = None
    alias: str = pydantic.Field(default="x", validation_alias="other")
    _private: int = pydantic.PrivateAttr(default=0)
    _unset: int = pydantic.PrivateAttr()


class Extra(pydantic.BaseModel, frozen=True, extra="allow"):
    a: int


class Box(pydantic.BaseModel, Generic[T]):
    item: T


class Secret(pydantic.BaseModel):
    token: pydantic.SecretStr


@pydantic.dataclasses.dataclass
class PydanticData:
    a: int


@dataclass
class Everything:
    points: Sequence[Point]
    by_name: Mapping[str, Frozen]
    pair: tuple[Color, Level]
    either: Point | Plain | None
    anything: Any
    options: Options
