"""Ctrl-C (promise R12), `cancel`, and a full disk (R11), with real processes."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from typing import Any

import pytest

from metta.sweep.cli.stopping import GRACE
from tests.cli.commands import RUNNABLE, Commands, end

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")

BOUND = 50.0
"""Seconds that a first Ctrl-C may take here: five times the promise."""

EXPECTED = {
    "sleeping": "a = 1\nb = 2\nc = 20\n",
    "waiting": "a = 1\nb = 2\nc = 20\n",
    "slow_sweep": "5 trials (5 completed)",
}


def started(command: Commands, name: str, **settings: Any) -> subprocess.Popen[str]:
    budget = ["--budget", "5"] if name == "slow_sweep" else []
    child = command.child("run", f"{RUNNABLE}:{name}", *budget, **settings)
    command.until_noted("sleep", child)
    return child


@pytest.mark.parametrize("name", EXPECTED)
def test_one_interrupt_stops_in_order_and_resume_ends_it(name: str, command: Commands) -> None:
    child = started(command, name)
    try:
        began = time.monotonic()
        os.kill(child.pid, signal.SIGINT)
        out, _ = child.communicate(timeout=BOUND)
        assert time.monotonic() - began < BOUND
        assert child.returncode == 130, out
        assert "Traceback" not in out
        assert f"stopped; go on with: metta-sweep resume {command.run_id()}\n" in out
        assert command.remains() == []
    finally:
        end(child)
    assert command.json("ls")[0]["status"] == "cancelled"
    code, out, err = command("resume", command.run_id())
    assert code == 0, err
    assert EXPECTED[name] in out
    assert f"from {RUNNABLE}:{name}" in err
    assert command.noted("sleep") == 2
    if name != "slow_sweep":
        assert command.noted("first") == 1


def test_the_time_for_stopping_is_what_is_promised() -> None:
    assert GRACE < 10


@pytest.mark.parametrize(
    ("interrupts", "grace", "why"), [(1, 0.5, "did not stop within 0.5 s"), (2, 600.0, "ended at once")]
)
def test_what_does_not_stop_is_ended(interrupts: int, grace: float, why: str, command: Commands) -> None:
    """A second Ctrl-C ends it at once, without one the time for stopping does."""
    child = started(command, "lingering", grace=grace)
    try:
        for _ in range(interrupts):
            os.kill(child.pid, signal.SIGINT)
            command.until_noted("lingers", child)
        out, _ = child.communicate(timeout=BOUND)
        assert (child.returncode, command.remains()) == (130, [])
        assert why in out
    finally:
        end(child)
    assert command.json("ls")[0]["status"] == "interrupted"
    code, out, err = command("resume", command.run_id())
    assert (code, out) == (0, EXPECTED["sleeping"]), err
    assert command.noted("first") == 1


def test_workers_end_with_a_driver_that_is_ended_at_once(command: Commands) -> None:
    child = started(command, "slow_sweep")
    try:
        assert len(command.processes()) >= 3  # the driver, the fork server, a worker
        os.kill(child.pid, signal.SIGINT)
        os.kill(child.pid, signal.SIGTERM)
        child.communicate(timeout=BOUND)
        assert (child.returncode, command.remains()) == (130, [])
    finally:
        end(child)
    code, out, err = command("resume", command.run_id())
    assert code == 0, err
    assert EXPECTED["slow_sweep"] in out


def test_cancel_stops_the_driver(command: Commands) -> None:
    child = started(command, "waiting")
    run = command.run_id()
    try:
        assert command.json("ls")[0]["status"] == "running"
        code, _, err = command("rm", run, "--yes")
        assert (code, err) == (4, f"error: run {run} is running: `metta-sweep cancel {run}` stops it\n")
        code, _, err = command("resume", run)
        assert code == 4
        assert f"run {run} is held by pid {child.pid}" in err
        assert command("cancel", run) == (0, f"run {run} was stopped; go on with: metta-sweep resume {run}\n", "")
        child.communicate(timeout=BOUND)
        assert child.returncode == 130
    finally:
        end(child)
    assert command("cancel", run)[:2] == (0, f"run {run} is not running: it is cancelled\n")
    assert command("rm", run, "--yes")[:2] == (0, f"removed {run}\n")
    assert command.runs() == []


def test_a_driver_that_ignores_interrupts_hears_cancel(command: Commands) -> None:
    """As the background jobs of a shell script do."""
    child = command.child("run", f"{RUNNABLE}:waiting", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    try:
        command.until_noted("sleep", child)
        os.kill(child.pid, signal.SIGINT)
        assert command("cancel", command.run_id())[0] == 0
        child.communicate(timeout=BOUND)
        assert child.returncode == 130
    finally:
        end(child)


def test_a_killed_driver_leaves_an_interrupted_run(command: Commands) -> None:
    child = started(command, "slow_sweep")
    os.kill(child.pid, signal.SIGKILL)
    try:
        child.communicate(timeout=BOUND)  # ends when nobody holds the output any more: no worker, no fork server
        assert command.remains() == []
        (row,) = command.json("ls")
        assert row["status"] == "interrupted"
        status = command("status", command.run_id())[1]
        assert f"go on with: metta-sweep resume {command.run_id()}" in status
        assert " stopped" in status
        assert "goes on first: trial " in status
        assert "running" not in status
        told = command.json("status", command.run_id())
        assert told["counts"].keys() == row["counts"].keys() >= {"stopped"}
        assert "running" not in told["counts"]
        assert {trial["state"] for trial in told["running"]} == {"stopped"}
        assert " left" not in status
    finally:
        end(child)


LIMIT = 120_000
"""Bytes of the largest file that the child may write: the run's journal is larger in the end."""


def test_a_full_disk_is_exit_code_3_and_resume_works(command: Commands) -> None:
    child = command.child(
        "run",
        f"{RUNNABLE}:failing",
        "--budget",
        "300",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, resource.RLIM_INFINITY)),
    )
    out, _ = child.communicate(timeout=120)
    assert child.returncode == 3, out
    run = command.run_id()
    told = [line for line in out.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert str(command.store / "runs" / run) in told[0]
    assert "Traceback" not in out
    assert f"when there is room again, go on with: metta-sweep resume {run}" in out
    committed = command.json("status", run)["counts"]["completed"]
    assert 0 < committed < 300
    code, out, err = command("resume", run, "--budget", str(committed + 5))
    assert code == (1 if "failed" in out else 0), err
    assert f"{committed + 5} trials" in out
