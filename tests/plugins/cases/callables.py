"""Everything callable as a stage: what it takes and what it gives is read from it."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, Protocol, TypeVar, overload

from metta.sweep import Context, Pipeline

T = TypeVar("T")
N = TypeVar("N", int, float)
P = ParamSpec("P")
R = TypeVar("R")


class Batch(NamedTuple):
    images: list[float]
    label: str


def use_list(images: list[float]) -> float:
    return sum(images)


def use_number(number: float) -> float:
    return number


def use_text(text: str) -> str:
    return text


# -- generic functions ------------------------------------------------------------------------------------------------


def first(items: Sequence[T]) -> T:
    return items[0]


def same(images: T) -> T:
    return images


def larger(number: N) -> N:
    return number + 1


def pair(images: T) -> tuple[T, T]:
    return images, images


generic_good = (
    Pipeline(items=list[float])
    .stage("first", first)
    .through(number=float)
    .stage("larger", larger)
    .through(number=float)
    .stage("use", use_number)
    .through(result=float)
)
generic_result = (
    Pipeline(items=list[float])
    .stage("first", first)
    .through(
        text=str,  # E: stage-output
    )
    .stage("use", use_text)
    .through(result=str)
)
generic_result_of_text = Pipeline(items=list[str]).stage("first", first).through(text=str).stage("use", use_text)
generic_argument = (
    Pipeline(items=int)
    .stage("first", first)  # E: stage-input
    .through(number=int)
)
generic_value = Pipeline(images=list[float]).stage("same", same).stage("use", use_list).through(total=float)
generic_pair = (
    Pipeline(images=list[float])
    .stage("pair", pair)
    .through(
        a=list[float],
        b=list[int],  # E: stage-output
    )
)
constrained = Pipeline(number=str).stage("larger", larger).through(more=str)  # E: stage-input


# -- decorators -------------------------------------------------------------------------------------------------------


def timed(function: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    return wrapper


def with_seed(function: Callable[Concatenate[int, P], R]) -> Callable[P, R]:
    # No functools.wraps here: the wrapper takes one argument less than what it wraps.
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(0, *args, **kwargs)

    return wrapper


def untyped_decorator(function: Any) -> Any:
    return function


@timed
def decorated(images: list[float], scale: float = 1.0) -> float:
    return sum(images) * scale


@with_seed
def seeded(seed: int, images: list[float]) -> float:
    return seed + sum(images)


@functools.cache
def cached(number: float) -> float:
    return number


@untyped_decorator
def hidden(images: list[float]) -> str:
    return str(images)


decorated_good = (
    Pipeline(images=list[float]).stage("decorated", decorated, scale=2.0).through(number=float).stage("use", use_number)
)
decorated_input = Pipeline(images=list[str]).stage("decorated", decorated)  # E: stage-input
decorated_output = Pipeline(images=list[float]).stage("decorated", decorated).through(text=str)  # E: stage-output
decorated_setting = Pipeline(images=list[float]).stage("decorated", decorated, scale="2")  # E: setting-type
decorated_field = Pipeline(image=list[float]).stage("decorated", decorated)  # E: missing-field
seeded_output = Pipeline(images=list[float]).stage("seeded", timed(decorated)).through(text=str)  # E: stage-output
cached_good = Pipeline(number=float).stage("cached", cached).through(more=float)
hidden_good = Pipeline(images=list[float]).stage("hidden", hidden).through(text=str)  # SN: untyped-stage


# -- *args, **kwargs and defaults -------------------------------------------------------------------------------------


def variadic(*images: float) -> float:
    return sum(images)


def keyword_only(*, images: list[float], scale: float = 1.0) -> float:
    return sum(images) * scale


def positional_only(images: list[float], /) -> float:
    return sum(images)


def open_keywords(images: list[float], **options: float) -> float:
    return sum(images) + len(options)


keyword_only_good = Pipeline(images=list[float]).stage("keyword", keyword_only, scale=2.0).through(number=float)
keyword_only_bad = Pipeline(image=list[float]).stage("keyword", keyword_only)  # E: missing-field
positional_good = Pipeline(list[float]).stage("positional", positional_only).through(number=float)
positional_bad = Pipeline(list[str]).stage("positional", positional_only).through(number=float)  # E: stage-input
open_good = Pipeline(images=list[float]).stage("open", open_keywords, a=1.0, b=2.0).through(number=float)
open_bad = Pipeline(images=list[float]).stage("open", open_keywords, a="1")  # E: setting-type
variadic_stage = Pipeline(list[float]).stage("variadic", variadic).through(number=float)  # N: untyped-stage


# -- overloads --------------------------------------------------------------------------------------------------------


@overload
def double(number: int) -> int: ...
@overload
def double(number: str) -> str: ...
def double(number: int | str) -> int | str:
    return number * 2


overloaded_union = Pipeline(number=int).stage("double", double).through(more=int | str)
overloaded_output = Pipeline(number=int).stage("double", double).through(more=bytes)  # E: stage-output
overloaded_input = Pipeline(number=bytes).stage("double", double)  # E: stage-input
overloaded_missing = Pipeline(count=int, more=int).stage("double", double)  # E: missing-field


# -- async ------------------------------------------------------------------------------------------------------------


async def fetch(url: str) -> Batch:
    return Batch([1.0], url)


def lazily(url: str) -> Awaitable[Batch]:
    return fetch(url)


async_good = Pipeline(url=str).stage("fetch", fetch).through(Batch).stage("use", use_list).through(total=float, retry=3)
async_output = (
    Pipeline(url=str)
    .stage("fetch", fetch)
    .through(
        images=list[float],
        label=bytes,  # E: stage-output
    )
)
async_implied = Pipeline(url=str).stage("fetch", fetch).stage("use", use_number)  # E: stage-input
awaitable = Pipeline(url=str).stage("lazily", lazily).through(Batch)


# -- methods, classes, callable objects -------------------------------------------------------------------------------


class Trainer:
    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def train(self, images: list[float], epochs: int = 1) -> float:
        return sum(images) * self.scale * epochs

    async def later(self, label: str) -> int:
        return len(label)

    @classmethod
    def of_label(cls, label: str) -> Trainer:
        return cls(float(len(label)))

    @staticmethod
    def count(images: list[float]) -> int:
        return len(images)

    @timed
    def decorated(self, images: list[float]) -> float:
        return sum(images)

    @property
    def chosen(self) -> Callable[[list[float]], float]:
        return self.train

    def __call__(self, label: str) -> str:
        return label.upper()


class Deep(Trainer):
    def train(self, images: list[float], epochs: int = 1, depth: int = 2) -> float:
        return sum(images) * depth * epochs


class Callback(Protocol):
    def __call__(self, images: list[float]) -> float: ...


class Store(Generic[T]):
    def __init__(self, value: T) -> None:
        self.value = value

    def put(self, label: T) -> T:
        return label


trainer = Trainer()
callback: Callback = use_list
plain: Callable[[list[float]], float] = use_list
text_store = Store("a")

methods_good = (
    Pipeline(Batch)
    .stage("train", trainer.train, epochs=3)
    .through(number=float)
    .stage("later", trainer.later)
    .through(length=int)
    .stage("class method", Trainer.of_label)
    .through(trainer=Trainer)
    .stage("static", Trainer.count)
    .through(count=int)
    .stage("decorated", trainer.decorated)
    .through(other=float)
    .stage("callable", trainer)
    .through(upper=str)
    .stage("class", Trainer, scale=2.0)
    .through(another=Trainer)
    .stage("deep", Deep().train, depth=3)
    .through(deep=float)
    .stage("generic", text_store.put)
    .through(stored=str)
)
method_input = Pipeline(images=str, label=str).stage("train", trainer.train)  # E: stage-input
method_setting = Pipeline(Batch).stage("train", trainer.train, depth=3)  # E: unknown-setting
method_setting_type = Pipeline(Batch).stage("deep", Deep().train, depth="3")  # E: setting-type
method_output = Pipeline(Batch).stage("later", trainer.later).through(length=str)  # E: stage-output
class_method_output = Pipeline(Batch).stage("of", Trainer.of_label).through(Deep)  # E: stage-output
static_input = Pipeline(label=str).stage("static", Trainer.count)  # E: missing-field
callable_input = Pipeline(label=bytes).stage("callable", trainer)  # E: stage-input
callable_output = Pipeline(label=str).stage("callable", trainer).through(int)  # E: stage-output
class_setting = Pipeline(Batch).stage("class", Trainer, size=3)  # E: unknown-setting
class_output = Pipeline(Batch).stage("class", Trainer).through(trainer=Deep)  # E: stage-output
decorated_method = Pipeline(images=list[str]).stage("decorated", trainer.decorated)  # E: stage-input
generic_method = Pipeline(label=int).stage("generic", text_store.put)  # S: stage-input
protocol_good = Pipeline(images=list[float]).stage("callback", callback).through(number=float)
plain_good = Pipeline(list[float]).stage("plain", plain).through(number=float)
plain_bad = Pipeline(list[str]).stage("plain", plain).through(number=float)  # E: stage-input
plain_output = Pipeline(list[float]).stage("plain", plain).through(number=str)  # E: stage-output
a_property = Pipeline(list[float]).stage("chosen", trainer.chosen).through(number=float)

# -- partial ----------------------------------------------------------------------------------------------------------

partial_good = (
    Pipeline(images=list[float])
    .stage("partial", functools.partial(trainer.train, epochs=2))
    .through(number=float)
    .stage("positional", functools.partial(trainer.train, [1.0]))
    .through(more=float)
)
partial_input = Pipeline(image=list[float]).stage(  # E: missing-field
    "partial",
    functools.partial(decorated, scale=2.0),
)
partial_output = (
    Pipeline(images=list[float])
    .stage("partial", functools.partial(decorated, scale=2.0))
    .through(text=str)  # E: stage-output
)
partial_setting = (
    Pipeline(images=list[float])
    .stage("partial", functools.partial(trainer.train, epochs=2), epoch=3)  # E: unknown-setting
    .through(number=float)
)
partial_value = Pipeline(images=list[float]).stage(
    "partial",
    functools.partial(trainer.train, epochs="2"),  # D: setting-type  # S: arg-type
)

# -- builtins and the whole -------------------------------------------------------------------------------------------


def whole(ctx: Context) -> int:
    return len(ctx.images)


def anything(data: object) -> str:
    return str(data)


def several(items: Iterable[str], sep: str = ",") -> str:
    return sep.join(items)


builtin_good = Pipeline(list[str]).stage("sorted", several).through(text=str).stage("whole", anything)
whole_output = Pipeline(images=list[float]).stage("whole", whole).through(text=str)  # E: stage-output

# The annotations of these stand in a stub: at run time they have none, and definition time gives them the whole.
length_of_a_value = Pipeline(str).stage("length", len)  # DN: untyped-stage
text_of_a_field = Pipeline(seed=str).stage("text", repr)  # DN: untyped-stage
