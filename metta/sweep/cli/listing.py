"""`metta-sweep ls`: the runs of a store, the newest first."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import click

from metta.sweep.cli.output import show
from metta.sweep.cli.shown import show_json, table
from metta.sweep.errors import MettaSweepError, StorageError
from metta.sweep.experiments.records import STARTED
from metta.sweep.experiments.sweep_status import sweep_status
from metta.sweep.report.pipeline_status import pipeline_status
from metta.sweep.report.snapshot import state_text
from metta.sweep.report.text import duration, number_text, shorten
from metta.sweep.store.nested import runs_below
from metta.sweep.store.run import Run, RunInfo, RunStatus
from metta.sweep.store.runs import Store

MOST_ENTRIES: Final = 2_000
"""Entries of a journal up to which it is folded for a line of the list; of larger sweeps the last snapshot counts."""

_GOOD = ("done", "cached", "skipped", "completed", "pruned")


@dataclass(frozen=True, slots=True)
class Row:
    """One run in the list.

    Attributes:
        info: of its manifest and its published status.
        counts: passages of stages, or trials, by state; empty where that would take too long to find out.
        total: how many trials there will be; None where nothing says.
        best: the best score of a sweep with one objective, None where that would take too long to find out.
        age: seconds since it was started.
        below: how many runs it has started, and these, and so on.
    """

    info: RunInfo
    counts: Mapping[str, int]
    total: int | None
    best: float | None
    age: float | None
    below: int = 0

    @property
    def progress(self) -> str:
        """How far it is."""
        if not self.counts:
            return "-"
        finished = sum(number for state, number in self.counts.items() if state in _GOOD)
        failed = self.counts.get("failed", 0)
        paused = self.counts.get("paused", 0)
        of = "".join(f", {number} {word}" for number, word in ((paused, "paused"), (failed, "failed")) if number)
        if self.info.kind != "sweep":
            return f"{finished} {'stage' if finished == 1 else 'stages'} done{of}"
        done = finished + failed
        # More than were to be started: some are forks, which no budget counts.
        total = "" if self.total is None or done > self.total else f"/{self.total}"
        return f"{done}{total} trials{of}"


def list_runs(store: str | None, *, last: int | None, as_json: bool) -> None:
    """Do what the command asks.

    Args:
        last: how many runs at most; None for all.

    Raises:
        StorageError: the store cannot be read.
    """
    place = Store.at(store)
    found = place.all()
    shown = found if last is None else found[:last]
    rows = [replace(row_of(info, time.time()), below=_below(info)) for info in shown]
    if as_json:
        show_json([_json(row) for row in rows])
        return
    if not rows:
        show(f"no runs in {place.folder}")
        return
    has_nested = any(row.below for row in rows)
    lines = [[*_cells(row), *([str(row.below or "-")] if has_nested else [])] for row in rows]
    head = ["run", "kind", "status", "progress", "best", "age", *(["nested"] if has_nested else [])]
    show(table(head, lines))
    for row in rows:
        if row.info.problem:
            click.echo(f"{row.info.id} is damaged: {shorten(row.info.problem, 200)}", err=True)
    if len(found) > len(shown):
        show(f"and {len(found) - len(shown)} more: --all")


def row_of(info: RunInfo, now: float) -> Row:
    """What is said of a run in the list.

    Args:
        now: seconds since 1970.
    """
    age = _age(info, now)
    if info.status is RunStatus.DAMAGED:
        return Row(info, {}, None, None, age)
    try:
        with Run.open(info.folder, write=False) as run:
            if info.kind == "sweep":
                return _sweep_row(run, age)
            counts: Mapping[str, int] = {}
            if run.journal.last_seq <= MOST_ENTRIES:
                counts = {state.value: number for state, number in pipeline_status(run).counts.items()}
            return Row(info, counts, None, None, age)
    except MettaSweepError as error:
        damaged = info._replace(status=RunStatus.DAMAGED, problem=str(error))
        return Row(damaged, {}, None, None, age)


def _sweep_row(run: Run, age: float | None) -> Row:
    started = next(run.journal.events(kinds={STARTED}), None)
    if started is None:
        return Row(run.info, {}, None, None, age)
    if run.info.status is RunStatus.RUNNING and run.info.counts:
        return Row(run.info, run.info.counts, started.data["budget"].get("trials"), run.info.best, age)
    if run.journal.last_seq <= MOST_ENTRIES:
        status = sweep_status(run)
        counts = {state_text(state, status.status): number for state, number in status.counts.items()}
        score = None if status.best is None else status.best.score
        return Row(run.info, counts, status.budget.trials, score if isinstance(score, float) else None, age)
    counts = run.journal.counts()
    objectives = started.data["plan"]["objectives"]
    best = None
    if len(objectives) == 1 and sum(counts.values()) <= MOST_ENTRIES:
        sign = 1 if next(iter(objectives.values())) == "maximize" else -1
        # Scores at different steps are not compared: the best of those that came furthest.
        found = max(
            ((row.step, sign * row.score) for row in run.journal.trials() if row.score is not None), default=None
        )
        best = None if found is None else sign * found[1]
    return Row(run.info, counts, started.data["budget"].get("trials"), best, age)


def _below(info: RunInfo) -> int:
    try:
        return sum(1 for _ in runs_below(info.folder))
    except StorageError:
        return 0  # the list is to be there; `doctor` says so


def _age(info: RunInfo, now: float) -> float | None:
    try:
        return max(0.0, now - datetime.fromisoformat(info.created).timestamp())
    except ValueError:
        return None


def _cells(row: Row) -> tuple[str, ...]:
    info = row.info
    age = "-" if row.age is None else duration(row.age)
    return (info.id, info.kind or "-", info.status.value, row.progress, number_text(row.best), age)


def _json(row: Row) -> dict[str, Any]:
    info = row.info
    return {
        "run": info.id,
        "name": info.name,
        "kind": info.kind,
        "status": info.status,
        "created": info.created,
        "folder": info.folder,
        "counts": row.counts,
        "total": row.total,
        "best": row.best,
        "age_seconds": row.age,
        "nested": row.below,
        "problem": info.problem or None,
    }
