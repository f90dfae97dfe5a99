"""The benchmarks run, with tiny sizes, so that they cannot rot. What they measure is not judged here."""

from __future__ import annotations

import pytest

from benchmarks import overhead, startup
from benchmarks.chains import ASYNC, KEYWORD, POSITIONAL, RECORD, Style, build, by_hand, drive, functions
from benchmarks.measure import Effort, interleaved, paired
from benchmarks.peers import installed
from benchmarks.report import Row, failed, table

TINY = ["--rounds=1", "--batch=0.0001", "--short=1", "--long=4", "--few=2", "--many=4", "--build-rounds=1"]


def test_overhead_prints_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert overhead.main([*TINY, "--no-peers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["what", "took", "beside", "it", "ratio", "promise", "holds"]
    assert sum("a stage of a chain, " in line for line in lines) == 4
    assert sum(line.startswith("a stage with ") for line in lines) == 3
    assert sum("building 4 stages, " in line for line in lines) == 7


def test_overhead_measures_the_peers_that_are_installed() -> None:
    effort = Effort(rounds=1, batch=0.0001, short=1, long=4, few=2, many=4, build_rounds=1)
    peers = list(installed())
    assert len(list(overhead.peer_chain_rows(effort, peers))) == len(peers)
    assert len(list(overhead.peer_build_rows(effort, peers))) == 2 * len(peers)


@pytest.mark.parametrize("style", [KEYWORD, POSITIONAL, RECORD, ASYNC])
def test_both_sides_of_a_chain_compute_the_same(style: Style) -> None:
    stages = functions(style, 3)
    ours, hand = build(style, stages).compile().function(*style.arguments), by_hand(style, stages)(*style.arguments)
    assert (drive(ours) if style is ASYNC else ours) == (drive(hand) if style is ASYNC else hand)


def test_a_chain_that_computes_something_else_is_not_measured() -> None:
    with pytest.raises(AssertionError, match="do not compute the same: 1 and 2"):
        overhead._same(1, 2)


def test_startup_prints_times_and_imports(capsys: pytest.CaptureFixture[str]) -> None:
    assert startup.main(["--rounds=1", "--no-peers"]) == 0
    out = capsys.readouterr().out
    assert all(what in out for what in startup.COMMANDS)
    assert out.count("with its own imports") == 10


def test_check_fails_on_a_broken_promise(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(overhead, "SLOPE", -1e9)
    assert overhead.main([*TINY, "--no-peers", "--check"]) == 1
    assert "NO" in capsys.readouterr().out


def test_a_pair_is_the_median_of_the_ratios_of_its_rounds() -> None:
    pair = paired(([2.0, 9.0], [1.0, 3.0]), ([4.0], [1.0]))
    assert pair == (4.0, 1.0, 3.0, 2.0, 4.0)


def test_sides_are_measured_in_turn() -> None:
    order: list[str] = []

    def side(name: str) -> float:
        order.append(name)
        return 1.0

    assert interleaved(lambda: side("a"), lambda: side("b"), 3).ratio == 1.0
    assert order == ["a", "b", "b", "a", "a", "b"]


def test_only_what_was_promised_can_fail() -> None:
    rows = [Row("x", "1 ns"), Row("y", "2 ns", promise="<= 1 ns", holds=False)]
    assert failed(rows)
    assert not failed(rows[:1])
    assert [line.split()[-1] for line in table(rows).splitlines()[2:]] == ["ns", "NO"]
