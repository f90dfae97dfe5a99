from collections.abc import Callable, Iterable
from typing import Any, Self

from numpy.random import RandomState

class Parameter:
    random_state: RandomState
    @property
    def dimension(self) -> int: ...
    @property
    def value(self) -> Any: ...
    def spawn_child(self, new_value: object = None) -> Self: ...
    def register_cheap_constraint(
        self, func: Callable[[Any], bool] | Callable[[Any], float], as_layer: bool = False
    ) -> None: ...

class Dict(Parameter):
    def __init__(self, **parameters: object) -> None: ...

class Scalar(Parameter):
    def __init__(
        self,
        init: float | None = None,
        *,
        lower: float | None = None,
        upper: float | None = None,
        mutable_sigma: bool = True,
    ) -> None: ...
    def set_integer_casting(self) -> Self: ...

class Log(Scalar):
    def __init__(
        self,
        *,
        init: float | None = None,
        exponent: float | None = None,
        lower: float | None = None,
        upper: float | None = None,
        mutable_sigma: bool = False,
    ) -> None: ...

class Choice(Parameter):
    def __init__(
        self, choices: int | Iterable[object], repetitions: int | None = None, deterministic: bool = False
    ) -> None: ...

class TransitionChoice(Parameter):
    def __init__(
        self,
        choices: int | Iterable[object],
        transitions: tuple[float, ...] | list[float] = (1.0, 1.0),
        repetitions: int | None = None,
        ordered: bool = True,
    ) -> None: ...
