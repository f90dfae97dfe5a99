"""Telling pages that something has changed: one watcher for each thing, shared by all who look at it.

A watcher asks for a version, which costs next to nothing, at most once a second and never so often that looking and
drawing take more than a fifth of the time. Pages then fetch the parts that changed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Generic, Protocol, TypeVar

from metta.sweep.errors import MettaSweepError

SHORTEST: Final = 1.0
"""Seconds between two looks, at least."""

SHARE: Final = 0.2
"""Of the time that looking and drawing may take."""

SIGN_OF_LIFE: Final = 15.0
"""Seconds after which a quiet stream says that it is still there."""

RETRY_MS: Final = 2_000

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)


class Subject(Protocol[V_co]):
    """What a watcher looks at."""

    @property
    def effort(self) -> float:
        """Seconds that reading and drawing it has taken so far."""

    def version(self) -> V_co:
        """What is there now.

        Raises:
            StorageError: it cannot be read now.
        """


class Watcher(Generic[V]):
    """Looks at a subject as long as somebody listens. Belongs to one event loop.

    Attributes:
        current: the version that was seen last; None before the first look.
        ended: whether the server ends, and the streams with it.
    """

    def __init__(self, subject: Subject[V], *, shortest: float = SHORTEST) -> None:
        self.current: V | None = None
        self.ended: bool = False
        self._subject = subject
        self._shortest = shortest
        self._listeners: set[asyncio.Event] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever `current` has changed."""
        changed = asyncio.Event()
        self._listeners.add(changed)
        if self._task is None:
            self._task = asyncio.create_task(self._watch())
        elif self.current is not None:
            changed.set()
        try:
            yield changed
        finally:
            self._listeners.discard(changed)
            if not self._listeners and self._task is not None:
                self._task.cancel()
                self._task = None
                self.current = None

    def end(self) -> None:
        """End the streams: they would go on for ever."""
        self.ended = True
        for listener in self._listeners:
            listener.set()

    async def _watch(self) -> None:
        while True:
            before = self._subject.effort
            begun = time.perf_counter()
            version = await asyncio.to_thread(self._look)
            spent = time.perf_counter() - begun
            if version is not None and version != self.current:
                self.current = version
                for listener in self._listeners:
                    listener.set()
            await asyncio.sleep(pause(spent, self._shortest))
            # What the pages have had drawn since is paid for too, before the next look.
            drawn = self._subject.effort - before
            await asyncio.sleep(pause(drawn, 0.0))

    def _look(self) -> V | None:
        try:
            return self._subject.version()
        except MettaSweepError:
            return None  # the pages say so; it may be readable again


def pause(spent: float, shortest: float) -> float:
    """Seconds to wait after some work, so that it takes no more than `SHARE` of the time."""
    return max(shortest, spent * (1 - SHARE) / SHARE)


async def stream(
    watcher: Watcher[V], known: V | None, parts: Callable[[V | None, V], list[str]], *, sign: float = SIGN_OF_LIFE
) -> AsyncGenerator[str, None]:
    """Server-sent events (WHATWG HTML, section 9.2): "changed" with the names of the parts that may have changed.

    Args:
        known: the version that the page shows; None where that is not known.
        parts: from the version that the page shows and the new one to the names.
        sign: seconds of silence after which a comment is sent, so that a lost connection is noticed.
    """
    yield f"retry: {RETRY_MS}\n\n"
    async with watcher.listening() as changed:
        while not watcher.ended:
            try:
                await asyncio.wait_for(changed.wait(), sign)
            except TimeoutError:
                yield ": still here\n\n"
                continue
            changed.clear()
            now = watcher.current
            if now is None or now == known:
                continue
            data = json.dumps({"version": str(now), "parts": parts(known, now)})
            known = now
            yield f"id: {now}\nevent: changed\ndata: {data}\n\n"
