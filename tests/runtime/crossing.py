"""What the tests of the membrane share: a recorder, a shaping, and the three ways in which a stage can be run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from metta.sweep.errors import ContractViolation
from metta.sweep.runtime.membrane import HookedStage, async_membrane, sync_membrane
from tests.recorder import Recorder as Recorder

Runner: TypeAlias = Callable[..., Any]


class IntShaping:
    """The contract is an int; outside the membrane it is text."""

    def __init__(self, recorder: Recorder | None = None) -> None:
        self._calls = [] if recorder is None else recorder.calls

    def enter(self, raw: object) -> object:
        self._calls.append(("enter", raw))
        self._verify(raw)
        return raw

    substitute = enter

    def recheck(self, data: object) -> None:
        self._calls.append(("recheck", data))
        self._verify(data)

    def leave(self, data: object) -> object:
        self._calls.append(("leave", data))
        return str(data)

    def _verify(self, data: object) -> None:
        if not isinstance(data, int):
            raise ContractViolation(f"expected int, found {data!r}", stage="train", data=data)


class Plain:
    """No contract."""

    def enter(self, raw: object) -> object:
        return raw

    substitute = enter

    def recheck(self, data: object) -> None:
        pass

    def leave(self, data: object) -> object:
        return data

    rejoin = leave


def hooked(
    call: Callable[..., Any],
    hooks: Mapping[str, Any],
    *global_hooks: Mapping[str, Any],
    is_async: bool = False,
    shaping: Any = None,
    keeps: bool = False,
) -> HookedStage:
    return HookedStage("train", call, is_async, hooks, global_hooks, shaping or Plain(), keeps)


def run_sync(call: Callable[..., Any], hooks: Mapping[str, Any], *globals_: Mapping[str, Any], **more: Any) -> Runner:
    return sync_membrane(hooked(call, hooks, *globals_, **more))


def run_threaded(
    call: Callable[..., Any], hooks: Mapping[str, Any], *globals_: Mapping[str, Any], **more: Any
) -> Runner:
    """A sync stage in an async function."""
    membrane = async_membrane(hooked(call, hooks, *globals_, **more))
    return lambda *args, **kwargs: asyncio.run(membrane(*args, **kwargs))


def run_async(call: Callable[..., Any], hooks: Mapping[str, Any], *globals_: Mapping[str, Any], **more: Any) -> Runner:
    """An async stage; its hooks are async too."""

    async def stage(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return call(*args, **kwargs)

    membrane = async_membrane(hooked(stage, _awaitable(hooks), *map(_awaitable, globals_), is_async=True, **more))
    return lambda *args, **kwargs: asyncio.run(membrane(*args, **kwargs))


def _awaitable(hooks: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: hook if isinstance(hook, type) or not callable(hook) else _as_async(name, hook)
        for name, hook in hooks.items()
    }


def _as_async(name: str, hook: Callable[..., Any]) -> Callable[..., Any]:
    if name == "on_error":
        return hook  # its number of parameters counts

    async def call(*data: Any) -> Any:
        await asyncio.sleep(0)
        return hook(*data)

    return call
