"""The table of a sweep's trials: which rows in which order, and the columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from metta.sweep.report.drawing.words import unique_ends
from metta.sweep.report.ranking import ranking
from metta.sweep.report.snapshot import SweepSnapshot
from metta.sweep.report.text import number_text, value_text
from metta.sweep.trial import Trial, TrialState

PAGE: Final = 100
"""Trials on one page of the table."""

MOST_COLUMNS: Final = 30
"""Parameters that have a column; a trial's own page has all."""

RANK: Final = "rank"
PARAMETER: Final = "p."
SCORE: Final = "s."


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `key` is what to sort by, `is_number` aligns it."""

    key: str
    title: str
    is_number: bool


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A trial as texts.

    Attributes:
        number: of the trial.
        rank: its place among the scored ones, 1 for the best; None without one.
        state: of the trial.
        failure: the reason and the message; "" unless it failed.
        cells: for the columns from "step" on.
    """

    number: int
    rank: int | None
    state: str
    failure: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrialTable:
    """One page of the table.

    Attributes:
        columns: behind number and state.
        rows: of this page.
        page, pages: from 1.
        found: rows on all pages.
        total: trials of the sweep.
        sort, descending, state: what was asked for.
        hidden: parameters without a column.
    """

    columns: tuple[Column, ...]
    rows: tuple[TrialRow, ...]
    page: int
    pages: int
    found: int
    total: int
    sort: str
    descending: bool
    state: str
    hidden: int


def trial_table(
    sweep: SweepSnapshot,
    *,
    sort: str = RANK,
    descending: bool = False,
    state: str = "",
    page: int = 1,
    size: int = PAGE,
) -> TrialTable:
    """One page of the table.

    Args:
        sort: "rank" (the best first), "trial", "state", "step", "cost", or the key of another column; anything else
            counts as "rank".
        descending: the other way round; what has no value comes last in both.
        state: that the trials must have; "" for any.
        page: from 1; a larger one than there is means the last.
        size: rows of a page.
    """
    paths = shown_paths(sweep.trials)
    columns = _columns(sweep, paths[:MOST_COLUMNS])
    if sort not in (RANK, "trial", "state", *(column.key for column in columns)):
        sort = RANK
    places = {trial.id: place for place, trial in enumerate(ranking(sweep.trials, sweep.objectives), 1)}
    found = [trial for trial in sweep.trials if state in ("", trial.state.value)]
    ordered = _ordered(found, sort, descending, places)
    pages = max(1, ceil(len(found) / size))
    page = min(max(page, 1), pages)
    shown = ordered[(page - 1) * size : page * size]
    rows = tuple(_row(trial, columns, places.get(trial.id)) for trial in shown)
    hidden = max(0, len(paths) - MOST_COLUMNS)
    total = len(sweep.trials)
    return TrialTable(columns, rows, page, pages, len(found), total, sort, descending, state, hidden)


def shown_paths(trials: Iterable[Trial]) -> list[str]:
    """The paths of the parameters, those that differ between trials first."""
    first: dict[str, Any] = {}
    differing: dict[str, None] = {}
    for trial in trials:
        for path, value in trial.params.items():
            if path not in first:
                first[path] = value
            elif path not in differing and value != first[path]:
                differing[path] = None
    return [path for path in first if path in differing] + [path for path in first if path not in differing]


def _columns(sweep: SweepSnapshot, paths: Sequence[str]) -> tuple[Column, ...]:
    sample: dict[str, Any] = {}
    for trial in sweep.trials:
        sample = {**trial.params, **sample}
        if len(sample) >= len(paths):
            break
    return (
        *(Column(SCORE + key, key, True) for key in sweep.objectives.keys),
        Column("step", "step", True),
        Column("cost", "cost", True),
        *(
            Column(PARAMETER + path, title, _is_number(sample.get(path)))
            for path, title in zip(paths, unique_ends(paths), strict=True)
        ),
    )


def _ordered(trials: Sequence[Trial], sort: str, descending: bool, places: Mapping[int, int]) -> list[Trial]:
    def value(trial: Trial) -> Any:
        return places.get(trial.id) if sort == RANK else _value(trial, sort)

    there = [trial for trial in trials if _is_there(value(trial))]
    missing = [trial for trial in trials if not _is_there(value(trial))]
    there.sort(key=lambda trial: _key(value(trial)), reverse=descending)
    return there + missing


def _is_there(value: object) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _key(value: Any) -> tuple[int, Any]:
    """Numbers before texts: a parameter may be either."""
    return (0, value) if _is_number(value) else (1, str(value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _value(trial: Trial, key: str) -> Any:
    if key.startswith(PARAMETER):
        # Not `trial.params.get`: a parameter that is not set would be looked for among the aliases.
        return dict(trial.params).get(key.removeprefix(PARAMETER))
    if key.startswith(SCORE):
        score = trial.score
        return score.get(key.removeprefix(SCORE)) if isinstance(score, Mapping) else score
    if key == "trial":
        return trial.id
    return {"state": trial.state.value, "step": trial.step or None, "cost": trial.cost}[key]


def _row(trial: Trial, columns: Sequence[Column], rank: int | None) -> TrialRow:
    failure = trial.failure
    why = (
        "" if failure is None or trial.state is not TrialState.FAILED else f"{failure.reason.value}: {failure.message}"
    )
    return TrialRow(trial.id, rank, trial.state.value, why, tuple(cell(_value(trial, each.key)) for each in columns))


def cell(value: object) -> str:
    """A value as the text of a cell, "" for none."""
    if value is None:
        return ""
    return number_text(float(value)) if isinstance(value, float) else value_text(value)
