"""The journal and the store survive the death of their process: at every fail point, and at any time.

`crashes.py` says what must hold afterwards.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from metta.sweep.store.failpoints import FAIL_POINTS
from tests.store.crashes import SCENARIOS

ROOT = Path(__file__).parents[2]


def crashes(*arguments: str) -> list[str]:
    command = [sys.executable, "-m", "tests.store.crashes", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_death_at_a_fail_point_loses_nothing_acknowledged(name: str) -> None:
    assert crashes("points", name) == list(SCENARIOS[name][1])


def test_every_fail_point_of_the_store_is_in_a_scenario() -> None:
    ours = {name for name in FAIL_POINTS if name.startswith(("journal.", "lock.", "lease.", "manifest.", "file."))}
    tried = {point.partition(":")[0] for _, points in SCENARIOS.values() for point in points}
    assert ours <= tried


def test_a_death_at_any_time_loses_nothing_acknowledged() -> None:
    assert int(crashes("random", "30", "1")[0]) > 0


@pytest.mark.slow
def test_a_death_at_any_time_loses_nothing_acknowledged_in_300_rounds() -> None:
    assert int(crashes("random", "300", "2")[0]) > 0
