"""The executor for SLURM clusters."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta

from metta.sweep.errors import UsageError
from metta.sweep.executors.remote.executor import RemoteExecutor
from metta.sweep.executors.slurm.engine import SlurmEngine
from metta.sweep.executors.slurm.settings import SlurmSettings


class SLURMExecutor(RemoteExecutor):
    """Runs tasks as jobs of a SLURM cluster, by `sbatch` on the machine of the driver.

    Attempts that are submitted together and want the same become one job array. A job that SLURM starts again, after a
    lost node or a preemption, goes on from its last state. Near the time limit a job is asked to save and end, and the
    next attempt goes on; so trials may take longer than a partition allows. What a job's program prints besides the
    task's log is in `output.txt` of the attempt's folder.

    `Resources(cpus, gpus, memory, time_limit, partition)` of a task become options of sbatch; memory is per job, parts
    of a core or GPU are rounded up to whole ones, times to minutes. A task with an `image` is refused. The environment
    of the driver reaches the jobs as sbatch hands it on (`--export`).

    Args:
        partition: where `Resources(partition=)` does not say; None: the cluster's default.
        account: whose share is used.
        qos: the quality of service.
        gres: generic resources beside GPUs, as sbatch takes them: "lustre:1".
        gpu_type: of the GPUs that `Resources(gpus=)` asks for: "a100".
        time_limit: seconds or a timedelta, per job; None: the limit of the partition.
        setup: lines of bash that run before the worker program, in the driver's working folder: `["module load cuda"]`.
            They are taken as they are. The worker program starts even if one fails, unless it says `|| exit`.
        options: further options of sbatch by their long names: `{"constraint": "a100|h100", "exclusive": True}`.
        requeue: whether SLURM may start a job again that a lost node or a preemption ended.
        signal_before: seconds before the time limit at which a job is asked to save and end; 0: it is not.
        poll_interval: seconds between two looks at the queue, for all jobs at once.
        spool, max_jobs, python, lost_after, grace, patience: see `RemoteExecutor`. `python` and the folder of the run
            must be at the same path on all nodes.

    Raises:
        UsageError: a value that SLURM would not understand, or an option that the executor sets itself.
    """

    def __init__(
        self,
        partition: str | None = None,
        *,
        account: str | None = None,
        qos: str | None = None,
        gres: str | None = None,
        gpu_type: str | None = None,
        time_limit: float | timedelta | None = None,
        setup: str | Sequence[str] = (),
        options: Mapping[str, str | int | bool] | None = None,
        requeue: bool = True,
        signal_before: int = 60,
        poll_interval: float = 10.0,
        spool: str | os.PathLike[str] | None = None,
        max_jobs: int | None = None,
        python: str = sys.executable,
        lost_after: float = 60.0,
        grace: float = 10.0,
        patience: float = 3600.0,
    ) -> None:
        if not poll_interval > 0:
            raise UsageError(f"SLURMExecutor(poll_interval={poll_interval!r}): expected a positive number of seconds")
        settings = SlurmSettings(
            partition=partition,
            account=account,
            qos=qos,
            gres=gres,
            gpu_type=gpu_type,
            time_limit=time_limit.total_seconds() if isinstance(time_limit, timedelta) else time_limit,
            setup=(setup,) if isinstance(setup, str) else tuple(setup),
            options=options or {},
            requeue=requeue,
            signal_before=signal_before,
        )
        engine = SlurmEngine(settings, poll_interval=poll_interval)
        super().__init__(
            engine, spool=spool, max_jobs=max_jobs, python=python, lost_after=lost_after, grace=grace, patience=patience
        )
