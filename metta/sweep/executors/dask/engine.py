"""A Dask cluster as an engine: one Dask task per job, which runs the job's program on a Dask worker's machine."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from metta.sweep.errors import MissingExtraError, UsageError
from metta.sweep.executors.dask.status import CPU, GPU, MEMORY, abstract_resources, status_of
from metta.sweep.executors.dask.task import (
    CANCEL,
    END,
    ROOT,
    WORKER,
    DaskJob,
    installed_version,
    record_key,
    run_job,
    stop_jobs,
)
from metta.sweep.executors.remote.engine import EngineUnavailable, Job, JobStatus
from metta.sweep.executors.remote.messages import as_line

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")


class DaskEngine:
    """See `DaskExecutor`, whose arguments these are. A job's id is its label, a dot and its place in the submission.

    Raises:
        MissingExtraError: distributed is not installed.
        UsageError: no address is given or configured, or the client is an asynchronous one.
    """

    name = "Dask"
    poll_interval: float = 1.0
    largest_batch = 100
    timeout: float = 5.0
    """Seconds until a question to the scheduler counts as unanswered."""

    def __init__(self, address: str | Client | None = None) -> None:
        try:
            import dask.config
            import distributed
        except ImportError:
            raise MissingExtraError("DaskExecutor", "dask") from None
        # Much of distributed has no types: what is asked of a client is `Any`, here and nowhere else.
        self._client: Any = None
        self._futures: dict[str, Any] = {}
        """Of the jobs that this process submitted: they carry the failures of Dask itself."""
        self._is_ours = not isinstance(address, distributed.Client)
        if isinstance(address, distributed.Client):
            if address.asynchronous:
                raise UsageError("DaskExecutor(...): expected a client made without asynchronous=True")
            self._client, self._address = address, ""
            return
        configured: Any = dask.config.get("scheduler-address", default=None)
        self._address = address or configured
        if not isinstance(self._address, str) or not self._address:
            raise UsageError(
                'no Dask scheduler is given: pass its address ("tcp://host:8786") or a client, or set the environment '
                "variable DASK_SCHEDULER_ADDRESS"
            )

    def submit(self, jobs: Sequence[Job], label: str) -> Sequence[str]:
        """Start Dask tasks, all by one message; see `Engine.submit`."""
        from distributed import fire_and_forget

        client = self._connected()
        needs = abstract_resources(jobs[0].resources, [worker["resources"] for worker in self._workers().values()])
        specs = [_spec(job, label, position) for position, job in enumerate(jobs)]
        keys = [_key(label, position) for position in range(len(jobs))]
        with self._asking():
            futures = client.map(
                run_job, [spec.to_text() for spec in specs], key=keys, pure=False, retries=0, resources=needs or None
            )
            # Without it the tasks would end with the client, and so with the driver.
            fire_and_forget(futures)  # type: ignore[no-untyped-call]
        self._futures |= {spec.id: future for spec, future in zip(specs, futures, strict=True)}
        self._ask(lambda: _until_known(client, keys))
        return [spec.id for spec in specs]

    def find(self, label: str) -> Sequence[str] | None:
        """See `Engine.find`; tasks and records bear the label."""
        client = self._connected()
        keys = [_key(label, position) for position in range(self.largest_batch)]

        async def look() -> tuple[Any, Any]:
            states = await client.scheduler.get_task_status(keys=keys)
            return states, await client.get_metadata([ROOT, label], None)

        states, records = self._ask(look)
        known = [position for position, key in enumerate(keys) if states[key] is not None]
        known += [int(position) for position, record in (records or {}).items() if record]
        return [f"{label}.{position}" for position in range(max(known) + 1)] if known else None

    def status(self, jobs: Mapping[str, str]) -> Mapping[str, JobStatus]:
        """See `Engine.status`."""
        if not jobs:
            return {}
        client, keys = self._connected(), _keys_of(jobs)

        async def look() -> tuple[Any, dict[str, Any], Any]:
            import asyncio

            states = await client.scheduler.get_task_status(keys=list(keys.values()))
            labels = sorted({label for _, label, _ in keys.values()})
            records = await asyncio.gather(*(client.get_metadata([ROOT, label], None) for label in labels))
            return states, dict(zip(labels, records, strict=True)), await client.nthreads()

        states, records, live = self._ask(look)
        found = {}
        for job_id, (_, label, position) in keys.items():
            record = (records[label] or {}).get(str(position)) or {}
            status = status_of(states[keys[job_id]], record, live, self._failure(job_id))
            if status is not None:
                found[job_id] = status
        return found

    def cancel(self, jobs: Mapping[str, str]) -> None:
        """See `Engine.cancel`. A program that runs is ended by its Dask worker; what waits does not begin."""
        client, keys = self._connected(), _keys_of(jobs)

        async def mark(job_id: str, key: list[str]) -> str | None:
            """The Dask worker that runs the job."""
            # In this order: a job that begins writes its worker first, and looks for this afterwards.
            await client.set_metadata([*key, CANCEL], True)
            record = await client.get_metadata(key, None) or {}
            if WORKER not in record and job_id in self._futures:
                await client.cancel([self._futures[job_id]], force=True)
            return None if END in record else record.get(WORKER)

        async def stop() -> None:
            import asyncio

            workers = await asyncio.gather(*(mark(name, record_key(*key[1:])) for name, key in keys.items()))
            running, live = defaultdict(list), await client.nthreads()
            for job_id, worker in zip(keys, workers, strict=True):
                if worker in live:
                    running[worker].append(job_id)
            asked = [client.run(stop_jobs, ids, workers=[worker], on_error="ignore") for worker, ids in running.items()]
            # A worker that hangs must not hold up all else. Its programs see by themselves that they are fenced.
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*asked), self.timeout / 2)

        self._ask(stop)

    def forget(self, jobs: Mapping[str, str]) -> None:
        """See `Engine.forget`. Of the records the label remains, which the scheduler offers no way to remove."""
        client = self._connected()

        async def drop() -> None:
            gone = defaultdict(set)
            for _, label, position in _keys_of(jobs).values():
                gone[label].add(str(position))
            for label, positions in gone.items():
                records = await client.get_metadata([ROOT, label], None) or {}
                if all(other in positions or not record for other, record in records.items()):
                    await client.set_metadata([ROOT, label], None)
                    continue
                for mine in positions:
                    await client.set_metadata(record_key(label, mine), None)

        self._ask(drop)
        for job_id in jobs:
            if (future := self._futures.pop(job_id, None)) is not None:
                future.release()

    def describe(self, job: Job, label: str) -> str:
        """The Dask task of a job, as JSON; of its resources those count that the cluster's workers declare."""
        task = {
            "scheduler": self._where(),
            "key": _key(label, 0),
            "resources": abstract_resources(job.resources, [dict.fromkeys((CPU, GPU, MEMORY), math.inf)]),
            "job": json.loads(_spec(job, label, 0).to_text()),
        }
        return json.dumps(task, indent=2, ensure_ascii=False)

    def problems(self) -> Collection[str]:
        """See `Engine.problems`."""
        try:
            client, workers = self._connected(), self._workers()
            if not workers:
                return [f"{self._where()} has no workers: start some with `dask worker`, or scale the cluster"]

            async def ask() -> Any:
                return await client.run(installed_version, on_error="return")

            versions = self._ask(ask)
        except EngineUnavailable as error:
            return [str(error)]
        found = []
        for worker, version in versions.items():
            if isinstance(version, Exception):
                found.append(f"the Dask worker {worker} cannot load metta-sweep ({version}): install it there")
            elif version != installed_version():
                found.append(f"the Dask worker {worker} has metta-sweep {version}, the driver {installed_version()}")
        return found

    def close(self) -> None:
        """See `Engine.close`. A client that was given stays open."""
        if self._is_ours and self._client is not None:
            self._client.close()
            self._client = None
        self._futures.clear()

    # Talking to the scheduler

    def _connected(self) -> Any:
        import distributed

        make: Any = distributed.Client
        if self._is_ours and self._client is not None and self._client.status == "closed":
            self._client = None
            self._futures.clear()
        if self._client is None:
            with self._asking():
                self._client = make(self._address, set_as_default=False, timeout=self.timeout, name="metta-sweep")
        if self._client.status != "running":
            raise EngineUnavailable(f"the connection to {self._where()} is {self._client.status}")
        return self._client

    def _workers(self) -> dict[str, Any]:
        """What the scheduler knows of its workers, by address."""
        client = self._connected()

        async def ask() -> Any:
            return await client.scheduler.identity(n_workers=-1)

        workers: dict[str, Any] = self._ask(ask)["workers"]
        return workers

    def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """The answer to what is asked in the event loop of the client.

        Raises:
            EngineUnavailable: there is none.
        """
        client = self._connected()
        with self._asking():
            answer: T = client.sync(question, callback_timeout=self.timeout)
            return answer

    @contextmanager
    def _asking(self) -> Iterator[None]:
        from concurrent.futures import CancelledError

        from distributed.client import ClosedClientError

        try:
            yield
        except (OSError, ClosedClientError, CancelledError) as error:
            text = as_line(str(error)) or "no answer"
            raise EngineUnavailable(f"{self._where()}: {type(error).__name__}: {text}") from None

    def _where(self) -> str:
        return f"the Dask scheduler {self._address or self._client.scheduler.address}"

    def _failure(self, job_id: str) -> BaseException | None:
        """The error of a task that Dask itself could not bring to its end."""
        future = self._futures.get(job_id)
        if future is None or future.status != "error":
            return None
        error: BaseException | None = future.exception(timeout=self.timeout)
        return error


async def _until_known(client: Any, keys: list[tuple[str, str, int]]) -> None:
    """Wait until the scheduler has the tasks: their message is on its way when `map` returns, and has no answer."""
    import asyncio

    while None in (await client.scheduler.get_task_status(keys=keys)).values():
        await asyncio.sleep(0.01)


def _key(label: str, position: int) -> tuple[str, str, int]:
    """Of the Dask task: its first part is what Dask's dashboard groups by."""
    return ROOT, label, position


def _keys_of(jobs: Mapping[str, str]) -> dict[str, tuple[str, str, int]]:
    """id -> key of the jobs (id -> label) whose id bears their label; another one is of a different submission."""
    found = {}
    for job_id, label in jobs.items():
        name, _, position = job_id.rpartition(".")
        if name == label and position.isascii() and position.isdigit():
            found[job_id] = _key(label, int(position))
    return found


def _spec(job: Job, label: str, position: int) -> DaskJob:
    return DaskJob(
        label=label,
        position=position,
        command=job.command,
        folder=str(job.folder),
        work_folder=str(job.work_folder),
        paths=tuple(map(str, job.paths)),
        time_limit=job.time_limit,
        grace=job.grace,
    )
