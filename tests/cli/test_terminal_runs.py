"""What a person sees of a run in a real terminal, and what Ctrl-C does there."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import ROOT, RUNNABLE, Commands
from tests.cli.screens import FRAME_END, Terminal

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")

Open = Callable[..., Terminal]
LEVELS = str(ROOT / "tests" / "cli" / "runnable_levels.py")
CTRL_C = b"\x03"


@pytest.fixture
def opened(command: Commands) -> Iterator[Open]:
    """Starts `metta-sweep` in a terminal."""
    with ExitStack() as stack:

        def start(*arguments: str, **settings: Any) -> Terminal:
            program = [sys.executable, "-m", "metta.sweep.cli.main", *arguments]
            return stack.enter_context(Terminal(program, command.environment, **settings))

        yield start


def in_order(terminal: Terminal, *parts: str) -> None:
    """Whether the parts are to be seen in this order."""
    rest = terminal.text.replace("\n", "")  # long lines are wrapped
    for part in parts:
        assert part in rest, f"{part!r} is not there:\n{terminal.text}"
        rest = rest.partition(part)[2]


def test_a_sweep_is_one_region_and_then_its_result(command: Commands, opened: Open) -> None:
    command.notes.write_text("sleep\n")  # trial 2 does not wait
    terminal = opened("run", f"{RUNNABLE}:failing", "--budget", "6")
    assert terminal.end() == 1
    run = command.run_id()
    in_order(
        terminal,
        f"run {run} in {command.store}",
        "failing  ━━━━━━━━━━━━━━━━━━━━  6/6 trials  ",
        "completed 5, failed 1",
        "1 failed (user_error), trial 1: ValueError: bad luck",
        "6 trials (5 completed, 1 failed)",
        "trial 1 failed:",
        'raise ValueError("bad luck")',
        f"try what failed again: metta-sweep resume {run} --retry-failed",
    )
    assert terminal.text.count("6/6 trials") == 1
    assert "started" not in terminal.text


def test_the_table_of_a_result_fits_a_narrow_terminal(command: Commands, opened: Open) -> None:
    command.notes.write_text("sleep\n")
    terminal = opened("run", f"{RUNNABLE}:failing", "--budget", "4", columns=30)
    assert terminal.end() == 1
    lines = terminal.text.splitlines()
    head = lines.index(" trial    score  step  state")
    assert [line.split()[0] for line in lines[head + 2 : head + 5]] == ["0", "3", "2"]
    in_order(terminal, f"no room for x: see metta-sweep best {command.run_id()}")


def test_one_ctrl_c_says_what_happens_and_how_to_go_on(command: Commands, opened: Open) -> None:
    terminal = opened("run", f"{RUNNABLE}:slow_sweep", "--budget", "5")
    terminal.until("trial 2")
    terminal.until(lambda: command.noted("sleep") == 1)
    terminal.press(CTRL_C)
    assert terminal.end() == 130
    run = command.run_id()
    in_order(
        terminal,
        "stopping; press Ctrl-C again to end at once",
        "slow  ",
        ", stopped ",
        "ended: cancelled",
        f"stopped; go on with: metta-sweep resume {run}",
    )
    assert "Traceback" not in terminal.text
    assert "speaks" not in terminal.text  # what trials print is in their logs
    assert terminal.text.splitlines()[-1].startswith("stopped; go on")
    assert terminal.text.count("ended: cancelled") == 1
    assert command.remains() == []
    assert command.json("ls")[0]["status"] == "cancelled"


@pytest.mark.slow
def test_two_ctrl_c_end_it_at_once(command: Commands, opened: Open) -> None:
    terminal = opened("run", f"{RUNNABLE}:lingering")
    terminal.until("sleep  running ")
    terminal.until(lambda: command.noted("sleep") == 1)
    terminal.press(CTRL_C)
    terminal.until(lambda: command.noted("lingers") == 1)
    terminal.until("press Ctrl-C again")
    terminal.frames(2)
    terminal.press(CTRL_C)
    assert terminal.end() == 130
    in_order(terminal, "stopping; press Ctrl-C again to end at once", "ended at once; `metta-sweep ls` shows the run")
    assert "running" not in terminal.text  # the region is not left behind half-drawn
    assert not terminal.screen.cursor.hidden
    assert terminal.written.rfind(FRAME_END) > terminal.written.rfind(b"\x1b[?7l")
    assert command.remains() == []


@pytest.mark.slow
def test_a_pipeline_shows_its_stages_here_and_in_another_terminal(command: Commands, opened: Open) -> None:
    terminal = opened("run", f"{RUNNABLE}:waiting")
    terminal.until(lambda: command.noted("sleep") == 1)
    terminal.until("sleep  running ")
    run = command.run_id()
    in_order(terminal, "waiting  ━━━━━━", "1/3 stages", "first  done, ")
    other = opened("status", run, "--watch", columns=60, lines=8)
    other.until("sleep  running ")
    in_order(other, "waiting  ", "1 done", "first  done", "sleep  running")
    assert command("cancel", run)[0] == 0
    assert terminal.end() == 130
    assert other.end() == 0
    in_order(other, f"pipeline {run}: cancelled", "first", "sleep", f"go on with: metta-sweep resume {run}")
    assert "1 done" not in other.text  # the region is gone


@pytest.mark.slow
def test_a_sweep_is_watched_from_another_terminal(command: Commands, opened: Open) -> None:
    terminal = opened("run", f"{RUNNABLE}:slow_sweep", "--budget", "5")
    terminal.until(lambda: command.noted("sleep") == 1)
    run = command.run_id()
    other = opened("status", run, "--watch", columns=60, lines=8)
    other.until("trial 2  step 1")
    in_order(other, "slow  ", "/5 trials", "best score")
    other.press(CTRL_C)
    assert other.end() == 130
    assert "Traceback" not in other.text
    again = opened("status", run, "--watch")
    again.until("trial 2  step 1")
    terminal.child.send_signal(signal.SIGTERM)
    assert terminal.end() == 130
    assert again.end() == 0
    in_order(again, f"sweep {run}: cancelled", f"go on with: metta-sweep resume {run}")


KILLING = """
import os, signal
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.space import Uniform

def objective(trial):
    os.kill(os.getpid(), signal.SIGKILL)

sweep = SweepExperiment(objective, name="killing", search_space={"x": Uniform(0, 1)}, optimizer=RandomOptimizer())
"""


@pytest.mark.slow
def test_a_killed_worker_is_a_failure_in_words(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "killing.py").write_text(KILLING)
    terminal = opened("run", str(tmp_path / "killing.py"), "--budget", "2")
    assert terminal.end() == 1
    in_order(terminal, "killing  ━━━", "2 failed (killed), last trial", "the worker process was ended by SIGKILL")
    assert not terminal.screen.cursor.hidden


@pytest.mark.slow
def test_whoever_reads_may_go_and_the_run_goes_on(command: Commands) -> None:
    command.notes.write_text("sleep\n")
    program = f"{sys.executable} -m metta.sweep.cli.main run {RUNNABLE}:slow_sweep --budget 5"
    with Terminal(
        ["bash", "-c", f"{program} 2>&1 | head -n 2; exit ${{PIPESTATUS[1]}}"], command.environment
    ) as terminal:
        assert terminal.end() == 0
        assert len(terminal.text.splitlines()) >= 2
        assert "Traceback" not in terminal.text
    assert command.remains() == []
    assert command.json("ls")[0]["status"] == "completed"


@pytest.mark.slow
def test_an_inner_sweep_has_a_line(command: Commands, opened: Open) -> None:
    terminal = opened("run", f"{LEVELS}:levels")
    terminal.until("inner: ")
    terminal.until(lambda: command.noted("sleep") == 1)
    terminal.press(CTRL_C)
    assert terminal.end() == 130
    assert terminal.text.count("levels  ") == 1
    assert "inner: " not in terminal.text  # it runs no more
    assert command.remains() == []
