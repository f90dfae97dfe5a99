"""Types for the tests of `assignable`: imported at run time, and by the generated modules that mypy checks."""

from __future__ import annotations

import abc
import enum
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Protocol,
    Required,
    Self,
    TypedDict,
)

from typing_extensions import ReadOnly, TypeAliasType, TypeVar
from typing_extensions import TypedDict as ExtendedTypedDict

T = TypeVar("T")
K = TypeVar("K")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)
D = TypeVar("D", default=int)


# Classes


class Animal:
    name: str


class Dog(Animal):
    def bark(self) -> str:
        return self.name


class Cat(Animal):
    pass


class Puppy(Dog):
    pass


class MyInt(int):
    pass


class Base(abc.ABC):
    @abc.abstractmethod
    def run(self) -> int: ...


class Impl(Base):
    def run(self) -> int:
        return 1


UserId = NewType("UserId", int)
AdminId = NewType("AdminId", UserId)
Names = NewType("Names", list[str])


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Single(enum.Enum):
    ONLY = 1


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mode(enum.StrEnum):
    TRAIN = "train"
    TEST = "test"


B = TypeVar("B", bound=Animal)
C = TypeVar("C", int, str)


Unknown: Any = Any  # a base class that a type checker cannot see


# Generic classes


class Box(Generic[T]):
    def __init__(self, item: T) -> None:
        self.item = item


class Source(Generic[T_co]):
    def get(self) -> T_co:
        raise NotImplementedError


class Sink(Generic[T_contra]):
    def put(self, item: T_contra) -> None:
        raise NotImplementedError


class IntBox(Box[int]):
    pass


class ListBox(Box[list[K]], Generic[K]):
    pass


class Pair(Generic[K, T]):
    key: K
    value: T


class StrPair(Pair[str, T], Generic[T]):
    pass


class Defaulted(Generic[D]):
    item: D


class Ints(list[int]):
    pass


class Listing(list[T]):
    pass


class Scores(dict[str, float]):
    pass


class Trials(Sequence[Dog]):
    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError

    def __len__(self) -> int:
        return 0


class Registry(Mapping[str, T]):
    def __getitem__(self, key: str) -> T:
        raise NotImplementedError

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError

    def __len__(self) -> int:
        return 0


class IntTuple(tuple[int, ...]):
    __slots__ = ()


class PairTuple(tuple[int, str]):
    __slots__ = ()


class IterOnly:
    def __iter__(self) -> Iterator[int]:
        yield 1


class GenIter:
    def __iter__(self) -> Generator[str, None, None]:
        yield ""


class GetItemOnly:
    def __getitem__(self, index: int) -> int:
        return index


class Waits:
    def __await__(self) -> Generator[Any, Any, int]:
        yield
        return 1


class AsyncIter:
    async def __aiter__(self) -> AsyncIterator[int]:
        yield 1


class Manager:
    def __enter__(self) -> int:
        return 1

    def __exit__(self, *error: object) -> None:
        return None


class Loader:
    """Iterates as the type it was given."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[Dog]:
        yield Dog()

    def __len__(self) -> int:
        return 0


# Records


class Point(NamedTuple):
    x: int
    y: str


class Deep(NamedTuple):
    items: list[int]
    pair: tuple[int, str]


class Tagged(NamedTuple, Generic[T]):
    tag: str
    value: T


@dataclass
class Data:
    x: int
    y: str = ""


@dataclass(frozen=True)
class Frozen:
    x: int
    y: str = ""


@dataclass
class Wide(Data):
    z: float = 0.0


class Movie(TypedDict):
    title: str
    year: int


class LongMovie(Movie):
    minutes: int


class MaybeMovie(TypedDict):
    title: str
    year: NotRequired[int]


class LooseMovie(TypedDict, total=False):
    title: Required[str]
    year: int


class AnyMovie(TypedDict):
    title: Any
    year: int


class ReadMovie(TypedDict):
    title: ReadOnly[object]
    year: ReadOnly[float]


class ReadMaybe(TypedDict):
    title: ReadOnly[str]
    year: ReadOnly[NotRequired[int]]


class Empty(TypedDict):
    pass


class ClosedMovie(ExtendedTypedDict, closed=True):
    title: str
    year: int


class ClosedMaybe(ExtendedTypedDict, closed=True):
    title: str
    year: int
    minutes: ReadOnly[NotRequired[int]]


class Wrapped(TypedDict, Generic[T]):
    item: T


class WrappedInt(Wrapped[int]):
    extra: str


class Tree(TypedDict):
    label: str
    children: list[Tree]


class Tree2(TypedDict):
    label: str
    children: list[Tree2]


# Protocols


class HasName(Protocol):
    name: str


class HasReadName(Protocol):
    @property
    def name(self) -> str: ...


class HasX(Protocol):
    x: int


class HasXWide(Protocol):
    x: float


class ReadX(Protocol):
    @property
    def x(self) -> int: ...


class ReadXWide(Protocol):
    @property
    def x(self) -> float: ...


class Barks(Protocol):
    def bark(self) -> str: ...


class BarksLoud(Protocol):
    def bark(self, volume: int) -> str: ...


class BarksWide(Protocol):
    def bark(self) -> object: ...


class Runs(Protocol):
    def run(self) -> float: ...


class SupportsLen(Protocol):
    def __len__(self) -> int: ...


class Getter(Protocol[T_co]):
    def get(self) -> T_co: ...


class Putter(Protocol[T_contra]):
    def put(self, item: T_contra) -> None: ...


class CallMe(Protocol):
    def __call__(self, x: int) -> str: ...


class CallPositional(Protocol):
    def __call__(self, x: int, /) -> str: ...


class CallKeyword(Protocol):
    def __call__(self, *, x: int) -> str: ...


class CallTwice(Protocol):
    def __call__(self, first: int, /, *, x: int) -> str: ...


class Copies(Protocol):
    def copy_me(self) -> Self: ...


class Copying:
    def copy_me(self) -> Copying:
        return self


class CopyingSelf:
    def copy_me(self) -> Self:
        return self


class CopyingOther:
    def copy_me(self) -> int:
        return 1


class Linked(Protocol):
    def next(self) -> Linked: ...


class Node:
    def next(self) -> Node:
        return self


class HasKind(Protocol):
    kind: ClassVar[str]


class WithKind:
    kind: ClassVar[str] = "a"


class WithInstanceKind:
    kind: str = "a"


class FinalX:
    x: Final[int] = 1


class PropX:
    @property
    def x(self) -> int:
        return 1


class Painted:
    def __init__(self) -> None:
        self.x = 1


class SetX:
    @property
    def x(self) -> int:
        return 1

    @x.setter
    def x(self, value: int) -> None: ...


class InferredX:
    x = 1


class Makes(Protocol):
    @classmethod
    def make(cls, x: int) -> Animal: ...


class Maker:
    @classmethod
    def make(cls, x: int) -> Dog:
        return Dog()


class StaticMaker:
    @staticmethod
    def make(x: int) -> Dog:
        return Dog()


class MethodMaker:
    def make(self, x: int) -> Dog:
        return Dog()


class Explicit(Barks):
    def bark(self) -> str:
        return ""


class Counts:
    def __call__(self, x: int) -> str:
        return str(x)


class CountsOther:
    def __call__(self, y: int) -> str:
        return str(y)


class CountsMore:
    def __call__(self, x: int, y: int = 0, *rest: int, flag: bool = False) -> str:
        return str(x)


class CountsKeyword:
    def __call__(self, *, x: int) -> str:
        return str(x)


class CountsAll:
    def __call__(self, *args: object, **kwargs: object) -> str:
        return ""


class CountsAsync:
    async def __call__(self, x: int) -> str:
        return str(x)


class AsyncCall(Protocol):
    async def __call__(self, x: int) -> str: ...


class Trains(Protocol):
    def train(self, epochs: int, *, rate: float = ...) -> dict[str, float]: ...


class Trainer:
    def train(self, epochs: int, *, rate: float = 0.1, seed: int = 0) -> dict[str, float]:
        return {}


class StrictTrainer:
    def train(self, epochs: int, *, rate: float) -> dict[str, float]:
        return {}


class OtherNames:
    def train(self, count: int, *, rate: float = 0.1) -> dict[str, float]:
        return {}


# Aliases

Number = TypeAliasType("Number", int | float)
Json = TypeAliasType("Json", "dict[str, Json] | list[Json] | str | int | None")
Json2 = TypeAliasType("Json2", "dict[str, Json2] | list[Json2] | str | int | None")
Many = TypeAliasType("Many", list[T], type_params=(T,))
Positive = Annotated[int, "positive"]
Op = Callable[[int], str]
Flag = Literal["on", "off"]
Rows = Iterable[tuple[str, int]]
Task = Awaitable[int]
