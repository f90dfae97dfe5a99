"""Logs on a page: which files may be read, how much of them, and as what."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from metta.sweep.cli.detach import LOG
from metta.sweep.cli.logs import logs_of
from metta.sweep.ui.logs import TAIL, log_paths, plain_text, read_log, tails
from tests.deep import deep_folders


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    for path in ("trials/trial-0010/log.txt", "trials/trial-0002/log.txt", "stages/fit/attempt-2/log.1.txt"):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(f"{path}\n")
    (folder / "manifest.json").write_text("{}")
    (folder / "trials/trial-0002/notes.txt").write_text("x")
    return folder


def test_logs_are_found_in_the_order_of_their_numbers(run: Path) -> None:
    expected = ["trials/trial-0002/log.txt", "trials/trial-0010/log.txt", "stages/fit/attempt-2/log.1.txt"]
    assert log_paths(run) == expected
    assert log_paths(run, run / "trials" / "trial-0010") == expected[1:2]
    assert log_paths(run, run / "trials" / "trial-0099") == []


def test_what_a_detached_driver_has_said_is_a_log_too(run: Path) -> None:
    (run / LOG).parent.mkdir()
    (run / LOG).write_text("it goes on\n")
    assert log_paths(run)[0] == str(LOG)
    part = read_log(run, str(LOG))
    assert part is not None
    assert part.text == "it goes on\n"


@pytest.mark.parametrize(
    "path",
    [
        "manifest.json",
        "",
        "/etc/log.txt",
        "trials/trial-0002/notes.txt",
        "trials/../manifest.json",
        "trials/../../outside/log.txt",
        "trials/trial-0002/../../../outside/log.txt",
        "trials/trial-0099/log.txt",
        "trials/trial-0002\0/log.txt",
        "trials/linked/log.txt",
        "trials/pipe/log.txt",
        "trials/folder/log.txt",
        f"trials/{'a' * 300}/log.txt",
    ],
)
def test_nothing_else_is_read(run: Path, path: str) -> None:
    outside = run.parent / "outside"
    outside.mkdir()
    (outside / "log.txt").write_text("secret")
    for name in ("linked", "pipe", "folder/log.txt"):
        (run / "trials" / name).mkdir(parents=True)
    (run / "trials/linked/log.txt").symlink_to(outside / "log.txt")
    os.mkfifo(run / "trials/pipe/log.txt")
    assert read_log(run, path) is None


def test_a_link_to_a_folder_is_not_walked(run: Path) -> None:
    outside = run.parent / "outside"
    outside.mkdir()
    (outside / "log.txt").write_text("secret")
    (run / "trials" / "linked").symlink_to(outside)
    (run / "children").symlink_to(outside)
    assert not any("linked" in path or "children" in path for path in log_paths(run))


def test_what_is_too_deep_or_no_file_is_no_log(run: Path) -> None:
    """Python follows no thousand folders, and a pipe would be read for ever."""
    before = logs_of(run)
    os.mkfifo(run / "trials" / "log.txt")
    with deep_folders(run / "trials"):
        assert logs_of(run) == before
        assert read_log(run, "trials/log.txt") is None
        assert str(before[0].relative_to(run)) in log_paths(run)


def test_the_end_of_a_long_log_is_shown_and_what_came_before(run: Path) -> None:
    (run / "trials/trial-0002/log.txt").write_bytes(b"a" * TAIL + b"b" * TAIL + b"\xff")
    last = read_log(run, "trials/trial-0002/log.txt")
    assert last is not None
    assert (last.begin, last.end, last.size) == (TAIL + 1, 2 * TAIL + 1, 2 * TAIL + 1)
    assert last.text.endswith("b\N{REPLACEMENT CHARACTER}")
    before = read_log(run, "trials/trial-0002/log.txt", end=last.begin)
    assert before is not None
    assert (before.begin, before.end) == (1, TAIL + 1)
    assert before.text == "a" * (TAIL - 1) + "b"
    beyond = read_log(run, "trials/trial-0002/log.txt", end=10**17)
    assert beyond == last


def test_empty_logs_have_no_place_on_a_trials_page(run: Path) -> None:
    (run / "trials/trial-0002/log.txt").write_text("")
    assert [part.path for part in tails(run, log_paths(run))] == log_paths(run)[1:]


def test_codes_of_terminals_are_taken_out() -> None:
    assert plain_text("\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x07\r\n") == "red link\n"
    assert plain_text("10 %\r50 %\r100 %\nnext\r") == "100 %\nnext"
    assert plain_text("tab\there\x00\x08\x9b") == "tab\there\N{REPLACEMENT CHARACTER}" + "\N{REPLACEMENT CHARACTER}" * 2
