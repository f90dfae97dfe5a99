"""Every way a task can go wrong ends in one clear `Failed`, and the executor goes on."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metta.sweep.errors import ContractViolation, StageTimeout, WorkerDied
from metta.sweep.executors import Executor, Failed, Finished, LocalExecutor, Started
from metta.sweep.trial import FailureReason, Resources
from tests.executors import tasks
from tests.executors.helpers import (
    PATIENCE,
    eventually,
    fail,
    last,
    lives,
    read_when_there,
    run,
    start,
    zombies,
)


@pytest.fixture(autouse=True)
def goes_on(executor: LocalExecutor) -> Iterator[None]:
    yield
    assert run(executor, tasks.echo, "still there") == "still there"


# --- exceptions


def test_exception_arrives_with_the_users_traceback(executor: LocalExecutor) -> None:
    end = fail(executor, tasks.fail, "no such layer")
    assert end.reason is FailureReason.USER_ERROR
    assert end.message == "ValueError: no such layer"
    assert isinstance(end.exception, ValueError)
    lines = end.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "tests/executors/tasks.py" in lines[1]  # none of our own frames before the user's
    assert "worker.py" not in end.traceback


def test_cause_is_in_the_traceback(executor: LocalExecutor) -> None:
    end = fail(executor, tasks.fail_from_a_cause)
    assert "the cause" in end.traceback
    assert "the direct cause of" in end.traceback
    assert isinstance(end.exception, KeyError)


def test_exception_that_cannot_be_rebuilt(executor: LocalExecutor) -> None:
    end = fail(executor, tasks.fail_with_unbuildable)
    assert end.message == "Unbuildable: this and that"
    assert end.exception is None


def test_exception_that_explodes(executor: LocalExecutor) -> None:
    end = fail(executor, tasks.fail_explosively)
    assert end.message == "Explosive: (its __str__ raised RuntimeError)"
    assert "fail_explosively" in end.traceback
    assert end.exception is None


def test_huge_exception(executor: LocalExecutor) -> None:
    end = fail(executor, tasks.fail_hugely)
    assert end.message.startswith("ValueError: xxx")
    assert len(end.message) < 600
    assert len(end.traceback) < 60_000
    assert "characters left out" in end.traceback
    assert end.exception is None


def test_endless_recursion(executor: LocalExecutor) -> None:
    assert fail(executor, tasks.fail_recursively).message.startswith("RecursionError: maximum recursion depth")


def test_exception_class_of_a_function_body(executor: LocalExecutor) -> None:
    class Mine(Exception):
        pass

    def raise_mine() -> None:
        raise Mine("here")

    assert type(fail(executor, raise_mine).exception) is Mine


def test_memory_error(executor: LocalExecutor) -> None:
    assert fail(executor, tasks.fail_for_want_of_memory).reason is FailureReason.OOM


def test_contract_violation(executor: LocalExecutor) -> None:
    def violate() -> None:
        raise ContractViolation("a str, not an int", stage="load")

    assert fail(executor, violate).reason is FailureReason.CONTRACT


def test_keyboard_interrupt_in_a_task(executor: LocalExecutor) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    assert fail(executor, interrupt).message == "KeyboardInterrupt"


# --- what cannot travel


def test_unpicklable_argument(executor: LocalExecutor) -> None:
    end = fail(executor, tasks.echo, threading.Lock(), name="train")
    assert end.reason is FailureReason.USER_ERROR
    assert end.message.startswith("the function or an argument of train cannot be sent to another process: TypeError")


def test_unpicklable_result(executor: LocalExecutor) -> None:
    end = fail(executor, tasks.give_a_lock, name="train")
    assert end.reason is FailureReason.USER_ERROR
    assert "the result of train cannot be sent to another process: TypeError" in end.message


def test_result_that_explodes_in_the_driver(executor: LocalExecutor) -> None:
    end = fail(executor, tasks.give_bad_way_back)
    assert end.message == "the result could not be rebuilt in the driver: RuntimeError: not here"


def test_result_that_would_end_the_driver(executor: LocalExecutor) -> None:
    assert "the result could not be rebuilt in the driver" in fail(executor, tasks.ExitsOnTheWayBack).message


def test_argument_that_explodes_in_the_worker(executor: LocalExecutor) -> None:
    end = fail(executor, tasks.echo, tasks.BadWayBack())
    assert end.reason is FailureReason.USER_ERROR
    assert "could not be rebuilt in the worker process (RuntimeError: not here)" in end.message


# --- processes


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_killed_worker_fails_one_task(executor: LocalExecutor, tmp_path: Path, number: signal.Signals) -> None:
    _, victim = start(executor, tasks.wait_forever, tmp_path / "victim")
    bystander_token, bystander = start(executor, tasks.wait_forever, tmp_path / "bystander")
    worker = int(read_when_there(tmp_path / "victim"))
    other = int(read_when_there(tmp_path / "bystander"))
    os.kill(worker, number)
    end = last(victim)
    assert isinstance(end, Failed)
    assert end.reason is FailureReason.KILLED
    assert end.message == f"the worker process was ended by {number.name}"
    assert isinstance(end.exception, WorkerDied)
    assert lives(other)
    executor.cancel(bystander_token)
    assert isinstance(last(bystander), Failed)


def test_killed_workers_are_replaced(executor: LocalExecutor) -> None:
    for _ in range(5):
        assert fail(executor, tasks.kill_myself).reason is FailureReason.KILLED
    assert run(executor, tasks.echo, 1) == 1


def test_killed_idle_worker_is_replaced(executor: LocalExecutor) -> None:
    worker = run(executor, tasks.pid)
    os.kill(worker, signal.SIGKILL)
    assert eventually(lambda: not lives(worker))
    # The driver may hear of it only now; then this task is lost with the worker, but never hangs.
    end = last(start(executor, tasks.pid)[1])
    assert isinstance(end, Failed) or end.result != worker


def test_os_exit(executor: LocalExecutor) -> None:
    end = fail(executor, tasks.leave, 7)
    assert end.reason is FailureReason.USER_ERROR
    assert "with the exit code 7" in end.message


def test_sys_exit_keeps_the_worker(executor: LocalExecutor) -> None:
    worker = run(executor, tasks.pid)
    end = fail(executor, tasks.sys_exit, 3)
    assert end.reason is FailureReason.USER_ERROR
    assert end.message == "the task called sys.exit(3)"
    assert run(executor, tasks.pid) == worker


def test_task_that_forks_answers_once(executor: LocalExecutor) -> None:
    assert run(executor, tasks.fork_and_come_back) == "parent"
    assert run(executor, tasks.echo, 2) == 2


def test_task_that_closes_our_connection(executor: LocalExecutor) -> None:
    assert fail(executor, tasks.close_every_descriptor).reason in (FailureReason.KILLED, FailureReason.USER_ERROR)


def test_killed_fork_server(executor: LocalExecutor, tmp_path: Path) -> None:
    def parent() -> int:
        return os.getppid()

    server = run(executor, parent)
    _, stream = start(executor, tasks.wait_forever, tmp_path / "ready")
    worker = int(read_when_there(tmp_path / "ready"))
    os.kill(server, signal.SIGKILL)
    end = last(stream)
    assert isinstance(end, Failed)
    assert end.reason is FailureReason.KILLED
    assert eventually(lambda: not lives(worker))
    assert run(executor, parent) != server


def test_interpreter_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with LocalExecutor(1) as executor:
        end = fail(executor, tasks.echo)
    assert end.reason is FailureReason.KILLED
    assert "no worker process could be started" in end.message


def test_fork_server_that_keeps_ending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes up, and is gone before it has forked anything: the task is not tried for ever."""
    program = tmp_path / "interpreter"
    program.write_text(
        f"#!{sys.executable}\n"
        "import socket, sys\n"
        f"sys.path[:] = {sys.path!r}\n"
        "from metta.sweep.executors.wire import Kind, message\n"
        "socket.socket(fileno=int(sys.argv[3])).sendall(message(Kind.READY))\n"
    )
    program.chmod(0o700)
    monkeypatch.setattr("sys.executable", str(program))
    with LocalExecutor(1) as executor:
        assert fail(executor, tasks.echo).message.startswith("no worker process lived to start it: the fork server")


# --- time-outs and cancellation


def end_by_timeout(executor: Executor, fn: Callable[..., object], *args: object) -> Failed:
    # Long enough for `fn` to get ready first, or the test would test less.
    end = fail(executor, fn, *args, name="train", timeout=0.5)
    assert end.reason is FailureReason.TIMEOUT
    return end


def test_infinite_loop_is_stopped(executor: LocalExecutor) -> None:
    end = end_by_timeout(executor, tasks.spin_forever)
    assert isinstance(end.exception, StageTimeout)
    assert end.message == 'StageTimeout: stage "train" was stopped after its time-out of 0.5 s'


def test_timeout_ends_grandchildren(executor: LocalExecutor, tmp_path: Path) -> None:
    end_by_timeout(executor, tasks.start_child_and_wait, tmp_path / "ready")
    worker, grandchild = map(int, read_when_there(tmp_path / "ready").split())
    assert not lives(worker)
    assert eventually(lambda: not lives(grandchild))


def test_task_that_ignores_sigterm(executor: LocalExecutor, tmp_path: Path) -> None:
    end_by_timeout(executor, tasks.ignore_sigterm, tmp_path / "ready")
    assert not lives(int(read_when_there(tmp_path / "ready")))


def test_stopped_task_runs_its_finally_blocks(executor: LocalExecutor, tmp_path: Path) -> None:
    with LocalExecutor(1, grace=PATIENCE) as patient:
        token, stream = start(patient, tasks.clean_up_when_stopped, tmp_path / "ready", tmp_path / "cleaned")
        read_when_there(tmp_path / "ready")
        patient.cancel(token)
        assert isinstance(last(stream), Failed)
    assert (tmp_path / "cleaned").read_text() == "yes"


def test_stopped_process_can_be_stopped(executor: LocalExecutor, tmp_path: Path) -> None:
    token, stream = start(executor, tasks.wait_forever, tmp_path / "ready")
    os.kill(int(read_when_there(tmp_path / "ready")), signal.SIGSTOP)
    executor.cancel(token)
    assert isinstance(last(stream), Failed)


def test_time_limit_of_resources(executor: LocalExecutor) -> None:
    end = fail(executor, tasks.spin_forever, resources=Resources(time_limit=0.1))
    assert end.reason is FailureReason.TIMEOUT


def test_cancel_a_running_task(executor: LocalExecutor, tmp_path: Path) -> None:
    token, stream = start(executor, tasks.start_child_and_wait, tmp_path / "ready")
    _, grandchild = map(int, read_when_there(tmp_path / "ready").split())
    executor.cancel(token)
    end = last(stream)
    assert isinstance(end, Failed)
    assert end.reason is FailureReason.CANCELLED
    assert eventually(lambda: not lives(grandchild))


def test_cancel_a_waiting_task(executor: LocalExecutor, tmp_path: Path) -> None:
    running = [start(executor, tasks.wait_forever, tmp_path / str(number)) for number in range(2)]
    token, stream = start(executor, tasks.echo)
    executor.cancel(token)
    assert stream.get(PATIENCE) == Failed(token, FailureReason.CANCELLED, "cancelled before it started")
    for other, _ in running:
        executor.cancel(other)
    for _, events in running:
        assert isinstance(last(events), Failed)


def test_cancel_what_is_over_or_unknown(executor: LocalExecutor) -> None:
    token, stream = start(executor, tasks.echo)
    last(stream)
    executor.cancel(token)
    executor.cancel("never heard of")
    assert isinstance(last(start(executor, tasks.echo)[1]), Finished)
    assert len(stream) == 0


def test_children_that_a_task_leaves_behind(executor: LocalExecutor) -> None:
    with LocalExecutor(1) as other:
        left_behind = run(other, tasks.start_child_and_return)
        assert lives(left_behind)  # it belongs to the warm worker, and goes with it
    assert eventually(lambda: not lives(left_behind))


def test_detached_grandchild_is_adopted_and_reaped(executor: LocalExecutor, tmp_path: Path) -> None:
    """In a container nobody else would: process 1 is no init there."""
    server = run(executor, os.getppid)
    fail(executor, tasks.detach_child_and_leave, tmp_path / "ready")
    grandchild = int(read_when_there(tmp_path / "ready"))
    try:
        assert Path(f"/proc/{grandchild}/stat").read_text().rpartition(")")[2].split()[1] == str(server)
    finally:
        os.kill(grandchild, signal.SIGKILL)
    assert eventually(lambda: not Path(f"/proc/{grandchild}").exists())


def test_no_zombies(executor: LocalExecutor, tmp_path: Path) -> None:
    server = run(executor, os.getppid)
    for number in range(3):
        token, stream = start(executor, tasks.start_child_and_wait, tmp_path / str(number))
        assert isinstance(stream.get(PATIENCE), Started)
        read_when_there(tmp_path / str(number))
        executor.cancel(token)
        last(stream)
    assert eventually(lambda: not zombies(server))
    assert not zombies(os.getpid())
