"""The benchmark of the backends runs, with tiny sizes. What it measures is not judged here."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks import backends
from benchmarks.backends import Found, Place, Side, measured, rows, sides_of
from metta.sweep.errors import MettaSweepError


def test_it_prints_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert backends.main(["--rounds", "1", "--trials", "2", "--backends", "local", "processes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("  ")[0] for line in lines[2:6]] == [
        "local, one trial",
        "local, each of 2 at once",
        "processes, one trial",
        "processes, each of 2 at once",
    ]


def test_what_is_not_up_is_left_out(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(folder: Path) -> Place:
        raise MettaSweepError("nobody answers at its socket")

    monkeypatch.setitem(backends.BACKENDS, "docker", nowhere)
    with ExitStack() as stack:
        assert [side.name for side in sides_of(["docker", "local"], stack, peers=True)] == ["local"]
    assert capsys.readouterr().err == "left out: docker: nobody answers at its socket\n"


def test_sides_are_measured_in_turn() -> None:
    ran: list[str] = []
    sides = [Side("a", lambda trials: ran.append(f"a{trials}")), Side("b", lambda trials: ran.append(f"b{trials}"))]
    found = measured(sides, 8, 2)
    assert ran == ["a1", "b1", "b1", "b8", "a1", "a8", "a1", "a8", "b1", "b8"]
    assert [len(side.alone) + len(side.together) for side in found.values()] == [4, 4]


def test_a_ratio_is_that_of_its_round() -> None:
    found = {
        "local": Found([0.01] * 3, [0.002] * 3),
        "slurm": Found([1.0, 2.0, 3.0], [0.1, 0.2, 0.3]),
        "submitit (1)": Found([2.0, 2.0, 2.0], [0.4, 0.4, 0.4]),
    }
    *ours, alone, together = rows(found, 8)
    assert [(row.what, row.took) for row in ours] == [
        ("local, one trial", "10.0 ms"),
        ("local, each of 8 at once", "2.0 ms"),
        ("slurm, one trial", "2.00 s"),
        ("slurm, each of 8 at once", "0.20 s"),
    ]
    assert (alone.what, alone.ratio) == ("slurm, one trial, beside submitit (1)", "1.00 (0.50 to 1.50)")
    assert (together.took, together.beside, together.ratio) == ("0.20 s", "0.40 s", "0.50 (0.25 to 0.75)")
