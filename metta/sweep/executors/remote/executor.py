"""Tasks as jobs of an engine: SLURM, containers, Kubernetes, a queue.

Two threads. The watcher (watcher.py) looks into the folders of the attempts, tells events, passes on answers and draws
conclusions. The clerk (clerk.py) talks to the engine, which may be slow or down; nothing else waits for it. What they
know of an attempt is in its record (attempt.py), in one table (table.py).
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from metta.sweep.errors import DamagedError, UsageError
from metta.sweep.executors.base import Answer, EventStream, Failed, Reported, Task
from metta.sweep.executors.remote import spool as layout
from metta.sweep.executors.remote.attempt import Attempt
from metta.sweep.executors.remote.clerk import CLOSE_LIMIT_S, Clerk
from metta.sweep.executors.remote.engine import Engine, Job
from metta.sweep.executors.remote.follower import Follower, answer_line
from metta.sweep.executors.remote.table import LOG, Leaving, Table
from metta.sweep.executors.remote.taskfile import Header, encode_task, header_of
from metta.sweep.executors.remote.watcher import STOP_LIMIT_S, Watcher
from metta.sweep.executors.serial import UnstorableError, dumps, one_line, reason_of
from metta.sweep.executors.worker import Surroundings
from metta.sweep.redaction import Redactor, secrets_in
from metta.sweep.store.failpoints import fail_point
from metta.sweep.store.files import make_folder, storage_errors, write_file
from metta.sweep.trial import FailureReason

LIMIT_MARGIN_S = 60.0
"""Seconds that an engine allows a job beyond the time-out of its task, which the worker program keeps."""


JOIN_LIMIT_S = STOP_LIMIT_S + CLOSE_LIMIT_S + 10.0
"""Seconds after which closing no longer waits for an engine or a file system that hangs."""


class RemoteExecutor:
    """Runs tasks as jobs of an engine. The classes for single engines say what each can do.

    Every attempt has a folder that driver and job see under the same path: in its trial's or stage's folder, which
    therefore has to be on a file system that both have. All that they tell each other goes through it, so a job goes on
    when the driver dies, and a driver that resumes the run takes it over.

    Args:
        engine: starts and ends the jobs.
        spool: for tasks that have no folder of their own, and for sweeps without a store; default: `spool` in
            METTA_SWEEP_HOME or `./.metta-sweep`.
        max_jobs: how many jobs there are at once, queued ones included; None leaves that to the engine's queue.
        python: the interpreter of the jobs.
        lost_after: seconds without a heart-beat after which a running job is taken as lost.
        grace: seconds between the signal that asks a job to end and the one that makes it.
        patience: seconds that a trial waits for the answer to a report before it saves its state and ends, so that no
            machine is kept by a driver that is dead; the next driver goes on from there.

    Raises:
        UsageError: a number is out of range.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        spool: str | os.PathLike[str] | None = None,
        max_jobs: int | None = None,
        python: str = sys.executable,
        lost_after: float = 60.0,
        grace: float = 10.0,
        patience: float = 3600.0,
    ) -> None:
        least_of = (
            ("max_jobs", max_jobs, 1),
            ("lost_after", lost_after, 5),
            ("grace", grace, 0),
            ("patience", patience, 1),
        )
        for name, value, least in least_of:
            if value is not None and not value >= least:
                raise UsageError(f"{type(self).__name__}({name}={value!r}): expected at least {least}")
        self.engine = engine
        self._spool = (Path(spool) if spool is not None else _default_spool()).absolute()
        self._max_jobs = max_jobs
        self._python = python
        self._lost_after = lost_after
        self._grace = grace
        self._patience = patience
        self._redactor = Redactor(secrets_in(os.environ))
        self._owner = os.getpid()
        self._table = Table()
        self._threads: list[threading.Thread] = []
        self._closed = False

    # What every executor offers

    @property
    def capacity(self) -> int | None:
        """`max_jobs`."""
        return self._max_jobs

    @property
    def outlives_driver(self) -> bool:
        """True."""
        return True

    @property
    def spool(self) -> Path:
        """The folder for what has none of its own."""
        return self._spool

    def events(self) -> EventStream:
        """A new, empty stream; tasks are submitted to it."""
        return EventStream()

    def submit(self, task: Task, events: EventStream) -> None:
        """Hand in a task. Whatever goes wrong with it becomes a `Failed` in `events`.

        Raises:
            UsageError: closed, a token in use, or a quantity that makes no sense.
            StorageError: the attempt's folder cannot be written.
        """
        self._check_owner()
        with self._table.changed:
            self._check_usable(task.token)
        try:
            job, content, header = self._prepared(task)
        except UnstorableError as error:
            events.put(Failed(task.token, reason_of(error), self._redactor.text(str(error)), "", error))
            return
        if job.folder.exists():
            raise UsageError(f'there is an attempt "{task.token}" in {job.folder}: every attempt needs its own token')
        make_folder(job.folder)
        write_file(job.folder / layout.TASK, [content])
        write_file(job.folder / layout.ANSWERS, [b""])
        fail_point("remote.prepared")
        follower = Follower(task.token, job.folder)
        self._take(Attempt(task.token, task.name, job.folder, events, follower, header.timeout, job))

    def answer(self, report: Reported, answer: Answer) -> None:
        """Tell a task what its report has led to. Ignored when the task is over."""
        with self._table.changed:
            attempt = self._table.attempts.get(report.token)
            if attempt is not None:
                attempt.outgoing.append(answer_line(report.sequence, answer))
                attempt.look_at = 0.0
                self._table.changed.notify_all()

    def cancel(self, token: str) -> None:
        """Stop a task; `Failed` with the reason "cancelled" follows when its job has ended, or was given up."""
        with self._table.changed:
            attempt = self._table.attempts.get(token)
            if attempt is not None:
                self._table.stop(attempt, FailureReason.CANCELLED)

    def reattach(self, token: str, events: EventStream, folder: Path | None = None, *, also_ended: bool = True) -> bool:
        """Adopt an attempt that an earlier driver submitted, whether its job waits, runs or has ended meanwhile.

        Where that driver died before anything says that the engine has the job, the engine is asked; if it has none the
        attempt fails with the reason "lost_contact".

        Raises:
            UsageError: closed, or the token is in use.
            StorageError: the attempt's folder cannot be read.
        """
        self._check_owner()
        with self._table.changed:
            self._check_usable(token)
        attempt = self._found(token, events, folder, also_ended)
        if attempt is None:
            return False
        self._take(attempt)
        return True

    def close(self) -> None:
        """Cancel what is left and end every job; blocks until they are gone, for some seconds at most."""
        if self._owner != os.getpid() or self._closed:
            return
        with self._table.changed:
            self._table.closing = True
            for attempt in self._table.attempts.values():
                self._table.stop(attempt, FailureReason.CANCELLED)
            self._table.changed.notify_all()
        until = time.monotonic() + JOIN_LIMIT_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._closed = True
        atexit.unregister(self.close)
        if any(thread.is_alive() for thread in self._threads):
            LOG.warning("%s or the spool does not answer: jobs may be left; their attempts are over", self.engine.name)
            return  # who is in the middle of a call must not have its connection closed
        self.engine.close()

    def describe(self, task: Task) -> str:
        """What the engine would be given for a task: a batch script, a manifest. Nothing is written or started."""
        job, _, _ = self._prepared(task)
        return self.engine.describe(job, "label")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} watches jobs and cannot be sent to another process: make one there")

    # Handing in and taking over

    def _check_owner(self) -> None:
        # Before the lock is taken: when the process was forked a thread that is not here may have held it.
        if self._owner != os.getpid():
            raise UsageError("the executor belongs to the process that made it: make a new one after a fork")

    def _check_usable(self, token: str) -> None:
        if self._table.closing:
            raise UsageError("the executor is closed: make a new one")
        if token in self._table.attempts:
            raise UsageError(f'a task with the token "{token}" is not over: every attempt needs its own')

    def _folder_of(self, token: str, folder: Path | None) -> Path:
        return layout.attempt_folder(token, (folder or self._spool).absolute())

    def _prepared(self, task: Task) -> tuple[Job, bytes, Header]:
        """The job of a task, the content of its task file, and the header of that."""
        here = Surroundings.here()
        secrets: set[str] = set()
        what = f"the function or an argument of {task.name or 'the task'}"
        call = dumps((task.fn, task.args, dict(task.kwargs)), what, secrets)
        header = header_of(task, here.folder, here.arguments, self._grace, self._patience, secrets)
        content, digest = encode_task(header, call)
        channel = task.channel
        base = task.log_folder or (None if channel is None else channel.folder)
        folder = self._folder_of(task.token, base)
        restore = None if channel is None else channel.restore
        written = {path.absolute() for path in (task.log_folder, channel.folder if channel else None) if path}
        job = Job(
            token=task.token,
            name=task.name or task.token,
            folder=folder,
            command=(self._python, "-m", "metta.sweep.worker", str(folder), digest),
            work_folder=Path(here.folder),
            paths=tuple(map(Path, header.paths)),
            reads=() if restore is None else (restore.absolute(),),
            writes=tuple(sorted(written)),
            resources=task.resources,
            time_limit=None if header.timeout is None else header.timeout + self._grace + LIMIT_MARGIN_S,
            grace=self._grace,
        )
        return job, content, header

    def _found(self, token: str, events: EventStream, folder: Path | None, also_ended: bool) -> Attempt | None:
        """The record of an attempt that an earlier driver has left; None where nothing can come of it any more."""
        path = self._folder_of(token, folder)
        try:
            return self._left_in(path, token, events, also_ended)
        except (
            DamagedError,
            KeyError,
            TypeError,
            ValueError,
            OverflowError,
        ) as error:  # not what we have written: another one begins
            LOG.warning("attempt %s in %s cannot be taken over: %s", token, path, self._redactor.text(one_line(error)))
            layout.fence(path)
            return None

    def _left_in(self, path: Path, token: str, events: EventStream, also_ended: bool) -> Attempt | None:
        with storage_errors(path, "read"):
            was_told = not (path / layout.TASK).exists()
        intent = layout.read_json(path / layout.INTENT)
        if intent is None and not was_told:
            # Nothing was handed in. The next attempt has another number; this one must not start any more.
            layout.fence(path)
        if intent is None or layout.is_fenced(path) or (was_told and not also_ended):
            self._forget_job(path)
            return None
        submitted = layout.read_json(path / layout.JOB) or {"id": ""}
        timeout = None if intent["timeout"] is None else float(intent["timeout"])
        attempt = Attempt(token, str(intent["name"]), path, events, Follower(token, path), timeout)
        attempt.label, attempt.position = layout.checked_label(intent["label"]), abs(int(intent["position"]))
        attempt.id = str(submitted["id"])
        return attempt

    def _forget_job(self, folder: Path) -> None:
        """The job of an attempt that is over, if its driver died before it could have the engine forget it."""
        job = layout.read_json(folder / layout.JOB)
        if job is not None:
            with self._table.changed:
                label = layout.checked_label(job["label"])
                self._table.leaving[str(job["id"])] = Leaving(label, folder, time.monotonic(), must_end=True)
                self._start_threads()
                self._table.changed.notify_all()

    def _take(self, attempt: Attempt) -> None:
        with self._table.changed:
            self._check_usable(attempt.token)
            attempt.submitted_at = time.monotonic()
            self._table.attempts[attempt.token] = attempt
            if not attempt.was_submitted:
                self._table.waiting.append(attempt)
            self._start_threads()
            self._table.changed.notify_all()

    def _start_threads(self) -> None:
        if self._threads:
            return
        watcher = Watcher(self._table, self.engine.name, self._lost_after, self._redactor)
        clerk = Clerk(self._table, self.engine, self._max_jobs, self._spool / layout.FOLDER, self._redactor)
        for run, name in ((watcher.run, "watcher"), (clerk.run, "clerk")):
            thread = threading.Thread(target=run, name=f"metta-sweep {self.engine.name} {name}", daemon=True)
            self._threads.append(thread)
            thread.start()
        atexit.register(self.close)  # also for an executor that nobody closed


def _default_spool() -> Path:
    home = os.environ.get("METTA_SWEEP_HOME")
    return Path(home or ".metta-sweep") / "spool"
