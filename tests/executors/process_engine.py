"""An engine whose jobs are processes of this machine that nobody waits for: what remote executors are tested with.

It behaves as clusters do: it goes on when its driver dies, a job that was forgotten is unknown, and it can be told to
be down, to refuse jobs, to be wrong about one, or to start it again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from metta.sweep.executors.remote.engine import EngineRefused, EngineUnavailable, Job, JobStatus, Phase
from metta.sweep.executors.remote.executor import RemoteExecutor
from metta.sweep.trial import FailureReason

_START = """
import os, subprocess, sys
if os.fork():
    os._exit(0)  # nobody waits for it
os.setsid()
output, status, *command = sys.argv[1:]
with open(output, "ab") as file:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)
with open(status + ".pid", "w") as file:
    file.write(str(process.pid))
os.replace(status + ".pid", status + ".running")
code = process.wait()
with open(status + ".tmp", "w") as file:
    file.write(str(code))
os.replace(status + ".tmp", status + ".over")
"""


class ProcessEngine:
    """Args:
    folder: for its state. Two engines with one folder are one, also in different processes.
    """

    def __init__(self, folder: Path, *, poll_interval: float = 0.2, largest_batch: int = 5) -> None:
        self.name = "processes"
        self.poll_interval = poll_interval
        self.largest_batch = largest_batch
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.submissions: list[int] = []
        """How many jobs each call of `submit` has had."""
        self.down: str | None = None
        """Why it cannot be asked now; None while it can."""
        self.refuses: str | None = None
        """Why it will not take any job."""
        self.overrides: dict[str, JobStatus | None] = {}
        """What it says of single jobs, whatever is true; None: it knows nothing of them."""

    def submit(self, jobs: Sequence[Job], label: str) -> Sequence[str]:
        self._answers()
        if self.refuses is not None:
            raise EngineRefused(self.refuses)
        self.submissions.append(len(jobs))
        ids = [f"{label}.{position}" for position in range(len(jobs))]
        for job, name in zip(jobs, ids, strict=True):
            self._write(name, {"command": job.command, "output": str(job.folder / "output.txt"), "grace": job.grace})
            self.start(name)
        return ids

    def start(self, name: str) -> None:
        """Start a job, for the first time or again."""
        about = json.loads((self.folder / f"{name}.json").read_text())
        (self.folder / f"{name}.over").unlink(missing_ok=True)
        (self.folder / f"{name}.running").unlink(missing_ok=True)
        environment = {k: v for k, v in os.environ.items() if k != "METTA_SWEEP_FAIL_AT"}
        subprocess.run(
            [sys.executable, "-c", _START, about["output"], str(self.folder / name), *about["command"]],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, check=True,
        )  # fmt: skip

    def find(self, label: str) -> Sequence[str] | None:
        self._answers()
        return sorted((path.stem for path in self.folder.glob(f"{label}.*.json")), key=_position) or None

    def status(self, jobs: Mapping[str, str]) -> Mapping[str, JobStatus]:
        self._answers()
        return {name: status for name, label in jobs.items() if (status := self._status_of(name, label)) is not None}

    def _status_of(self, name: str, label: str) -> JobStatus | None:
        if name in self.overrides:
            return self.overrides[name]
        if not name.startswith(f"{label}.") or not (self.folder / f"{name}.json").exists():
            return None
        if (over := self._read(name, "over")) is not None:
            reason = FailureReason.CANCELLED if (self.folder / f"{name}.cancelled").exists() else None
            return JobStatus(Phase.ENDED, reason, f"process of job {name} (exit code {over})", "here")
        running = self._read(name, "running") is not None
        return JobStatus(Phase.RUNNING if running else Phase.QUEUED, worker="here")

    def cancel(self, jobs: Mapping[str, str]) -> None:
        self._answers()
        for name in jobs:
            (self.folder / f"{name}.cancelled").touch()
            self.signal(name, signal.SIGTERM)

    def signal(self, name: str, number: signal.Signals, *, program_only: bool = False) -> None:
        """Send a signal to all processes of a job, or to its worker program alone."""
        process = self.process(name)
        if process is not None and self._read(name, "over") is None:
            with suppress(ProcessLookupError):
                os.kill(process, number) if program_only else os.killpg(process, number)

    def process(self, name: str, wait: float = 5.0) -> int | None:
        """The process id of a job's worker program."""
        until = time.monotonic() + wait
        while (text := self._read(name, "running")) is None and time.monotonic() < until:
            time.sleep(0.02)
        return None if text is None else int(text)

    def forget(self, jobs: Mapping[str, str]) -> None:
        self._answers()
        for name in jobs:
            for path in self.folder.glob(f"{name}.*"):
                path.unlink(missing_ok=True)

    def describe(self, job: Job, label: str) -> str:
        return " ".join(job.command)

    def problems(self) -> Collection[str]:
        return [] if self.down is None else [self.down]

    def close(self) -> None:
        """Nothing to close."""

    def jobs(self) -> list[str]:
        """All jobs that it knows of."""
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def _answers(self) -> None:
        if self.down is not None:
            raise EngineUnavailable(self.down)

    def _write(self, name: str, about: dict[str, Any]) -> None:
        path = self.folder / f"{name}.json"
        path.with_suffix(".new").write_text(json.dumps(about))
        path.with_suffix(".new").replace(path)

    def _read(self, name: str, suffix: str) -> str | None:
        try:
            return (self.folder / f"{name}.{suffix}").read_text()
        except FileNotFoundError:
            return None


def _position(name: str) -> int:
    return int(name.rpartition(".")[2])


class ProcessExecutor(RemoteExecutor):
    """Tasks in processes of this machine that go on without their driver."""

    engine: ProcessEngine

    def __init__(
        self,
        folder: Path,
        *,
        spool: Path | None = None,
        max_jobs: int | None = None,
        lost_after: float = 60.0,
        grace: float = 2.0,
        patience: float = 3600.0,
        poll_interval: float = 0.2,
        largest_batch: int = 5,
    ) -> None:
        engine = ProcessEngine(folder, poll_interval=poll_interval, largest_batch=largest_batch)
        super().__init__(
            engine,
            spool=spool or folder / "spool",
            max_jobs=max_jobs,
            lost_after=lost_after,
            grace=grace,
            patience=patience,
        )
