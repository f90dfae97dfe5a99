"""Tasks on a Dask cluster."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from metta.sweep.executors.dask.engine import DaskEngine
from metta.sweep.executors.remote.executor import RemoteExecutor

if TYPE_CHECKING:
    from distributed import Client


class DaskExecutor(RemoteExecutor):
    """Runs tasks on the workers of a Dask scheduler, wherever those run: cloud machines, a batch system, one machine.

    A task takes one thread of a Dask worker, which starts the worker program as a process of its own, waits for it, and
    ends it when it is cancelled. It goes on when the driver dies, and ends with its Dask worker: that attempt then has
    the reason "node_lost", and Dask's own second try does nothing, as the next attempt is the driver's to start.

    Scheduler and workers need the driver's environment (the same metta-sweep, distributed and Python, as Dask itself
    asks for), and see the attempts' folders at the same paths. Who can reach a Dask scheduler can run code on all
    machines of the cluster, and on the driver's: protect it (TLS: pass a client that has a `Security`).

    What becomes of a task's `Resources`:

    - `cpus`, `gpus`, `memory` are asked for as Dask's abstract resources CPU, GPU and MEMORY, as far as a worker of the
      cluster declares them (`dask worker --resources "GPU=2,MEMORY=8e9"`). These are counts: which devices a program
      sees, the environment of its Dask worker says. GPUs that no worker declares are refused.
    - `cpus` is also told to numerical libraries, `memory` also watched by the worker program: a task with more fails
      with the reason "oom".
    - `time_limit` ends the attempt. `partition` and `image` mean nothing to Dask.

    Args:
        address: of the scheduler ("tcp://host:8786"), or a client, which is not closed. Default: what Dask is
            configured for, by DASK_SCHEDULER_ADDRESS.
        spool: for tasks that have no folder of their own; default: `spool` in METTA_SWEEP_HOME or `./.metta-sweep`.
        max_jobs: how many Dask tasks there are at once, waiting ones included; None leaves that to the scheduler.
        python: the interpreter of the tasks.
        lost_after: seconds without a heart-beat after which a running task is taken as lost.
        grace: seconds between the signal that asks a task to end and the one that makes it.
        patience: seconds that a trial waits for a driver's answer before it saves its state and ends.

    Raises:
        UsageError: no scheduler is named, or an argument makes no sense.
        MissingExtraError: distributed is not installed: `pip install 'metta-sweep[dask]'`.
    """

    def __init__(
        self,
        address: str | Client | None = None,
        *,
        spool: str | os.PathLike[str] | None = None,
        max_jobs: int | None = None,
        python: str = sys.executable,
        lost_after: float = 60.0,
        grace: float = 10.0,
        patience: float = 3600.0,
    ) -> None:
        super().__init__(
            DaskEngine(address),
            spool=spool,
            max_jobs=max_jobs,
            python=python,
            lost_after=lost_after,
            grace=grace,
            patience=patience,
        )
