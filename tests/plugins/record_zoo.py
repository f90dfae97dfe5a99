"""Record classes of every kind, imported at run time and read by mypy."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import InitVar, dataclass, field
from typing import Any, ClassVar, Generic, NamedTuple, NotRequired, Protocol, Required, Self, TypedDict, TypeVar

import attr
import attrs
import pydantic

T = TypeVar("T")
K = TypeVar("K")


class Named(NamedTuple):
    x: int
    y: list[str] = []  # noqa: RUF012


class NamedChild(Named):
    def total(self) -> int:
        return self.x


class Tagged(NamedTuple, Generic[T]):
    tag: str
    values: list[T]


Old = namedtuple("Old", ["a", "b"], defaults=[1])


@dataclass
class Data:
    x: int
    y: list[str] = field(default_factory=list)
    kind: ClassVar[str] = "data"


@dataclass
class Child(Data):
    z: float = 0.0
    y: list[str] = field(default_factory=list)


class Undecorated(Data):
    extra: int


@dataclass
class Seeded:
    size: int
    seed: InitVar[int]
    label: InitVar[str] = ""

    def __post_init__(self, seed: int, label: str) -> None:
        self.size += seed


@dataclass
class Derived:
    x: int
    twice: int = field(init=False)


@dataclass
class Own:
    x: int
    y: str

    def __init__(self, x: int, *, scale: float = 1.0) -> None:
        self.x, self.y = x, ""


@dataclass
class Silent:
    x: int
    y: int

    def __init__(self, x, *rest, **more):  # type: ignore[no-untyped-def]
        self.x = x


@dataclass(init=False)
class Bare:
    x: int


@dataclass
class Keywords:
    late: int = field(default=1, kw_only=True)
    x: int = 0
    y: str = field(default="", kw_only=True)


@dataclass
class Box(Generic[T]):
    content: T
    count: int = 0


@dataclass
class Twice(Box[list[K]], Generic[K]):
    second: K | None = None


@dataclass
class Ints(Twice[int]):
    pass


@dataclass
class Linked:
    x: int
    rest: Self | None = None


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Long(Movie, total=False):
    minutes: int
    studio: Required[str]


class Keyed(TypedDict, Generic[T]):
    value: T
    others: NotRequired[list[T]]


@attrs.define
class Defined:
    x: int
    _hidden: str
    y: list[str] = attrs.field(factory=list)


@attrs.define
class Wider(Defined):
    z: float = attrs.field(default=0.5, kw_only=True)


@attrs.define
class Computed:
    x: int
    twice: int = attrs.field(init=False)


@attr.s(auto_attribs=True)
class Classic(Generic[T]):
    x: T
    named: int = attr.ib(default=3, alias="other")


@attrs.define
class Converted:
    x: int = attrs.field(converter=int)


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    x: int
    y: list[str] = []
    kind: ClassVar[str] = "model"
    _secret: int = 0


class ModelChild(Model):
    z: float | None = None
    named: int = pydantic.Field(default=3, alias="other")


class Typed(pydantic.BaseModel, Generic[T]):
    content: T
    many: list[T] = pydantic.Field(default_factory=list)


class HasName(Protocol):
    name: str

    @property
    def size(self) -> int: ...


class HasMore(HasName, Protocol[T]):
    items: list[T]
    kind: ClassVar[str]

    @property
    def best(self) -> T: ...
    @best.setter
    def best(self, value: T) -> None: ...


class Runs(Protocol):
    name: str

    def run(self) -> int: ...


class Plain:
    def __init__(self, x: int) -> None:
        self.x = x


class Named2(HasName):
    name = "a"

    @property
    def size(self) -> int:
        return 1


Anything: Any = object()
