"""Jobs for containers, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metta.sweep.executors.remote.engine import Job
from metta.sweep.trial import Resources


def container_job(root: Path, /, *command: str, **changes: Any) -> Job:
    """A job that runs `command`, with the folders `work` and `work/attempt` below `root`."""
    values: dict[str, Any] = {
        "token": "run/3-attempt-1",
        "name": "train model",
        "folder": root / "work" / "attempt",
        "command": command,
        "work_folder": root / "work",
        "paths": (),
        "reads": (),
        "writes": (),
        "resources": Resources(),
        "time_limit": None,
        "grace": 2.0,
    }
    return Job(**{**values, **changes})


def made(job: Job) -> Job:
    """The job, with its folders made."""
    job.work_folder.mkdir(exist_ok=True)
    for folder in (job.folder, *job.writes):
        folder.mkdir(parents=True, exist_ok=True)
    return job
