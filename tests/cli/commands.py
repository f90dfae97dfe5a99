"""Calling `metta-sweep`: in this process, or as a child in a process group of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.cli.main import main

ROOT = Path(__file__).parents[2]
MARK = "METTA_TEST_MARK"
RUNNABLE = str(Path(__file__).with_name("runnable.py"))


class Commands:
    """`metta-sweep` with a store and notes of its own.

    Attributes:
        store: where the runs are.
        notes: what the stages have noted.
    """

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.store = folder / "store"
        self.notes = folder / "notes"
        self.environment = {
            **os.environ,
            "METTA_SWEEP_HOME": str(self.store),
            "NOTES": str(self.notes),
            "PYTHONPATH": str(ROOT),
            MARK: str(folder),
        }
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of a command in this process."""
        self._capsys.readouterr()
        code = main([*arguments])
        captured = self._capsys.readouterr()
        return code, captured.out, captured.err

    def json(self, *arguments: str, code: int = 0) -> Any:
        """What a command says with --json."""
        found, out, err = self(*arguments, "--json")
        assert found == code, err
        return json.loads(out)

    def child(self, *arguments: str, grace: float | None = None, **settings: Any) -> subprocess.Popen[str]:
        """Start a command in a process group of its own.

        Args:
            grace: seconds that it has for stopping, if not the usual ones.
        """
        impatient = (
            f"from metta.sweep.cli import main, stopping; stopping.GRACE = {grace}; raise SystemExit(main.main())"
        )
        program = ["-m", "metta.sweep.cli.main"] if grace is None else ["-c", impatient]
        return subprocess.Popen(
            [sys.executable, *program, *arguments],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **settings,
        )

    def runs(self) -> list[Path]:
        """The folders of the runs, by id."""
        return sorted(path for path in (self.store / "runs").glob("*") if not path.name.startswith("."))

    def run_id(self) -> str:
        """The one run that there is."""
        (run,) = self.runs()
        return run.name

    def noted(self, word: str) -> int:
        """How often a word was noted."""
        return self.notes.read_text().split().count(word) if self.notes.exists() else 0

    def processes(self) -> list[str]:
        """The children that run, and all that they started."""
        return processes_of(self.environment[MARK])

    def remains(self, seconds: float = 10.0) -> list[str]:
        """What is left of the children and all that they started, after some patience; empty as soon as nothing is."""
        end = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.05)
        return left

    def until_noted(self, word: str, child: subprocess.Popen[str], seconds: float = 60.0) -> None:
        """Wait until the word is noted."""
        end = time.monotonic() + seconds
        while not self.noted(word):
            assert child.poll() is None, child.communicate()[0]
            assert time.monotonic() < end, f"{word} was not noted in time"
            time.sleep(0.02)


def processes_of(mark: str) -> list[str]:
    """The running processes that were started with the mark in their environment, in whatever session they are."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name, _, rest = (entry / "stat").read_text().rpartition(")")
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"{MARK}={mark}".encode() in environment.split(b"\0") and rest.split()[0] not in "ZX":
                found.append(name)
    return found


def end(child: subprocess.Popen[str]) -> None:
    """Whatever the test has found, leave nothing behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
