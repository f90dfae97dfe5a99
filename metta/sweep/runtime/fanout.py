"""Stages side by side: the arms of a parallel and the elements of a map.

Results come back in the declared order, whatever the order of their ends. Of several failures the first in that order
is raised, unchanged; notes on it name the others. Nothing of ours is still running when it is raised: async work is
cancelled, and calls in threads, which nothing can stop, are waited for. (A cancellation or Ctrl-C from outside does
not wait for threads: their outcomes are dropped.)
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from metta.sweep.contracts.summary import summarize
from metta.sweep.runtime.membrane import SKIPPED
from metta.sweep.runtime.stage_hooks import split_map_hooks as split_map_hooks
from metta.sweep.runtime.threads import Outcome, in_thread, start_thread, thread_limit

if TYPE_CHECKING:
    import asyncio

_NO_KEYWORDS: Mapping[str, Any] = {}


def parallel(arms: Sequence[Callable[[], Any]]) -> list[Any]:
    """Call the arms at the same time, the first in this thread, each under a copy of the context variables.

    Returns:
        their results in the order of `arms`.
    """
    outcomes: dict[int, Outcome] = {}
    threads = [start_thread(arm, partial(outcomes.__setitem__, at)) for at, arm in enumerate(arms) if at > 0]
    for arm in arms[:1]:
        try:
            outcomes[0] = Outcome(copy_context().run(arm))
        except Exception as error:
            outcomes[0] = Outcome(error=error)
    for thread in threads:
        thread.join()
    return _in_order("arm", outcomes)


async def aparallel(arms: Sequence[tuple[bool, Callable[[], Any]]]) -> list[Any]:
    """Run the arms at the same time: (True, async arm) as a task, (False, sync arm) in a thread.

    Returns:
        their results in the order of `arms`.
    """
    tasks = [_task(arm) if is_async else _task(partial(in_thread, arm)) for is_async, arm in arms]
    return _in_order("arm", *await _ended(tasks, [task for task, arm in zip(tasks, arms, strict=True) if arm[0]]))


def map_elements(
    call: Callable[..., Any],
    items: Iterable[Any],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] = _NO_KEYWORDS,
    max_parallel: int | None = None,
) -> list[Any]:
    """`call(item, *args, **kwargs)` for every item, in threads.

    An item is taken, in this thread, when there is room to run it; after a failure no more are.

    Args:
        call: a sync function.
        items: consumed lazily.
        args: positional arguments behind the item.
        kwargs: keyword arguments.
        max_parallel: how many run at once; None: cores + 4, at most 32.

    Returns:
        the results in the order of `items`; an element that was skipped is left out.
    """
    outcomes: dict[int, Outcome] = {}
    room = threading.Semaphore(max_parallel or thread_limit())
    failed = threading.Event()
    threads: list[threading.Thread] = []

    def settle(at: int, outcome: Outcome) -> None:
        outcomes[at] = outcome
        if outcome.error is not None:
            failed.set()
        room.release()

    iterator = iter(items)
    while room.acquire() and not failed.is_set():
        at = len(threads)
        try:
            item = next(iterator)
        except StopIteration:
            break
        except Exception as error:
            outcomes[at] = Outcome(error=error)
            break
        threads.append(start_thread(partial(call, item, *args, **kwargs), partial(settle, at)))
    for thread in threads:
        thread.join()
    return _unskipped(_in_order("element", outcomes))


async def amap_elements(
    call: Callable[..., Awaitable[Any]],
    items: Iterable[Any],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] = _NO_KEYWORDS,
    max_parallel: int | None = None,
    *,
    threaded: bool = False,
) -> list[Any]:
    """`await call(item, *args, **kwargs)` for every item, as tasks; otherwise like `map_elements`.

    Args:
        call: an async function; a sync one goes through `threads.off_loop`.
        items: consumed lazily, on the loop.
        args: positional arguments behind the item.
        kwargs: keyword arguments.
        max_parallel: how many run at once; None: all, or, where `threaded`, cores + 4, at most 32.
        threaded: whether `call` runs a sync stage: then the running elements are not cancelled after a failure.
    """
    import asyncio

    limit = max_parallel or (thread_limit() if threaded else None)
    room = None if limit is None else asyncio.Semaphore(limit)
    tasks: list[asyncio.Task[Any]] = []
    broken: Exception | None = None
    failed = False

    def settle(task: asyncio.Task[Any]) -> None:
        nonlocal failed
        failed = failed or task.cancelled() or task.exception() is not None
        if room is not None:
            room.release()

    iterator = iter(items)
    try:
        while True:
            if room is not None:
                await room.acquire()
            if failed:
                break
            try:
                item = next(iterator)
            except StopIteration:
                break
            task = _task(partial(call, item, *args, **kwargs))
            task.add_done_callback(settle)
            tasks.append(task)
    except asyncio.CancelledError:
        await _cancelled(tasks)
        raise
    except Exception as error:
        broken = error
    outcomes, first = await _ended(tasks, () if threaded else tasks, stop=broken is not None)
    if broken is not None:
        outcomes[len(tasks)] = Outcome(error=broken)
        first = len(tasks) if first is None else first
    return _unskipped(_in_order("element", outcomes, first))


def _task(call: Callable[[], Awaitable[Any]]) -> asyncio.Task[Any]:
    import asyncio

    async def run() -> Any:
        return await call()

    return asyncio.get_running_loop().create_task(run())


async def _ended(
    tasks: Sequence[asyncio.Task[Any]], stoppable: Sequence[asyncio.Task[Any]], *, stop: bool = False
) -> tuple[dict[int, Outcome], int | None]:
    """Wait for all tasks; after a failure (or with `stop`), cancel those that can be.

    Returns:
        their outcomes by position, and the first that failed of itself: an error that a cancelled task raises while
        it cleans up comes second to the failure that it was cancelled for.
    """
    import asyncio

    if tasks:
        try:
            if not stop:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            if stop or any(map(_has_failed, tasks)):
                for task in stoppable:
                    task.cancel()
                await asyncio.wait(tasks)
        except asyncio.CancelledError:
            await _cancelled(tasks)
            raise
    first = (at for at, task in enumerate(tasks) if _has_failed(task) and not task.cancelling())
    return {at: _outcome(task) for at, task in enumerate(tasks)}, next(first, None)


async def _cancelled(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel the tasks and wait until they have cleaned up."""
    import asyncio

    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        _outcome(task)  # retrieved: nobody else will


def _has_failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None


def _outcome(task: asyncio.Task[Any]) -> Outcome:
    import asyncio

    if task.cancelled():
        return Outcome(error=asyncio.CancelledError())
    error = task.exception()
    return Outcome(task.result()) if error is None else Outcome(error=error)


def _in_order(what: str, outcomes: Mapping[int, Outcome], first: int | None = None) -> list[Any]:
    """The results by position; raises the first failure (in order, or at `first`), the others noted on it."""
    errors = {at: outcomes[at].error for at in sorted(outcomes) if outcomes[at].error is not None}
    if not errors:
        return [outcomes[at].value for at in sorted(outcomes)]
    first = next(iter(errors)) if first is None else first
    raised = errors.pop(first)
    assert raised is not None
    for at, error in errors.items():
        # A task that was cancelled for this failure did not fail, nor did one that raised the very same object.
        if isinstance(error, Exception) and error is not raised:
            raised.add_note(f"{what} {at + 1} failed too: {summarize(error)}")
    raise raised


def _unskipped(results: list[Any]) -> list[Any]:
    return [result for result in results if result is not SKIPPED]
