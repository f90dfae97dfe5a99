"""A driver that logs is killed, and another one goes on: its log lacks nothing, and has nothing twice."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from metta.sweep.interop import export_run
from metta.sweep.interop.export.table import REPORTS_FILE
from metta.sweep.store.runs import Store

WAIT_S = 120


def live(folder: Path, until: int) -> bool:
    """Let a driver live until the log has so many lines; False where the sweep ended before."""
    program = [sys.executable, "-m", "tests.interop.sweeps", str(folder)]
    with subprocess.Popen(program, start_new_session=True) as driver:
        deadline = time.monotonic() + WAIT_S
        while driver.poll() is None:
            assert time.monotonic() < deadline
            if sum(text.read_text().count("\n") for text in folder.glob(f"csv/*/{REPORTS_FILE}")) >= until:
                os.killpg(driver.pid, signal.SIGKILL)
                return True
            time.sleep(0.02)
    assert driver.returncode == 0
    return False


@pytest.mark.slow
def test_the_log_is_whole(tmp_path: Path) -> None:
    assert live(tmp_path, 60)
    assert live(tmp_path, 240)
    assert not live(tmp_path, 10**9)
    (folder,) = (tmp_path / "csv").iterdir()
    run = Store.at(tmp_path / "store").find("killed")
    export_run(run.folder, "csv", path=tmp_path / "trials.csv", reports=tmp_path / REPORTS_FILE)
    logged, wanted = (
        sorted(csv.reader(path.read_text().splitlines())) for path in (folder / REPORTS_FILE, tmp_path / "reports.csv")
    )
    assert len(wanted) == 1 + 6 * 40 * 2
    assert logged == wanted
