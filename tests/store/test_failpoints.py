"""Fail points: their names are known, and the variable kills where it says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from metta.sweep.store.failpoints import FAIL_POINTS, VARIABLE

PACKAGE = Path(__file__).parents[2] / "metta" / "sweep"

PROGRAM = """
from metta.sweep.store.failpoints import fail_point
for number in range(4):
    fail_point("journal.begun")
    fail_point("journal.written")
    print(number, flush=True)
"""


def test_the_list_of_names_is_that_of_the_source() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    assert set(re.findall(r'fail_point\("([^"]+)"\)', source)) == FAIL_POINTS


@pytest.mark.parametrize(("setting", "passed"), [("journal.written", 0), ("journal.begun:3", 2), ("journal.be", 4)])
def test_the_process_is_killed_at_the_name_and_the_time_it_says(setting: str, passed: int) -> None:
    environment = {**os.environ, VARIABLE: setting}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == [str(number) for number in range(passed)]
    assert done.returncode == (-signal.SIGKILL if passed < 4 else 0)
