"""Starting a real engine for tests: its script, its environment, its end."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent
LAB = Path(os.environ.get("METTA_SWEEP_LAB") or Path(tempfile.gettempdir()) / "metta-sweep-clusters")
"""Where the engines keep their state: one folder each."""

REQUIRED = os.environ.get("METTA_SWEEP_CLUSTERS") == "required"
"""Whether an engine that cannot be started is a failure, as in CI."""

START_LIMIT = 900.0
"""Seconds; building Kubernetes takes minutes."""


@contextmanager
def started(name: str, **settings: str) -> Iterator[dict[str, str]]:
    """Run `NAME_up.sh`, and in the end `NAME_down.sh`; gives the variables of `LAB/NAME/env.sh`, which it writes.

    They are set in this process as well. Where the engine cannot be started the test is skipped with the reason; where
    engines are required it fails.
    """
    environment = {**os.environ, **settings, "METTA_SWEEP_LAB": str(LAB)}
    LAB.mkdir(parents=True, exist_ok=True)
    log = LAB / f"{name}_up.log"
    try:
        with log.open("wb") as output:  # no pipe: what the script starts would keep it open
            up = ["bash", str(SCRIPTS / f"{name}_up.sh")]
            process = subprocess.run(
                up, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=START_LIMIT
            )
            code = process.returncode
        if code:
            unavailable(f"{name} could not be started here (exit code {code}):\n{tail(log)}")
        variables = variables_in(LAB / name / "env.sh")
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in variables.items():
                patch.setenv(variable, value)
            yield variables
    finally:
        down = ["bash", str(SCRIPTS / f"{name}_down.sh")]
        subprocess.run(down, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)


def unavailable(reason: str) -> None:
    """Skip, or fail where engines are required."""
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


def variables_in(path: Path) -> dict[str, str]:
    """The variables that a file of lines `export NAME=VALUE` sets."""
    found: dict[str, str] = {}
    for line in path.read_text().splitlines():
        for word in shlex.split(line.removeprefix("export ")):
            name, _, value = word.partition("=")
            found[name] = value
    return found


def tail(path: Path, lines: int = 20) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
