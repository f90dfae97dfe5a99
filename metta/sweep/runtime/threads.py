"""Calls in threads of their own: one thread per call, the context variables copied.

Not a pool: a stage may wait for another one (a nested run, a barrier), and in a bounded pool enough of them would
wait for ever. The threads are daemons, so that Ctrl-C is not held up by a call that nothing can stop.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import asyncio


class Outcome(NamedTuple):
    """How a call ended. It carries any exception, StopIteration too, which neither a coroutine nor a future can."""

    value: Any = None
    error: BaseException | None = None

    def result(self) -> Any:
        """The value; raises the error unchanged."""
        if self.error is not None:
            raise self.error
        return self.value


def thread_limit() -> int:
    """How many elements of a map run in threads at once, unless `max_parallel` says otherwise."""
    return min(32, (os.cpu_count() or 1) + 4)


def start_thread(call: Callable[[], object], settle: Callable[[Outcome], object]) -> threading.Thread:
    """Run `call` in a new thread, under a copy of the caller's context; `settle` gets the outcome there."""
    context = copy_context()

    def work() -> None:
        try:
            outcome = Outcome(context.run(call))
        except BaseException as error:
            outcome = Outcome(error=error)
        try:
            settle(outcome)
        finally:
            del outcome  # the error's traceback holds this frame: no cycle

    thread = threading.Thread(target=work, name="metta-sweep-stage", daemon=True)
    thread.start()
    return thread


async def in_thread(call: Callable[..., object], /, *args: Any, **kwargs: Any) -> Any:
    """Call a blocking function without blocking the loop.

    A thread cannot be stopped: when the waiting task is cancelled, the call goes on and its outcome is dropped.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    settled: asyncio.Future[Outcome] = loop.create_future()

    def hand_over(outcome: Outcome) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, settled, outcome)

    start_thread(partial(call, *args, **kwargs), hand_over)
    return (await settled).result()


def off_loop(call: Callable[..., object]) -> Callable[..., Awaitable[Any]]:
    """A blocking function as an async one, which runs in a thread."""
    return partial(in_thread, call)


def _settle(settled: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not settled.done():
        settled.set_result(outcome)
