"""Attempts and settings for the tests of the Kubernetes executor."""

from __future__ import annotations

from pathlib import Path

from metta.sweep.executors.kubernetes.manifest import PodSettings
from metta.sweep.executors.kubernetes.volumes import Volume
from metta.sweep.executors.remote.engine import Job
from metta.sweep.trial import Resources

SETTINGS = PodSettings(image="example/train:1", volumes=(Volume.parse("shared:/shared"),), user=(1000, 1000))


def a_job(
    *,
    token: str = "sweep/trial-1/attempt-1",
    name: str = "trial 1",
    folder: str = "/shared/run/attempt-1",
    command: tuple[str, ...] = ("python3", "-m", "metta.sweep.worker", "/shared/run/attempt-1", "0" * 64),
    work_folder: str = "/shared/code",
    paths: tuple[str, ...] = (),
    reads: tuple[str, ...] = (),
    writes: tuple[str, ...] = (),
    resources: Resources | None = None,
    time_limit: float | None = None,
    grace: float = 10.0,
) -> Job:
    return Job(
        token, name, Path(folder), command, Path(work_folder), tuple(map(Path, paths)), tuple(map(Path, reads)),
        tuple(map(Path, writes)), resources or Resources(), time_limit, grace,
    )  # fmt: skip
