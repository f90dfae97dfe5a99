"""What is said on standard error where it is no terminal, of runs that the command does not start itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import Commands

OWN = """
import asyncio
from metta.sweep import Experiment, Pipeline

async def wait(stays: bool) -> int:
    await asyncio.sleep({seconds})
    if not stays:
        raise ValueError("bad \\x1b[31mluck")
    return 1

class Own(Experiment):
    stays: bool = True

    def pipeline(self) -> Pipeline:
        return Pipeline(stays=bool).stage("wait", wait).through(a=int)

    def run(self, *, store=None):
        return super().run(stays=self.stays, store=store)
"""


@pytest.mark.parametrize("stays", [True, False])
def test_the_run_of_an_experiment_with_a_run_of_its_own_is_told(stays: bool, command: Commands, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(OWN.replace("{seconds}", "1.0"))
    code, _, err = command("run", f"{file}:Own", "--set", f"stays={stays}")
    run = command.run_id()
    lines = err.splitlines()
    assert lines[0] == f"run {run} in {command.store / 'runs' / run}"
    assert lines[1].endswith("] wait started")
    if stays:
        assert code == 0
        assert "] wait done in " in lines[2]
        return
    assert code == 1
    assert lines[2].endswith(r"] wait failed (user_error): ValueError: bad \x1b[31mluck")
    assert lines[-2:] == [
        r'error: stage "wait" failed (user_error): ValueError: bad \x1b[31mluck',
        f"go on with: metta-sweep resume {run}",
    ]
    assert "\x1b" not in err
