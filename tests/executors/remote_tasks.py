"""What the jobs of the tests of remote executors run: importable wherever the tests are."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from metta.sweep.trial import Trial


def add(first: int, second: int) -> int:
    print(f"{first} + {second}")
    return first + second


def wait_for(path: Path, limit: float = 60.0) -> str:
    """Return when a file is there."""
    until = time.monotonic() + limit
    while not path.exists():
        if time.monotonic() > until:
            raise TimeoutError(f"{path} did not appear")
        time.sleep(0.02)
    return "it came"


def die(number: int = signal.SIGKILL) -> None:
    os.kill(os.getpid(), number)


def fail(kind: type[BaseException], *arguments: object) -> None:
    raise kind(*arguments)


def climbing(trial: Trial) -> Iterator[float]:
    """Saves and reports eight steps; at each a file `gate-N` must be there, if the folder in `gates` says so."""
    saved = trial.load()
    total = 0.0 if saved is None else saved["total"]
    first = 1 if saved is None else saved["step"] + 1
    print(f"starts at {first}")
    for step in range(first, 9):
        if "gates" in trial.params:
            wait_for(Path(trial.params["gates"]) / f"gate-{step}")
        total += trial.params["x"] * step
        trial.save({"total": total, "step": step})
        yield total
