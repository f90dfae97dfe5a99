"""Attempts for the tests of the SLURM executor."""

from __future__ import annotations

from pathlib import Path

from metta.sweep.executors.remote.engine import Job
from metta.sweep.trial import Resources


def a_job(
    *,
    folder: str = "/shared/run/attempt-1",
    command: tuple[str, ...] = ("python3", "-m", "metta.sweep.worker", "/shared/run/attempt-1", "0" * 64),
    work_folder: str = "/home/ada/project",
    paths: tuple[str, ...] = ("/home/ada/project", "/home/ada/lib"),
    resources: Resources | None = None,
    time_limit: float | None = None,
    token: str = "sweep/trial-1/attempt-1",
) -> Job:
    return Job(
        token=token,
        name="trial 1",
        folder=Path(folder),
        command=command,
        work_folder=Path(work_folder),
        paths=tuple(map(Path, paths)),
        reads=(),
        writes=(),
        resources=resources or Resources(),
        time_limit=time_limit,
        grace=10.0,
    )
