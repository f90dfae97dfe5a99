"""What a Dask worker does for a job: it starts the job's program, waits for its end, and can be told to end it.

What becomes of a job stands in the scheduler's metadata, under `record_key`: Dask itself forgets a task that is over,
and says "processing" of one that only waits on its worker. The order in which the records are written and read lets a
job that is cancelled while it starts see that, without a lock.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

from metta.sweep.executors.outcome import signal_name
from metta.sweep.executors.remote.spool import OUTPUT
from metta.sweep.trial import FailureReason

ROOT: Final = "metta-sweep"
"""Name of our part of the scheduler's metadata, and the first part of our tasks' keys."""

LOOK_S: Final = 0.2
"""Seconds between two looks at what may end a program. Dask waits for its threads when a worker is told to go."""

WORKER, CANCEL, END = "worker", "cancel", "end"
"""Entries of a record: the address of the worker that began, whether it must not or no longer run, how it ended."""


@dataclass(frozen=True, slots=True)
class DaskJob:
    """What a Dask worker is told of a job; it travels as text.

    Attributes:
        label, position: name it: of the submission, and its place in that.
        command: what is run.
        folder: of the attempt.
        work_folder: where it runs, if the machine has it.
        paths: for PYTHONPATH.
        time_limit: seconds; None for no limit.
        grace: seconds between SIGTERM and SIGKILL.
    """

    label: str
    position: int
    command: tuple[str, ...]
    folder: str
    work_folder: str
    paths: tuple[str, ...]
    time_limit: float | None
    grace: float

    @property
    def id(self) -> str:
        """The job's id for the driver."""
        return f"{self.label}.{self.position}"

    def to_text(self) -> str:
        """As JSON. One text, as Dask looks into containers for keys of other tasks."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> DaskJob:
        """The inverse of `to_text`."""
        data = json.loads(text)
        return cls(**data | {"command": tuple(data["command"]), "paths": tuple(data["paths"])})


def record_key(label: str, position: int | str) -> list[str]:
    """Where the record of a job lies in the scheduler's metadata."""
    return [ROOT, label, str(position)]


def run_job(text: str) -> None:
    """The Dask task of a job; `text` is its `DaskJob`."""
    from distributed import Status, get_client, get_worker

    leaving = (Status.closing, Status.closed, Status.failed)
    job, client, worker = DaskJob.from_text(text), cast(Any, get_client)(), get_worker()
    key = record_key(job.label, job.position)
    before = _record(client, key)
    if END in before:
        return  # Dask computes again what a worker held that has died; there is nothing to compute
    if WORKER in before:
        lost = f"the Dask worker {before[WORKER]} died"
        client.set_metadata([*key, END], _end(FailureReason.NODE_LOST, lost))
        return
    program = _Program(job)
    with _lock:
        _programs[job.id] = program
    try:
        client.set_metadata([*key, WORKER], worker.address)
        end = _cancelled() if CANCEL in _record(client, key) else program.run(lambda: worker.status in leaving)
        if worker.status not in leaving:  # else the connection may be closed, and the driver sees who is gone
            client.set_metadata([*key, END], end)
    finally:
        with _lock:
            del _programs[job.id]


def stop_jobs(ids: list[str]) -> None:
    """End the programs of jobs that this Dask worker runs; does not wait."""
    with _lock:
        programs = [_programs[job_id] for job_id in ids if job_id in _programs]
    for program in programs:
        program.stop()


def installed_version() -> str:
    """The version of metta-sweep that a Dask worker has; "unknown" for one that is not installed, but on the path."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("metta-sweep")
    except PackageNotFoundError:
        return "unknown"


class _Program:
    """The program of a job, which another thread may stop before it runs, too."""

    def __init__(self, job: DaskJob) -> None:
        self._job = job
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, is_leaving: Callable[[], bool]) -> dict[str, str | None]:
        """Run it to its end; what the record says of that. It is ended when `is_leaving` says so of its Dask worker."""
        job = self._job
        try:
            with open(os.path.join(job.folder, OUTPUT), "ab") as output, self._lock:
                if self._stopped.is_set():
                    return _cancelled()
                self._process = process = subprocess.Popen(
                    _guarded(job),
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    cwd=job.work_folder if os.path.isdir(job.work_folder) else job.folder,
                    env=environment_for(job, os.environ, _set_by_nanny()),
                    start_new_session=True,
                )
        except OSError as error:
            why = f"cannot start in {job.folder}: {error.strerror}; the driver and all workers need to see this folder"
            return _end(None, why)
        must_end_at = math.inf if job.time_limit is None else time.monotonic() + job.time_limit
        late = False
        with process:
            while (code := _wait(process, LOOK_S)) is None:
                if not self._stopped.is_set() and (time.monotonic() >= must_end_at or is_leaving()):
                    late = time.monotonic() >= must_end_at
                    self.stop()
        if late:
            return _end(FailureReason.TIMEOUT, f"was ended after its time limit of {job.time_limit:g} s")
        if self._stopped.is_set():
            return _cancelled()
        if code > 128:
            return _end(FailureReason.KILLED, f"the worker program was ended by {signal_name(code - 128)}")
        return _end(None, f"exit code {code}")

    def stop(self) -> None:
        """Have the guard end the program; see guard.py."""
        with self._lock:
            self._stopped.set()
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.close()


_lock = threading.Lock()
_programs: dict[str, _Program] = {}
"""Those that this Dask worker runs, by the id of the job."""


def environment_for(job: DaskJob, base: Mapping[str, str], unwanted: Mapping[str, str]) -> dict[str, str]:
    """The environment of a job's program.

    Args:
        job: its `paths` come first in PYTHONPATH.
        base: the Dask worker's.
        unwanted: variables that Dask's nanny has set for the worker itself, such as OMP_NUM_THREADS=1.
    """
    kept = {name: value for name, value in base.items() if unwanted.get(name) != value}
    paths = [*job.paths, *filter(None, [base.get("PYTHONPATH")])]
    return kept | ({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})


def _set_by_nanny() -> dict[str, str]:
    import dask.config

    variables = cast(Any, dask.config.get)("distributed.nanny.pre-spawn-environ", default={})
    return {name: str(value) for name, value in variables.items()}


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def _guarded(job: DaskJob) -> list[str]:
    return [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py")), str(job.grace), *job.command]


def _record(client: Any, key: list[str]) -> dict[str, Any]:
    found = client.get_metadata(key, None)
    return found if isinstance(found, dict) else {}


def _cancelled() -> dict[str, str | None]:
    return _end(FailureReason.CANCELLED, "cancelled")


def _end(reason: FailureReason | None, message: str) -> dict[str, str | None]:
    return {"reason": None if reason is None else reason.value, "message": message}
