"""Run[T] in scripts, async code, notebooks and the driver's own coroutines."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from metta.sweep.errors import RunError, UsageError
from metta.sweep.experiments.driver import driver
from metta.sweep.experiments.run import OwnRun, Run


class Score(NamedTuple):
    score: float


class Result(OwnRun["Result", Score]):
    @property
    def score(self) -> float:
        return self._record.score


async def compute(value: float, started: threading.Event | None = None) -> Score:
    if started is not None:
        started.set()
    await asyncio.sleep(0)
    return Score(value)


def test_sync_code_waits_by_value_and_by_attribute() -> None:
    run: Run[Score] = Run.start(compute(0.5), "sync")
    assert run.score == 0.5
    assert run.value == Score(0.5)
    assert run.done
    assert repr(run) == '<Run "sync": finished>'


def test_async_code_awaits() -> None:
    async def main() -> Score:
        run: Run[Score] = Run.start(compute(0.25), "async")
        first = await run
        assert await run is first  # awaiting twice is allowed
        return first

    assert asyncio.run(main()) == Score(0.25)


def test_a_notebook_may_block_inside_its_running_loop() -> None:
    async def cell() -> float:
        run: Run[Score] = Run.start(compute(0.75), "notebook")
        return float(run.score)  # no await, in a thread whose loop is running

    assert asyncio.run(cell()) == 0.75


def test_unfinished_attribute_in_the_drivers_own_coroutine_says_await_it() -> None:
    async def outer() -> float:
        inner: Run[Score] = Run.start(compute(1.0), "inner")
        with pytest.raises(UsageError, match="await it"):
            _ = inner.score
        return (await inner).score

    outer_run: Run[float] = Run.start(outer(), "outer")
    assert outer_run.value == 1.0


def test_failure_is_raised_where_it_is_read() -> None:
    async def fail() -> None:
        raise LookupError("no such data")

    run: Run[None] = Run.start(fail(), "failing")
    with pytest.raises(LookupError, match="no such data"):
        _ = run.value
    assert repr(run) == '<Run "failing": failed with LookupError: no such data>'


class Failing(Result):
    @property
    def twice(self) -> float:
        return 2 * self.score

    @property
    def broken(self) -> float:
        return self._record.scroe  # type: ignore[attr-defined, no-any-return]


async def _read_missing() -> Score:
    return None.foo  # type: ignore[attr-defined, no-any-return]


def test_an_attribute_error_of_the_run_is_what_is_raised() -> None:
    """Python takes an AttributeError of a property for a missing attribute."""
    run: Run[Score] = Run.start(_read_missing(), "plain")
    own = Failing.start(_read_missing(), "own")
    reads: list[Callable[[], object]] = [
        lambda: run.value,
        lambda: run.score,
        lambda: own.twice,
    ]
    for read in reads:
        with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'foo'") as caught:
            read()
        names = [frame.name for frame in caught.traceback]
        assert names[-1] == "_read_missing"
        assert names.count("_read_missing") == 1  # the frames of earlier readings are left out


def test_an_attribute_error_of_a_property_is_its_own() -> None:
    result = Failing.start(compute(0.5), "own")
    with pytest.raises(AttributeError, match="'Score' object has no attribute 'scroe'"):
        _ = result.broken


def test_exit_in_user_code_ends_that_run_only() -> None:
    async def leave() -> None:
        sys.exit(3)

    run: Run[None] = Run.start(leave(), "leaving")
    with pytest.raises(RunError, match='run "leaving" was ended by SystemExit'):
        _ = run.value
    after: Run[Score] = Run.start(compute(2.0), "after")
    assert after.value == Score(2.0)


def test_private_names_are_not_forwarded_and_do_not_wait() -> None:
    gate = threading.Event()

    async def wait() -> Score:
        await asyncio.to_thread(gate.wait)
        return Score(0.0)

    run: Run[Score] = Run.start(wait(), "waiting")
    assert not hasattr(run, "_repr_html_")
    assert repr(run) == '<Run "waiting": running>'
    gate.set()
    assert run.value == Score(0.0)


def test_cancel_waits_for_the_clean_up() -> None:
    started = threading.Event()
    cleaned: list[str] = []

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("workers are gone")

    run: Run[None] = Run.start(work(), "long")
    started.wait()
    run.cancel()
    with pytest.raises(RunError, match='run "long" was cancelled'):
        _ = run.value
    assert cleaned == ["workers are gone"]


def test_cancelling_before_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The coroutine never begins: nobody is warned that it was not awaited (warnings are errors here)."""
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    busy, go_on = threading.Event(), threading.Event()

    def block() -> None:
        busy.set()
        go_on.wait()

    driver().call(block)  # so that the start and the cancellation reach the loop together
    busy.wait()
    run: Run[Score] = Run.start(compute(0.5), "brief")
    run.cancel()
    go_on.set()
    with pytest.raises(RunError, match='run "brief" was cancelled'):
        _ = run.value
    del run
    gc.collect()
    assert unraisable == []


def test_cancelling_the_awaiting_task_cancels_the_run() -> None:
    started = threading.Event()
    cleaned: list[str] = []

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append("clean")

    async def main() -> None:
        run: Run[None] = Run.start(work(), "awaited")
        task = asyncio.ensure_future(_await(run))
        await asyncio.to_thread(started.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cleaned == ["clean"]

    asyncio.run(main())


async def _await(run: Run[None]) -> None:
    await run


def test_threads_for_sync_code_have_no_limit() -> None:
    """Fifty stages that all wait for one another: a bounded pool would deadlock."""
    barrier = threading.Barrier(50)

    async def together() -> int:
        return len(await asyncio.gather(*(asyncio.to_thread(barrier.wait, 60) for _ in range(50))))

    run: Run[int] = Run.start(together(), "together")
    assert run.value == 50


def test_a_result_is_its_own_run() -> None:
    async def main() -> Result:
        return await Result.start(compute(0.5), "own")

    result = asyncio.run(main())
    assert isinstance(result, Result)
    assert result.score == 0.5
    assert result.value is result
    with pytest.raises(AttributeError, match="scroe"):
        _ = result.scroe  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(result)).score == 0.5


def test_only_the_drivers_thread_is_the_drivers_thread() -> None:
    async def where() -> bool:
        return driver().is_current_thread()

    run: Run[bool] = Run.start(where(), "where")
    assert run.value
    assert not driver().is_current_thread()


def _script(tmp_path: Path, body: str) -> Path:
    path = tmp_path / "script.py"
    head = """
        import asyncio, sys, time
        from metta.sweep.experiments.run import Run
        async def work(n):
            print("started", flush=True)
            try:
                for _ in range(n):
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(print, "finished", flush=True)
            finally:
                print("cleaned", flush=True)
    """
    path.write_text(textwrap.dedent(head) + textwrap.dedent(body))
    return path


def _python(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=60)


def test_a_script_that_only_calls_run_is_waited_for(tmp_path: Path) -> None:
    done = _python(_script(tmp_path, 'Run.start(work(20), "last line")'))
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["started", "finished", "cleaned"], "")


def test_a_failure_nobody_read_is_printed_at_exit(tmp_path: Path) -> None:
    body = """
        async def fail():
            raise LookupError("no such data")
        Run.start(fail(), "unread")
    """
    done = _python(_script(tmp_path, body))
    assert 'run "unread" failed:' in done.stderr
    assert "LookupError: no such data" in done.stderr


def test_a_script_that_dies_takes_its_runs_with_it(tmp_path: Path) -> None:
    body = """
        run = Run.start(work(100_000), "endless")
        raise SystemError("the script's own mistake")
    """
    done = _python(_script(tmp_path, body))
    assert done.returncode == 1
    assert "the script's own mistake" in done.stderr
    assert "finished" not in done.stdout
    assert 'run "endless"' not in done.stderr  # that its end took the run along is no news


def test_a_run_cancelled_by_its_owner_is_no_news(tmp_path: Path) -> None:
    done = _python(_script(tmp_path, 'Run.start(work(100_000), "endless").cancel()'))
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_while_waiting_cleans_up_and_ends(tmp_path: Path) -> None:
    path = _script(tmp_path, 'Run.start(work(100_000), "endless").value')
    process = subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert out == "cleaned\n"
    assert "KeyboardInterrupt" in err
    assert process.returncode == -signal.SIGINT
