"""The folder of an attempt: lines that come in pieces, starts that take over from others, files of nobody."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.errors import DamagedError
from metta.sweep.executors.base import Event, Reported, Started, StateSaved, Task
from metta.sweep.executors.remote import spool
from metta.sweep.executors.remote.follower import Follower, answer_line
from metta.sweep.executors.remote.program import _begin
from metta.sweep.executors.remote.taskfile import encode_task, header_of, own_paths, read_task


def reported(sequence: int, step: int) -> dict[str, Any]:
    return {"event": "reported", "sequence": sequence, "step": step, "metrics": {"score": float(step)}}


def saved(step: int) -> dict[str, Any]:
    return {"event": "saved", "step": step, "file": f"step-{step:08d}.safetensors"}


STARTED = {"event": "started", "host": "n1", "process": 7}


def write(run: Path, *lines: dict[str, Any]) -> None:
    run.mkdir(parents=True, exist_ok=True)
    spool.append(run / spool.EVENTS, b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def steps(events: list[Event]) -> list[int]:
    return [event.report.step for event in events if isinstance(event, Reported)]


@settings(derandomize=True, max_examples=60, deadline=None)
@given(texts=st.lists(st.text(max_size=30), max_size=20), cuts=st.lists(st.integers(0, 400), max_size=8))
def test_lines_that_come_in_pieces_are_read_once_and_whole(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], cuts: list[int]
) -> None:
    path = tmp_path_factory.mktemp("lines") / "events"
    content = b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)
    reader, found = spool.LineReader(path), []
    begin = 0
    for end in [*sorted(min(cut, len(content)) for cut in cuts), len(content)]:
        with path.open("ab") as file:
            file.write(content[begin:end])
        begin = end
        found += reader.read()
    assert [line["text"] for line in found] == texts
    assert reader.offset == len(content)


def test_a_line_that_never_ends_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "READ_SIZE", 64)
    monkeypatch.setattr(spool, "LONGEST_LINE", 1024)
    (tmp_path / "events").write_bytes(b"x" * 4096)
    with pytest.raises(DamagedError, match="too long"):
        spool.LineReader(tmp_path / "events").read()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text('{"event": "started"}\n')
    (tmp_path / "events").symlink_to(tmp_path / "secret")
    with pytest.raises(Exception, match="cannot read"):
        spool.LineReader(tmp_path / "events").read()


def test_starts_at_the_same_time_get_numbers_of_their_own(tmp_path: Path) -> None:
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(spool.new_run(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(1, 9))


def test_a_start_takes_over_what_those_before_it_have_told(tmp_path: Path) -> None:
    first = spool.run_folder(tmp_path, 1)
    write(first, STARTED, saved(1), reported(1, 1), saved(2), reported(2, 2))
    spool.write_json(first / spool.START, {"taken_over": {}})
    size = (first / spool.EVENTS).stat().st_size
    (spool.run_folder(tmp_path, 2)).mkdir()  # killed before it did anything
    number, taken_over, restore = _begin(tmp_path)
    assert (number, taken_over) == (3, {"run-001": size})
    assert restore == first / "step-00000002.safetensors"


def test_a_state_whose_report_was_not_told_is_not_gone_on_from(tmp_path: Path) -> None:
    first = spool.run_folder(tmp_path, 1)
    write(first, STARTED, saved(1), reported(1, 1), saved(2))
    spool.write_json(first / spool.START, {"taken_over": {}})
    assert _begin(tmp_path)[2] == first / "step-00000001.safetensors"


def test_what_an_old_start_tells_after_it_was_taken_over_does_not_count(tmp_path: Path) -> None:
    follower = Follower("a", tmp_path)
    first, second = spool.run_folder(tmp_path, 1), spool.run_folder(tmp_path, 2)
    write(first, STARTED, reported(1, 1))
    spool.write_json(first / spool.START, {"taken_over": {}})
    assert steps(follower.read()) == [1]
    write(first, reported(2, 2))
    size = (first / spool.EVENTS).stat().st_size
    write(first, reported(3, 3))  # it lives on, on a node that is cut off
    write(second, STARTED, reported(1, 3), saved(3), reported(2, 4))
    spool.write_json(second / spool.START, {"taken_over": {"run-001": size}})
    events = follower.read()
    assert steps(events) == [2, 3, 4]
    assert not any(isinstance(event, Started) for event in events)
    (state,) = (event for event in events if isinstance(event, StateSaved))
    assert state.path.parent == second
    write(first, reported(4, 9))
    assert follower.read() == []


def test_answers_find_the_start_that_has_reported(tmp_path: Path) -> None:
    from metta.sweep.executors.base import Answer

    follower = Follower("a", tmp_path)
    for number, taken_over in ((1, {}), (2, {"run-001": 0})):
        write(spool.run_folder(tmp_path, number), STARTED, reported(5, number))
        spool.write_json(spool.run_folder(tmp_path, number) / spool.START, {"taken_over": taken_over})
    (event,) = (event for event in follower.read() if isinstance(event, Reported))
    assert answer_line(event.sequence, Answer.STOP) == {"run": 2, "sequence": 5, "answer": "stop"}


def test_the_end_waits_for_the_events_before_it(tmp_path: Path) -> None:
    """A network file system may show the last file before the end of another."""
    follower, run = Follower("a", tmp_path), spool.run_folder(tmp_path, 1)
    write(run, STARTED)
    spool.write_json(run / spool.START, {"taken_over": {}})
    late = json.dumps(reported(1, 1)).encode() + b"\n"
    spool.write_json(run / spool.DONE, {"events": (run / spool.EVENTS).stat().st_size + len(late), "end": "outcome"})
    follower.read()
    assert follower.end() is None
    spool.append(run / spool.EVENTS, late)
    assert steps(follower.read()) == [1]
    assert follower.end() is not None


def test_a_task_file_comes_back_only_by_its_digest(tmp_path: Path) -> None:
    task = Task("a", print, name="shows", log_folder=tmp_path)
    header = header_of(task, str(tmp_path), ["x.py"], 10.0, 60.0, {"a secret value"})
    content, digest = encode_task(header, b"call\nwith a line break")
    path = tmp_path / spool.TASK
    path.write_bytes(content)
    assert read_task(path, digest) == (header, b"call\nwith a line break")
    with pytest.raises(DamagedError, match="not what the driver wrote"):
        read_task(path, "0" * 64)


def test_the_paths_that_travel_are_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    installed = [path for path in sys.path if "site-packages" in path]
    monkeypatch.setattr(sys, "path", ["", str(mine), str(tmp_path / "missing"), *installed, os.__file__])
    assert own_paths(str(tmp_path)) == (str(tmp_path), str(mine))
