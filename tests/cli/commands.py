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

    def child(self, *arguments: str, **settings: Any) -> subprocess.Popen[str]:
        """Start a command in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "metta.sweep.cli.main", *arguments],
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

    def until_noted(self, word: str, child: subprocess.Popen[str], seconds: float = 60.0) -> None:
        """Wait until the word is noted."""
        end = time.monotonic() + seconds
        while not self.noted(word):
            assert child.poll() is None, child.communicate()[0]
            assert time.monotonic() < end, f"{word} was not noted in time"
            time.sleep(0.02)


def processes_of(session: int) -> list[str]:
    """The processes of a session that still run, zombies left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name, _, rest = (entry / "stat").read_text().rpartition(")")
            except OSError:
                continue
            state, _, _, its_session = rest.split()[:4]
            if int(its_session) == session and state not in "ZX":
                found.append(name)
    return found


def remains_of(session: int, seconds: float = 10.0) -> list[str]:
    """What is left of a session after some patience; empty as soon as nothing is."""
    end = time.monotonic() + seconds
    while (left := processes_of(session)) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def end(child: subprocess.Popen[str]) -> None:
    """Whatever the test has found, leave nothing behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
