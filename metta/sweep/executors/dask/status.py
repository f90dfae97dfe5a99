"""What Dask says, in our terms. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from metta.sweep.executors.dask.task import CANCEL, END, WORKER
from metta.sweep.executors.remote.engine import EngineRefused, JobStatus, Phase
from metta.sweep.executors.remote.messages import as_line
from metta.sweep.trial import FailureReason, Resources

CPU, GPU, MEMORY = "CPU", "GPU", "MEMORY"
"""Names of Dask's abstract resources, as `dask worker --resources "GPU=2,MEMORY=8e9"` declares them."""

_WAITING: Final = ("released", "waiting", "queued", "no-worker", "processing")


def abstract_resources(resources: Resources, declared: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What a Dask task asks for.

    Dask's resources are mere counts: a need that no worker declares is left out, except for GPUs.

    Args:
        resources: of the job.
        declared: what each worker declares. Empty: the cluster grows with its tasks, and nobody knows.

    Raises:
        EngineRefused: no worker has all that is needed.
    """
    wanted = {CPU: resources.cpus, GPU: resources.gpus, MEMORY: float(resources.memory_bytes or 0)}
    needs = {
        name: amount
        for name, amount in wanted.items()
        if amount and (name == GPU or any(name in worker for worker in declared))
    }
    if declared and not any(
        all(worker.get(name, 0) >= amount for name, amount in needs.items()) for worker in declared
    ):
        asked = ", ".join(f"{name}={amount:g}" for name, amount in needs.items())
        most = ", ".join(f"{name}={max(worker.get(name, 0) for worker in declared):g}" for name in needs)
        raise EngineRefused(
            f"no Dask worker has {asked}; the most that one declares is {most}: start workers with "
            f'`dask worker --resources "{asked}"`'
        )
    return needs


def status_of(
    state: str | None, record: Mapping[str, Any], live: Collection[str], failure: BaseException | None
) -> JobStatus | None:
    """How a job is; None if nothing is known of it.

    Args:
        state: of its task at the scheduler; None: it has none (any more).
        record: what its Dask worker wrote down; see task.py.
        live: the addresses of the workers.
        failure: why Dask could not bring the task to its end.
    """
    worker = f"Dask worker {record[WORKER]}" if WORKER in record else ""
    if (end := record.get(END)) is not None:
        reason = None if end["reason"] is None else FailureReason(end["reason"])
        return JobStatus(Phase.ENDED, reason, f"{worker}: {end['message']}", worker)
    if worker:
        if record[WORKER] in live:
            return JobStatus(Phase.RUNNING, None, worker, worker)
        return JobStatus(Phase.ENDED, FailureReason.NODE_LOST, f"the {worker} died or lost its connection", worker)
    if CANCEL in record:
        return JobStatus(Phase.ENDED, FailureReason.CANCELLED, "cancelled before a Dask worker had it")
    if failure is not None:
        killed = type(failure).__name__ == "KilledWorker"
        text = as_line(f"{type(failure).__name__}: {failure}", 500)
        return JobStatus(Phase.ENDED, FailureReason.NODE_LOST if killed else None, text)
    if state in _WAITING:
        return JobStatus(Phase.QUEUED, None, "no Dask worker fits" if state == "no-worker" else "")
    if state is None:
        return None
    return JobStatus(Phase.ENDED, None, f"its Dask task is {state}, and nothing says what it did")
