"""Signatures behind decorators: what the decorator says, what its source hands on, and what nobody can know."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ContextDecorator, contextmanager
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

import pytest
import torch

from metta.sweep.contracts.signature import Kind, Signature, signature_of

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")
F = TypeVar("F", bound=Callable[..., Any])


def draw(seed: int, x: float) -> float:
    return x / seed


async def adraw(seed: int, x: float) -> float:
    return x / seed


@overload
def twice(x: int) -> int: ...
@overload
def twice(x: str) -> str: ...
def twice(x: int | str) -> int | str:
    return x * 2


def read(fn: object) -> Signature[Any]:
    found = signature_of(fn)
    assert found is not None
    return found


def types(fn: object) -> dict[str, Any]:
    return {it.name: it.type for it in read(fn).parameters}


# -- decorators with annotations --------------------------------------------------------------------------------------


def repeat(times: int) -> Callable[[Callable[P, R]], Callable[P, list[R]]]:
    def decorate(fn: Callable[P, R]) -> Callable[P, list[R]]:
        @functools.wraps(fn)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> list[R]:
            return [fn(*args, **kwargs) for _ in range(times)]

        return wrapper

    return decorate


def seeded(fn: Callable[Concatenate[int, P], R]) -> Callable[P, R]:
    @functools.wraps(fn)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        return fn(7, *args, **kwargs)

    return wrapper


def named(fn: Callable[P, R]) -> Callable[Concatenate[str, P], R]:
    @functools.wraps(fn)
    def wrapper(name: str, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return fn(*args, **kwargs)

    return wrapper


def of_text(fn: Callable[[A], R]) -> Callable[[str, A], tuple[A, R]]:
    @functools.wraps(fn)
    def wrapper(text: str, item: A) -> tuple[A, R]:
        return item, fn(item)

    return wrapper


def blocking(fn: Callable[P, Awaitable[R]]) -> Callable[P, R]:
    @functools.wraps(fn)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        async def main() -> R:
            return await fn(*args, **kwargs)

        return asyncio.run(main())

    return wrapper


def in_background(fn: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    @functools.wraps(fn)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        return fn(*args, **kwargs)

    return wrapper


def timed(fn: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(fn)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        return fn(*args, **kwargs)

    return wrapper


def same(fn: F) -> F:
    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        results = [fn(*args, **kwargs)]
        return results[0]

    return wrapper  # type: ignore[return-value]


class Repeat:
    def __init__(self, times: int) -> None:
        self.times = times

    def __call__(self, fn: Callable[P, R]) -> Callable[P, list[R]]:
        @functools.wraps(fn)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> list[R]:
            return [fn(*args, **kwargs) for _ in range(self.times)]

        return wrapper


class Listed(Generic[P, R]):
    def __init__(self, fn: Callable[P, R]) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> list[R]:
        return [self.fn(*args, **kwargs)]


BOTH = {"seed": int, "x": float}


@pytest.mark.parametrize(
    ("fn", "parameters", "returns", "is_async"),
    [
        (repeat(2)(draw), BOTH, list[float], False),
        (Repeat(2)(draw), BOTH, list[float], False),
        (Listed(draw), BOTH, list[float], False),
        (seeded(draw), {"x": float}, float, False),
        (seeded(adraw), {"x": float}, float, True),
        (named(draw), {"name": str, **BOTH}, float, False),
        (of_text(twice), {"text": str, "item": int | str}, None, False),
        (blocking(adraw), BOTH, float, False),
        (in_background(draw), BOTH, float, True),
        (timed(draw), BOTH, float, False),
        (timed(adraw), BOTH, float, True),
        (same(draw), BOTH, float, False),
        (same(adraw), BOTH, float, True),
        (repeat(2)(seeded(draw)), {"x": float}, list[float], False),
        (timed(blocking(seeded(adraw))), {"x": float}, float, False),
    ],
)
def test_a_decorator_is_read_as_its_annotations_say(
    fn: object, parameters: dict[str, Any], returns: object, is_async: bool
) -> None:
    assert types(fn) == parameters
    assert read(fn).is_async is is_async
    if returns is not None:
        assert read(fn).returns == returns


def test_parameters_that_a_decorator_adds_have_no_name_for_its_callers() -> None:
    assert [it.kind for it in read(named(draw)).parameters][:2] == [Kind.POSITIONAL_ONLY, Kind.POSITIONAL_OR_KEYWORD]
    assert {it.kind for it in read(of_text(twice)).parameters} == {Kind.POSITIONAL_ONLY}


def test_overloads_survive_a_decorator_that_changes_nothing() -> None:
    assert read(timed(twice)).overloads == read(twice).overloads != ()
    assert read(repeat(2)(twice)).overloads == ()


def test_a_decorator_inside_a_function_that_is_running() -> None:
    def local(fn: Callable[P, R]) -> Callable[P, list[R]]:
        @functools.wraps(fn)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> list[R]:
            return [fn(*args, **kwargs)]

        return wrapper

    assert read(local(draw)).returns == list[float]


class Experiment:
    @repeat(2)
    def train(self, x: int) -> float:
        return 0.0

    @staticmethod
    def shown(x: int) -> float:
        return 0.0


def test_decorated_methods() -> None:
    assert (types(Experiment().train), read(Experiment().train).returns) == ({"x": int}, list[float])


def test_annotations_that_were_not_copied_are_the_wrapper_s_own() -> None:
    def by_hand(fn: Any) -> Any:
        @functools.wraps(fn, assigned=("__name__",))
        def wrapper(*args: Any, **kwargs: Any) -> str:
            return str(fn(*args, **kwargs))

        return wrapper

    assert (types(by_hand(draw)), read(by_hand(draw)).returns) == (BOTH, str)


# -- without functools.wraps ------------------------------------------------------------------------------------------


def bare(fn: Callable[Concatenate[int, P], R]) -> Callable[P, list[R]]:
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> list[R]:
        return [fn(7, *args, **kwargs)]

    return wrapper


def without_hints(fn: Any) -> Any:
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> float:  # type: ignore[valid-type]
        return fn(*args, **kwargs)  # type: ignore[no-any-return]

    return wrapper


def test_a_wrapper_of_a_param_spec_is_seen_through_without_functools_wraps() -> None:
    assert (types(bare(draw)), read(bare(draw)).returns) == ({"x": float}, list[float])


def test_what_its_decorator_does_not_say_stays_unreadable() -> None:
    assert [it.kind for it in read(without_hints(draw)).parameters] == [Kind.VAR_POSITIONAL, Kind.VAR_KEYWORD]


# -- decorators without annotations -----------------------------------------------------------------------------------


def traced(fn: Any) -> Any:
    @functools.wraps(fn)
    def wrapper(*args, **kwargs):  # type: ignore[no-untyped-def]
        result = fn(*args, **kwargs)
        print("traced")
        return result

    return wrapper


def clocked(fn: Any) -> Any:
    @functools.wraps(fn)
    def wrapper(*args, **kwargs):  # type: ignore[no-untyped-def]
        return fn(*args, **kwargs), 1.0

    return wrapper


def silenced(fn: Any) -> Any:
    @functools.wraps(fn)
    def wrapper(*args, **kwargs):  # type: ignore[no-untyped-def]
        try:
            return fn(*args, **kwargs)
        except ValueError:
            print("never mind")

    return wrapper


def retried(fn: Any) -> Any:
    @functools.wraps(fn)
    def wrapper(*args, **kwargs):  # type: ignore[no-untyped-def]
        while True:
            try:
                return fn(*args, **kwargs)
            except ValueError as error:
                if error.args:
                    raise
                return fn(*args, **kwargs)

    return wrapper


def injected(fn: Any) -> Any:
    @functools.wraps(fn)
    def wrapper(*args, **kwargs):  # type: ignore[no-untyped-def]
        return fn(7, *args, **kwargs)

    return wrapper


def injected_by_name(fn: Any) -> Any:
    @functools.wraps(fn)
    def wrapper(*args, **kwargs):  # type: ignore[no-untyped-def]
        return fn(*args, seed=7, **kwargs)

    return wrapper


def narrowed(fn: Any) -> Any:
    @functools.wraps(fn)
    def wrapper(x, y=1):  # type: ignore[no-untyped-def]
        return fn(y, x)

    return wrapper


def run_at_once(fn: Any) -> Any:
    @functools.wraps(fn)
    def wrapper(*args, **kwargs):  # type: ignore[no-untyped-def]
        return asyncio.run(fn(*args, **kwargs))

    return wrapper


@contextmanager
def scope() -> Iterator[None]:
    yield


class Scope(ContextDecorator):
    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


@pytest.mark.parametrize("decorate", [traced, retried, scope(), Scope(), torch.no_grad(), torch.inference_mode()])
def test_one_that_hands_the_result_on_changes_nothing(decorate: Callable[[Any], Any]) -> None:
    assert read(decorate(draw)) == read(draw)


@pytest.mark.parametrize("decorate", [clocked, silenced])
def test_what_one_makes_of_the_result_is_not_known(decorate: Callable[[Any], Any]) -> None:
    found = read(decorate(draw))
    assert (found.parameters, found.returns) == (read(draw).parameters, None)
    assert found.hidden_by == decorate.__name__


def test_an_argument_that_one_gives_itself_is_not_asked_for() -> None:
    assert types(injected(draw)) == types(injected_by_name(draw)) == {"x": float}
    assert [(it.name, it.type, it.required) for it in read(narrowed(draw)).parameters] == [
        ("x", float, True),
        ("y", None, False),
    ]


def test_where_the_annotations_stop_the_source_goes_on() -> None:
    def partly(fn: Callable[..., R]) -> Callable[..., list[R]]:
        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> list[R]:
            return [fn(7, *args, **kwargs)]

        return wrapper

    assert (types(partly(draw)), read(partly(draw)).returns) == ({"x": float}, list[float])


def test_whether_one_awaits_is_not_known() -> None:
    assert (read(traced(adraw)).is_async, read(traced(adraw)).may_be_async) == (True, False)
    assert (read(run_at_once(adraw)).is_async, read(run_at_once(adraw)).may_be_async) == (True, True)
    assert not read(run_at_once(draw)).may_be_async


def test_one_around_a_function_without_annotations_hides_nothing() -> None:
    assert read(clocked(lambda x: x)).hidden_by == ""


# -- methods of a class -----------------------------------------------------------------------------------------------


def test_a_method_taken_from_its_class_asks_for_an_instance() -> None:
    class Local:
        def scaled(self, x: int) -> int:
            return x

        @classmethod
        def made(cls, x: int) -> int:
            return x

        @staticmethod
        def shown(x):  # type: ignore[no-untyped-def]
            return x

    assert types(Local.scaled) == {"self": Local, "x": int}
    assert types(Local().scaled) == types(Local.made) == {"x": int}
    assert types(Local.shown) == {"x": None}
    assert types(Experiment.shown) == {"x": int}
    assert types(Experiment.train) == {"self": Experiment, "x": int}
