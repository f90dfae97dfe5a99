"""One call in a killable child: what a sync stage with `timeout=` is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from metta.sweep.errors import RunError, StageTimeout, WorkerDied
from metta.sweep.executors.child import acall_in_child, call_in_child
from metta.sweep.executors.serial import UnstorableError
from tests.executors import tasks
from tests.executors.helpers import PATIENCE, eventually, lives, read_when_there


def test_result() -> None:
    assert call_in_child(lambda a, b: a * b, (6,), {"b": 7}, timeout=PATIENCE, name="multiply") == 42
    assert call_in_child(tasks.pid, timeout=PATIENCE, name="where") != os.getpid()


def test_no_limit() -> None:
    assert call_in_child(tasks.echo, (1,), timeout=float("inf"), name="echo") == 1


def test_second_call_finds_a_warm_worker() -> None:
    first, second = (call_in_child(tasks.pid, timeout=PATIENCE, name="where") for _ in range(2))
    assert first == second


def test_exception_of_the_user_with_its_traceback() -> None:
    with pytest.raises(ValueError, match="no such layer") as caught:
        call_in_child(tasks.fail, ("no such layer",), timeout=PATIENCE, name="train")
    (note,) = caught.value.__notes__
    assert note.startswith("In the worker process:\n\nTraceback")
    assert "tests/executors/tasks.py" in note


def test_exception_whose_init_wants_other_arguments() -> None:
    with pytest.raises(tasks.NeedsTwo, match="this and that") as caught:
        call_in_child(tasks.fail_with_needs_two, timeout=PATIENCE, name="train")
    assert caught.value.args == ("this and that",)
    assert caught.value.second == "that"
    assert "fail_with_needs_two" in caught.value.__notes__[0]


def test_exception_whose_init_makes_the_message() -> None:
    with pytest.raises(tasks.AddsText) as caught:
        call_in_child(tasks.fail_with_added_text, timeout=PATIENCE, name="train")
    assert str(caught.value) == "no layer conv9"


def test_exception_with_a_reduction_of_its_own() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        call_in_child(tasks.fail_to_open, timeout=PATIENCE, name="train")
    assert (caught.value.errno, caught.value.filename) == (2, "weights.pt")
    assert str(caught.value) == "[Errno 2] No such file: 'weights.pt'"


@pytest.mark.parametrize(
    ("fn", "text"),
    [
        (tasks.fail_explosively, r"Explosive: \(its __str__ raised RuntimeError\)"),
        (tasks.fail_with_unbuildable, "Unbuildable: this and that"),
    ],
)
def test_exception_that_cannot_travel(fn: Callable[[], NoReturn], text: str) -> None:
    with pytest.raises(RunError, match=f'stage "train": {text}') as caught:
        call_in_child(fn, timeout=PATIENCE, name="train")
    assert "In the worker process" in caught.value.__notes__[0]


def test_timeout() -> None:
    with pytest.raises(StageTimeout, match=r'stage "spin" was stopped after its time-out of 0\.2 s') as caught:
        call_in_child(tasks.spin_forever, timeout=0.2, name="spin")
    assert (caught.value.stage, caught.value.seconds) == ("spin", 0.2)


def test_worker_dies() -> None:
    with pytest.raises(WorkerDied) as caught:
        call_in_child(tasks.kill_myself, timeout=PATIENCE, name="train")
    assert str(caught.value) == 'stage "train": the worker process was ended by SIGKILL'
    assert caught.value.reason == "killed"


def test_a_nested_worker_dies() -> None:
    """The stage named is the one whose worker it was."""

    def outer() -> object:
        return call_in_child(tasks.kill_myself, timeout=PATIENCE, name="inner")

    with pytest.raises(WorkerDied, match='stage "inner": the worker process was ended by SIGKILL') as caught:
        call_in_child(outer, timeout=PATIENCE, name="outer")
    assert 'stage "outer"' not in str(caught.value)
    assert caught.value.reason == "killed"


@pytest.mark.parametrize(("fn", "args"), [(tasks.give_a_lock, ()), (tasks.echo, (tasks.give_a_lock(),))])
def test_what_cannot_travel(fn: object, args: tuple[object, ...]) -> None:
    expected = 'stage "train" runs in another process: its arguments and its result must be storable'
    with pytest.raises(UnstorableError, match=expected):
        call_in_child(fn, args, timeout=PATIENCE, name="train")  # type: ignore[arg-type]


def test_output_appears_here(capsys: pytest.CaptureFixture[str]) -> None:
    call_in_child(tasks.print_both, ("hello",), timeout=PATIENCE, name="speak")
    assert capsys.readouterr().out == "hello\nhello on stderr\nhello by a child\n"


def test_async_calls_run_side_by_side(tmp_path: Path) -> None:
    """Each waits for the other's file: one after the other would never end."""

    def meet(mine: Path, other: Path) -> str:
        mine.write_text("here")
        while not other.exists():
            pass
        return mine.name

    async def main() -> list[str]:
        one, two = tmp_path / "one", tmp_path / "two"
        first = acall_in_child(meet, (one, two), timeout=PATIENCE, name="one")
        second = acall_in_child(meet, (two, one), timeout=PATIENCE, name="two")
        return list(await asyncio.gather(first, second))

    assert asyncio.run(main()) == ["one", "two"]


def test_cancelling_the_coroutine_ends_the_call(tmp_path: Path) -> None:
    async def main() -> int:
        call = asyncio.create_task(
            acall_in_child(tasks.wait_forever, (tmp_path / "ready",), timeout=PATIENCE, name="wait")
        )
        worker = int(await asyncio.to_thread(read_when_there, tmp_path / "ready"))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return worker

    worker = asyncio.run(main())
    assert eventually(lambda: not lives(worker))


def test_async_errors() -> None:
    with pytest.raises(StageTimeout):
        asyncio.run(acall_in_child(tasks.spin_forever, timeout=0.2, name="spin"))
    with pytest.raises(ValueError, match="bad"):
        asyncio.run(acall_in_child(tasks.fail, ("bad",), timeout=PATIENCE, name="fail"))


def test_forked_process_has_its_own_workers() -> None:
    call_in_child(tasks.pid, timeout=PATIENCE, name="warm")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, str(call_in_child(os.getppid, timeout=PATIENCE, name="in the fork")).encode())
        from metta.sweep.executors import child as module

        module._close_pools()
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        forked_server = int(pipe.read())
    os.waitpid(child, 0)
    assert forked_server != call_in_child(os.getppid, timeout=PATIENCE, name="here")
    assert eventually(lambda: not lives(forked_server))
