"""The thread that talks to the engine: hands in batches, asks how jobs are, ends and forgets them."""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from metta.sweep.errors import StorageError
from metta.sweep.executors.base import Failed
from metta.sweep.executors.remote import spool
from metta.sweep.executors.remote.attempt import Attempt
from metta.sweep.executors.remote.engine import Engine, EngineRefused, EngineUnavailable, Phase
from metta.sweep.executors.remote.table import LOG, Leaving, Table
from metta.sweep.executors.serial import one_line
from metta.sweep.redaction import Redactor
from metta.sweep.store.failpoints import fail_point
from metta.sweep.trial import FailureReason

GATHER_S: Final = 0.05
"""Seconds in which tasks that are submitted one after another come into one batch."""

FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 30.0
"""Seconds between two tries to reach an engine that is down: at first, and at most."""

MOST_MISTAKES: Final = 5
"""So often a job is handed in whose engine raises what no engine should."""

LEAVE_LIMIT_S: Final = 15.0
"""Seconds in which a job whose worker program has ended has to end itself."""

CLOSE_LIMIT_S: Final = 8.0
"""Seconds that closing waits for an engine to end and forget jobs."""

OUTAGE_REMINDER_S: Final = 60.0
"""Seconds between two warnings that the engine cannot be reached."""


class Clerk:
    """`run` is its thread.

    Args:
        table: of the executor.
        engine: that it talks to.
        max_jobs: how many jobs there are at once, at most; None for no limit.
        spool: the folder of attempts that belong to no run.
        redactor: masks the driver's secrets.
    """

    def __init__(self, table: Table, engine: Engine, max_jobs: int | None, spool: Path, redactor: Redactor) -> None:
        self._table = table
        self._engine = engine
        self._max_jobs = math.inf if max_jobs is None else max_jobs
        self._spool = spool
        self._redactor = redactor
        self._poll_at = 0.0
        self._retry_at = 0.0
        self._wait = FIRST_WAIT_S
        self._warned_at = -math.inf
        self._close_by = math.inf

    def run(self) -> None:
        """Work until the executor is closed and the engine has ended every job, or cannot be asked."""
        while not self._pause():
            did, trouble = False, None
            # One that cannot be done must not keep the others from being done.
            for step in (self._look_for_lost, self._hand_in, self._end_jobs, self._ask):
                try:
                    did |= step()
                except Exception as error:  # an engine's mistake must not leave the driver waiting for ever
                    trouble = error
                    if isinstance(error, EngineUnavailable) and step != self._hand_in:
                        break  # it would not hear the others either
            if trouble is not None:
                self._back_off(trouble)
            elif did:
                self._wait = FIRST_WAIT_S

    def _pause(self) -> bool:
        """Wait until there is something to do; True when there will be nothing any more."""
        table = self._table
        with table.changed:
            while True:
                now = time.monotonic()
                if table.closing:  # little time is left
                    self._retry_at = min(self._retry_at, now + FIRST_WAIT_S)
                if table.closing and not table.attempts:
                    self._close_by = min(self._close_by, now + CLOSE_LIMIT_S)
                    if not table.leaving or now >= self._close_by:
                        return True
                due = max(self._retry_at, self._next_due(now))
                if due <= now:
                    return False
                limit = min(due, self._close_by)
                table.changed.wait(None if limit == math.inf else limit - now)

    def _next_due(self, now: float) -> float:
        """When there is something to tell the engine, or to ask it."""
        table = self._table
        if any(attempt.wants_cancel for attempt in table.attempts.values()):
            return now
        if any(leaving.must_end and not leaving.cancelled for leaving in table.leaving.values()):
            return now
        due = math.inf
        waiting = next((attempt for attempt in table.waiting if attempt.stopping is None), None)
        if waiting is not None and self._room() > 0:
            due = waiting.submitted_at + GATHER_S
        if any(attempt.was_submitted for attempt in table.attempts.values()) or table.leaving:
            due = min(due, self._poll_at)
        return due

    def _room(self) -> float:
        return self._max_jobs - sum(attempt.was_submitted for attempt in self._table.attempts.values())

    def _back_off(self, error: Exception) -> None:
        now = time.monotonic()
        if not isinstance(error, EngineUnavailable):
            LOG.error("%s: %s", self._engine.name, self._redactor.text(one_line(error)), exc_info=error)
        elif now - self._warned_at > OUTAGE_REMINDER_S:
            self._warned_at = now
            told = self._redactor.text(str(error))
            LOG.warning("%s cannot be asked, and is tried again: %s", self._engine.name, told)
        self._retry_at = now + self._wait
        self._wait = min(2 * self._wait, LONGEST_WAIT_S)

    # Handing in

    def _hand_in(self) -> bool:
        batch = self._batch()
        if not batch:
            return False
        label = spool.new_label()
        try:
            for position, attempt in enumerate(batch):
                intent = {"name": attempt.name, "timeout": attempt.timeout, "label": label, "position": position}
                spool.write_json(attempt.folder / spool.INTENT, intent)
        except StorageError as error:
            self._fail(batch, FailureReason.STORAGE, str(error))
            return True
        with self._table.changed:
            for position, attempt in enumerate(batch):
                attempt.label, attempt.position = label, position
                if attempt in self._table.waiting:
                    self._table.waiting.remove(attempt)
        fail_point("remote.intended")
        try:
            ids = self._engine.submit([attempt.job for attempt in batch if attempt.job is not None], label)
        except EngineRefused as error:
            self._fail(batch, FailureReason.USER_ERROR, str(error))
            return True
        except EngineUnavailable:
            raise
        except Exception as error:  # a mistake in it, which these jobs may make again each time
            for attempt in batch:
                attempt.mistakes += 1
            hopeless = [attempt for attempt in batch if attempt.mistakes >= MOST_MISTAKES]
            self._fail(hopeless, FailureReason.USER_ERROR, f"{self._engine.name} failed to take it: {one_line(error)}")
            raise
        fail_point("remote.submitted")
        self._know(batch, ids)
        return True

    def _batch(self) -> list[Attempt]:
        """The oldest waiting attempt, and those that can be handed in together with it."""
        with self._table.changed:
            waiting = [attempt for attempt in self._table.waiting if attempt.stopping is None]
            if not waiting or self._room() <= 0 or waiting[0].submitted_at + GATHER_S > time.monotonic():
                return []
            most = int(min(self._engine.largest_batch, self._room(), len(waiting)))
            alike = [attempt for attempt in waiting if attempt.kind == waiting[0].kind]
            return alike[:most]

    def _know(self, batch: Sequence[Attempt], ids: Sequence[str]) -> None:
        """The engine has these jobs."""
        for attempt, job in zip(batch, ids, strict=True):
            try:
                spool.write_json(attempt.folder / spool.JOB, {"id": job, "label": attempt.label})
            except StorageError as error:  # it can be found by its label, too
                LOG.warning("the id %s of attempt %s cannot be noted: %s", job, attempt.token, error)
            with self._table.changed:
                attempt.id = job
                if attempt.token not in self._table.attempts:  # given up while the engine took it
                    self._table.leaving[job] = Leaving(attempt.label, attempt.folder, time.monotonic(), must_end=True)
        fail_point("remote.noted")
        self._poll_at = 0.0

    def _look_for_lost(self) -> bool:
        """Ask for jobs that the engine may have, or may not: whoever handed them in has not heard its answer."""
        with self._table.changed:
            lost = [attempt for attempt in self._table.attempts.values() if attempt.was_submitted and not attempt.id]
        for label in dict.fromkeys(attempt.label for attempt in lost):
            batch = sorted((a for a in lost if a.label == label), key=lambda attempt: attempt.position)
            ids = self._engine.find(label) or ()
            # An engine that died while it took them may have only the first of them.
            known = [attempt for attempt in batch if attempt.position < len(ids)]
            if known:
                self._know(known, [ids[attempt.position] for attempt in known])
            unknown = batch[len(known) :]
            # Of one that has begun the engine has forgotten the job: its folder says what becomes of it.
            adopted = [attempt for attempt in unknown if attempt.job is None and not spool.runs_of(attempt.folder)]
            # Its driver may have died with the request on its way: this attempt must never start.
            self._fail(adopted, FailureReason.LOST_CONTACT, f"{self._engine.name} has never got its job")
            with self._table.changed:
                for attempt in unknown:
                    if attempt.job is not None and self._table.attempts.get(attempt.token) is attempt:
                        attempt.label = ""
                        self._table.waiting.append(attempt)
        return bool(lost)

    def _fail(self, batch: list[Attempt], reason: FailureReason, message: str) -> None:
        for attempt in batch:
            event = Failed(attempt.token, reason, self._redactor.text(message))
            self._table.conclude(attempt, event, has_ended=False)

    # Ending and asking

    def _end_jobs(self) -> bool:
        now = time.monotonic()
        with self._table.changed:
            stopping = [attempt for attempt in self._table.attempts.values() if attempt.wants_cancel]
            leaving = {
                job: entry
                for job, entry in self._table.leaving.items()
                if not entry.cancelled and (entry.must_end or now - entry.since > LEAVE_LIMIT_S)
            }
        jobs = {attempt.id: attempt.label for attempt in stopping} | {job: e.label for job, e in leaving.items()}
        if not jobs:
            return False
        self._engine.cancel(jobs)
        with self._table.changed:
            for attempt in stopping:
                attempt.cancel_sent = True
                attempt.look_at = 0.0
            for entry in leaving.values():
                entry.cancelled = True
            self._table.changed.notify_all()
        self._poll_at = min(self._poll_at, now + 0.5)
        return True

    def _clear(self, folder: Path) -> None:
        """The engine has forgotten the job of an attempt: nobody writes to its folder any more."""
        if folder.parent == self._spool:
            shutil.rmtree(folder, ignore_errors=True)  # it is of no run that would keep it
            return
        with contextlib.suppress(OSError):
            (folder / spool.JOB).unlink()

    def _ask(self) -> bool:
        if time.monotonic() < self._poll_at:
            return False
        with self._table.changed:
            asked = [attempt for attempt in self._table.attempts.values() if attempt.id]
            leaving = dict(self._table.leaving)
        jobs = {attempt.id: attempt.label for attempt in asked} | {job: e.label for job, e in leaving.items()}
        self._poll_at = time.monotonic() + self._engine.poll_interval
        if not jobs:
            return False
        found = self._engine.status(jobs)
        now = time.monotonic()
        over = {
            job: entry.label
            for job, entry in leaving.items()
            if (found[job].phase is Phase.ENDED if job in found else entry.cancelled or not entry.must_end)
        }
        with self._table.changed:
            for attempt in asked:
                attempt.hear(found.get(attempt.id), now)
            self._table.changed.notify_all()
        if over:
            self._engine.forget(over)
            for job in over:
                self._clear(leaving[job].folder)
            with self._table.changed:
                for job in over:
                    del self._table.leaving[job]
                self._table.changed.notify_all()
        return True
