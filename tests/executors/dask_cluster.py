"""A Dask scheduler and its workers, as processes of this machine."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parent.parent.parent

PATIENCE_S = 60.0

_PR_SET_PDEATHSIG = 1


class DaskCluster:
    """Args:
    folder: for logs and the scheduler's address.
    workers: how many. The first one declares a GPU.
    threads: how many each has.
    """

    def __init__(self, folder: Path, workers: int = 2, threads: int = 1) -> None:
        self._folder = folder
        self._threads = threads
        self._processes: list[subprocess.Popen[bytes]] = []
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        """By name."""
        self._file = folder / "scheduler.json"
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(self._file)
        )
        for number in range(workers):
            self.add_worker(f"w{number}", *(["--resources", "GPU=1"] if number == 0 else []))
        until = time.monotonic() + PATIENCE_S
        while not self._file.exists():
            assert time.monotonic() < until, (folder / "scheduler.log").read_text()
            time.sleep(0.02)
        self.address: str = json.loads(self._file.read_text())["address"]

    def add_worker(self, name: str, *options: str) -> None:
        """Start one more worker."""
        common = (
            "--scheduler-file",
            str(self._file),
            "--nthreads",
            str(self._threads),
            "--no-nanny",
            "--death-timeout",
            "60",
        )
        self.workers[name] = self._start("worker", *common, "--name", name, *options)

    def _start(self, role: str, *options: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__ADMIN__TICK__LIMIT": "1h"}
        with (self._folder / f"{role}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", role, *options, "--no-dashboard"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=environment,
                preexec_fn=_end_with_parent,
            )
        self._processes.append(process)
        return process

    def __enter__(self) -> DaskCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGCONT)
            process.kill()
        for process in self._processes:
            process.wait()


def _end_with_parent() -> None:
    """Have the kernel end this process with the tests, also where those are killed (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
