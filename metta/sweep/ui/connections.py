"""Connections that cost nothing: who sends no request is let go, and there are never too many.

uvicorn waits for a request for as long as it takes. So without the token anybody who reaches the port could take all
file descriptors of this process, and with them the pages.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST: Final = 128
"""Connections at once. A browser takes six, and one for each open page; some systems give a process 256 files."""

PATIENCE: Final = 10.0
"""Seconds in which a connection has to send a whole request."""


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 on a connection that ends where it says nothing for `PATIENCE` seconds and is told nothing either."""

    most = MOST
    patience = PATIENCE
    _timer: asyncio.TimerHandle | None = None
    _answered: object = None
    _began = 0.0

    def connection_made(self, transport: Any) -> None:
        """It begins."""
        super().connection_made(transport)
        self._began = self.loop.time()
        self._wait()
        if len(self.connections) > self.most:
            others = [each for each in self.connections if isinstance(each, BoundedProtocol) and each is not self]
            # Not the new one, which may be a reader's: a stranger's flood is made of those that say nothing.
            silent = [each for each in others if each.is_silent and not each.transport.is_closing()]
            min(silent, key=lambda each: each._began, default=self).transport.abort()

    @property
    def is_silent(self) -> bool:
        """Whether there is no answer on its way."""
        return self.cycle is None or self.cycle.response_complete

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._timer = self.loop.call_later(self.patience, self._look)

    def _look(self) -> None:
        """Go on while there is an answer on its way, or was a new one since the last look."""
        if self.cycle is self._answered and self.is_silent:
            self.transport.abort()
        else:
            self._answered = self.cycle
            self._wait()
