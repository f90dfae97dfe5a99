"""What several groups of tests share: hooks that write down what they were given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Recorder:
    """Callables that write down their name and what they were given."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def hook(self, name: str, result: Any = None) -> Callable[..., Any]:
        def call(*data: Any) -> Any:
            self.calls.append((name, *data))
            return result(*data) if callable(result) else result

        return call

    @property
    def names(self) -> list[str]:
        return [name for name, *_ in self.calls]
