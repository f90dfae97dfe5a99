"""`metta-sweep status`: where a run stands, and why what failed has failed."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any, Final

import click

from metta.sweep.cli.origin import read_origin
from metta.sweep.cli.output import show
from metta.sweep.cli.shown import duration, jsonable, show_json, table, user_traceback
from metta.sweep.cli.sweep_text import status_json, status_lines
from metta.sweep.errors import DamagedError
from metta.sweep.experiments.records import STARTED
from metta.sweep.experiments.sweep_status import sweep_status
from metta.sweep.report.live import shorten
from metta.sweep.report.pipeline_status import PipelineStatus, StageState, pipeline_status
from metta.sweep.store.lock import holder
from metta.sweep.store.run import Run, RunInfo, RunStatus
from metta.sweep.store.runs import Store

WATCH_SECONDS: Final = 2.0
ERROR_WIDTH: Final = 60


def tell_status(text: str, *, store: str | None, watch: bool, as_json: bool) -> None:
    """Do what the command asks.

    Raises:
        UsageError: there is no such run.
        DamagedError: the run is damaged.
    """
    place = Store.at(store)
    seq = -1
    while True:
        info = place.find(text)
        if info.status is RunStatus.DAMAGED:
            raise DamagedError(f"{info.problem}: `metta-sweep doctor {info.folder}` says more", path=str(info.folder))
        with Run.open(info.folder, write=False) as run:
            now = run.journal.last_seq
            if now != seq:
                seq = now
                _tell(run, as_json=as_json, clear=watch)
        if not watch or info.status is not RunStatus.RUNNING:
            return
        time.sleep(WATCH_SECONDS)


def _tell(run: Run, *, as_json: bool, clear: bool) -> None:
    if as_json:
        show_json(run_json(run))
        return
    if clear and sys.stdout.isatty():
        click.clear()
    show("\n".join(run_lines(run)))


def run_json(run: Run) -> dict[str, Any]:
    """Where a run stands, as JSON values."""
    info = run.info
    head = {"run": info.id, "name": info.name, "kind": info.kind, "folder": info.folder, "created": info.created}
    if info.kind == "sweep":
        has_begun = next(run.journal.events(kinds={STARTED}), None) is not None
        rest: dict[str, Any] = {"status": info.status, **(status_json(sweep_status(run)) if has_begun else {})}
    else:
        status = pipeline_status(run)
        rest = {
            "status": status.status,
            "stages": status.stages,
            "resumed": status.resumed,
            "failure": status.failure,
        }
    found: dict[str, Any] = jsonable({**head, **rest})
    return found


def run_lines(run: Run) -> list[str]:
    """The same for people."""
    info = run.info
    if info.kind == "sweep":
        has_begun = next(run.journal.events(kinds={STARTED}), None) is not None
        lines = status_lines(sweep_status(run)) if has_begun else ["it has not begun"]
        return [*_head(info, info.status), *lines, *_next_command(info, info.status)]
    status = pipeline_status(run)
    return [*_head(info, status.status), *_stages(status), *_why(status), *_next_command(info, status.status)]


def _head(info: RunInfo, status: RunStatus) -> list[str]:
    held = holder(info.folder) if status is RunStatus.RUNNING else None
    by = f" (driven by {held.process})" if held is not None and held.process is not None else ""
    return [f"{info.kind} {info.id}: {status.value}{by}", f"in {info.folder}"]


def _stages(status: PipelineStatus) -> Iterable[str]:
    if not status.stages:
        return ["no stage was entered"]
    rows = []
    for stage in status.stages:
        states = ", ".join(
            state.value if stage.passages == 1 else f"{number} {state.value}" for state, number in stage.states.items()
        )
        repeated = str(stage.failures) if stage.failures else "-"
        is_timed = any(state in stage.states for state in (StageState.DONE, StageState.CACHED))
        seconds = duration(stage.seconds) if is_timed else "-"
        rows.append([stage.name, states, repeated, seconds, shorten(stage.last_error, ERROR_WIDTH)])
    return ["", *table(["stage", "state", "failed attempts", "time", "last error"], rows).splitlines()]


def _why(status: PipelineStatus) -> list[str]:
    failure = status.failure
    if failure is None:
        return []
    where = f'stage "{failure.stage}"' if failure.stage else "the run"
    trace = user_traceback(failure.traceback).rstrip()
    return ["", *trace.splitlines(), f"{where} failed ({failure.reason}): {failure.message}"]


def _next_command(info: RunInfo, status: RunStatus) -> list[str]:
    if status in (RunStatus.COMPLETED, RunStatus.RUNNING):
        return []
    origin = read_origin(info.folder)
    what = "" if origin is not None else " FILE:NAME"
    return ["", f"go on with: metta-sweep resume {info.id}{what}"]
