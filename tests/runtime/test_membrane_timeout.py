"""Where a stage runs and how it is stopped: on the loop, in a thread, in a worker process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import StageTimeout, UsageError, WorkerDied
from metta.sweep.pipeline.hooks import RetryPolicy
from metta.sweep.runtime.membrane import async_membrane, sync_membrane
from metta.sweep.trial import Resources
from tests.runtime.crossing import Recorder, Runner, hooked, run_sync, run_threaded

BOTH = pytest.mark.parametrize("run", [run_sync, run_threaded], ids=["sync", "thread"])
FOREVER = 300.0


# -- async stages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0.01, timedelta(milliseconds=10)])
def test_an_async_stage_is_cancelled(timeout: float | timedelta) -> None:
    seen: list[str] = []

    async def train() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with pytest.raises(StageTimeout) as caught:
        asyncio.run(async_membrane(hooked(train, {"timeout": timeout}, is_async=True))(None))
    assert seen == ["cancelled"]
    assert str(caught.value) == 'stage "train" was stopped after its time-out of 0.01 s'
    # Where it hung is in the traceback.
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)


def test_a_timeout_is_a_failed_attempt(slept: list[float]) -> None:
    attempts: list[int] = []

    async def train() -> int:
        attempts.append(1)
        if len(attempts) < 3:
            await asyncio.Event().wait()
        return 5

    assert asyncio.run(async_membrane(hooked(train, {"timeout": 0.01, "retry": 2}, is_async=True))(None)) == 5
    assert len(slept) == 2


def test_on_error_sees_the_timeout() -> None:
    async def train() -> None:
        await asyncio.Event().wait()

    hooks = {"timeout": 0.01, "on_error": lambda error: type(error).__name__}
    assert asyncio.run(async_membrane(hooked(train, hooks, is_async=True))(None)) == "StageTimeout"


def test_a_stage_that_swallows_its_cancellation_is_late_all_the_same() -> None:
    async def train() -> int:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return 5

    with pytest.raises(StageTimeout):
        asyncio.run(async_membrane(hooked(train, {"timeout": 0.01}, is_async=True))(None))


def test_a_timeout_error_of_the_stage_is_its_own() -> None:
    error = TimeoutError("the server")

    async def train() -> None:
        raise error

    with pytest.raises(TimeoutError, match="the server") as caught:
        asyncio.run(async_membrane(hooked(train, {"timeout": FOREVER}, is_async=True))(None))
    assert caught.value is error


def test_a_stage_in_time_is_not_disturbed() -> None:
    async def train() -> int:
        await asyncio.sleep(0)
        return 5

    assert asyncio.run(async_membrane(hooked(train, {"timeout": FOREVER}, is_async=True))(None)) == 5


def test_cancelling_the_caller_is_no_timeout() -> None:
    async def train() -> None:
        started.set()
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(async_membrane(hooked(train, {"timeout": FOREVER, "retry": 3}, is_async=True))(None))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    started = asyncio.Event()
    asyncio.run(main())


# -- sync stages in an async function ----------------------------------------------------------------------------------


def test_a_sync_stage_runs_off_the_loop_and_its_hooks_on_it() -> None:
    threads: dict[str, threading.Thread] = {}

    def train() -> int:
        threads["train"] = threading.current_thread()
        return 1

    def log(data: int) -> None:
        threads["log"] = threading.current_thread()

    asyncio.run(async_membrane(hooked(train, {"log": log}))(None))
    assert threads["log"] is threading.current_thread()
    assert threads["train"] is not threading.current_thread()


def test_stop_iteration_of_a_sync_stage_does_not_hang_the_loop() -> None:
    error = StopIteration()

    def train() -> None:
        raise error

    with pytest.raises(RuntimeError) as caught:
        asyncio.run(async_membrane(hooked(train, {}))(None))
    assert caught.value.__cause__ is error


# -- sync stages in a worker process -----------------------------------------------------------------------------------


def process_id() -> int:
    return os.getpid()


def is_running(pid: int) -> bool:
    """Whether the process is there and is no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@BOTH
def test_a_sync_stage_with_a_timeout_is_killed(run: Callable[..., Runner], tmp_path: Path) -> None:
    note = tmp_path / "pid"

    def train() -> None:
        note.write_text(str(os.getpid()))
        while True:
            time.sleep(0.1)

    run(process_id, {"timeout": FOREVER})(None)  # from now on a worker is there, and the time is the stage's alone
    with pytest.raises(StageTimeout, match='stage "train" was stopped after its time-out of 1 s'):
        run(train, {"timeout": 1})(None)
    pid = int(note.read_text())
    assert pid != os.getpid()
    wait_until(lambda: not is_running(pid))


@BOTH
@pytest.mark.parametrize(
    "hooks",
    [
        {"timeout": FOREVER},
        {"executor": "local"},
        {"resources": Resources(cpus=1)},
        {"resources": Resources(time_limit=FOREVER)},
    ],
    ids=["timeout", "executor", "resources", "time_limit"],
)
def test_these_hooks_run_a_sync_stage_in_a_worker(run: Callable[..., Runner], hooks: dict[str, Any]) -> None:
    assert run(process_id, hooks)(None) != os.getpid()


@BOTH
def test_a_sync_stage_without_them_runs_here(run: Callable[..., Runner]) -> None:
    assert run(process_id, {"retry": 1})(None) == os.getpid()


@BOTH
def test_a_worker_is_given_the_arguments_and_only_its_stage(run: Callable[..., Runner]) -> None:
    here = os.getpid()
    seen = Recorder()
    hooks = {"timeout": FOREVER, "transform": seen.hook("transform", lambda data: (*data, os.getpid()))}
    result = run(lambda a, b: (a, b, os.getpid()), hooks)(None, 1, b=2)
    assert result[:2] == (1, 2)
    assert result[2] != here
    assert result[3] == here


@BOTH
def test_failures_in_a_worker_are_retried(run: Callable[..., Runner], tmp_path: Path, slept: list[float]) -> None:
    attempts = tmp_path / "attempts"

    def train() -> str:
        text = attempts.read_text() if attempts.exists() else ""
        attempts.write_text(text + "x")
        if not text:
            raise OSError("once")
        return "done"

    assert run(train, {"timeout": FOREVER, "retry": 1})(None) == "done"
    assert attempts.read_text() == "xx"


class Unlucky(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


@BOTH
def test_a_worker_s_exception_keeps_its_class(run: Callable[..., Runner], tmp_path: Path, slept: list[float]) -> None:
    """Also where pickle could not rebuild it: `retry` and `on_error` look at the class."""
    attempts = tmp_path / "attempts"

    def train() -> str:
        with attempts.open("a") as file:
            file.write("x")
        raise Unlucky("this", "that")

    hooks = {
        "timeout": FOREVER,
        "retry": RetryPolicy(3, on=(Unlucky,)),
        "on_error": lambda error: (type(error), str(error)),
    }
    assert run(train, hooks)(None) == (Unlucky, "this that")
    assert attempts.read_text() == "xxx"


@BOTH
def test_a_worker_that_dies_names_its_stage(run: Callable[..., Runner]) -> None:
    def train() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(WorkerDied, match='stage "train": the worker process was ended by SIGKILL'):
        run(train, {"timeout": FOREVER})(None)


def test_the_time_limit_of_the_resources_counts() -> None:
    with pytest.raises(StageTimeout, match="1 s"):
        run_sync(time.sleep, {"resources": Resources(time_limit=1)})(None, FOREVER)


def test_an_async_stage_stays_on_the_loop() -> None:
    async def train() -> int:
        return os.getpid()

    hooks = {"executor": "local", "resources": Resources()}
    assert asyncio.run(async_membrane(hooked(train, hooks, is_async=True))(None)) == os.getpid()


@pytest.mark.parametrize("build", [sync_membrane, async_membrane])
def test_an_unknown_executor(build: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match=r'stage "train": there is no executor .lcal.: did you mean .local.'):
        build(hooked(process_id, {"executor": "lcal"}))
