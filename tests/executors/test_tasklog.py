"""The log of a task: bounded, whatever it prints."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from metta.sweep.executors import Finished, LocalExecutor, Logged, tasklog
from metta.sweep.executors.tasklog import TAIL_LIMIT, TaskLog
from metta.sweep.redaction import Redactor
from tests.executors import tasks
from tests.executors.helpers import last, read_to_end, run, start


def test_a_task_that_prints_nothing_leaves_nothing(executor: LocalExecutor, tmp_path: Path) -> None:
    run(executor, tasks.echo, 1, log_folder=tmp_path / "trial")
    assert not (tmp_path / "trial").exists()


def test_only_the_user_may_read_it(executor: LocalExecutor, tmp_path: Path) -> None:
    run(executor, tasks.print_both, "hello", log_folder=tmp_path / "trial")
    assert stat.S_IMODE((tmp_path / "trial").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "trial" / "log.txt").stat().st_mode) == 0o600


def test_endless_output_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasklog, "FILE_LIMIT", 100_000)
    with LocalExecutor(1) as executor:
        end = last(start(executor, tasks.print_much, 50_000, log_folder=tmp_path)[1])
    assert isinstance(end, Finished)
    assert len(end.log) <= TAIL_LIMIT
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes.keys() == {"log.txt", "log.1.txt"}
    assert sum(sizes.values()) < 100_000 * 2 + (1 << 18) * 2
    kept = ((tmp_path / "log.1.txt").read_text() + (tmp_path / "log.txt").read_text()).splitlines()
    numbers = [int(line.rpartition(" ")[2]) for line in kept[1:]]
    assert numbers == list(range(50_000 - len(numbers), 50_000))  # the newest, without a gap


def test_next_attempt_goes_on_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasklog, "FILE_LIMIT", 10)
    for text in (b"first 1234\n", b"second\n"):
        log = TaskLog(tmp_path, Redactor())
        log.feed(text)
        log.close()
    assert (tmp_path / "log.1.txt").read_text() == "first 1234\n"
    assert (tmp_path / "log.txt").read_text() == "second\n"


def test_bytes_that_are_no_text(executor: LocalExecutor, tmp_path: Path) -> None:
    events = read_to_end(start(executor, os.write, 1, b"\xff\xfe ok \xe2\x82", log_folder=tmp_path, stream_log=True)[1])
    end = events[-1]
    assert isinstance(end, Finished)
    assert end.log == "\ufffd\ufffd ok \ufffd"
    assert "".join(event.text for event in events if isinstance(event, Logged)) == end.log
    assert (tmp_path / "log.txt").read_bytes() == b"\xff\xfe ok \xe2\x82"


def test_a_full_disk_is_told_once(tmp_path: Path) -> None:
    """`/dev/full` takes no byte."""
    (tmp_path / "log.txt").symlink_to("/dev/full")
    log = TaskLog(tmp_path, Redactor())
    log.feed(b"one\n")
    log.feed(b"two\n")
    assert log.close() == (
        "one\n\n[the log file cannot be written: OSError: [Errno 28] No space left on device]\ntwo\n"
    )
