"""Remote executors in trouble: engines that fail half-way or hang, file systems with bad moments, hostile folders."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import DamagedError, StorageError
from metta.sweep.executors.base import EventStream, Failed, Finished, Started, Task
from metta.sweep.executors.remote import executor as executor_module
from metta.sweep.executors.remote import spool
from metta.sweep.executors.remote.attempt import Attempt
from metta.sweep.executors.remote.clerk import Clerk
from metta.sweep.executors.remote.engine import EngineUnavailable, Job, JobStatus, Phase
from metta.sweep.executors.remote.follower import Follower
from metta.sweep.executors.remote.table import Leaving, Table
from metta.sweep.executors.remote.watcher import Watcher
from metta.sweep.redaction import Redactor
from metta.sweep.trial import FailureReason
from tests.executors import remote_tasks
from tests.executors.process_engine import ProcessEngine, ProcessExecutor
from tests.executors.test_remote import LIMIT, ROOT, last, until
from tests.executors.test_remote_spool import STARTED, reported, steps, write


def record(folder: Path, token: str = "a", **more: Any) -> Attempt:
    return Attempt(token, token, folder, EventStream(), Follower(token, folder), **more)


def told(attempt: Attempt) -> Failed | Finished:
    found = [attempt.events.get(0) for _ in range(len(attempt.events))]
    (end,) = (event for event in found if isinstance(event, Failed | Finished))
    return end


# Threads that must not die, nor run hot


@pytest.mark.parametrize(
    "done",
    [{"events": "x"}, {"events": None}, {"events": 0, "end": "outcome"}, {"events": 0, "end": [], "log": {}}],
)
def test_a_damaged_end_fails_one_attempt_and_no_other(tmp_path: Path, done: dict[str, Any]) -> None:
    with ProcessExecutor(tmp_path / "engine") as executor:
        stream, other = executor.events(), executor.events()
        executor.submit(Task("a", remote_tasks.wait_for, (tmp_path / "go",), log_folder=tmp_path / "a"), stream)
        executor.submit(Task("b", remote_tasks.wait_for, (tmp_path / "go",)), other)
        assert isinstance(stream.get(LIMIT), Started)
        spool.write_json(spool.run_folder(spool.attempt_folder("a", tmp_path / "a"), 1) / spool.DONE, done)
        end = last(stream)
        assert isinstance(end, Failed)
        assert end.reason is FailureReason.STORAGE
        (tmp_path / "go").touch()
        assert isinstance(last(other), Finished), "somebody still watches it"


def test_a_file_of_deep_nesting_is_damage(tmp_path: Path) -> None:
    (tmp_path / "start.json").write_text("[" * 100_000)
    with pytest.raises(DamagedError):
        spool.read_json(tmp_path / "start.json")


def test_a_file_system_in_trouble_kills_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot even be looked at: its attempt is given up after a while, by a watcher that goes on."""
    table = Table()
    bad, good = (record(tmp_path / name, name, label="ms", id=name) for name in ("bad", "good"))
    for attempt in (bad, good):
        write(spool.run_folder(attempt.folder, 1), STARTED)
        spool.write_json(spool.run_folder(attempt.folder, 1) / spool.START, {"taken_over": {}})
        table.attempts[attempt.token] = attempt
    real = os.stat

    def stale(path: Any, *arguments: Any, **more: Any) -> Any:
        if not isinstance(path, int) and str(path).startswith(str(bad.folder)):
            raise OSError(errno.ESTALE, "Stale file handle")
        return real(path, *arguments, **more)

    listed = os.listdir
    monkeypatch.setattr(os, "stat", stale)
    monkeypatch.setattr(os, "listdir", lambda path: (stale(path), listed(path))[1])
    monkeypatch.setattr("metta.sweep.executors.remote.watcher.TROUBLE_LIMIT_S", 0.2)
    monkeypatch.setattr("metta.sweep.executors.remote.watcher.STOP_LIMIT_S", 0.2)
    watcher = threading.Thread(target=Watcher(table, "engine", 60.0, Redactor(())).run, daemon=True)
    watcher.start()
    until(lambda: "bad" not in table.attempts)
    assert told(bad).reason is FailureReason.STORAGE  # type: ignore[union-attr]
    with table.changed:
        table.closing = True
        table.stop(good, FailureReason.CANCELLED)
        table.changed.notify_all()
    watcher.join(LIMIT)
    assert not watcher.is_alive()
    assert told(good).reason is FailureReason.CANCELLED  # type: ignore[union-attr]


def test_trouble_of_the_file_system_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(*arguments: Any, **more: Any) -> Any:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(os, "listdir", stale)
    with pytest.raises(StorageError, match="Stale"):
        spool.runs_of(tmp_path)
    monkeypatch.setattr(os, "stat", stale)
    with pytest.raises(StorageError, match="Stale"):
        spool.is_fenced(tmp_path)


def test_a_cancelled_task_that_waits_gives_the_clerk_nothing_to_do(tmp_path: Path) -> None:
    table = Table()
    clerk = Clerk(table, ProcessEngine(tmp_path), None, tmp_path, Redactor(()))
    table.waiting.append(record(tmp_path / "a", stopping=FailureReason.CANCELLED))
    assert clerk._next_due(time.monotonic()) == float("inf"), "else it turns until the watcher has concluded it"


# Engines that fail half-way


class HalfWay(ProcessEngine):
    """Dies in the middle of its first submission: it has taken the first `taken` jobs."""

    taken = 1

    def submit(self, jobs: Sequence[Job], label: str) -> Sequence[str]:
        if not self.submissions:
            super().submit(jobs[: self.taken], label)
            raise EngineUnavailable("it went down")
        return super().submit(jobs, label)


def test_a_submission_that_fails_half_way_is_completed(tmp_path: Path) -> None:
    with ProcessExecutor(tmp_path / "engine") as executor:
        executor.engine = engine = HalfWay(tmp_path / "engine", poll_interval=0.2)
        stream = executor.events()
        for number in range(3):
            executor.submit(Task(f"t{number}", remote_tasks.add, (number, 0)), stream)
        ends = [last(stream) for _ in range(3)]
        assert sorted(end.result for end in ends if isinstance(end, Finished)) == [0, 1, 2]
        assert engine.submissions == [1, 2], "each of them once"


def test_jobs_that_cannot_be_handed_in_hold_up_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ProcessExecutor(tmp_path / "engine") as executor:
        stream, other = executor.events(), executor.events()
        executor.submit(Task("a", remote_tasks.wait_for, (tmp_path / "never",)), stream)
        assert isinstance(stream.get(LIMIT), Started)
        (job,) = executor.engine.jobs()

        def pulls(jobs: Any, label: str) -> Any:
            raise EngineUnavailable("the image is being pulled")

        monkeypatch.setattr(executor.engine, "submit", pulls)
        executor.submit(Task("b", remote_tasks.add, (1, 2)), other)
        executor.cancel("a")
        assert isinstance(last(stream), Failed)
        until(lambda: job not in executor.engine.jobs())
        monkeypatch.undo()
        assert isinstance(last(other), Finished)


def test_an_engine_that_is_wrong_about_a_job_fails_it_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metta.sweep.executors.remote.clerk.LONGEST_WAIT_S", 0.1)
    with ProcessExecutor(tmp_path / "engine") as executor:

        def breaks(jobs: Any, label: str) -> Any:
            raise ValueError("no such field")

        monkeypatch.setattr(executor.engine, "submit", breaks)
        stream = executor.events()
        executor.submit(Task("a", remote_tasks.add, (1, 2)), stream)
        end = last(stream)
        assert isinstance(end, Failed)
        assert (end.reason, "no such field" in end.message) == (FailureReason.USER_ERROR, True)


def test_what_was_concluded_while_the_engine_was_asked_does_not_wait_again(tmp_path: Path) -> None:
    table, engine = Table(), ProcessEngine(tmp_path)
    lost = record(tmp_path / "a", label="ms-1", job=Job("a", "a", tmp_path, (), tmp_path, (), (), (), None, None, 1.0))  # type: ignore[arg-type]
    table.attempts["a"] = lost

    def gives_up(label: str) -> None:
        table.conclude(lost, Failed("a", FailureReason.CANCELLED, "cancelled"), has_ended=False)

    engine.find = gives_up  # type: ignore[method-assign]
    Clerk(table, engine, None, tmp_path, Redactor(()))._look_for_lost()
    assert table.waiting == []


def test_a_job_that_must_end_is_cancelled_before_it_is_forgotten(tmp_path: Path) -> None:
    """Accounting may be late: that the engine knows nothing of a job yet says nothing of how it is."""
    table, engine, cancelled = Table(), ProcessEngine(tmp_path), list[str]()
    engine.cancel = lambda jobs: cancelled.extend(jobs)  # type: ignore[method-assign]
    clerk = Clerk(table, engine, None, tmp_path, Redactor(()))
    table.leaving["job"] = Leaving("ms-1", tmp_path / "a", time.monotonic(), must_end=True)
    clerk._ask()
    assert "job" in table.leaving
    clerk._end_jobs()
    clerk._poll_at = 0.0
    clerk._ask()
    assert (cancelled, table.leaving) == (["job"], {})


def test_closing_does_not_sit_out_a_back_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine would not take a job; those that it has are ended all the same."""
    executor = ProcessExecutor(tmp_path / "engine")
    stream = executor.events()
    executor.submit(Task("a", remote_tasks.wait_for, (tmp_path / "never",)), stream)
    assert isinstance(stream.get(LIMIT), Started)
    refused = threading.Event()

    def pulls(jobs: Any, label: str) -> Any:
        refused.set()
        raise EngineUnavailable("the image is being pulled")

    monkeypatch.setattr("metta.sweep.executors.remote.clerk.FIRST_WAIT_S", 0.2)
    monkeypatch.setattr(Clerk, "_back_off", lambda clerk, error: setattr(clerk, "_retry_at", time.monotonic() + 3600.0))
    monkeypatch.setattr(executor.engine, "submit", pulls)
    executor.submit(Task("b", remote_tasks.add, (1, 2)), stream)
    assert refused.wait(LIMIT)
    executor.close()
    assert executor.engine.jobs() == []


def test_closing_waits_for_no_engine_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor_module, "JOIN_LIMIT_S", 0.5)
    executor = ProcessExecutor(tmp_path / "engine")
    hangs, let_go, came_back = threading.Event(), threading.Event(), threading.Event()

    def hang(jobs: Any, label: str) -> Any:
        hangs.set()
        let_go.wait(LIMIT)
        came_back.set()
        raise EngineUnavailable("it was gone")

    monkeypatch.setattr(executor.engine, "submit", hang)
    executor.submit(Task("a", remote_tasks.add, (1, 2)), executor.events())
    assert hangs.wait(LIMIT)
    executor.close()
    assert not came_back.is_set()
    let_go.set()
    until(lambda: not any(thread.is_alive() for thread in executor._threads))


# What is read, and what is still to be read


def test_an_end_is_not_given_up_while_there_is_more_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "READ_SIZE", 256)
    table, run = Table(), spool.run_folder(tmp_path, 1)
    attempt = record(tmp_path, label="ms-1", id="job", status=JobStatus(Phase.ENDED), status_at=-1e9)
    table.attempts["a"] = attempt
    write(run, STARTED, *(reported(number, number) for number in range(1, 51)))
    spool.write_json(run / spool.START, {"taken_over": {}})
    done = {"end": "outcome", "metrics": None, "step": 50, "answer": "continue", "log": "", "seconds": 1.0}
    spool.write_json(run / spool.DONE, done | {"events": (run / spool.EVENTS).stat().st_size})
    watcher = Watcher(table, "engine", 60.0, Redactor(()))
    while table.attempts:
        watcher._look(attempt)
    events = [attempt.events.get(0) for _ in range(len(attempt.events))]
    assert steps(events) == list(range(1, 51))
    assert isinstance(events[-1], Finished)


def test_a_look_that_fails_loses_no_event_and_tells_none_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [spool.run_folder(tmp_path, number) for number in (1, 2, 3)]
    follower = Follower("a", tmp_path)
    write(runs[0], STARTED, reported(1, 1))
    spool.write_json(runs[0] / spool.START, {"taken_over": {}})
    assert steps(follower.read()) == [1]
    write(runs[0], reported(2, 2))
    write(runs[1], reported(1, 3))
    write(runs[2], reported(1, 4))
    sizes = {run.name: (run / spool.EVENTS).stat().st_size for run in runs[:2]}
    spool.write_json(runs[2] / spool.START, {"taken_over": sizes})
    read = spool.LineReader._bytes

    for blind in runs:

        def fails(reader: spool.LineReader, size: int, blind: Path = blind) -> bytes:
            if reader.path.parent == blind:
                raise StorageError("stale", path=str(reader.path))
            return read(reader, size)

        monkeypatch.setattr(spool.LineReader, "_bytes", fails)
        with pytest.raises(StorageError, match="stale"):
            follower.read()
    monkeypatch.setattr(spool.LineReader, "_bytes", read)
    assert steps(follower.read()) == [2, 3, 4]
    assert follower.read() == []


# What a driver has left


def _left(folder: Path, **more: Any) -> Path:
    """An attempt that a driver has handed in."""
    attempt = spool.attempt_folder("a", folder)
    attempt.mkdir(parents=True)
    (attempt / spool.TASK).write_bytes(b"{}\n")
    intent = {"name": "a", "timeout": None, "label": "ms-" + "0" * 20, "position": 0}
    spool.write_json(attempt / spool.INTENT, intent | more)
    return attempt


@pytest.mark.parametrize(
    "more",
    [{"label": "x,other-jobs"}, {"label": 3}, {"position": "first"}, {"position": float("inf")}, {"timeout": []}],
)
def test_a_damaged_attempt_is_named_fenced_and_begun_anew(
    tmp_path: Path, more: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    attempt = _left(tmp_path, **more)
    with ProcessExecutor(tmp_path / "engine") as executor:
        assert not executor.reattach("a", executor.events(), tmp_path)
    assert spool.is_fenced(attempt)
    assert str(attempt) in caplog.text


def test_an_attempt_that_has_begun_needs_no_engine_that_knows_its_job(tmp_path: Path) -> None:
    """Its driver died before it noted the job, and the engine has forgotten it since: the folder has the end."""
    attempt = _left(tmp_path)
    run = spool.run_folder(attempt, 1)
    write(run, STARTED)
    spool.write_json(run / spool.START, {"taken_over": {}})
    with ProcessExecutor(tmp_path / "engine") as executor:
        stream, asked = executor.events(), threading.Event()
        find = executor.engine.find

        def forgot(label: str) -> Any:
            found = find(label)
            asked.set()
            return found

        executor.engine.find = forgot  # type: ignore[method-assign]
        assert executor.reattach("a", stream, tmp_path)
        assert asked.wait(LIMIT)
        done = {"end": "outcome", "metrics": None, "step": 1, "answer": "continue", "log": "", "seconds": 1.0}
        spool.write_json(run / spool.DONE, done | {"events": (run / spool.EVENTS).stat().st_size})
        assert isinstance(last(stream), Finished)


def test_a_job_that_is_started_once_too_often_does_nothing(tmp_path: Path) -> None:
    with ProcessExecutor(tmp_path / "engine") as executor:
        stream = executor.events()
        executor.submit(Task("a", remote_tasks.wait_for, (tmp_path / "go",), log_folder=tmp_path), stream)
        assert isinstance(stream.get(LIMIT), Started)
        attempt = spool.attempt_folder("a", tmp_path)
        task, (job,) = (attempt / spool.TASK).read_bytes(), executor.engine.jobs()
        command = json.loads((executor.engine.folder / f"{job}.json").read_text())["command"]
        (tmp_path / "go").touch()
        assert isinstance(last(stream), Finished)
    (attempt / spool.TASK).write_bytes(task)  # as it is there while no driver has taken the end
    again = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (again.returncode, "is over" in again.stderr) == (0, True)
    assert spool.runs_of(attempt) == [1]


_FORKS = """
import os, sys, threading
from pathlib import Path
from metta.sweep.errors import UsageError
from metta.sweep.executors.base import Task
from tests.executors.process_engine import ProcessExecutor
executor = ProcessExecutor(Path(sys.argv[1]))
with executor._table.changed:  # as one of its threads may have it in the instant of the fork
    child = os.fork()
    if not child:
        held = threading.Thread(target=lambda: None)
        try:
            threading.Timer(20, os._exit, (4,)).start()
            thread = threading.Thread(target=lambda: os._exit(attempt()))
            def attempt():
                try:
                    executor.submit(Task("a", print), executor.events())
                except UsageError:
                    return 3
                return 5
            thread.start()
            thread.join()
        finally:
            os._exit(6)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_fork_of_the_driver_is_refused_whoever_held_the_lock(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _FORKS, str(tmp_path)], cwd=ROOT, check=False, timeout=LIMIT)
    assert done.returncode == 3


# Files that are not ours


def test_what_a_job_printed_is_quoted_from_a_regular_file_only(tmp_path: Path) -> None:
    attempt = record(tmp_path, id="7", started=True, status=JobStatus(Phase.ENDED))
    path, secret = tmp_path / spool.OUTPUT, tmp_path / "secret"
    secret.write_text("not yours")
    path.symlink_to(secret)
    assert "not yours" not in attempt.verdict_on_silence("engine")[1]
    path.unlink()
    os.mkfifo(path)  # to open one to read blocks until somebody writes
    assert attempt.verdict_on_silence("engine")[1].endswith("without a result")
    path.unlink()
    path.write_text("x" * 10_000 + "the end")
    assert attempt.verdict_on_silence("engine")[1].endswith("xthe end")


def test_a_small_file_of_any_size_fills_no_memory(tmp_path: Path) -> None:
    for name in (spool.DONE, spool.HEARTBEAT):
        with (tmp_path / name).open("wb") as file:
            file.truncate(1 << 40)
    with pytest.raises(DamagedError, match="too long"):
        spool.read_json(tmp_path / spool.DONE)
    assert len(spool.read_end(tmp_path / spool.HEARTBEAT, 64)) == 64


def test_what_was_never_handed_in_leaves_no_task_file(tmp_path: Path) -> None:
    """The task of a driver that died before it asked the engine: it may hold secrets."""
    attempt = _left(tmp_path)
    (attempt / spool.INTENT).unlink()
    with ProcessExecutor(tmp_path / "engine") as executor:
        assert not executor.reattach("a", executor.events(), tmp_path)
    assert spool.is_fenced(attempt)
    assert not (attempt / spool.TASK).exists()
