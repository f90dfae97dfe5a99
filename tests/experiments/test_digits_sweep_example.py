"""The main job as a user starts it: a script without a main guard, in a process of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "digits_sweep.py"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], cwd=folder, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize(
    "choice", [(), ("--optimizer", "random", "--scheduler", "batch")], ids=["optuna-asha", "random-batch"]
)
def test_it_draws_runs_and_prints(choice: tuple[str, ...], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("optuna")
    done = run(tmp_path, "--budget", "5", "--epochs", "3", *choice)
    assert done.returncode == 0, done.stderr
    suffixes = {".svg"} if shutil.which("dot") else {".mmd", ".dot"}
    drawn = {path.name for path in (tmp_path / "demo").iterdir()}
    assert drawn == {f"{name}{suffix}" for name in ("sweep", "training") for suffix in suffixes}
    assert "learning_rate" in done.stdout
    assert "5 trials (" in done.stdout
    assert "of the test images are right" in done.stdout
    # Standard error is no terminal here: one line per change, and a summary.
    assert 'sweep "digits" started: maximize score, 5 trials' in done.stderr
    assert "sweep finished: 5/5 trials, best score" in done.stderr


def test_a_wrong_choice_is_one_clear_sentence(tmp_path: Path) -> None:
    done = run(tmp_path, "--optimizer", "magic")
    assert done.returncode == 2
    assert "invalid choice: 'magic'" in done.stderr
    assert "Traceback" not in done.stderr
