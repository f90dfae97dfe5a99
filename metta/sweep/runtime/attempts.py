"""One attempt of a stage: its call, in place, in a thread or in a worker process, under its time-out."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from metta.sweep.errors import StageTimeout, UsageError
from metta.sweep.pipeline.hooks import timeout_seconds
from metta.sweep.runtime.threads import in_thread

Invoke: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], Any]
"""(args, kwargs) -> the stage's raw result."""


def blocking_call(stage: str, call: Callable[..., object], control: Mapping[str, Any]) -> Invoke:
    """A sync stage in a sync function: called in place, or in a worker process where a hook asks for one.

    Args:
        stage: its name, for messages.
        call: what is called.
        control: the control hooks that count for the stage, local and global.

    Raises:
        UsageError: `executor` names none that runs single stages.
    """
    if not _needs_worker(stage, control):
        return lambda args, kwargs: call(*args, **kwargs)
    seconds, resources = _limit(control) or math.inf, control.get("resources")

    def in_worker(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        from metta.sweep.executors.child import call_in_child

        return call_in_child(
            call, args, kwargs, timeout=seconds, name=stage, resources=resources, log_folder=_log_folder()
        )

    return in_worker


def looping_call(
    stage: str, call: Callable[..., Any], is_async: bool, control: Mapping[str, Any]
) -> Callable[[tuple[Any, ...], dict[str, Any]], Awaitable[Any]]:
    """A stage in an async function: awaited, or, if it is sync, in a thread or a worker process. Arguments as above."""
    needs_worker = _needs_worker(stage, control)
    seconds = _limit(control)
    if is_async:
        if seconds is None:
            return lambda args, kwargs: call(*args, **kwargs)
        return lambda args, kwargs: _stopped_after(seconds, stage, call, args, kwargs)
    if not needs_worker:
        return lambda args, kwargs: in_thread(call, *args, **kwargs)

    limit, resources = seconds or math.inf, control.get("resources")

    async def in_worker(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        from metta.sweep.executors.child import acall_in_child

        return await acall_in_child(
            call, args, kwargs, timeout=limit, name=stage, resources=resources, log_folder=_log_folder()
        )

    return in_worker


async def _stopped_after(
    seconds: float, stage: str, call: Callable[..., Awaitable[object]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> object:
    import asyncio

    raw: object = None
    cancelled: BaseException | None = None
    try:
        async with asyncio.timeout(seconds) as scope:
            raw = await call(*args, **kwargs)
    except TimeoutError as error:
        if not scope.expired():
            raise  # the stage's own
        cancelled = error.__cause__
    # A stage that swallows its cancellation and returns is late all the same.
    if scope.expired():
        raise StageTimeout(stage, seconds) from cancelled
    return raw


def _log_folder() -> Path | None:
    """Where a durable run keeps what this attempt prints; None in one that leaves nothing behind."""
    from metta.sweep.runtime.scope import current_scope

    scope = current_scope()
    return None if scope is None else scope.log_folder


def _limit(control: Mapping[str, Any]) -> float | None:
    """The time-out in seconds: `timeout`, else what `resources` allows."""
    limit = control.get("timeout")
    if limit is None and "resources" in control:
        limit = control["resources"].time_limit
    return None if limit is None else timeout_seconds(limit)


def _needs_worker(stage: str, control: Mapping[str, Any]) -> bool:
    if "executor" in control:
        _check_executor(stage, control["executor"])
    return not control.keys().isdisjoint(("timeout", "resources", "executor"))


def _check_executor(stage: str, name: str) -> None:
    from metta.sweep.executors.local import LocalExecutor
    from metta.sweep.executors.registry import EXECUTORS

    try:
        found = EXECUTORS.find(name)
    except UsageError as error:
        raise UsageError(f'stage "{stage}": {error}') from None
    if found is not LocalExecutor:
        raise UsageError(
            f'stage "{stage}": executor="{name}" runs trials, not single stages; found among '
            f'{", ".join(EXECUTORS.names())}; use executor="local"'
        )
