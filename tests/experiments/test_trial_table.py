"""The final table of a sweep fits the terminal, and says what it leaves out."""

from __future__ import annotations

from typing import Any

import pytest

from metta.sweep.experiments.trial_table import trial_table
from metta.sweep.goal import Objectives
from metta.sweep.report.text import cells
from metta.sweep.trial import TrialState
from tests.experiments.test_results import TWO, pair, result, trial

LONG: dict[str, Any] = {"trainer.learning_rate": 0.0004277, "trainer.batch_size": 32, "model.kind": "transformer-xl"}


def lines_of(width: int, **params: Any) -> list[str]:
    text = result(*(trial(number, 0.9631, 27, **params) for number in range(3))).to_text(width)
    return [line.rstrip() for line in text.splitlines()]


def test_with_room_nothing_is_cut() -> None:
    head, rule, row = lines_of(81, **LONG)[2:5]
    assert head == " trial    score   step   state       learning_rate   batch_size             kind"
    assert row == "     0   0.9631     27   completed       0.0004277           32   transformer-xl"
    assert set(rule) == {" ", "─"}


def test_a_narrow_terminal_has_whole_numbers_and_says_what_is_left_out() -> None:
    lines = lines_of(40, **LONG)
    assert lines[2] == " trial   score  step  learning…  batch…"
    assert lines[4] == "     0  0.9631    27  0.0004277      32"
    assert "no room for state, kind: see .rows()" in lines


@pytest.mark.parametrize("width", [1, 10, 20, 33, 40, 57, 80, 120])
def test_it_is_never_wider_than_the_terminal(width: int) -> None:
    params = {**LONG, "模型": "变换器🚀" * 5, **{f"layer{number}.width": number for number in range(12)}}
    table = trial_table([trial(0, 0.5, **params)], Objectives.of("maximize"), 10)
    fitted = table.fitted(width)
    titles = [column.title for column in table.columns]
    assert len(fitted.columns) + len(fitted.left_out) == len(titles)
    assert len({column.title for column in fitted.columns}) == len(fitted.columns), "two titles were cut to the same"
    text = result(trial(0, 0.5, **params)).to_text(width)
    drawn = text.splitlines()[: text.splitlines().index(next(line for line in text.splitlines() if "no room" in line))]
    assert max(map(cells, drawn)) <= max(width, 8)


def test_states_are_left_out_before_parameters_are() -> None:
    table = trial_table([trial(0, 0.5, 1, TrialState.COMPLETED, x=1.5, y=2)], Objectives.of("maximize"), 10)
    assert [table.fitted(width).left_out for width in (44, 36, 35, 28)] == [(), (), ("state",), ("state",)]
    assert table.fitted(27).left_out == ("state", "y")


def test_several_objectives_stay() -> None:
    found = result(pair(0, 0.9, 5.0), goal=TWO).to_text(40)
    assert "accura…  latency" in found
    assert "     0      0.9        5     1" in found
