"""Decorated functions as stages: checked as type checkers see them, and called as they are."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import pytest

from metta.sweep import ContractError, ContractViolation, Pipeline
from metta.sweep.pipeline.reporting import collecting

P = ParamSpec("P")
R = TypeVar("R")


def repeat(times: int) -> Callable[[Callable[P, R]], Callable[P, list[R]]]:
    def decorate(fn: Callable[P, R]) -> Callable[P, list[R]]:
        @functools.wraps(fn)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> list[R]:
            return [fn(*args, **kwargs) for _ in range(times)]

        return wrapper

    return decorate


def blocking(fn: Callable[P, Awaitable[R]]) -> Callable[P, R]:
    @functools.wraps(fn)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        async def main() -> R:
            return await fn(*args, **kwargs)

        return asyncio.run(main())

    return wrapper


def seeded(fn: Callable[Concatenate[int, P], R]) -> Callable[P, R]:
    # No functools.wraps here.
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        return fn(7, *args, **kwargs)

    return wrapper


def clocked(fn: Any) -> Any:
    @functools.wraps(fn)
    def wrapper(*args, **kwargs):  # type: ignore[no-untyped-def]
        return fn(*args, **kwargs), 1.0

    return wrapper


def run_at_once(fn: Any) -> Any:
    @functools.wraps(fn)
    def wrapper(*args, **kwargs):  # type: ignore[no-untyped-def]
        return asyncio.run(fn(*args, **kwargs))

    return wrapper


def within(fn: Any) -> Any:
    @functools.wraps(fn)
    def wrapper(*args, **kwargs):  # type: ignore[no-untyped-def]
        return asyncio.wait_for(fn(*args, **kwargs), 60)

    return wrapper


def half(x: int) -> float:
    return x / 2


async def ahalf(x: int) -> float:
    await asyncio.sleep(0)
    return x / 2


def half_seeded(seed: int, x: int) -> float:
    return (seed + x) / 2


@pytest.mark.parametrize(
    ("fn", "contract", "expected"),
    [
        (repeat(2)(half), list[float], [0.5, 0.5]),
        (repeat(2)(blocking(ahalf)), list[float], [0.5, 0.5]),
        (blocking(ahalf), float, 0.5),
        (seeded(half_seeded), float, 4.0),
        (run_at_once(ahalf), float, 0.5),
        (within(ahalf), float, 0.5),
        (clocked(half), tuple[float, float], (0.5, 1.0)),
    ],
)
def test_a_decorated_stage_runs(fn: Callable[..., Any], contract: Any, expected: object) -> None:
    pipeline = Pipeline(x=int).stage("half", fn).through(y=contract)
    # Async stages around it: on the driver's loop nothing may start a loop of its own.
    both = pipeline.stage("again", ahalf).through(z=float)
    assert pipeline.compile().run(x=1).y == expected
    assert both.compile().run(x=1).y == expected


def test_what_a_decorator_makes_of_the_result_is_checked() -> None:
    repeated: Any = repeat(2)(half)
    with pytest.raises(ContractError, match=r'stage "half" returns list\[float\]; its contract is y: float'):
        Pipeline(x=int).stage("half", repeated).through(y=float)


def test_where_it_is_not_known_the_value_is_checked_and_a_note_names_the_decorator() -> None:
    with collecting() as found:
        pipeline = Pipeline(x=int).stage("half", clocked(half)).through(y=float)
    (note,) = found
    assert (note.code, note.severity) == ("untyped-stage", "note")
    assert note.message == (
        'what stage "half" returns is not known behind the decorator clocked: it is checked only at run time'
    )
    assert note.remedy.startswith("annotate clocked")
    with pytest.raises(ContractViolation, match="half"):
        pipeline.compile().run(x=1)


def test_a_wrapper_that_hides_its_parameters_is_told_how_not_to() -> None:
    def untyped(fn: Any) -> Any:
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> float:  # type: ignore[valid-type]
            value: float = fn(*args, **kwargs)
            return value

        return wrapper

    with collecting() as found:
        Pipeline(x=int).stage("half", untyped(half)).through(y=float)
    (note,) = found
    assert note.code == "untyped-stage"
    assert note.remedy.startswith("write @functools.wraps(fn)")


class Scaled:
    factor = 2

    def scale(self, x: int) -> int:
        return x * self.factor

    def area(self) -> int:
        return self.factor**2


def test_a_method_without_its_instance() -> None:
    unbound: Any = Scaled.scale
    with pytest.raises(ContractError, match="self: Scaled"):
        Pipeline(x=int).stage("scale", unbound).through(y=int)
    assert Pipeline(x=int).stage("scale", Scaled().scale).through(y=int).compile().run(x=1).y == 2


def test_a_method_of_the_value_or_the_elements() -> None:
    assert Pipeline(Scaled).stage("area", Scaled.area).through(area=int).compile().run(Scaled()).area == 4
    mapped = Pipeline(shapes=list[Scaled]).map("area", Scaled.area, over="shapes").through(areas=list[int])
    assert mapped.compile().run(shapes=[Scaled()]).areas == [4]
    unbound: Any = Scaled.area
    with pytest.raises(ContractError, match="elements are int"):
        Pipeline(shapes=list[int]).map("area", unbound, over="shapes").through(areas=list[int])
