"""Protocols against a view of the context, what `on_error` takes, overloads that are chosen by the arguments."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, overload

from metta.sweep import Context, HookSet, Pipeline

T = TypeVar("T")


class Output(NamedTuple):
    loss: float


class HasLoss(Protocol):
    @property
    def loss(self) -> float: ...


class HasAccuracy(Protocol):
    @property
    def accuracy(self) -> float: ...


class HasTextLoss(Protocol):
    @property
    def loss(self) -> str: ...


class Of(Protocol[T]):
    loss: T


class HasCode(Protocol):
    code: int


def train(seed: int) -> Output:
    return Output(1.0 / seed)


def halve(loss: float) -> float:
    return loss / 2


def score(seed: int) -> float:
    return float(seed)


def anything(seed: int) -> Any:
    return seed


# -- a Protocol asks a view for its fields ----------------------------------------------------------------------------


def of_loss(data: HasLoss) -> bool:
    return data.loss > 1


def of_accuracy(data: HasAccuracy) -> bool:
    return data.accuracy > 1


def of_text(data: HasTextLoss) -> bool:
    return data.loss == ""


def of_either(data: HasAccuracy | HasLoss | None) -> bool:
    return data is None


def of_neither(data: HasAccuracy | HasTextLoss) -> bool:
    return data is not None


def of_generic(data: Of[float]) -> bool:
    return data.loss > 1


def of_generic_text(data: Of[str]) -> bool:
    return data.loss == ""


half = Pipeline().stage("halve", halve).through(loss=float)
start = Pipeline(loss=float)

fits = start.conditional(of_loss, half).conditional(of_either, half).conditional(of_generic, half)
lacks = start.conditional(of_accuracy, half)  # E: hook-signature
differs = start.conditional(of_text, half)  # E: hook-signature
either = start.conditional(of_neither, half)  # E: hook-signature
generic = start.conditional(of_generic_text, half)  # E: hook-signature
nearly = Pipeline(acuracy=float, loss=float).conditional(of_accuracy, half)  # E: hook-signature
of_a_value = Pipeline(Output).conditional(of_loss, Pipeline().stage("end", halve).through(Output))  # E: stage-output
of_the_value = Pipeline(Output).loop_while(of_loss).stage("halve", halve).through(loss=float).end_loop()
wrong_value = (
    Pipeline(Output)
    .loop_while(of_accuracy)  # E: hook-signature
    .stage("halve", halve)
    .through(loss=float)
    .end_loop()
)

maybe_set = (
    Pipeline(loss=float)
    .conditional(of_loss, Pipeline(loss=float).stage("measure", halve).through(accuracy=float))
    .loop_while(
        of_accuracy,  # E: hook-signature
    )
    .stage("halve", halve)
    .through(loss=float)
    .end_loop(
        until=of_text,  # E: hook-signature
    )
)
looped = (
    Pipeline(seed=int)
    .loop_while(None)
    .stage("score", score)
    .through(loss=float)
    .break_if(of_accuracy)  # E: hook-signature
    .end_loop(until=of_loss)
)
hooked = (
    Pipeline(seed=int)
    .stage("score", score)
    .through(
        loss=float,
        after=of_loss,
        before=of_accuracy,  # E: hook-signature
        skip_if=of_loss,  # E: hook-signature, skip-without-value
    )
)
nested_hooked = (
    Pipeline(seed=int)
    .stage("inner", Pipeline(seed=int).stage("score", score).through(loss=float))
    .through(
        after=of_loss,
        log=of_text,  # E: hook-signature
    )
)
# Behind a stage of which nothing is known, and in an open pipeline, nothing is said.
unknown = Pipeline(seed=int).stage("anything", anything).conditional(of_accuracy, half)
first_step = Pipeline().conditional(of_accuracy, half)  # E: hook-signature


def later() -> Pipeline:
    inside = Pipeline().stage("halve", halve).through(loss=float).conditional(of_accuracy, half)
    return Pipeline(loss=float, accuracy=float).stage("inside", inside)


outside = later()


# -- what on_error takes ----------------------------------------------------------------------------------------------


def any_error(error: Any) -> Output | None:
    return None


def wide(error: object) -> Output | None:
    return None


def base(error: BaseException, data: Context) -> Output | None:
    return None


def narrow(error: OSError | ValueError) -> Output | None:
    return None


def or_text(error: str | Exception) -> Output | None:
    return None


def by_protocol(error: HasCode) -> Output | None:
    return None


def bounded(error: BaseException) -> Output | None:
    return None


def of_message(error: str) -> Output | None:
    return None


def of_either_message(error: str | bytes, data: Context) -> Output | None:
    return None


def of_class(error: type[Exception]) -> Output | None:
    return None


def staged(error: str, stage: str) -> None: ...
def named(stage: str, error: Exception) -> None: ...
def keyword(*, error: Exception) -> Output | None:
    return None


p = Pipeline(seed=int).stage("train", train)
taken = [
    p.through(Output, on_error=any_error),
    p.through(Output, on_error=wide),
    p.through(Output, on_error=base),
    p.through(Output, on_error=narrow),
    p.through(Output, on_error=or_text),
    p.through(Output, on_error=by_protocol),
    p.through(Output, on_error=bounded),
    p.through(Output, on_error=lambda error: None),
]
message = p.through(Output, on_error=of_message)  # E: hook-signature
either_message = p.through(Output, on_error=of_either_message)  # E: hook-signature
a_class = p.through(Output, on_error=of_class)  # E: hook-signature
everywhere = p.through(Output).with_global_hooks(on_error=named)
wrong_everywhere = p.through(Output).with_global_hooks(on_error=staged)  # E: hook-signature
by_keyword = p.through(Output, on_error=keyword)  # E: hook-signature


# -- overloads --------------------------------------------------------------------------------------------------------


@overload
def double(number: int) -> int: ...
@overload
def double(number: str) -> str: ...
def double(number: int | str) -> int | str:
    return number * 2


@overload
def read(name: str, raw: Literal[True]) -> bytes: ...
@overload
def read(name: str, raw: Literal[False] = False) -> str: ...
def read(name: str, raw: bool = False) -> bytes | str:
    return name.encode() if raw else name


@overload
def first(items: list[T]) -> T: ...
@overload
def first(items: dict[str, T]) -> list[T]: ...
def first(items: Any) -> Any:
    return next(iter(items))


@overload
def alike(number: int) -> float: ...
@overload
def alike(number: str) -> float: ...
def alike(number: Any) -> Any:
    return float(number)


class Reader:
    @overload
    def read(self, name: str) -> str: ...
    @overload
    def read(self, name: bytes) -> bytes: ...
    def read(self, name: str | bytes) -> str | bytes:
        return name

    @overload
    def __call__(self, name: str) -> str: ...
    @overload
    def __call__(self, name: bytes) -> bytes: ...
    def __call__(self, name: str | bytes) -> str | bytes:
        return name


reader = Reader()
chosen = Pipeline(number=int).stage("double", double).through(number=int)
chosen_text = Pipeline(number=str).stage("double", double).through(number=str).stage("again", double).through(text=str)
implied = Pipeline(number=str).stage("double", double).stage("end", lambda d: d).through(text=str)  # DN: untyped-stage
wrong_choice = Pipeline(number=int).stage("double", double).through(text=str)  # E: stage-output
both = Pipeline(number=int | str).stage("double", double).through(end=int)
unsure = Pipeline(number=Any).stage("double", double).through(end=int)
neither = Pipeline(number=float).stage("double", double)  # E: stage-input
by_setting = Pipeline(name=str).stage("read", read, raw=True).through(data=bytes)
by_default = Pipeline(name=str).stage("read", read).through(data=str)
wrong_setting = Pipeline(name=str).stage("read", read, raw=True).through(data=str)  # E: stage-output
wrong_default = Pipeline(name=str).stage("read", read).through(data=bytes)  # E: stage-output
generic_choice = Pipeline(items=dict[str, int]).stage("first", first).through(values=list[int])
wrong_generic = Pipeline(items=list[int]).stage("first", first).through(value=str)  # E: stage-output
agreed = Pipeline(number=int).stage("alike", alike).through(end=str)  # E: stage-output
agreed_on_any = Pipeline(number=Any).stage("alike", alike).through(end=str)  # E: stage-output
bound = Pipeline(name=str).stage("read", partial(read, raw=True)).through(data=bytes)
method = Pipeline(name=bytes).stage("read", reader.read).through(data=bytes)
wrong_method = Pipeline(name=str).stage("read", reader.read).through(data=bytes)  # E: stage-output
called = Pipeline(name=str).stage("read", reader).through(data=bytes)  # E: stage-output
mapped = Pipeline(numbers=list[int]).map("double", double, over="numbers").through(ends=list[int])
wrong_map = Pipeline(numbers=list[int]).map("double", double, over="numbers").through(ends=list[str])  # E: stage-output
opened = Pipeline().stage("double", double).through(end=str)


# -- hook sets, and words ---------------------------------------------------------------------------------------------


def misspelt() -> None:
    HookSet(retires=3)  # S: call-arg
    HookSet(retry="3")  # S: arg-type


production = HookSet(retry=3, timeout=5.0, log=print)
merged = production | {"cache": True}


def named_only(data: Output, *, verbose: bool) -> None: ...
def starred(*names: str, verbose: bool) -> None: ...


needs_verbose = p.through(Output, after=named_only)  # E: hook-signature
needs_starred = p.through(Output, after=starred)  # E: hook-signature

observe: Callable[[list[float]], None] = lambda data: None  # noqa: E731
predicate: Callable[[str, int], bool] = lambda data, count: True  # noqa: E731
nameless = p.through(Output, after=observe)  # S: hook-signature
nameless_count = Pipeline(Output).conditional(predicate, half)  # E: hook-signature


# -- what is wrong with an arm stands where the arm does --------------------------------------------------------------

closed = Pipeline(seed=int).stage("score", score).through(score=float)
arms = Pipeline(loss=float).conditional(
    of_loss,
    score,  # E: missing-field
    closed,  # E: missing-field
)
named_arms = Pipeline(loss=float).conditional(
    of_loss,
    otherwise=score,  # E: missing-field
    then=half,
)
no_arm = Pipeline(loss=float).conditional(
    of_loss,
    then=halve(2.0),  # E: not-a-stage
)
listed = Pipeline(loss=float).parallel(
    [
        halve,
        score,  # E: missing-field
        closed,  # E: missing-field
    ]
)
mapped_arms = Pipeline(loss=float).parallel(
    {
        "half": halve,
        "score": score,  # E: missing-field
        "closed": closed,  # E: missing-field
    }
)
inside_arms = Pipeline(loss=float).parallel(
    [
        Pipeline().stage("half", halve).through(loss=str),  # E: stage-output
        score,  # E: missing-field
    ]
)


# -- a view in words --------------------------------------------------------------------------------------------------


def of_output(data: Output) -> bool:
    return data.loss > 1


many = (
    Pipeline(loss=float, first_number=int, second_number=int, third_number=int)
    .stage("halve", halve)
    .through(
        loss=float,
        skip_if=of_output,  # E: hook-signature
    )
)
few = (
    Pipeline(loss=float)
    .conditional(of_loss, Pipeline(loss=float).stage("measure", halve).through(accuracy=float))
    .stage("halve", halve)
    .through(
        loss=float,
        skip_if=of_output,  # E: hook-signature
    )
)
