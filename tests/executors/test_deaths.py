"""One dead worker is one failed attempt, noticed soon (R8), and nothing outlives the driver (R12)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from metta.sweep.executors import Failed, Finished, LocalExecutor, Started, Task
from metta.sweep.trial import FailureReason
from tests.executors import tasks
from tests.executors.helpers import PATIENCE, eventually, last, lives, read_when_there, run, start

ROOT = Path(__file__).parents[2]

NOTICED = 5.0
"""Seconds: five times what is promised."""


def noticed(fn: Callable[[], Failed | Finished]) -> Failed:
    began = time.monotonic()
    end = fn()
    assert time.monotonic() - began < NOTICED
    assert isinstance(end, Failed)
    return end


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGABRT])
def test_death_is_noticed_soon(executor: LocalExecutor, tmp_path: Path, number: signal.Signals) -> None:
    _, stream = start(executor, tasks.wait_forever, tmp_path / "ready")
    os.kill(int(read_when_there(tmp_path / "ready")), number)
    assert noticed(lambda: last(stream)).reason in (FailureReason.KILLED, FailureReason.USER_ERROR)
    assert run(executor, tasks.echo, 1) == 1


def test_segmentation_fault(executor: LocalExecutor) -> None:
    end = noticed(lambda: last(start(executor, tasks.crash)[1]))
    assert end.message == "the worker process was ended by SIGSEGV"


def test_stopped_worker_is_killed_at_its_time_out(executor: LocalExecutor, tmp_path: Path) -> None:
    _, stream = start(executor, tasks.wait_forever, tmp_path / "ready", timeout=0.5)
    worker = int(read_when_there(tmp_path / "ready"))
    os.kill(worker, signal.SIGSTOP)
    assert noticed(lambda: last(stream)).reason is FailureReason.TIMEOUT
    assert not lives(worker)


@pytest.mark.parametrize("detached", [False, True])
def test_child_that_holds_the_pipes_open(executor: LocalExecutor, tmp_path: Path, detached: bool) -> None:
    _, stream = start(executor, tasks.fork_and_die, tmp_path / "child", detached)
    child = int(read_when_there(tmp_path / "child"))
    assert noticed(lambda: last(stream)).message.startswith("the task ended its worker process with the exit code 5")
    if detached:  # it has left the group, and is nobody's to end
        assert lives(child)
        os.kill(child, signal.SIGKILL)
    assert eventually(lambda: not lives(child))


def test_fork_bomb_is_ended_as_a_whole(executor: LocalExecutor, tmp_path: Path) -> None:
    token, stream = start(executor, tasks.fork_bomb, tmp_path, 60)
    assert eventually(lambda: len(list(tmp_path.iterdir())) >= 60)
    executor.cancel(token)
    assert noticed(lambda: last(stream)).reason is FailureReason.CANCELLED
    assert eventually(lambda: not any(lives(int(path.name)) for path in tmp_path.iterdir()))


def test_200_tasks_with_workers_killed_at_random() -> None:
    """Each ends exactly once, and only those fail whose worker was killed under them."""
    generator = random.Random(7)
    shots = 0
    ends: Counter[str] = Counter()
    failed = 0
    with LocalExecutor(3, grace=0.2) as executor:
        stream = executor.events()
        for number in range(200):
            executor.submit(Task(f"t{number}", tasks.sleep_a_little, (generator.random() * 0.01,)), stream)
        while sum(ends.values()) < 200:
            match stream.get(PATIENCE):
                case Started(_, worker) if generator.random() < 0.2:
                    delay = generator.random() * 0.01
                    threading.Timer(delay, tasks.shoot, (int(worker),)).start()
                    shots += 1
                case Finished(token):
                    ends[token] += 1
                case Failed(token, reason):
                    ends[token] += 1
                    failed += 1
                    assert reason is FailureReason.KILLED
        assert len(stream) == 0
        assert run(executor, tasks.echo, "goes on") == "goes on"
    assert set(ends.values()) == {1}
    assert 0 < failed <= shots


DRIVER = """
    import itertools, pathlib, sys
    from metta.sweep.executors import Failed, Finished, LocalExecutor, Task
    from tests.executors import tasks

    executor = LocalExecutor(4)
    stream = executor.events()
    for number in range(12):
        executor.submit(Task(f"t{number}", tasks.fork_and_die_soon), stream)
    for number in itertools.count(12):
        pathlib.Path("busy").touch()
        while not isinstance(stream.get(60), Finished | Failed):
            pass
        executor.submit(Task(f"t{number}", tasks.fork_and_die_soon), stream)
"""


def marked(mark: str) -> list[int]:
    """The living processes that were started with the mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"METTA_TEST_MARK={mark}".encode() in environment and lives(int(entry.name)):
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_driver_killed_while_it_forks(tmp_path: Path, seed: int) -> None:
    """Its workers die all the time, so new ones are being forked whenever the driver is killed."""
    mark = f"{os.getpid()}-{seed}"
    script = tmp_path / "driver.py"
    script.write_text(textwrap.dedent(DRIVER))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "METTA_TEST_MARK": mark}
    with subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, env=environment) as driver:
        assert eventually((tmp_path / "busy").exists)
        time.sleep(random.Random(seed).random() * 0.3)
        assert len(marked(mark)) > 1
        driver.send_signal(signal.SIGKILL)
    assert eventually(lambda: not marked(mark))


def test_driver_killed_before_its_fork_server_is_up(tmp_path: Path) -> None:
    mark = f"{os.getpid()}-early"
    program = (
        "import os, signal; from metta.sweep.executors.spawner import ForkServer; "
        "ForkServer().spawn(1); os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "METTA_TEST_MARK": mark}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert eventually(lambda: not marked(mark))
