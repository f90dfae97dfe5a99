"""The driver's record of one attempt on an engine, and what can be concluded about it without doing anything."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from metta.sweep.errors import StorageError
from metta.sweep.executors.base import EventStream
from metta.sweep.executors.remote import spool
from metta.sweep.executors.remote.engine import Job, JobStatus, Phase
from metta.sweep.executors.remote.follower import Follower
from metta.sweep.trial import FailureReason

SETTLE_S: Final = 3.0
"""Seconds after the end of a job in which its last files may still appear (network file systems)."""

VANISHED_S: Final = 15.0
"""Seconds after which a job that the engine does not know is taken as gone: accounting may be late."""

LONGEST_STEP_S: Final = 5.0
"""What one look adds at most to the age of a heart-beat: the driver itself may have been stopped in between."""

TAIL: Final = 2_000
"""Characters of the worker program's own output that a message quotes."""


@dataclass(eq=False, slots=True)
class Attempt:
    """One attempt that was submitted, or is about to be.

    Attributes:
        token, name: of the task.
        folder: of the attempt.
        events: where its events go.
        follower: reads what its worker program tells.
        timeout: of the task, in seconds.
        job: what the engine is given; None for an adopted one, which has been given to it.
        submitted_at: when the driver handed it in, by the monotonic clock.
        label: of its submission to the engine; "" before.
        position: its place in that.
        id: the engine's id of its job; "" while unknown.
        status: what the engine has said last; None before.
        status_at: when it ended, or was first unknown, by the monotonic clock.
        stopping: why it was told to end.
        outgoing: lines for `answers` that are not written yet.
        beat, beat_age: the last heart-beat seen, and for how many seconds it has been the same while the job ran.
        beat_looked_at: when it was looked at last.
        look_at, pause: when its folder is looked into next, by the monotonic clock, and how long after the last time.
        started: whether its worker program has said that the task runs.
        stopped_at: when it was told to end.
        cancel_sent: whether the engine was told to end its job.
        mistakes: how often handing it in has raised what engines do not raise.
    """

    token: str
    name: str
    folder: Path
    events: EventStream
    follower: Follower
    timeout: float | None = None
    job: Job | None = None
    submitted_at: float = 0.0
    label: str = ""
    position: int = 0
    id: str = ""
    status: JobStatus | None = None
    status_at: float = math.inf
    started: bool = False
    stopping: FailureReason | None = None
    stopped_at: float = math.inf
    cancel_sent: bool = False
    mistakes: int = 0
    outgoing: list[dict[str, Any]] = field(default_factory=list)
    beat: bytes = b""
    beat_age: float = 0.0
    beat_looked_at: float = 0.0
    look_at: float = 0.0
    pause: float = 0.0

    @property
    def was_submitted(self) -> bool:
        """Whether the engine may have a job of it."""
        return bool(self.label)

    @property
    def wants_cancel(self) -> bool:
        """Whether the engine is still to be told that its job has to end."""
        return self.stopping is not None and bool(self.id) and not self.cancel_sent

    @property
    def kind(self) -> tuple[object, ...]:
        """What jobs of one submission have in common."""
        job = self.job
        return () if job is None else (job.resources, job.time_limit, job.work_folder, job.paths)

    def hear(self, status: JobStatus | None, now: float) -> None:
        """What the engine says of its job; None: it does not know it."""
        before = self.status.phase if self.status is not None else None
        if status is None:
            if self.status_at == math.inf:
                self.status_at = now
            return
        self.status = status
        if status.phase is not Phase.ENDED:
            self.status_at = math.inf
        elif before is not Phase.ENDED or self.status_at == math.inf:
            self.status_at = now

    @property
    def has_left(self) -> bool:
        """Whether the engine has said that the job is over."""
        return self.status is not None and self.status.phase is Phase.ENDED

    @property
    def runs(self) -> bool:
        """Whether its job runs, as far as anybody knows."""
        return self.started if self.status is None else self.status.phase is Phase.RUNNING

    def is_gone(self, now: float) -> bool:
        """Whether nothing will come of its job any more. One that the engine does not know may still beat."""
        if self.has_left:
            return now - self.status_at >= SETTLE_S
        return now - self.status_at >= VANISHED_S and (not self.beat or self.beat_age >= VANISHED_S)

    def note_beat(self, beat: bytes, now: float) -> None:
        """The heart-beat as it is now. A job that is not known to run, or is suspended, needs none."""
        if beat != self.beat:
            self.beat, self.beat_age = beat, 0.0
        elif self.beat_looked_at and self.runs:
            self.beat_age += min(now - self.beat_looked_at, LONGEST_STEP_S)
        self.beat_looked_at = now

    def verdict_on_silence(self, engine: str) -> tuple[FailureReason, str]:
        """Why an attempt failed whose job is gone and whose worker program has not said how it ended."""
        status = self.status
        said = "" if status is None else status.message
        if status is None or not self.has_left:
            knows = f"{engine} knows nothing of its job any more" + (f" ({self.id})" if self.id else "")
            return FailureReason.LOST_CONTACT, knows
        if status.reason is not None:
            return status.reason, said or f"{engine} ended its job: {status.reason.value}"
        what = "ended without a result" if self.started else "ended before its worker program could start"
        told = said or f"job {self.id}"
        return FailureReason.KILLED, f"{told} {what}{self._output()}"

    def _output(self) -> str:
        """The end of what the worker program printed itself, where the engine has put that."""
        try:
            text = spool.read_end(self.folder / spool.OUTPUT, TAIL).decode("utf-8", "replace").strip()
        except (FileNotFoundError, StorageError):
            return ""
        return f"; its output ends with:\n{text}" if text else ""
