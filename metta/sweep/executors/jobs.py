"""The driver's records: tasks that are not over, and the workers that may have them."""

from __future__ import annotations

import math
import socket
from dataclasses import dataclass, field, replace
from typing import Final

from metta.sweep.executors.base import EventStream, Task
from metta.sweep.executors.devices import VISIBLE
from metta.sweep.executors.placement import Demand
from metta.sweep.executors.tasklog import TaskLog
from metta.sweep.executors.wire import FrameBuffer
from metta.sweep.executors.worker import Surroundings
from metta.sweep.redaction import Redactor, secrets_in
from metta.sweep.trial import FailureReason

THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""What torch, numpy and their libraries ask for the number of their threads, once, when they are loaded."""


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a worker has for life, because libraries read it once: a task gets a worker that has what it wants.

    Attributes:
        threads: for numerical libraries, where the driver's environment does not say; None: as that is.
        devices: the GPUs that it sees; None: those that the driver sees.
    """

    threads: int | None = None
    devices: tuple[str, ...] | None = None

    def in_environment(self, environment: dict[str, str]) -> dict[str, str]:
        """The variables of a task whose worker is equipped like this."""
        variables = dict(environment)
        if self.threads is not None:
            variables = {**dict.fromkeys(THREAD_VARIABLES, str(self.threads)), **variables}
        if self.devices is not None:
            variables[VISIBLE] = ",".join(self.devices)
        return variables


@dataclass(eq=False, slots=True)
class Job:
    """A task that was submitted and is not over.

    Attributes:
        task: as it was submitted.
        events: where its events go.
        call: function and arguments, pickled.
        surroundings: the driver's at that time.
        threads: for its worker's `Equipment`.
        redactor: masks its secrets.
        secrets: those of them that are not in the environment.
        demand: what it takes while it runs.
        time_limit: seconds it may run, infinity for no limit.
        memory_limit: bytes that its process group may have in memory; None for no limit.
        overtaken: how many younger jobs started while this one was the oldest.
        lost_workers: how many workers ended before they could start it.
    """

    task: Task
    events: EventStream
    call: bytes
    surroundings: Surroundings
    threads: int | None
    redactor: Redactor
    secrets: frozenset[str]
    demand: Demand
    time_limit: float
    memory_limit: int | None
    overtaken: int = 0
    lost_workers: int = 0

    @classmethod
    def of(
        cls,
        task: Task,
        events: EventStream,
        call: bytes,
        surroundings: Surroundings,
        threads: int | None,
        secrets: frozenset[str],
    ) -> Job:
        """A job for a task that was submitted just now."""
        redactor = surroundings.redactor
        if secrets:
            redactor = Redactor(secrets | secrets_in(surroundings.environment))
        wanted = task.resources
        limits = [limit for limit in (task.timeout, wanted.time_limit_seconds) if limit is not None]
        return cls(
            task,
            events,
            call,
            surroundings,
            threads,
            redactor,
            secrets,
            Demand.of(wanted),
            min(limits, default=math.inf),
            wanted.memory_bytes,
        )


@dataclass(eq=False, slots=True)
class Running:
    """A job that a worker has. `stopping` says why it was told to end, `why` in words where there is more to say."""

    job: Job
    log: TaskLog
    started: float
    deadline: float
    oom_kills: int
    stopping: FailureReason | None = None
    why: str = ""


@dataclass(eq=False, slots=True)
class Worker:
    """A worker process, also while it is being forked (`process` is 0 then).

    Attributes:
        number: among all workers of the pool.
        connection: our end of its socket.
        output: what it and its children print can be read there.
        equipment: what it has for life.
        process: its process id, which is its process group's too.
        assigned: the job it gets when it is there.
        running: the job it has.
        started: how many jobs it has been given.
        surroundings: those it was sent last.
        ending: it gets no more jobs: it was told to end, or its connection has ended.
        kill_at: when to send SIGKILL, in seconds of the monotonic clock.
    """

    number: int
    connection: socket.socket
    output: int
    equipment: Equipment
    process: int = 0
    assigned: Job | None = None
    running: Running | None = None
    started: int = 0
    frames: FrameBuffer = field(default_factory=FrameBuffer)
    outgoing: bytearray = field(default_factory=bytearray)
    surroundings: Surroundings | None = None
    ending: bool = False
    kill_at: float = math.inf

    @property
    def job(self) -> Job | None:
        """The job it has, or gets when it is there."""
        return self.running.job if self.running is not None else self.assigned

    @property
    def is_idle(self) -> bool:
        """Whether it can be given a job at once."""
        return self.process != 0 and self.running is None and self.assigned is None and not self.ending

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices that are its own."""
        return self.equipment.devices or ()

    def equip(self, surroundings: Surroundings) -> Surroundings:
        """The surroundings of a task, as this worker is to see them."""
        return replace(surroundings, environment=self.equipment.in_environment(surroundings.environment))
