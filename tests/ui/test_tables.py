"""The table of trials: order, pages, columns."""

from __future__ import annotations

import math
from typing import Any

import pytest

from metta.sweep.goal import Objectives, Score
from metta.sweep.report.snapshot import SweepSnapshot
from metta.sweep.trial import Failure, FailureReason, Trial, TrialState
from metta.sweep.ui.tables import MOST_COLUMNS, TrialTable, shown_paths, trial_table


def trial(number: int, score: Score | None, state: str = "completed", step: int = 1, **params: Any) -> Trial:
    made = Trial(params, number)
    made.state, made.score = TrialState(state), score
    made.read_reports_later(step, tuple)
    if state == "failed":
        made.failure = Failure(FailureReason.OOM, "too large")
    return made


def sweep(*trials: Trial, goal: dict[str, str] | None = None) -> SweepSnapshot:
    objectives = Objectives.of(goal) if goal else Objectives.of("maximize")  # type: ignore[arg-type]
    return SweepSnapshot("run", "sweep", "running", objectives, trials)


MIXED = sweep(
    trial(0, 0.5, x=1, kind="b"),
    trial(1, math.nan, x=2.5, kind="a"),
    trial(2, 0.9, "pruned", x="auto"),
    trial(3, None, "failed", x=True, kind="c"),
    trial(4, 0.1, step=3, x=-1),
    trial(5, None, "running", kind="a"),
)


def numbers(table: TrialTable) -> list[int]:
    return [row.number for row in table.rows]


@pytest.mark.parametrize(
    ("sort", "up", "down"),
    [
        ("rank", [4, 2, 0, 1, 3, 5], [0, 2, 4, 1, 3, 5]),
        ("trial", [0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]),
        ("s.score", [4, 0, 2, 1, 3, 5], [2, 0, 4, 1, 3, 5]),
        ("p.x", [4, 0, 1, 3, 2, 5], [2, 3, 1, 0, 4, 5]),
        ("p.kind", [1, 5, 0, 3, 2, 4], [3, 0, 1, 5, 2, 4]),
        ("p.nothing", [4, 2, 0, 1, 3, 5], [0, 2, 4, 1, 3, 5]),
        ("__class__", [4, 2, 0, 1, 3, 5], [0, 2, 4, 1, 3, 5]),
    ],
)
def test_rows_are_sorted_and_what_is_missing_comes_last(sort: str, up: list[int], down: list[int]) -> None:
    assert numbers(trial_table(MIXED, sort=sort)) == up
    assert numbers(trial_table(MIXED, sort=sort, descending=True)) == down


def test_a_row_says_its_rank_its_failure_and_its_values() -> None:
    table = trial_table(MIXED)
    first, failed = table.rows[0], next(row for row in table.rows if row.number == 3)
    assert (first.rank, first.state, first.failure) == (1, "completed", "")
    assert [column.title for column in table.columns] == ["score", "step", "cost", "x", "kind"]
    assert first.cells == ("0.1", "3", "", "-1", "")
    assert (failed.rank, failed.failure) == (None, "oom: too large")
    assert failed.cells == ("", "1", "", "True", "c")


def test_states_are_filtered_and_pages_are_bounded() -> None:
    assert numbers(trial_table(MIXED, state="failed")) == [3]
    table = trial_table(MIXED, size=4, page=99)
    assert (table.page, table.pages, numbers(table), table.found, table.total) == (2, 2, [3, 5], 6, 6)
    assert trial_table(sweep()).rows == ()


def test_several_objectives_have_a_column_each() -> None:
    both = sweep(
        trial(0, {"a": 1.0, "b": 5.0}), trial(1, {"a": 2.0, "b": 3.0}), goal={"a": "maximize", "b": "minimize"}
    )
    table = trial_table(both, sort="s.b")
    assert [column.title for column in table.columns][:2] == ["a", "b"]
    assert [row.cells[:2] for row in table.rows] == [("2", "3"), ("1", "5")]


def test_parameters_that_differ_come_first_and_names_are_short_where_that_is_clear() -> None:
    trials = (
        Trial({"a.same": 1, "a.rate": 1, "b.rate": 2, "c.size": 3}, 0),
        Trial({"a.same": 1, "a.rate": 2, "b.rate": 3, "c.size": 4}, 1),
    )
    assert shown_paths(trials) == ["a.rate", "b.rate", "c.size", "a.same"]
    assert [column.title for column in trial_table(sweep(*trials)).columns[3:]] == ["a.rate", "b.rate", "size", "same"]


def test_very_many_parameters_have_no_column() -> None:
    table = trial_table(sweep(Trial({f"p{number}": number for number in range(MOST_COLUMNS + 3)}, 0)))
    assert (len(table.columns), table.hidden) == (3 + MOST_COLUMNS, 3)
