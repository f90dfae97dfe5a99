"""`run --detach` in a real terminal: the run survives it, and one comes back to it; what fails first is told there."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from metta.sweep.store.run import RunStatus
from metta.sweep.store.runs import Store
from tests.cli.commands import ROOT, RUNNABLE, Commands

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")

BOUND = 60.0


class Terminal:
    """A shell's terminal with one command in it, which is its session leader.

    Attributes:
        shown: what the terminal has shown.
        code: the exit code of the command; None before it has ended.
    """

    def __init__(self, command: Commands, *arguments: str) -> None:
        self.shown = ""
        self.code: int | None = None
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execve(sys.executable, [sys.executable, "-m", "metta.sweep.cli.main", *arguments], command.environment)

    def until_ended(self) -> str:
        """Read until the command ends; what was shown."""
        end = time.monotonic() + BOUND
        while self.code is None and time.monotonic() < end:
            self._read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        self._read(0.0)
        return self.shown.replace("\r\n", "\n")

    def hang_up(self) -> None:
        """Close the terminal: who has it as controlling terminal hears SIGHUP."""
        os.close(self._master)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.write(self._master, b"\x03")

    def _read(self, seconds: float) -> None:
        while select.select([self._master], [], [], seconds)[0]:
            try:
                piece = os.read(self._master, 1 << 16)
            except OSError:  # nobody has the other end any more
                return
            if not piece:
                return
            self.shown += piece.decode()


@pytest.fixture
def ended(command: Commands) -> Iterator[Commands]:
    """Commands whose processes are gone in the end, whatever the test has found."""
    yield command
    for pid in command.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def driver_of(command: Commands, run: str) -> int:
    told = command("status", run)[1]
    found = re.search(r"driven by pid (\d+)", told)
    assert found is not None, told
    return int(found[1])


def until(status: RunStatus, command: Commands, run: str) -> None:
    end = time.monotonic() + BOUND
    while Store.at(command.store).find(run).status is not status:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_closing_the_terminal_does_not_end_the_run(ended: Commands) -> None:
    ended.environment["MY_API_TOKEN"] = "a secret of the environment"
    terminal = Terminal(ended, "run", f"{RUNNABLE}:slow_sweep", "--budget", "5", "--detach")
    shown = terminal.until_ended()
    run = ended.run_id()
    assert terminal.code == 0, shown
    pid = driver_of(ended, run)
    assert shown == (
        f"run {run} goes on in the background (pid {pid})\n"
        f"  look at it:    metta-sweep status {run} --watch\n"
        f"  what it says:  metta-sweep logs {run} -f\n"
        f"  stop it:       metta-sweep cancel {run}\n"
    )
    terminal.hang_up()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(terminal.pid, signal.SIGHUP)  # as a shell does to its jobs
    assert os.getsid(pid) == os.getpgid(pid) == pid  # a session of its own,
    assert Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[4] == "0"  # without a terminal
    assert [os.readlink(f"/proc/{pid}/fd/{number}") for number in (0, 1, 2)] == [
        os.devnull,
        *[str(ended.store / "runs" / run / "driver" / "log.txt")] * 2,
    ]
    end = time.monotonic() + BOUND
    while not ended.noted("sleep"):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert ended.json("status", run)["status"] == "running"
    assert f"run {run} in {ended.store / 'runs' / run}\n" in ended("logs", f"{run}/driver")[1]
    for kept in (ended.store / "runs" / run).rglob("*"):
        assert not kept.is_file() or b"a secret of the environment" not in kept.read_bytes(), kept
    assert ended("cancel", run)[:2] == (0, f"run {run} was stopped; go on with: metta-sweep resume {run}\n")
    assert ended.remains() == []
    assert "stopped; go on with: metta-sweep resume" in ended("logs", f"{run}/driver")[1]


def test_a_detached_run_as_json_and_what_it_prints(ended: Commands, tmp_path: Path) -> None:
    script = tmp_path / "chatty.py"
    script.write_text(
        "import os\nfrom metta.sweep import Pipeline\n\n"
        "print('loading', os.environ['MY_API_TOKEN'])\n\n"
        "def double(x: int) -> int:\n    print('token:', os.environ['MY_API_TOKEN'])\n    return 2 * x\n\n"
        "pipeline = Pipeline(x=int).stage('double', double).through(y=int)\n"
    )
    ended.environment["MY_API_TOKEN"] = "hunter2hunter2"
    child = ended.child("run", str(script), "x=21", "--detach", "--json")
    told = json.loads(child.communicate(timeout=BOUND)[0])
    run = ended.run_id()
    log = ended.store / "runs" / run / "driver" / "log.txt"
    assert (child.returncode, told["run"], told["log"]) == (0, run, str(log))
    until(RunStatus.COMPLETED, ended, run)
    assert ended.remains() == []
    said = log.read_text()
    assert said.startswith("loading ***\n")
    assert "token: ***\n" in said
    assert json.loads(said[said.index("{") :])["result"] == {"x": 21, "y": 42}
    assert log.stat().st_mode & 0o777 == 0o600
    data = ended.json("logs", run)
    assert data == [{"log": "driver", "text": said}]
    followed = ended("logs", run, "-f", "--json")[1]
    assert [json.loads(line) for line in followed.splitlines()] == data


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([f"{RUNNABLE}:pipeline", "rate=high"], 2, "error: rate=high: expected float, found 'high'\n"),
        (["OWN"], 2, "error: --detach is for runs that are kept: Own.run() takes no store=, start it here\n"),
        ([f"{RUNNABLE}:slow_sweep", "--store", "/dev/null"], 3, "error: cannot make the folder /dev/null/runs: "),
    ],
)
def test_what_fails_before_there_is_a_run_is_told_here(
    arguments: list[str], code: int, said: str, ended: Commands, tmp_path: Path
) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "from metta.sweep import Experiment\n\n\nclass Own(Experiment[int]):\n    def run(self) -> int:\n"
        "        return 1\n\n\nown = Own()\n"
    )
    arguments = [str(own) if each == "OWN" else each for each in arguments]
    done = subprocess.run(
        [sys.executable, "-m", "metta.sweep.cli.main", "run", *arguments, "--detach"],
        cwd=ROOT,
        env=ended.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=BOUND,
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(said)
    assert "Traceback" not in done.stderr
    assert not ended.runs()


@pytest.mark.parametrize("closed", ["<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(closed: str, ended: Commands) -> None:
    """As a daemon may start it: what is opened gets the numbers of the streams that are not there."""
    command = (
        f"exec {sys.executable} -m metta.sweep.cli.main run {RUNNABLE}:pipeline rate=1 mode=exact --detach {closed}"
    )
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, env=ended.environment, check=False, timeout=BOUND)
    assert done.returncode == 0
    run = ended.run_id()
    until(RunStatus.COMPLETED, ended, run)
    assert f"run {run} in " in ended("logs", f"{run}/driver")[1]
    assert ended.remains() == []


def test_a_driver_that_is_killed_before_its_run_is_there(ended: Commands, tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    child = ended.child("run", str(script), "--detach")
    told = child.communicate(timeout=BOUND)[0]
    assert child.returncode == 128 + signal.SIGKILL
    assert told == "error: signal 9 (Killed) has ended the process in the background before its run had begun\n"
    assert ended.remains() == []


def test_ctrl_c_before_the_run_has_begun(ended: Commands, tmp_path: Path) -> None:
    script = tmp_path / "slow_to_load.py"
    script.write_text(
        "import os, pathlib, time\npathlib.Path(os.environ['NOTES']).write_text('loads')\ntime.sleep(60)\n"
    )
    terminal = Terminal(ended, "run", str(script), "--detach")
    end = time.monotonic() + BOUND
    while not ended.noted("loads"):
        assert time.monotonic() < end
        time.sleep(0.02)
    terminal.interrupt()
    shown = terminal.until_ended()
    terminal.hang_up()
    assert terminal.code == 130, shown
    assert "interrupted" in shown
    assert ended.remains() == []


@pytest.mark.slow
def test_a_detached_resume(ended: Commands) -> None:
    assert ended("run", f"{RUNNABLE}:failing", "--budget", "2")[0] == 1
    run = ended.run_id()
    child = ended.child("resume", run, "--budget", "3", "--detach")
    out, _ = child.communicate(timeout=BOUND)
    assert child.returncode == 0, out
    assert out.startswith(f"run {run} goes on in the background")
    until(RunStatus.COMPLETED, ended, run)
    assert ended.remains() == []
    assert len(ended.json("best", run)["trials"]) == 2
    said = ended("logs", f"{run}/driver")[1]
    assert said.startswith(f"going on with {run} from {RUNNABLE}:failing\n")
