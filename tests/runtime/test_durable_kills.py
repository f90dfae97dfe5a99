"""Promises R1, R3 and R7 for pipelines: killed at every fail point, and at random instants, a run loses nothing.

The work is done in a process of its own (durable_program.py), which forks a driver per kill.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent

ROOM = 32 * 2**20
"""Bytes that the runs of one test may need at once."""

# What every run of the program passes: a point that is passed no more would be tested no more.
PASSED = {
    *("journal.begun", "journal.committed", "journal.written", "run.ended", "run.renamed", "run.started"),
    *("stage.called", "stage.committed", "stage.started", "file.renamed", "file.written"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is room: what a killed process has written is there on any medium, and a sync is free.

    (That each commit is synced is for power cuts, which no test can have; store/test_journal.py looks at the setting.)
    """
    memory = Path("/dev/shm")
    if not (os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="metta-sweep-") as made:
        yield Path(made)


def program(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-W", "error", "-m", "tests.runtime.durable_program", str(tmp_path), *arguments]
    # Not in the project's folder: the manifest of each run would ask git for its differences.
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4_000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    "kind", ["sync", pytest.param("async", marks=pytest.mark.slow), pytest.param("dynamic", marks=pytest.mark.slow)]
)
def test_every_fail_point(folder: Path, kind: str) -> None:
    found = program(folder, kind, "points")
    passed = set(found.pop("passed"))
    assert found == {}
    assert passed >= PASSED


def test_thirty_kills_at_random_instants(tmp_path: Path) -> None:
    assert program(tmp_path, "sync", "random", "30", "1") == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sync", "async", "dynamic"])
def test_three_hundred_kills_at_random_instants(folder: Path, kind: str) -> None:
    assert program(folder, kind, "random", "100", "2") == {}


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 120))
def test_ten_thousand_kills_at_random_instants(tmp_path: Path, seed: int) -> None:
    assert program(tmp_path, "sync", "random", "500", str(seed)) == {}
