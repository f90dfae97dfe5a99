"""The lock of an Optuna journal: one of ours that died with it holds up nobody, and what lives is waited for."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.storages.journal import JournalFileSymlinkLock

from metta.sweep.interop.export.optuna import export_optuna
from metta.sweep.interop.optuna_lock import JournalLock
from metta.sweep.interop.source import ExportedSweep
from tests.interop.sweeps import BEGAN, made, snapshot

DIE = """
import os, signal, sys
from metta.sweep.interop.optuna_lock import JournalLock
JournalLock(sys.argv[1]).acquire()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.log"
    path.touch()
    return path


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What happens while a lock is waited for, each once; to wait with nothing left is an error."""
    left: list[Callable[[], None]] = []
    monkeypatch.setattr(time, "sleep", lambda _: left.pop(0)())
    return left


def test_a_lock_whose_holder_was_killed_is_taken_at_once(journal: Path, waits: list[Callable[[], None]]) -> None:
    subprocess.run([sys.executable, "-c", DIE, journal], check=False)
    assert os.path.samefile(f"{journal}.lock", journal)
    told = export_optuna(ExportedSweep(snapshot(made(0)), BEGAN), path=journal)
    assert told.startswith("1 trials are in the study")
    assert waits == []
    assert os.listdir(journal.parent) == [journal.name]


def test_one_of_optunas_is_waited_for(journal: Path, waits: list[Callable[[], None]]) -> None:
    other, ours = JournalFileSymlinkLock(str(journal)), JournalLock(str(journal))
    other.acquire()
    waits.append(other.release)
    ours.acquire()
    assert waits == []
    waits.append(ours.release)
    other.acquire()  # and it waits for ours
    assert waits == []
    other.release()


def test_a_living_one_of_ours_is_waited_for(journal: Path, waits: list[Callable[[], None]]) -> None:
    first, second, third = (JournalLock(str(journal)) for _ in range(3))
    first.acquire()
    waits.append(first.release)
    second.acquire()
    waits.append(second.release)
    third.acquire()
    assert waits == []
    third.release()
    with pytest.raises(RuntimeError, match="did not possess lock"):
        third.release()
    assert os.listdir(journal.parent) == [journal.name]
