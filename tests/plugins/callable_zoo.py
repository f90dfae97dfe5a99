"""Callables of every kind, imported at run time and read by mypy."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, NotRequired, ParamSpec, Protocol, TypedDict, TypeVar, overload

import attrs
import pydantic
from torch import nn

T = TypeVar("T")
P = ParamSpec("P")


def plain(a: int, /, b: str, *rest: bytes, c: float = 0.5, **more: bool) -> list[int]:
    return []


def nothing() -> None: ...


def defaults(a: int, b: int | None = None, *, c: str, d: str = "") -> dict[str, float]:
    return {}


def in_order(a: int, b: str, *rest: int, c: float = 0.0) -> str:
    return b


def untyped(a, b=1, *rest, c, **more):  # type: ignore[no-untyped-def]
    return a


def partly(a: int, b) -> int:  # type: ignore[no-untyped-def]
    return a


def no_result(a: int):  # type: ignore[no-untyped-def]
    return a


def anything(*args: Any, **kwargs: Any) -> Any:
    return None


def generic(items: list[T], first: T) -> dict[str, T]:
    return {"": first}


async def in_async(a: int) -> str:
    return ""


async def untyped_async(a):  # type: ignore[no-untyped-def]
    return a


def later(a: int) -> Awaitable[list[str]]:
    return in_future(a)


async def in_future(a: int) -> list[str]:
    return []


def coroutine(a: int) -> Coroutine[Any, Any, bytes]:
    raise NotImplementedError


async def numbers(a: int) -> AsyncIterator[int]:
    yield a


def lines(a: int) -> Iterable[str]:
    yield ""


class Waiting:
    def __await__(self) -> Generator[Any, None, int]:
        yield
        return 1


def waits(a: int) -> Waiting:
    return Waiting()


@overload
def many(x: int) -> int: ...
@overload
def many(x: str, y: int = 0) -> str: ...
def many(x: int | str, y: int = 0) -> int | str:
    return x


def timed(fn: Callable[P, T]) -> Callable[P, T]:
    @functools.wraps(fn)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T:
        return fn(*args, **kwargs)

    return inner


@timed
def decorated(a: int, *, b: str = "") -> float:
    return 0.0


@functools.cache
def cached(a: int) -> str:
    return ""


class Trainer:
    def train(self, trials: list[int], *, rate: float = 0.1) -> dict[str, float]:
        return {}

    @classmethod
    def load(cls, path: str) -> Trainer:
        return cls()

    @staticmethod
    def score(result: float) -> bool:
        return True

    async def fetch(self, key: str, /) -> bytes:
        return b""

    def __call__(self, batch: list[str]) -> int:
        return 0

    @overload
    def pick(self, x: int) -> int: ...
    @overload
    def pick(self, x: str) -> str: ...
    def pick(self, x: int | str) -> int | str:
        return x

    class Inner:
        def work(self, x: int) -> int:
            return x


class Child(Trainer):
    pass


class AsyncCallable:
    async def __call__(self, x: int) -> str:
        return ""


class Base(Generic[T]):
    def run(self, item: T) -> list[T]:
        return [item]


class Concrete(Base[int]):
    pass


class Empty:
    pass


class Net(nn.Module):
    def __init__(self, width: int, depth: int = 2) -> None:
        super().__init__()

    def forward(self, batch: list[float], *, scale: float = 1.0) -> float:
        return 0.0


class Counted:
    def __new__(cls, count: int, *, name: str = "") -> Counted:
        return super().__new__(cls)


@dataclass
class Data:
    x: int
    y: str = ""


class Named(NamedTuple):
    x: int
    y: str = ""


class Options(TypedDict):
    rate: float
    note: NotRequired[str]


@attrs.define
class Defined:
    x: int
    _hidden: str = ""


class Model(pydantic.BaseModel):
    x: int
    y: list[str] = []


class Makes(Protocol):
    def __call__(self, x: int, /) -> str: ...


def made(x: int) -> str:
    return ""


maker: Makes = made
trainer = Trainer()
concrete = Concrete()
net = Net(3)
bound = functools.partial(defaults, 1, c="x")
bound_keyword = functools.partial(defaults, b=3)
bound_method = functools.partial(trainer.train, rate=0.5)
bound_class = functools.partial(Net, depth=3)
bound_optional = functools.partial(defaults, d="")
value: Any = plain
