"""The benchmarks run, with tiny sizes, so that they cannot rot. What they measure is not judged here."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import overhead, startup, static
from benchmarks.chains import ASYNC, KEYWORD, POSITIONAL, RECORD, Style, build, by_hand, drive, functions
from benchmarks.checker import Checker, untyped, version_of
from benchmarks.measure import Effort, interleaved, paired
from benchmarks.peers import installed
from benchmarks.programs import IMPORT, Writing, program
from benchmarks.report import Row, failed, table


@pytest.fixture(autouse=True)
def without_the_garbage_of_others() -> Iterator[None]:
    """The benchmarks collect garbage before each measurement: not that of all the tests before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


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


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("writing", static.WRITINGS.values(), ids=static.WRITINGS)
def test_the_programs_for_mypy_run(writing: Writing, shared: bool) -> None:
    names: dict[str, Any] = {}
    exec(compile(program(writing, 2, 3, shared=shared), "<benchmark>", "exec", dont_inherit=True), names)
    assert sum(name.startswith("stage") for name in names) == (3 if shared else 6)
    arguments: tuple[tuple[int, ...], dict[str, int]] = ((1,), {}) if writing.inputs == "int" else ((), {"y0": 1})
    for number in range(2):
        result = names[f"pipeline{number}"].compile().run(*arguments[0], **arguments[1])
        assert (result if writing.inputs == "int" else result.y3) == 1 + 1 + 2 + 3


def test_without_types_every_builder_call_is_accepted_and_the_rest_is_checked(tmp_path: Path) -> None:
    checker = untyped(sys.executable, tmp_path / "untyped")
    assert checker.seconds(f"{IMPORT}Pipeline(int).stage(1, 2).nothing(stage=3) + 4\n") > 0
    with pytest.raises(RuntimeError, match=r"does not accept(?s:.)*program\d+\.py:1: error: .*\[assignment\]"):
        checker.seconds("number: int = ''\n")
    assert not list((tmp_path / "untyped").glob("*.py"))


def test_start_up_is_subtracted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Checker, "seconds", lambda self, text: float(len(text)))
    assert Checker(sys.executable, tmp_path).net(f"{IMPORT}12345") == 5.0
    assert Checker(sys.executable, tmp_path).net("") == 0.0


@pytest.mark.slow
def test_static_prints_one_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static, "CHAIN", -1.0)
    assert static.main(["--rounds=1", "--pipelines=1", "--stages=2", "--chain=3", "--check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["what", "plugin", "no", "types", "ratio", "promise", "holds"]
    assert sum(line.startswith(f"mypy {version_of(sys.executable)}: ") for line in lines) == 11
    assert sum(": 3 stages, " in line and line.rstrip().endswith("NO") for line in lines) == len(static.WRITINGS)
