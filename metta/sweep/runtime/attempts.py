"""One attempt of a stage: its call, in place, in a thread, in a worker or on an executor, under its time-out."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from metta.sweep.errors import StageTimeout, UsageError
from metta.sweep.pipeline.hooks import timeout_seconds
from metta.sweep.runtime.threads import in_thread

if TYPE_CHECKING:
    from metta.sweep.executors.base import Task
    from metta.sweep.trial import Resources

Invoke: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], Any]
"""(args, kwargs) -> the stage's raw result."""


def blocking_call(stage: str, call: Callable[..., object], control: Mapping[str, Any]) -> Invoke:
    """A sync stage in a sync function: called in place, or in another process where a hook asks for one.

    Args:
        stage: its name, for messages.
        call: what is called.
        control: the control hooks that count for the stage, local and global.

    Raises:
        UsageError: `executor` is none.
    """
    source = _executor_source(stage, control)
    if not _needs_worker(control):
        return lambda args, kwargs: call(*args, **kwargs)
    seconds, resources = time_limit(control) or math.inf, control.get("resources")

    def in_worker(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        from metta.sweep.executors.child import call_in_child

        return call_in_child(
            call, args, kwargs, timeout=seconds, name=stage, resources=resources, log_folder=_log_folder()
        )

    def elsewhere(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        from metta.sweep.executors.child import call_on
        from metta.sweep.executors.shared import shared_executor

        task, earlier = _task(stage, call, args, kwargs, seconds, resources)
        return call_on(shared_executor(source), task, adopt=earlier)

    return in_worker if source is None else elsewhere


def looping_call(
    stage: str, call: Callable[..., Any], is_async: bool, control: Mapping[str, Any]
) -> Callable[[tuple[Any, ...], dict[str, Any]], Awaitable[Any]]:
    """A stage in an async function: awaited, or, if it is sync, in a thread or a worker process. Arguments as above.

    On an executor that is not this process's own both kinds run in the same way.
    """
    source, seconds = _executor_source(stage, control), time_limit(control)
    limit, resources = seconds or math.inf, control.get("resources")

    async def elsewhere(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        from metta.sweep.executors.child import acall_on
        from metta.sweep.executors.shared import shared_executor

        task, earlier = _task(stage, call, args, kwargs, limit, resources)
        return await acall_on(shared_executor(source), task, adopt=earlier)

    if source is not None:
        return elsewhere
    if is_async:
        if seconds is None:
            return lambda args, kwargs: call(*args, **kwargs)
        return lambda args, kwargs: _stopped_after(seconds, stage, call, args, kwargs)
    if not _needs_worker(control):
        return lambda args, kwargs: in_thread(call, *args, **kwargs)

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


def time_limit(control: Mapping[str, Any]) -> float | None:
    """The time-out in seconds: `timeout`, else what `resources` allows."""
    limit = control.get("timeout")
    if limit is None and "resources" in control:
        limit = control["resources"].time_limit
    return None if limit is None else timeout_seconds(limit)


def _needs_worker(control: Mapping[str, Any]) -> bool:
    return not control.keys().isdisjoint(("timeout", "resources", "executor"))


def _executor_source(stage: str, control: Mapping[str, Any]) -> Any:
    """What `executor` stands for; None where there is none, and for the workers of this process."""
    if "executor" not in control:
        return None
    from metta.sweep.executors.shared import source_of

    try:
        return source_of(control["executor"])
    except UsageError as error:
        raise UsageError(f'stage "{stage}": {error}') from None


def _task(
    stage: str,
    call: Callable[..., object],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    seconds: float,
    resources: Resources | None,
) -> tuple[Task, list[str]]:
    """The task of this attempt, and the tokens under which drivers that died may have left it running."""
    from metta.sweep.executors.child import stage_task
    from metta.sweep.runtime.scope import current_scope

    scope = current_scope()
    folder = None if scope is None else scope.log_folder
    tokens = [] if scope is None or folder is None else scope.tokens
    task = stage_task(
        call,
        args,
        kwargs,
        timeout=seconds,
        name=stage,
        resources=resources,
        log_folder=folder,
        token=tokens[0] if tokens else None,
    )
    return task, tokens[1:]
