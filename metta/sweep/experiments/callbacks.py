"""Callbacks of a sweep: each hears the events in a thread of its own, so that none can stop or slow the sweep."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, Queue
from typing import Final

from metta.sweep.errors import UsageError
from metta.sweep.report.events import Callback, Listener, SweepEnded, SweepEvent, TrialReported

ROOM: Final = 20_000
"""Events that may wait for a callback; beyond that reports are left out."""

PATIENCE: Final = 30.0
"""Seconds that the end of a sweep waits for the callbacks that still have something to do."""


QUIET: Final = 2.0
"""Seconds without an event after which a callback is told that it is idle."""


def checked_callbacks(callbacks: object) -> tuple[Listener | Callback, ...]:
    """`callbacks=`.

    Raises:
        UsageError: it is no sequence, or holds something that hears nothing.
    """
    if isinstance(callbacks, str) or not isinstance(callbacks, Sequence):
        raise UsageError(f"callbacks={callbacks!r:.100}: expected a list, such as callbacks=[{_called(callbacks)}]")
    for callback in callbacks:
        if isinstance(callback, type):
            raise UsageError(f"callbacks=[{callback.__name__}] is a class: write {callback.__name__}(...)")
        if not callable(callback) and not isinstance(callback, Callback):
            raise UsageError(
                f"callbacks=[{callback!r:.100}]: expected a function of an event, or a logger such as CSVLogger('logs')"
            )
    return tuple(callbacks)


def told_too(progress: Listener, callbacks: Sequence[Listener | Callback]) -> Listener:
    """A listener for one run that tells `progress`, and then every callback."""
    if not callbacks:
        return progress
    relays = [Relay(callback.listen() if isinstance(callback, Callback) else callback) for callback in callbacks]

    def tell(event: SweepEvent) -> None:
        progress(event)
        for relay in relays:
            relay(event)
        if isinstance(event, SweepEnded):
            deadline = time.monotonic() + PATIENCE
            for relay in relays:
                relay.finish(deadline)

    return tell


class Relay:
    """Passes events on to a listener in a thread.

    Args:
        listener: hears them, one after the other, in their order. When it has raised it hears no more. Where it has a
            method `idle`, that is called when nothing more has come for some time: what it holds back may be written.
        room: events that may wait; while there are more, reports are left out.
    """

    def __init__(self, listener: Listener, *, room: int = ROOM) -> None:
        self._listener = listener
        self._room = room
        self._queue: Queue[SweepEvent] = Queue()
        self._thread: threading.Thread | None = None
        self._left_out = 0
        self._is_off = False

    def __call__(self, event: SweepEvent) -> None:
        if self._is_off:
            return
        if isinstance(event, TrialReported) and self._queue.qsize() >= self._room:
            self._left_out += 1
            return
        self._queue.put(event)
        if self._thread is None:
            # A daemon: a listener that hangs does not keep the program from ending.
            self._thread = threading.Thread(target=self._pass_on, name=f"callback {self._name}", daemon=True)
            self._thread.start()

    def finish(self, deadline: float) -> None:
        """Wait until everything is passed on, but not beyond `deadline` (of `time.monotonic`); warn of what is not."""
        if self._thread is None or self._is_off:
            return
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            self._is_off = True
            _warn(f"the callback {self._name} is not waited for any longer: it has not heard the whole sweep")
        elif self._left_out:
            _warn(f"the callback {self._name} was too slow: it has not heard {self._left_out} reports")

    @property
    def _name(self) -> str:
        return _called(self._listener)

    def _pass_on(self) -> None:
        idle: Callable[[], None] | None = getattr(self._listener, "idle", None)
        event: SweepEvent | None = None
        while not self._is_off:
            try:
                # After an event there may be something to write, after `idle` there is not.
                event = self._queue.get(timeout=None if event is None or idle is None else QUIET)
            except Empty:
                event = None
            try:
                if event is not None:
                    self._listener(event)
                elif idle is not None:
                    idle()
            except (Exception, SystemExit) as error:  # the latter would end the thread without a word
                self._is_off = True
                logging.getLogger("metta.sweep").debug("the traceback of a callback", exc_info=True)
                _warn(
                    f"the callback {self._name} failed and is switched off, the sweep goes on: "
                    f"{type(error).__name__}: {error}"
                )
            if isinstance(event, SweepEnded):
                return


def _warn(message: str) -> None:
    # Not by `warnings`: where those are errors, one would end the thread that it is raised in.
    logging.getLogger("metta.sweep").warning("%s", message)


def _called(callback: object) -> str:
    return str(getattr(callback, "__name__", type(callback).__name__))
