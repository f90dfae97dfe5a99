"""The thread that looks into the folders of attempts: tells their events, passes on answers, draws conclusions."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any, Final

from metta.sweep.errors import DamagedError, StorageError
from metta.sweep.executors.base import Failed, Started
from metta.sweep.executors.remote import spool
from metta.sweep.executors.remote.attempt import Attempt
from metta.sweep.executors.remote.follower import last_event
from metta.sweep.executors.remote.table import LOG, Table
from metta.sweep.redaction import Redactor
from metta.sweep.trial import FailureReason

QUICKEST_LOOK_S: Final = 0.01
SLOWEST_LOOK_S: Final = 0.25
"""Seconds between two looks into the folder of an attempt: after something has come, and when nothing comes."""

LOOK_COST_S: Final = 0.001
"""What a look is taken to cost on a network file system: with many attempts each is looked at less often."""

BEAT_LOOK_S: Final = 1.0
"""Seconds between two looks at a heart-beat."""

SLOWEST_START_S: Final = 300.0
"""Seconds in which a job that runs has to have started its worker program."""

STOP_LIMIT_S: Final = 6.0
"""Seconds after which nobody waits any more for a job that was told to end: it is fenced."""

TROUBLE_LIMIT_S: Final = 30.0
"""Seconds for which a folder may be unreadable: network file systems have bad moments."""


class Watcher:
    """`run` is its thread.

    Args:
        table: of the executor.
        engine: its name, for messages.
        lost_after: seconds without a heart-beat after which a running job is taken as lost.
        redactor: masks the driver's secrets.
    """

    def __init__(self, table: Table, engine: str, lost_after: float, redactor: Redactor) -> None:
        self._table = table
        self._engine = engine
        self._lost_after = lost_after
        self._redactor = redactor
        self._trouble: dict[str, float] = {}

    def run(self) -> None:
        """Look until the executor is closed and every attempt is over."""
        table = self._table
        while True:
            with table.changed:
                while not (due := self._due()):
                    if table.closing and not table.attempts:
                        return
                    next_look = min((attempt.look_at for attempt in table.attempts.values()), default=None)
                    table.changed.wait(None if next_look is None else max(0.0, next_look - time.monotonic()))
            for attempt in due:
                try:
                    self._look(attempt)
                except Exception as error:  # a mistake of ours must not leave the driver waiting for ever
                    LOG.exception("watching attempt %s failed", attempt.token)
                    text = self._redactor.text(f"watching it failed: {error}")
                    event = Failed(attempt.token, FailureReason.LOST_CONTACT, text)
                    self._table.conclude(attempt, event, has_ended=False)

    def _due(self) -> list[Attempt]:
        now = time.monotonic()
        return [attempt for attempt in self._table.attempts.values() if attempt.look_at <= now]

    def _look(self, attempt: Attempt) -> None:
        now = time.monotonic()
        try:
            has_news = self._pass_on(attempt) | self._tell_events(attempt)
            is_over = self._take_end(attempt, now)
            self._trouble.pop(attempt.token, None)
        except StorageError as error:
            since = self._trouble.setdefault(attempt.token, now)
            if isinstance(error, DamagedError) or now - since > TROUBLE_LIMIT_S:
                self._fail(attempt, FailureReason.STORAGE, str(error))
                return
            has_news, is_over = False, False
        if is_over or self._give_up(attempt, now, has_news):
            self._trouble.pop(attempt.token, None)
            return
        slowest = max(SLOWEST_LOOK_S, LOOK_COST_S * len(self._table.attempts))
        attempt.pause = QUICKEST_LOOK_S if has_news else min(max(attempt.pause, QUICKEST_LOOK_S) * 1.5, slowest)
        with self._table.changed:
            # Meanwhile somebody may have asked for a look at once.
            attempt.look_at = now if attempt.outgoing else time.monotonic() + attempt.pause

    def _pass_on(self, attempt: Attempt) -> bool:
        with self._table.changed:
            outgoing, attempt.outgoing = attempt.outgoing, []
        if outgoing and attempt.was_submitted:
            lines = b"".join(json.dumps(line).encode() + b"\n" for line in outgoing)
            try:
                spool.append(attempt.folder / spool.ANSWERS, lines)
            except StorageError:
                with self._table.changed:
                    attempt.outgoing[:0] = outgoing
                raise
        return bool(outgoing)

    def _tell_events(self, attempt: Attempt) -> bool:
        if not attempt.was_submitted:
            return False
        events = attempt.follower.read()
        for event in events:
            attempt.started |= isinstance(event, Started)
            attempt.events.put(event)
        return bool(events)

    # Conclusions

    def _take_end(self, attempt: Attempt, now: float) -> bool:
        """Take what the worker program has said at last, if it has and that counts."""
        done = attempt.follower.end() if attempt.was_submitted else None
        if done is None:
            return False
        if attempt.stopping is not None:
            self._fail(attempt, attempt.stopping, attempt.stopping.value, has_ended=True)
            return True
        if done.get("reason") == FailureReason.PREEMPTED.value:
            return self._take_preemption(attempt, done, now)
        self._conclude(attempt, done)
        return True

    def _take_preemption(self, attempt: Attempt, done: dict[str, Any], now: float) -> bool:
        """It was told to end by the engine: whether for good, only the engine knows. It may start the job again."""
        status = attempt.status
        if attempt.has_left and status is not None and status.reason is FailureReason.CANCELLED:
            self._fail(attempt, FailureReason.CANCELLED, status.message or "its job was cancelled")
            return True
        if attempt.has_left or attempt.is_gone(now):
            self._conclude(attempt, done, has_ended=False)  # fenced: a job that is started again after all must not run
            return True
        return False

    def _conclude(self, attempt: Attempt, done: dict[str, Any], *, has_ended: bool = True) -> None:
        event = last_event(attempt.follower, done, attempt.name, attempt.timeout, self._redactor)
        self._table.conclude(attempt, event, has_ended=has_ended)

    def _give_up(self, attempt: Attempt, now: float, has_news: bool) -> bool:
        """Conclude an attempt of which nothing will come any more; what still is read may be long."""
        if attempt.stopping is not None:
            never_ran = not attempt.was_submitted or (attempt.cancel_sent and not attempt.runs)
            if never_ran or attempt.is_gone(now) or now - attempt.stopped_at >= STOP_LIMIT_S:
                before = "" if attempt.started else " before it started"
                self._fail(attempt, attempt.stopping, f"{attempt.stopping.value}{before}")
                return True
        if attempt.is_gone(now) and not has_news:
            self._fail(attempt, *attempt.verdict_on_silence(self._engine))
            return True
        if now - attempt.beat_looked_at >= BEAT_LOOK_S:
            with contextlib.suppress(StorageError):
                attempt.note_beat(attempt.follower.heartbeat(), now)
        limit = self._lost_after if attempt.started else max(self._lost_after, SLOWEST_START_S)
        if attempt.beat_age > limit:
            where = attempt.status.worker if attempt.status is not None else f"job {attempt.id}"
            what = "no heart-beat" if attempt.started else "no sign of its worker program"
            self._fail(attempt, FailureReason.LOST_CONTACT, f"{what} for {attempt.beat_age:.0f} s ({where})")
            return True
        return False

    def _fail(self, attempt: Attempt, reason: FailureReason, message: str, *, has_ended: bool = False) -> None:
        event = Failed(attempt.token, reason, self._redactor.text(message), log=self._log(attempt))
        self._table.conclude(attempt, event, has_ended=has_ended)

    def _log(self, attempt: Attempt) -> str:
        """The tail of its output, where its worker program has said it."""
        with contextlib.suppress(StorageError):
            done = attempt.follower.end()
            if done is not None:
                return self._redactor.text(str(done.get("log", "")))
        return ""
