"""Remote executors over an engine of local processes: what happens to attempts when this or that goes wrong."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import StageTimeout, UsageError
from metta.sweep.executors.base import (
    Answer,
    Event,
    EventStream,
    Failed,
    Finished,
    Reported,
    Started,
    StateSaved,
    Task,
)
from metta.sweep.executors.objective import Outcome, trial_task
from metta.sweep.executors.remote import spool
from metta.sweep.executors.remote.engine import JobStatus, Phase
from metta.sweep.trial import FailureReason, Resources, Trial
from tests.executors import remote_tasks
from tests.executors.process_engine import ProcessExecutor

ROOT = Path(__file__).parent.parent.parent
LIMIT = 60.0


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[ProcessExecutor]:
    with ProcessExecutor(tmp_path / "engine") as executor:
        yield executor


def last(stream: EventStream) -> Finished | Failed:
    return all_of(stream)[-1]  # type: ignore[return-value]


def all_of(
    stream: EventStream, executor: ProcessExecutor | None = None, answer: Callable[[Reported], Answer] | None = None
) -> list[Event]:
    """The events up to the last one of the next task that ends; reports are answered."""
    events: list[Event] = []
    until = time.monotonic() + LIMIT
    while not events or not isinstance(events[-1], Finished | Failed):
        events.append(stream.get(until - time.monotonic()))
        if isinstance(events[-1], Reported) and executor is not None:
            executor.answer(events[-1], Answer.CONTINUE if answer is None else answer(events[-1]))
    return events


def steps(events: list[Event]) -> list[int]:
    return [event.report.step for event in events if isinstance(event, Reported)]


def until(condition: Callable[[], Any], limit: float = LIMIT) -> Any:
    end = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return found


def trial(x: float = 1.0, **params: Any) -> Trial:
    return Trial({"x": x, **params}, id=0)


def climb(token: str, folder: Path, *, restore: Path | None = None, trial_: Trial | None = None, **more: Any) -> Task:
    objective = remote_tasks.climbing
    return trial_task(objective, trial_ or trial(), token=token, folder=folder, restore=restore, keep=99, **more)


def open_gates(folder: Path, *numbers: int) -> None:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        (folder / f"gate-{number}").touch()


# What comes of a task


def test_a_task_runs_elsewhere_and_its_result_comes_back(executor: ProcessExecutor, tmp_path: Path) -> None:
    stream = executor.events()
    executor.submit(Task("a", remote_tasks.add, (1, 2), stream_log=True, log_folder=tmp_path / "log"), stream)
    events = all_of(stream)
    assert [type(event).__name__ for event in events] == ["Started", "Logged", "Finished"]
    end = events[-1]
    assert isinstance(end, Finished)
    assert (end.result, end.log) == (3, "1 + 2\n")
    assert (tmp_path / "log" / "log.txt").read_text() == "1 + 2\n"


def test_what_belongs_to_no_run_leaves_nothing(executor: ProcessExecutor) -> None:
    stream = executor.events()
    executor.submit(Task("a", remote_tasks.add, (1, 2)), stream)
    attempt = spool.attempt_folder("a", executor.spool)
    assert attempt.is_dir()
    last(stream)
    until(lambda: not attempt.exists())


def test_what_is_over_leaves_no_task_file_and_no_job(executor: ProcessExecutor, tmp_path: Path) -> None:
    stream = executor.events()
    executor.submit(Task("a", remote_tasks.add, (1, 2), log_folder=tmp_path), stream)
    last(stream)
    attempt = spool.attempt_folder("a", tmp_path)
    assert not (attempt / spool.TASK).exists()
    until(lambda: executor.engine.jobs() == [])


@pytest.mark.parametrize(
    ("kind", "arguments", "rebuilt", "message"),
    [
        (ValueError, ("no such layer",), ValueError, "ValueError: no such layer"),
        (KeyError, ("layer",), KeyError, "KeyError: 'layer'"),
        (SystemExit, (3,), type(None), "the task called sys.exit(3)"),
    ],
)
def test_exceptions_of_the_interpreter_are_rebuilt(
    executor: ProcessExecutor, kind: type[BaseException], arguments: tuple[object, ...], rebuilt: type, message: str
) -> None:
    stream = executor.events()
    executor.submit(Task("a", remote_tasks.fail, (kind, *arguments)), stream)
    end = last(stream)
    assert isinstance(end, Failed)
    assert (end.reason, end.message) == (FailureReason.USER_ERROR, message)
    assert isinstance(end.exception, rebuilt)


def test_an_exception_of_the_users_comes_as_text(executor: ProcessExecutor) -> None:
    class OwnError(Exception):
        """Of this test."""

    stream = executor.events()
    executor.submit(Task("a", remote_tasks.fail, (OwnError, "it broke")), stream)
    end = last(stream)
    assert isinstance(end, Failed)
    assert end.message.endswith("OwnError: it broke")
    assert "remote_tasks.py" in end.traceback
    assert end.exception is None


def test_a_result_that_cannot_be_stored_is_named(executor: ProcessExecutor) -> None:
    stream = executor.events()
    executor.submit(Task("a", open, (os.devnull,), name="reader"), stream)
    end = last(stream)
    assert isinstance(end, Failed)
    assert end.reason is FailureReason.USER_ERROR
    assert "the result of reader" in end.message


def test_a_task_that_kills_its_worker_fails_alone(executor: ProcessExecutor) -> None:
    stream = executor.events()
    executor.submit(Task("a", remote_tasks.die), stream)
    executor.submit(Task("b", remote_tasks.add, (1, 1)), stream)
    ends = {end.token: end for end in (last(stream), last(stream))}
    first, second = ends["a"], ends["b"]
    assert isinstance(first, Failed)
    assert first.reason is FailureReason.KILLED
    assert "SIGKILL" in first.message
    assert isinstance(second, Finished)


def test_a_task_ends_at_its_time_out(executor: ProcessExecutor, tmp_path: Path) -> None:
    stream = executor.events()
    executor.submit(Task("a", remote_tasks.wait_for, (tmp_path / "never",), name="waiter", timeout=0.5), stream)
    end = last(stream)
    assert isinstance(end, Failed)
    assert end.reason is FailureReason.TIMEOUT
    assert isinstance(end.exception, StageTimeout)
    assert "waiter" in str(end.exception)


def test_tasks_of_one_kind_come_in_batches(tmp_path: Path) -> None:
    with ProcessExecutor(tmp_path, largest_batch=3) as executor:
        stream = executor.events()
        for number in range(5):
            executor.submit(Task(f"t{number}", remote_tasks.add, (number, 0)), stream)
        executor.submit(Task("other", remote_tasks.add, (9, 0), resources=Resources(cpus=2)), stream)
        ends = [last(stream) for _ in range(6)]
        assert sorted(end.result for end in ends if isinstance(end, Finished)) == [0, 1, 2, 3, 4, 9]
        assert sorted(executor.engine.submissions) == [1, 2, 3]


def test_no_more_jobs_than_allowed(tmp_path: Path) -> None:
    with ProcessExecutor(tmp_path / "engine", max_jobs=2) as executor:
        assert executor.capacity == 2
        stream = executor.events()
        for number in range(4):
            executor.submit(Task(f"t{number}", remote_tasks.wait_for, (tmp_path / "go",)), stream)
        started = [stream.get(LIMIT), stream.get(LIMIT)]
        assert all(isinstance(event, Started) for event in started)
        assert len(executor.engine.jobs()) == 2
        (tmp_path / "go").touch()
        assert all(isinstance(last(stream), Finished) for _ in range(4))


# Reports, answers, states


def test_reports_stream_and_answers_are_obeyed_at_their_step(executor: ProcessExecutor, tmp_path: Path) -> None:
    stream = executor.events()
    executor.submit(climb("a", tmp_path), stream)
    events = all_of(stream, executor, lambda told: Answer.PAUSE if told.report.step == 3 else Answer.CONTINUE)
    assert steps(events) == [1, 2, 3]
    end = events[-1]
    assert isinstance(end, Finished)
    assert end.result == Outcome({"score": 6.0}, 3, Answer.PAUSE)
    states = [event for event in events if isinstance(event, StateSaved)]
    assert [state.step for state in states] == [1, 2, 3]
    assert all(state.path.is_file() for state in states)

    executor.submit(climb("b", tmp_path, restore=states[-1].path), stream)
    events = all_of(stream, executor)
    assert steps(events) == [4, 5, 6, 7, 8]
    assert isinstance(events[-1], Finished)
    assert events[-1].result.metrics == {"score": 36.0}
    assert (tmp_path / "log.txt").read_text() == "starts at 1\nstarts at 4\n"


def test_numbers_that_are_not_finite_travel(executor: ProcessExecutor, tmp_path: Path) -> None:
    stream = executor.events()
    executor.submit(climb("a", tmp_path, trial_=trial(float("inf"))), stream)
    events = all_of(stream, executor)
    told = [event.report.metrics["score"] for event in events if isinstance(event, Reported)]
    assert told == [float("inf")] * 8


# Cancelling


def test_a_running_task_is_cancelled(executor: ProcessExecutor, tmp_path: Path) -> None:
    stream = executor.events()
    executor.submit(Task("a", remote_tasks.wait_for, (tmp_path / "never",)), stream)
    assert isinstance(stream.get(LIMIT), Started)
    executor.cancel("a")
    executor.cancel("a")
    end = last(stream)
    assert isinstance(end, Failed)
    assert end.reason is FailureReason.CANCELLED
    until(lambda: executor.engine.jobs() == [])


def test_what_was_cancelled_is_not_taken_over(tmp_path: Path) -> None:
    with ProcessExecutor(tmp_path / "engine") as executor:
        stream = executor.events()
        executor.submit(Task("a", remote_tasks.wait_for, (tmp_path / "never",), log_folder=tmp_path), stream)
        assert isinstance(stream.get(LIMIT), Started)
        executor.cancel("a")
        last(stream)
    with ProcessExecutor(tmp_path / "engine") as executor:
        assert not executor.reattach("a", executor.events(), tmp_path)


def test_a_waiting_task_is_cancelled_and_never_starts(tmp_path: Path) -> None:
    with ProcessExecutor(tmp_path / "engine", max_jobs=1) as executor:
        stream = executor.events()
        executor.submit(Task("a", remote_tasks.wait_for, (tmp_path / "go",)), stream)
        assert isinstance(stream.get(LIMIT), Started)
        executor.submit(Task("b", remote_tasks.add, (1, 1)), stream)
        executor.cancel("b")
        end = stream.get(LIMIT)
        assert isinstance(end, Failed)
        assert end.message == "cancelled before it started"
        (tmp_path / "go").touch()
        assert isinstance(last(stream), Finished)
        assert sum(executor.engine.submissions) == 1


def test_closing_ends_every_job(tmp_path: Path) -> None:
    executor = ProcessExecutor(tmp_path / "engine")
    stream = executor.events()
    for number in range(2):
        executor.submit(Task(f"t{number}", remote_tasks.wait_for, (tmp_path / "never",)), stream)
    processes = [
        executor.engine.process(name) for name in until(lambda: executor.engine.jobs()[1:] and executor.engine.jobs())
    ]
    executor.close()
    assert [type(event) for event in (last(stream), last(stream))] == [Failed, Failed]
    assert executor.engine.jobs() == []
    assert not any(_lives(process) for process in processes if process)
    with pytest.raises(UsageError, match="closed"):
        executor.submit(Task("late", remote_tasks.add, (1, 1)), stream)


def test_a_token_in_use_is_refused(executor: ProcessExecutor, tmp_path: Path) -> None:
    stream = executor.events()
    executor.submit(Task("a", remote_tasks.wait_for, (tmp_path / "go",), log_folder=tmp_path), stream)
    with pytest.raises(UsageError, match="not over"):
        executor.submit(Task("a", remote_tasks.add, (1, 1)), stream)
    (tmp_path / "go").touch()
    last(stream)
    with pytest.raises(UsageError, match="every attempt needs its own"):
        executor.submit(Task("a", remote_tasks.add, (1, 1), log_folder=tmp_path), stream)


# An engine in trouble


def test_an_engine_that_is_down_is_tried_again(executor: ProcessExecutor, caplog: pytest.LogCaptureFixture) -> None:
    executor.engine.down = "no answer from the controller"
    stream = executor.events()
    with caplog.at_level(logging.WARNING, "metta.sweep"):
        executor.submit(Task("a", remote_tasks.add, (1, 2)), stream)
        until(lambda: "no answer from the controller" in caplog.text)
    executor.engine.down = None
    assert last(stream).token == "a"
    assert executor.engine.submissions == [1]


def test_a_running_task_does_not_mind_that_its_engine_is_down(executor: ProcessExecutor, tmp_path: Path) -> None:
    stream = executor.events()
    executor.submit(Task("a", remote_tasks.wait_for, (tmp_path / "go",)), stream)
    assert isinstance(stream.get(LIMIT), Started)
    executor.engine.down = "gone"
    (tmp_path / "go").touch()
    assert isinstance(last(stream), Finished)
    executor.engine.down = None


def test_an_engine_that_refuses_fails_the_tasks_in_its_own_words(executor: ProcessExecutor) -> None:
    executor.engine.refuses = "invalid partition specified: gpuu"
    stream = executor.events()
    executor.submit(Task("a", remote_tasks.add, (1, 2)), stream)
    end = last(stream)
    assert isinstance(end, Failed)
    assert end.message == "invalid partition specified: gpuu"


def test_a_request_without_an_answer_is_not_made_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine took the job, and its answer was lost: the job is found by its label."""
    with ProcessExecutor(tmp_path) as executor:
        submit = executor.engine.submit

        def lose_answer(jobs: Any, label: str) -> Any:
            submit(jobs, label)
            monkeypatch.undo()
            raise ConnectionResetError("lost")

        monkeypatch.setattr(executor.engine, "submit", lose_answer)
        stream = executor.events()
        executor.submit(Task("a", remote_tasks.add, (1, 2)), stream)
        assert isinstance(last(stream), Finished)
        assert executor.engine.submissions == [1]


@pytest.mark.parametrize(
    ("said", "reason", "message"),
    [
        (
            JobStatus(Phase.ENDED, FailureReason.NODE_LOST, "job 1 on n1: NODE_FAIL"),
            FailureReason.NODE_LOST,
            "NODE_FAIL",
        ),
        (JobStatus(Phase.ENDED, FailureReason.OOM, "job 1: OUT_OF_MEMORY"), FailureReason.OOM, "OUT_OF_MEMORY"),
        (JobStatus(Phase.ENDED, None, "job 1"), FailureReason.KILLED, "job 1 ended without a result"),
        (None, FailureReason.LOST_CONTACT, "processes knows nothing of its job any more"),
    ],
)
def test_what_the_engine_says_counts_where_the_job_says_nothing(
    executor: ProcessExecutor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: JobStatus | None,
    reason: FailureReason,
    message: str,
) -> None:
    monkeypatch.setattr("metta.sweep.executors.remote.attempt.VANISHED_S", 1.0)
    stream = executor.events()
    executor.submit(Task("a", remote_tasks.wait_for, (tmp_path / "never",)), stream)
    assert isinstance(stream.get(LIMIT), Started)
    (job,) = executor.engine.jobs()
    executor.engine.overrides[job] = said
    executor.engine.signal(job, signal.SIGKILL)
    end = last(stream)
    assert isinstance(end, Failed)
    assert end.reason is reason
    assert message in end.message


def test_a_job_without_a_heart_beat_is_given_up_and_fenced(tmp_path: Path) -> None:
    with ProcessExecutor(tmp_path / "engine", lost_after=5) as executor:
        stream = executor.events()
        executor.submit(climb("a", tmp_path, trial_=trial(gates=str(tmp_path / "gates"))), stream)
        assert isinstance(stream.get(LIMIT), Started)
        (job,) = executor.engine.jobs()
        process = executor.engine.process(job)
        executor.engine.signal(job, signal.SIGSTOP, program_only=True)
        end = last(stream)
        assert isinstance(end, Failed)
        assert end.reason is FailureReason.LOST_CONTACT
        assert "no heart-beat" in end.message
        # It wakes up: what it does now is nobody's business, and it ends by itself.
        executor.engine.signal(job, signal.SIGCONT, program_only=True)
        open_gates(tmp_path / "gates", *range(1, 9))
        until(lambda: process is None or not _lives(process))
        assert len(stream) == 0


def test_a_job_that_cannot_start_says_why(executor: ProcessExecutor, tmp_path: Path) -> None:
    stream = executor.events()
    executor._python = "/bin/false"
    executor.submit(Task("a", remote_tasks.add, (1, 2)), stream)
    end = last(stream)
    assert isinstance(end, Failed)
    assert end.reason is FailureReason.KILLED
    assert "before its worker program could start" in end.message


def test_a_task_file_that_was_changed_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ProcessExecutor(tmp_path / "engine") as executor:
        submit = executor.engine.submit

        def tamper(jobs: Any, label: str) -> Any:
            path = jobs[0].folder / spool.TASK
            path.write_bytes(path.read_bytes() + b" ")
            return submit(jobs, label)

        monkeypatch.setattr(executor.engine, "submit", tamper)
        stream = executor.events()
        executor.submit(Task("a", (tmp_path / "ran").touch), stream)
        end = last(stream)
        assert isinstance(end, Failed)
        assert "is not what the driver wrote" in end.message
        assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("line", [b"[]\n", b"{}\n", b'{"event": "saved", "step": 1, "file": "../../x"}\n', b"\xff\n"])
def test_a_damaged_line_of_events_fails_the_attempt(executor: ProcessExecutor, tmp_path: Path, line: bytes) -> None:
    stream = executor.events()
    executor.submit(Task("a", remote_tasks.wait_for, (tmp_path / "never",), log_folder=tmp_path), stream)
    assert isinstance(stream.get(LIMIT), Started)
    spool.append(spool.run_folder(spool.attempt_folder("a", tmp_path), 1) / spool.EVENTS, line)
    end = last(stream)
    assert isinstance(end, Failed)
    assert end.reason is FailureReason.STORAGE
    assert "damaged" in end.message


# Preemption and requeue


def test_a_preempted_trial_saves_and_says_so(executor: ProcessExecutor, tmp_path: Path) -> None:
    gates = tmp_path / "gates"
    stream = executor.events()
    open_gates(gates, 1, 2)
    executor.submit(climb("a", tmp_path, trial_=trial(gates=str(gates))), stream)
    seen: list[Event] = []
    while steps(seen) != [1, 2]:
        seen.append(stream.get(LIMIT))
        if isinstance(seen[-1], Reported):
            executor.answer(seen[-1], Answer.CONTINUE)
    (job,) = executor.engine.jobs()
    executor.engine.signal(job, signal.SIGUSR1, program_only=True)
    time.sleep(0.5)
    open_gates(gates, 3, 4, 5, 6, 7, 8)
    events = all_of(stream, executor)
    assert steps(events) == [3], "it goes on to its next report, and stops there"
    end = events[-1]
    assert isinstance(end, Failed)
    assert (end.reason, "SIGUSR1" in end.message) == (FailureReason.PREEMPTED, True)


def test_a_trial_that_no_driver_answers_saves_and_ends(tmp_path: Path) -> None:
    with ProcessExecutor(tmp_path / "engine", patience=1.0) as executor:
        stream = executor.events()
        executor.submit(climb("a", tmp_path), stream)
        events = all_of(stream)
        assert steps(events) == [1]
        assert [event.step for event in events if isinstance(event, StateSaved)] == [1]
        end = events[-1]
        assert isinstance(end, Failed)
        assert (end.reason, end.message) == (FailureReason.PREEMPTED, "no driver has answered for 1 s")


def test_a_job_that_is_started_again_goes_on_from_its_last_state(tmp_path: Path) -> None:
    """A requeue: the same attempt, another start of its worker program; every step is told once."""
    with ProcessExecutor(tmp_path / "engine", poll_interval=0.5) as executor:
        gates = tmp_path / "gates"
        stream = executor.events()
        open_gates(gates, 1, 2, 3)
        executor.submit(climb("a", tmp_path, trial_=trial(gates=str(gates))), stream)
        events: list[Event] = []
        while steps(events) != [1, 2, 3]:
            events.append(stream.get(LIMIT))
            if isinstance(events[-1], Reported):
                executor.answer(events[-1], Answer.CONTINUE)
        (job,) = executor.engine.jobs()
        executor.engine.overrides[job] = JobStatus(Phase.QUEUED, message="requeued")
        executor.engine.signal(job, signal.SIGKILL)
        until(lambda: (executor.engine.folder / f"{job}.over").exists())
        executor.engine.start(job)
        open_gates(gates, 4, 5, 6, 7, 8)
        events += all_of(stream, executor)
        del executor.engine.overrides[job]
        assert steps(events) == list(range(1, 9))
        assert isinstance(events[-1], Finished)
        assert events[-1].result.metrics == {"score": 36.0}
        assert [type(event) for event in events].count(Started) == 1
        assert (tmp_path / "log.txt").read_text() == "starts at 1\nstarts at 4\n"


def test_the_older_of_two_starts_ends(tmp_path: Path) -> None:
    """A node that was cut off goes on while the engine starts its job again elsewhere."""
    with ProcessExecutor(tmp_path / "engine") as executor:
        gates = tmp_path / "gates"
        stream = executor.events()
        open_gates(gates, 1, 2)
        executor.submit(climb("a", tmp_path, trial_=trial(gates=str(gates))), stream)
        events: list[Event] = []
        while steps(events) != [1, 2]:
            events.append(stream.get(LIMIT))
            if isinstance(events[-1], Reported):
                executor.answer(events[-1], Answer.CONTINUE)
        (job,) = executor.engine.jobs()
        older = executor.engine.process(job)
        assert older is not None
        executor.engine.overrides[job] = JobStatus(Phase.RUNNING)
        executor.engine.start(job)
        until(lambda: not _lives(older))
        open_gates(gates, 3, 4, 5, 6, 7, 8)
        events += all_of(stream, executor)
        del executor.engine.overrides[job]
        assert steps(events) == list(range(1, 9))
        assert isinstance(events[-1], Finished)


# Drivers that die

_DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from metta.sweep.executors.base import Answer, Reported
from tests.executors import test_remote
from tests.executors.process_engine import ProcessExecutor
executor = ProcessExecutor(Path(sys.argv[2]) / "engine")
folder = Path(sys.argv[2])
stream = executor.events()
executor.submit(test_remote.climb("a", folder, trial_=test_remote.trial(gates=str(folder / "gates"))), stream)
while True:
    event = stream.get(60)
    print(type(event).__name__, flush=True)
    if isinstance(event, Reported):
        executor.answer(event, Answer.CONTINUE)
"""


def _driver(folder: Path, fail_at: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _DRIVER, str(ROOT), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "METTA_SWEEP_FAIL_AT": fail_at},
    )


def _kill(driver: subprocess.Popen[str]) -> None:
    driver.kill()
    driver.communicate()


def test_the_next_driver_takes_over_a_job_that_runs(tmp_path: Path) -> None:
    open_gates(tmp_path / "gates", 1, 2, 3)
    driver = _driver(tmp_path)
    assert driver.stdout is not None
    for _ in range(7):  # Started, and three reports with their states
        driver.stdout.readline()
    _kill(driver)
    open_gates(tmp_path / "gates", 4)
    time.sleep(0.5)
    with ProcessExecutor(tmp_path / "engine") as executor:
        stream = executor.events()
        assert executor.reattach("a", stream, tmp_path)
        open_gates(tmp_path / "gates", 5, 6, 7, 8)
        events = all_of(stream, executor)
        assert steps(events) == list(range(1, 9)), "all of them, from the beginning"
        assert isinstance(events[-1], Finished)
        assert sum(executor.engine.submissions) == 0
        assert not executor.reattach("a", stream, tmp_path, also_ended=False)
        assert executor.reattach("a", stream, tmp_path), "this driver may have died before it could keep its end"
        assert steps(all_of(stream, executor)) == list(range(1, 9))
        assert (tmp_path / "log.txt").read_text() == "starts at 1\n"


def test_a_job_that_ended_without_a_driver_is_taken_in(tmp_path: Path) -> None:
    open_gates(tmp_path / "gates", 1)
    driver = _driver(tmp_path)
    assert driver.stdout is not None
    driver.stdout.readline()
    _kill(driver)
    (job,) = ProcessExecutor(tmp_path / "engine").engine.jobs()
    with ProcessExecutor(tmp_path / "engine") as executor:
        # The trial waits for an answer to its first report, or its first gate: cancel, as a person would.
        executor.engine.cancel({job: ""})
        until(lambda: (executor.engine.folder / f"{job}.over").exists())
        stream = executor.events()
        assert executor.reattach("a", stream, tmp_path)
        end = last(stream)
        assert isinstance(end, Failed)
        assert end.reason is FailureReason.CANCELLED


@pytest.mark.parametrize("point", ["remote.prepared", "remote.intended", "remote.submitted", "remote.noted"])
def test_a_driver_that_dies_while_it_submits(tmp_path: Path, point: str) -> None:
    """At most one job for an attempt, at whatever instant: adopted if the engine has it, else never started."""
    open_gates(tmp_path / "gates", *range(1, 9))
    driver = _driver(tmp_path, point)
    driver.communicate(timeout=LIMIT)
    assert driver.returncode == -signal.SIGKILL
    with ProcessExecutor(tmp_path / "engine") as executor:
        jobs = executor.engine.jobs()
        stream = executor.events()
        found = executor.reattach("a", stream, tmp_path)
        if point == "remote.prepared":
            assert not found
            assert jobs == []
            assert spool.is_fenced(spool.attempt_folder("a", tmp_path))
        elif point == "remote.intended":
            end = last(stream)
            assert isinstance(end, Failed)
            assert (end.reason, jobs) == (FailureReason.LOST_CONTACT, [])
            assert spool.is_fenced(spool.attempt_folder("a", tmp_path)), "a request on its way comes too late"
        else:
            assert len(jobs) == 1
            events = all_of(stream, executor)
            assert steps(events) == list(range(1, 9))
            assert isinstance(events[-1], Finished)
            assert sum(executor.engine.submissions) == 0


def test_what_was_never_submitted_is_not_found(executor: ProcessExecutor, tmp_path: Path) -> None:
    assert not executor.reattach("nobody", executor.events(), tmp_path)


def test_a_worker_of_a_fenced_attempt_runs_nothing(tmp_path: Path) -> None:
    attempt = tmp_path / "attempt"
    spool.fence(attempt)
    command = [sys.executable, "-m", "metta.sweep.worker", str(attempt), "0" * 64]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0
    assert "fenced" in done.stderr
    assert spool.runs_of(attempt) == []


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_hostile_token_stays_in_its_folder(executor: ProcessExecutor, tmp_path: Path) -> None:
    stream = executor.events()
    token = "../../$(touch x)\n%j'\"; rm -rf"
    executor.submit(Task(token, remote_tasks.add, (1, 2), log_folder=tmp_path / "here"), stream)
    assert isinstance(last(stream), Finished)
    (attempt,) = (tmp_path / "here" / spool.FOLDER).iterdir()
    assert attempt.name.replace("-", "").isalnum()
    assert json.loads((attempt / spool.JOB).read_text())["id"]
