"""The live region in real terminals of all sizes, whatever is printed, sent and resized meanwhile."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.cli.screens import FRAME_END, Terminal

ROOT = Path(__file__).parents[2]
PROGRAM = str(Path(__file__).with_name("live_program.py"))
HEAD = "  0/10 trials"


class Live(Terminal):
    """The program, and what it is told."""

    def __init__(self, *, columns: int = 80, lines: int = 24, shell: str | None = None, **environment: str) -> None:
        reader, self._orders = os.pipe()
        program = [sys.executable, PROGRAM, str(reader)]
        if shell is not None:
            program = ["bash", "--norc", "-m", "-c", shell.replace("PROGRAM", " ".join(program))]
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        surroundings = {**kept, "PYTHONPATH": str(ROOT), **environment}
        super().__init__(program, surroundings, columns=columns, lines=lines, pass_fds=[reader])
        os.close(reader)

    def tell(self, *order: object) -> None:
        """Something happens there."""
        os.write(self._orders, json.dumps(order).encode() + b"\n")

    def begin(self, name: str = "digits", running: int = 2) -> None:
        """A sweep with some running trials."""
        self.tell("begin", name)
        for number in range(running):
            self.tell("start", number)

    def finish(self) -> int:
        """The sweep ends, and the program; its exit code."""
        self.tell("end")
        return self.leave()

    def leave(self) -> int:
        """Nothing more happens."""
        os.close(self._orders)
        self._orders = -1
        return self.end()

    def close(self) -> None:
        """Leave nothing behind."""
        if self._orders >= 0:
            os.close(self._orders)
        super().close()

    @property
    def rows(self) -> list[str]:
        """The lines on the screen, without empty ones at the end."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip().split("\n")


@pytest.fixture
def live() -> Iterator[Live]:
    with Live() as terminal:
        yield terminal


def test_it_is_drawn_again_in_its_place_and_stays_at_the_end(live: Live) -> None:
    live.begin()
    live.until("trial 1")
    live.frames(2)
    live.tell("report", 0, 7)
    live.until("step 7/9")
    assert live.text.count("digits") == 1
    assert (live.screen.cursor.y, live.screen.cursor.x) == (0, 0)
    assert live.rows[0] == ""
    assert live.finish() == 0
    assert live.rows == [
        "digits  ╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌  0/10 trials  0:04",
        "best score 0.25 (trial 0), stopped 2",
        "  trial 0  step 7/9  score 0.25",
        "  trial 1  step 0/9  score -",
    ]
    assert (live.screen.cursor.y, live.screen.cursor.x, live.screen.cursor.hidden) == (4, 0, False)


def test_what_is_printed_stands_above_it(live: Live) -> None:
    live.begin()
    live.until("trial 1")
    for number in range(40):
        live.tell("print", f"line {number}\n")
    live.tell("print", "50%\r\x1b[32m100%\x1b[0m")
    live.until(lambda: live.rows[-5:-4] == ["100%"])
    live.tell("fork")
    live.tell("print", "\nthe last\n")
    live.until("the last")
    live.finish()
    lines = live.text.splitlines()
    first = lines.index("line 0")
    assert lines[first : first + 40] == [f"line {number}" for number in range(40)]
    rest = "\n".join(lines[first + 40 :])
    assert re.search(r"from a child\n(.*\n)*.*100%\nthe last\ndigits .*\nno score yet, stopped 2\n(.*\n)(.*)$", rest)
    assert live.text.count("no score yet") == 1


def test_what_others_write_is_not_erased(live: Live) -> None:
    live.begin()
    live.until("trial 1")
    live.tell("foreign", "hello\n")
    live.until("hello")
    live.frames(2)
    live.finish()
    assert live.rows[0] == "hello"
    assert live.text.count("trial 1") == 1


def test_a_line_without_an_end_is_told_once(live: Live) -> None:
    live.begin()
    live.tell("print", "no end")
    live.until("trial 1")
    assert live.rows[0] == "no end"
    live.finish()
    assert live.text.count("no end") == 1


def test_who_prints_much_has_no_frame_for_each_line(live: Live) -> None:
    live.begin()
    live.until("trial 1")
    before = live.written.count(FRAME_END)
    live.tell("burst", 2000)
    began = time.monotonic()
    live.until("1999")
    assert live.written.count(FRAME_END) - before <= 5 + 4 * (time.monotonic() - began)
    live.finish()
    assert live.text.splitlines()[-5:-3] == ["1999", live.rows[-4]]


@pytest.mark.slow
def test_who_has_kept_the_stream_writes_on_after_the_end(live: Live) -> None:
    live.begin()
    live.until("trial 1")
    live.tell("keep")
    live.tell("late", "before", "\n")
    live.tell("end")
    live.tell("late", "after", "")
    assert live.leave() == 0
    assert live.text.splitlines()[0] == "before"
    assert live.rows[-2:] == ["  trial 1  step 0/9  score -", "after"]


def test_a_mistake_of_ours_ends_the_drawing_and_nothing_else(live: Live) -> None:
    live.begin()
    live.until("trial 1")
    live.tell("break")
    live.until("TypeError: 'NoneType' object is not callable")
    live.tell("print", "I go on\n")
    live.until("I go on")
    assert live.finish() == 0
    assert live.text.count("the live region cannot be drawn any more") == 1


@pytest.mark.slow
def test_a_second_view_speaks_in_lines_above_the_first(live: Live) -> None:
    live.begin()
    live.until("trial 1")
    live.tell("inner", "another")
    live.until('[0:00] sweep "another" started: maximize score')
    live.finish()
    assert live.text.count("digits") == 1


SMALLEST = [pytest.param(*size, marks=pytest.mark.slow) for size in ((20, 3), (12, 1))]


@pytest.mark.parametrize(("columns", "lines"), [(40, 24), (80, 6), *SMALLEST])
def test_it_is_never_larger_than_the_terminal(columns: int, lines: int) -> None:
    with Live(columns=columns, lines=lines) as live:
        live.begin("a very long name of a sweep " * 5, running=30)
        live.tell("fail", 3, "no luck " * 50)
        live.frames(2)
        live.finish()
        assert live.text.count("a ver") == 1
        assert len(live.text.splitlines()) <= max(1, lines - 1)
        assert max(map(len, live.text.splitlines())) < columns


def test_the_window_is_resized_meanwhile(live: Live) -> None:
    live.begin()
    live.tell("print", "above\n")
    live.until("trial 1")
    for columns in (40, 100):
        live.resize(columns, 24)
        live.frames(2)
        assert live.rows[0] == "above"
        assert live.text.count("digits") == 1
    for columns, lines in ((30, 4), (80, 24)):
        live.resize(columns, lines)
        live.frames(2)
        assert live.text.count("digits") == 1
    live.finish()
    assert live.rows[-1] == "  trial 1  step 0/9  score -"


NAMES = ["中文" * 20 + "\N{GRINNING FACE}" * 20, "e\u0301\u200d\ufe0f" * 60, "👨‍👩‍👧" * 30]


@pytest.mark.parametrize("name", NAMES, ids=range(3))
def test_wide_characters_wrap_no_line(name: str) -> None:
    with Live(columns=60) as live:
        live.begin(name)
        live.tell("fail", 1, name)
        live.until("failed (oom)")
        live.finish()
        rows = live.rows
        assert len(rows) == 4
        assert max(map(cell_len, rows)) <= 59
        assert rows[0].endswith("0:04")


@pytest.mark.slow
def test_characters_that_are_wider_than_we_think_wrap_no_line() -> None:
    with Live(columns=60) as live:
        live.begin("\U00018e00" * 30)
        live.until("trial 1")
        live.frames(2)
        live.finish()
        assert len(live.rows) == 4


COMMANDS = (b"\x1b[2J", b"\x1b]0", b"\x07", b"\x1b[?25l", "\x9b".encode(), "\u202e".encode())
HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\x1b[?25l\r\n\u202egnp.exe"


def test_no_name_and_no_message_commands_the_terminal(live: Live) -> None:
    live.begin(HOSTILE)
    live.tell("fail", 1, HOSTILE)
    live.until("failed (oom)")
    live.frames(2)
    live.finish()
    assert [sent for sent in COMMANDS if sent in live.written] == []
    assert r"1 failed (oom), trial 1: \x1b[2J\x1b]0;owned\x07\x9b31m\x1b[?25l gnp.exe" in live.text


def test_without_colours(live: Live) -> None:
    live.begin()
    live.until("trial 1")
    live.finish()
    assert b"\x1b[1m" in live.written
    with Live(NO_COLOR="1") as plain:
        plain.begin()
        plain.until("trial 1")
        plain.finish()
        assert re.search(rb"\x1b\[[0-9;]*m", plain.written) is None
        assert plain.text == live.text


def test_a_dumb_terminal_has_lines() -> None:
    with Live(TERM="dumb") as live:
        live.begin()
        live.tell("fail", 1, HOSTILE)
        live.finish()
        assert b"\x1b" not in live.written
        assert live.text.splitlines()[1] == "[0:01] trial 0 started until 9: x=0.5"


def test_a_terminal_that_may_know_nothing_but_ascii_has_ascii() -> None:
    with Live(LC_ALL="C") as live:
        live.begin("中文")
        live.until("trial 1")
        live.finish()
        assert live.written.isascii()
        assert live.rows[0].startswith(r"\u4e2d\u6587  -----")


def test_in_the_background_nothing_is_drawn_and_nothing_stops() -> None:
    with Live(shell="stty tostop; PROGRAM & wait; echo it ended with $?") as live:
        live.begin()
        live.finish()
        assert live.text.splitlines()[-1] == "it ended with 0"
        assert "digits" not in live.text


@pytest.mark.slow
def test_brought_to_the_foreground_it_is_drawn() -> None:
    with Live(shell="stty tostop; PROGRAM & sleep 0.3; echo next; fg > /dev/null") as live:
        live.begin()
        live.until("trial 1")
        assert live.text.splitlines()[0] == "next"
        assert live.finish() == 0


def test_after_an_exception_it_stays_and_the_cursor_is_below(live: Live) -> None:
    live.begin()
    live.until("trial 1")
    live.tell("raise", "no more")
    assert live.leave() == 1
    lines = live.text.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-5:] == ["RuntimeError: no more", *live.rows[-4:]]
    assert lines[-1] == "  trial 1  step 0/9  score -"
    assert live.screen.cursor.y == len(live.rows)
    assert not live.screen.cursor.hidden


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_it_the_cursor_is_there_and_lines_wrap(number: int, live: Live) -> None:
    live.begin()
    live.until("trial 1")
    live.child.send_signal(number)
    assert live.end() == -number
    assert not live.screen.cursor.hidden
    assert live.written.rfind(FRAME_END) > live.written.rfind(b"\x1b[?7l")


@pytest.mark.slow
def test_a_closed_standard_error_ends_nothing() -> None:
    with Live(shell="PROGRAM 2>&-; echo it ended with $?") as live:
        live.begin()
        live.tell("print", "said\n")
        live.finish()
        assert live.text.splitlines() == ["said", "it ended with 0"]


def test_standard_output_in_a_file_gets_what_is_printed(live: Live, tmp_path: Path) -> None:
    file = tmp_path / "out"
    with Live(shell=f"PROGRAM > {file}") as piped:
        piped.begin()
        piped.until("trial 1")
        piped.tell("print", "said\nno end")
        piped.frames(2)
        piped.finish()
        assert "said" not in piped.text
        assert "no end" not in piped.text
    assert file.read_text() == "said\nno end"
