"""All attempts of one executor: what its two threads and its callers share, under one lock."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from metta.sweep.errors import StorageError
from metta.sweep.executors.base import Failed, Finished
from metta.sweep.executors.remote import spool
from metta.sweep.executors.remote.attempt import Attempt
from metta.sweep.trial import FailureReason

LOG: Final = logging.getLogger("metta.sweep")


@dataclass(slots=True)
class Leaving:
    """A job that is over for us, and that the engine has to end and to forget.

    Attributes:
        label: of its submission.
        folder: of its attempt, where `job.json` stays until the engine has forgotten the job.
        since: by the monotonic clock.
        must_end: whether it may still run, and be no use.
        cancelled: whether the engine was told so.
    """

    label: str
    folder: Path
    since: float
    must_end: bool
    cancelled: bool = False


@dataclass(slots=True)
class Table:
    """Whoever reads or changes it holds `changed`, and notifies it.

    Attributes:
        attempts: token -> record, of all that are not over.
        waiting: those of them that were not handed in yet, oldest first.
        leaving: the engine's id -> a job that is over for us.
        closing: no more attempts are taken, and those there are end.
    """

    changed: threading.Condition = field(default_factory=threading.Condition)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    waiting: list[Attempt] = field(default_factory=list)
    leaving: dict[str, Leaving] = field(default_factory=dict)
    closing: bool = False

    def stop(self, attempt: Attempt, reason: FailureReason) -> None:
        """Tell an attempt to end, once."""
        if attempt.stopping is None:
            attempt.stopping = reason
            attempt.stopped_at = time.monotonic()
            attempt.outgoing.append({"cancel": True})
            attempt.look_at = 0.0
            self.changed.notify_all()

    def conclude(self, attempt: Attempt, event: Finished | Failed, *, has_ended: bool) -> None:
        """An attempt is over: nothing of it counts any more, and then its last event is told.

        Args:
            attempt: which.
            event: the last one.
            has_ended: whether its worker program has said so itself, and so runs no more.
        """
        # What its driver has ended, the next one must not take for its end.
        if not has_ended or attempt.stopping is not None:
            try:
                spool.fence(attempt.folder)
            except StorageError as error:  # what it may still write is in a folder of its own
                LOG.warning("attempt %s cannot be fenced: %s", attempt.token, error)
        for name in (spool.TASK, spool.ANSWERS):
            with contextlib.suppress(OSError):
                (attempt.folder / name).unlink()
        with self.changed:
            if self.attempts.pop(attempt.token, None) is None:
                return
            if attempt in self.waiting:
                self.waiting.remove(attempt)
            if attempt.id:
                self.leaving[attempt.id] = Leaving(attempt.label, attempt.folder, time.monotonic(), not has_ended)
            self.changed.notify_all()
        attempt.events.put(event)
