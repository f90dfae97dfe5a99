"""What an engine is: something that starts jobs elsewhere, knows how they are, and can end them.

SLURM, a container engine, a Kubernetes cluster, a task queue, a Dask scheduler: each is an `Engine` of few methods
that block, raise and keep no state about single jobs. All that is hard is in one place, `RemoteExecutor`: batches,
polling, back-off, time-outs, adoption and fencing. What a job has to tell goes through its attempt's folder (spool.py),
never through the engine.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from metta.sweep.errors import RunError
from metta.sweep.trial import FailureReason, Resources


class EngineUnavailable(RunError):
    """The engine cannot be asked now: it is down, restarts, or its network does. It is asked again later."""


class EngineRefused(RunError):
    """The engine will not take a job, now or later: no such partition, image or queue, or more than it has."""


class Phase(StrEnum):
    """How far a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt for an engine to start.

    Attributes:
        token: names the attempt. Whatever text a user's names led to: engines must treat it as data.
        name: for people: the engine may show it, shortened and cleaned as its rules want.
        folder: the attempt's folder, at the same path where the job runs. The job writes there.
        command: what is run, as arguments: a Python interpreter, `-m metta.sweep.worker`, and what that needs.
        work_folder: the working folder of the driver, which has the user's code.
        paths: folders of the driver's `sys.path` that are not of its Python installation.
        reads: files that the job reads beside those: the state it goes on from.
        writes: folders that the job may write to, beside its own.
        resources: what it needs.
        time_limit: seconds after which the engine may end it; the task itself was ended before. None: no limit.
        grace: seconds between the signal that asks a job to end and the one that makes it.
    """

    token: str
    name: str
    folder: Path
    command: tuple[str, ...]
    work_folder: Path
    paths: tuple[Path, ...]
    reads: tuple[Path, ...]
    writes: tuple[Path, ...]
    resources: Resources
    time_limit: float | None
    grace: float


@dataclass(frozen=True, slots=True)
class JobStatus:
    """How a job is.

    Attributes:
        phase: how far.
        reason: why it ended, where the engine knows: OOM, TIMEOUT, PREEMPTED, NODE_LOST, CANCELLED, KILLED. None where
            the program ended by itself, or the engine cannot say.
        message: one line for people: "job 12 on n1: NODE_FAIL".
        worker: where it runs or ran: "job 12 on n1". "" while that is unknown.
    """

    phase: Phase
    reason: FailureReason | None = None
    message: str = ""
    worker: str = ""


class Engine(Protocol):
    """Starts jobs elsewhere. Its methods are called by one thread; they block, for seconds at most, and keep trying
    nothing: who cannot reach the engine raises `EngineUnavailable` and is called again later, at growing intervals.

    A job's id is the engine's own text ("1234_5", a container's id). Ids may be used again after the engine has lost
    its state: `status` and `cancel` are given the label, too, and must take only jobs that bear it.
    """

    @property
    def name(self) -> str:
        """For messages: "SLURM"."""

    @property
    def poll_interval(self) -> float:
        """Seconds between two looks at the jobs that run."""

    @property
    def largest_batch(self) -> int:
        """How many jobs `submit` takes at once."""

    def submit(self, jobs: Sequence[Job], label: str) -> Sequence[str]:
        """Start jobs of equal resources and limits; their ids, in order.

        `label` names this submission: 1 to 50 letters, digits and dashes, unique for ever, beginning with a letter. It
        has to be on the job in the instant that the engine takes it, so that `find` finds it although the caller died.

        Raises:
            EngineUnavailable: nothing is known to have been started; `find` is asked before it is tried again.
            EngineRefused: nothing was started, and the same jobs would be refused again.
        """

    def find(self, label: str) -> Sequence[str] | None:
        """The ids of the jobs of a submission, in order; None where the engine knows of none.

        Raises:
            EngineUnavailable: it cannot be asked.
        """

    def status(self, jobs: Mapping[str, str]) -> Mapping[str, JobStatus]:
        """How the jobs are: id -> label is given; ids that the engine does not know (any more) are left out.

        Raises:
            EngineUnavailable: it cannot be asked.
        """

    def cancel(self, jobs: Mapping[str, str]) -> None:
        """End jobs (id -> label), asking first; those that are over or unknown are no error. Does not wait.

        Raises:
            EngineUnavailable: it cannot be asked.
        """

    def forget(self, jobs: Mapping[str, str]) -> None:
        """The jobs (id -> label) are over and were taken in: remove what the engine keeps of them (containers, pods).

        Raises:
            EngineUnavailable: it cannot be asked.
        """

    def describe(self, job: Job, label: str) -> str:
        """What `submit` would hand in for one job, as text: the batch script, or the manifest. Starts nothing."""

    def problems(self) -> Collection[str]:
        """What would keep jobs from running, each as a sentence that says what to do: no client program, nobody
        answers, no such queue. Empty where all is well."""

    def close(self) -> None:
        """Close connections. Jobs go on."""
