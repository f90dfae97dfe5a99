"""A Cogweb server as an engine: one task of its queue per job."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeAlias

from metta.sweep.errors import UsageError
from metta.sweep.executors.cogweb.client import CogwebClient, TaskState
from metta.sweep.executors.remote.engine import EngineRefused, EngineUnavailable, Job, JobStatus, Phase
from metta.sweep.executors.remote.messages import as_line
from metta.sweep.trial import FailureReason

Fetcher: TypeAlias = Callable[[str, Path], None]
"""(task id, attempt folder) -> None: brings what the worker wrote into the attempt's folder of this machine."""

OWN_ATTRIBUTES: Final = ("label", "name", "resources", "run_id", "sweep")

FETCHES: Final = 5
"""How often the folder of a task that is over is asked for before it counts as lost."""

CONNECTIONS: Final = 8

_PART: Final = re.compile(r"[A-Za-z0-9_@%+=:,./ -]+")


class CogwebEngine:
    """See `CogwebExecutor`, whose arguments these are.

    The job's id is the task's; with a fetcher the attempt's folder follows it behind a colon, so that a restarted
    driver, too, knows where to fetch to.

    Raises:
        UsageError: `attributes` are no JSON, or have names that are ours.
    """

    name = "Cogweb"
    largest_batch = 1
    """A submission of several could fail half-way, and there is no route to ask what became of it."""

    def __init__(
        self,
        client: CogwebClient,
        sweep: str,
        *,
        project: str,
        entity: str,
        wandb_sweep_id: str | None = None,
        git_hash: str | None = None,
        data_file: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        fetcher: Fetcher | None = None,
        poll_interval: float = 5.0,
    ) -> None:
        self.poll_interval = poll_interval
        self._client = client
        self._sweep = sweep
        self._project = project
        self._entity = entity
        self._wandb_sweep_id = wandb_sweep_id
        self._git_hash = git_hash
        self._data_file = data_file
        self._attributes = _checked(attributes or {})
        self._fetcher = fetcher
        self._registered = False
        self._cancelled: set[str] = set()
        self._fetched: set[str] = set()
        self._failed_fetches: dict[str, int] = {}

    def submit(self, jobs: Sequence[Job], label: str) -> Sequence[str]:
        """Put tasks into the queue, each under a run id of its own; see `Engine.submit`."""
        ids = []
        for job in jobs:
            command, git_hash = command_line(job), self._commit(job.work_folder)
            self._register()
            body = self._body(job, label, command, git_hash, self._client.next_run_id(self._sweep))
            task_id = self._client.submit(
                body["command"],
                git_hash=body["git_hash"],
                data_file=body["data_file"],
                attributes=body["attributes"],
            )
            ids.append(task_id if self._fetcher is None else f"{task_id}:{job.folder}")
        return ids

    def find(self, label: str) -> Sequence[str] | None:
        """None: no route lists tasks. A task that was taken although nobody heard of its id belongs to an attempt that
        is fenced or submitted again: its worker does not start, or ends when the other one has the folder."""
        return None

    def status(self, jobs: Mapping[str, str]) -> Mapping[str, JobStatus]:
        """See `Engine.status`; fetches the folders of tasks that run or are over, if there is a fetcher."""
        if not jobs:
            return {}
        with ThreadPoolExecutor(min(CONNECTIONS, len(jobs)), "cogweb") as pool:
            found = dict(zip(jobs, pool.map(self._look, jobs), strict=True))
        return {job_id: status for job_id, status in found.items() if status is not None}

    def cancel(self, jobs: Mapping[str, str]) -> None:
        """No route ends a task. The worker does so itself, within seconds, when it sees that its attempt is fenced;
        one that still waits in the queue does nothing when its turn comes."""
        self._cancelled.update(jobs)

    def forget(self, jobs: Mapping[str, str]) -> None:
        """The server keeps its tasks; there is no route to remove them."""
        for job_id in jobs:
            self._cancelled.discard(job_id)
            self._fetched.discard(job_id)
            self._failed_fetches.pop(job_id, None)

    def describe(self, job: Job, label: str) -> str:
        """The body of POST /tasks, with a question mark where the server gives the number."""
        git_hash = self._git_hash or _head(job.work_folder) or "(no commit found)"
        body = self._body(job, label, command_line(job), git_hash, f"{self._sweep}.r.?")
        return json.dumps(body, indent=2, ensure_ascii=False)

    def problems(self) -> Collection[str]:
        """See `Engine.problems`."""
        found = []
        try:
            self._check_sweep()
        except (EngineUnavailable, EngineRefused) as error:
            found.append(str(error))
        if self._git_hash is None and _head(Path.cwd()) is None:
            found.append(_NO_COMMIT.format(folder=Path.cwd()))
        return found

    def close(self) -> None:
        """See `Engine.close`."""
        self._client.close()

    # Handing in

    def _register(self) -> None:
        if not self._registered:
            if not self._check_sweep():
                wandb_sweep_id = self._wandb_sweep_id or self._sweep
                self._client.create_sweep(self._sweep, self._project, self._entity, wandb_sweep_id)
            self._registered = True

    def _check_sweep(self) -> bool:
        """Whether the server has the sweep.

        Raises:
            EngineRefused: it has, but as another one's: run ids of the two would mix.
        """
        info = self._client.sweep(self._sweep)
        if info.exists and self._wandb_sweep_id is not None and info.wandb_sweep_id != self._wandb_sweep_id:
            raise EngineRefused(
                f'the sweep "{self._sweep}" of {self._client.server} belongs to the W&B sweep '
                f"{info.wandb_sweep_id[:100]!r}, not to {self._wandb_sweep_id!r}: choose another name"
            )
        return info.exists

    def _commit(self, folder: Path) -> str:
        # Once for all jobs: they are to run what the driver runs, whatever is checked out meanwhile.
        self._git_hash = self._git_hash or _head(folder)
        if self._git_hash is None:
            raise EngineRefused(_NO_COMMIT.format(folder=folder))
        return self._git_hash

    def _body(self, job: Job, label: str, command: str, git_hash: str, run_id: str) -> dict[str, Any]:
        own = {
            "label": label,
            "name": as_line(job.name, 100),
            "resources": _needs(job),
            "run_id": run_id,
            "sweep": self._sweep,
        }
        return {
            "command": command,
            "git_hash": git_hash,
            "data_file": self._data_file,
            "attributes": {**self._attributes, **own},
        }

    # Looking

    def _look(self, job_id: str) -> JobStatus | None:
        task_id = job_id.partition(":")[0]
        try:
            state = self._client.task_state(task_id)
        except EngineRefused as error:  # a token that was withdrawn, say: the task goes on meanwhile
            raise EngineUnavailable(str(error)) from None
        if state is None:
            return None
        if state is TaskState.UNPROCESSED and job_id in self._cancelled:
            why = f"{worker_name(task_id)} stays in the queue, and does nothing when its turn comes"
            return JobStatus(Phase.ENDED, FailureReason.CANCELLED, why)
        fetcher = self._fetcher if state is not TaskState.UNPROCESSED and job_id not in self._fetched else None
        if fetcher is not None and (wait := self._fetch(fetcher, job_id, state)):
            return wait
        log = ""
        if state in (TaskState.ERROR, TaskState.SYSTEM_ERROR):
            try:
                log = self._client.log_tail(task_id)
            except EngineUnavailable as error:
                log = str(error)
        return status_of(task_id, state, log)

    def _fetch(self, fetcher: Fetcher, job_id: str, state: TaskState) -> JobStatus | None:
        """Fetch the folder of a task; what is to be said instead of its state if that fails."""
        task_id, _, folder = job_id.partition(":")
        try:
            fetcher(task_id, Path(folder))
        except Exception as error:  # the user's code, and what it calls
            message = f"the fetcher failed for {worker_name(task_id)}: {type(error).__name__}: {error}"
            if state is not TaskState.RUNNING:
                self._failed_fetches[job_id] = self._failed_fetches.get(job_id, 0) + 1
            if self._failed_fetches.get(job_id, 0) < FETCHES:
                return JobStatus(Phase.RUNNING, None, message, worker_name(task_id))
            return JobStatus(Phase.ENDED, FailureReason.STORAGE, message, worker_name(task_id))
        if state is not TaskState.RUNNING:
            self._fetched.add(job_id)
        return None


def command_line(job: Job) -> str:
    """The shell line of a job: quoted words of characters that no shell gives a meaning to.

    Raises:
        EngineRefused: a path or a name of the interpreter has other characters.
    """
    paths = ":".join(map(str, job.paths))
    words = [*(["env", f"PYTHONPATH={paths}"] if paths else []), *job.command]
    for word in words:
        if _PART.fullmatch(word) is None:
            raise EngineRefused(
                f"Cogweb runs its command as a shell line, and {word!r} has characters that are not allowed there: "
                "use folders of letters, digits, spaces and _@%+=,./-"
            )
    return shlex.join(words)


def status_of(task_id: str, state: TaskState, log: str = "") -> JobStatus:
    """What a task's state says about its job; the last lines of `log` follow the message."""
    worker = worker_name(task_id)
    match state:
        case TaskState.UNPROCESSED:
            return JobStatus(Phase.QUEUED)
        case TaskState.RUNNING:
            return JobStatus(Phase.RUNNING, worker=worker)
        case TaskState.DONE:
            return JobStatus(Phase.ENDED, None, f"{worker}: done", worker)
        case TaskState.CANCELED:
            return JobStatus(Phase.ENDED, FailureReason.CANCELLED, f"{worker}: canceled at the server", worker)
        case TaskState.ERROR:
            return JobStatus(Phase.ENDED, None, f"{worker}: error{_last_lines(log)}", worker)
        case TaskState.SYSTEM_ERROR:
            # The queue's own fault, not the task's: such an attempt does not count against its retries.
            return JobStatus(Phase.ENDED, FailureReason.NODE_LOST, f"{worker}: system_error{_last_lines(log)}", worker)


def worker_name(task_id: str) -> str:
    """How messages name a task."""
    return f"Cogweb task {task_id}"


def _last_lines(log: str, lines: int = 5, length: int = 500) -> str:
    shown = [as_line(line, length) for line in log.splitlines()]
    text = " | ".join([line for line in shown if line][-lines:])
    if len(text) > length:
        text = "..." + text[-length:]
    return f"; its output ends with: {text}" if text else ""


def _needs(job: Job) -> dict[str, Any]:
    resources = job.resources
    needs = {
        "cpus": resources.cpus,
        "gpus": resources.gpus,
        "memory": resources.memory_bytes,
        "time_limit": job.time_limit,
        "partition": resources.partition,
        "image": resources.image,
    }
    return {name: value for name, value in needs.items() if value is not None}


def _checked(attributes: Mapping[str, Any]) -> dict[str, Any]:
    taken = sorted(set(attributes) & set(OWN_ATTRIBUTES))
    if taken:
        raise UsageError(f"attributes={{{taken[0]!r}: ...}}: this name is taken; {', '.join(OWN_ATTRIBUTES)} are ours")
    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(attributes), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UsageError(f"attributes={dict(attributes)!r}: expected JSON values: {error}") from None
    return copy


_NO_COMMIT: Final = "{folder} is in no git repository, and Cogweb runs a commit: pass git_hash="


def _head(folder: Path) -> str | None:
    from metta.sweep.store.git import checkout

    found = checkout(folder)
    return None if found is None else found.commit
