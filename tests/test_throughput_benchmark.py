"""The throughput benchmark runs, with tiny sizes. What it measures is not judged here."""

from __future__ import annotations

import pytest

from benchmarks import throughput
from benchmarks.throughput import OURS, Found, Side, measured, rows


def test_it_prints_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert throughput.main(["--rounds", "1", "--trials", "6", "--no-peers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" (")[0] for line in lines[2:5]] == list(throughput.OWN)


def test_optuna_in_processes_runs_all_its_trials() -> None:
    pytest.importorskip("optuna")
    with throughput.optuna_processes(2) as run:
        run(3)
        run(2)


def test_sides_are_measured_in_turn() -> None:
    ran: list[str] = []
    sides = [
        Side("a", lambda trials: ran.append(f"a{trials}")),
        Side("b", lambda trials: ran.append(f"b{trials}"), 0.5),
    ]
    found = measured(sides, 8, 2)
    assert ran == ["a10", "b10", "b4", "a8", "a8", "b4"]
    assert [len(side.rates) for side in found.values()] == [2, 2]


def test_a_ratio_is_that_of_its_round_and_only_rays_is_promised() -> None:
    found = {
        OURS: Found([100.0, 50.0, 80.0], [0.001] * 3),
        "ray tune (2)": Found([10.0, 10.0, 10.0], [0.0] * 3),
        "optuna (5)": Found([200.0, 200.0, 200.0], [0.0] * 3),
    }
    ours, ray, optuna = rows(found)
    assert ours.what == f"{OURS} (1,000 us of CPU per trial in the driver)"
    assert (ray.ratio, ray.holds) == ("8.0 (5.0 to 10.0)", False)
    assert (optuna.ratio, optuna.holds) == ("0.4 (0.2 to 0.5)", None)
