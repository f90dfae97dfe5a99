"""`metta-sweep status`: where a run stands, and why what failed has failed."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any, Final

from metta.sweep.cli.opening import SWEEP, has_begun, sound
from metta.sweep.cli.origin import read_origin
from metta.sweep.cli.output import show
from metta.sweep.cli.shown import jsonable, show_json, table, user_traceback
from metta.sweep.cli.sweep_text import status_json, status_lines
from metta.sweep.cli.watching import watch_run
from metta.sweep.errors import StorageError
from metta.sweep.experiments.sweep_status import sweep_status
from metta.sweep.experiments.tree.drawing import to_text
from metta.sweep.experiments.tree.run_tree import RunTree, run_tree
from metta.sweep.report.pipeline_status import PipelineStatus, StageState, pipeline_status
from metta.sweep.report.region import can_redraw
from metta.sweep.report.text import duration, shorten
from metta.sweep.store.lock import holder
from metta.sweep.store.nested import child_runs, top_run
from metta.sweep.store.run import Run, RunInfo, RunStatus
from metta.sweep.store.runs import Store

WATCH_SECONDS: Final = 2.0
ERROR_WIDTH: Final = 60
MOST_NESTED: Final = 30
"""Lines about the runs that it has started."""


def tell_status(text: str, *, store: str | None, watch: bool, as_json: bool) -> None:
    """Do what the command asks.

    Raises:
        UsageError: there is no such run.
        DamagedError: the run is damaged.
    """
    place = Store.at(store)
    if watch and not as_json and can_redraw(sys.stdout):
        watch_run(sound(place.find(text)).folder, sys.stdout)
        watch = False
    seq = -1
    below: RunTree | None = None
    while True:
        info = sound(place.find(text))
        before, below = below, _tree(info, below)
        with Run.open(info.folder, write=False) as run:
            now = run.journal.last_seq
            if now != seq or below != before:
                seq = now
                _tell(run, below, as_json=as_json)
        if not watch or info.status is not RunStatus.RUNNING:
            return
        time.sleep(WATCH_SECONDS)


def _tree(info: RunInfo, known: RunTree | None) -> RunTree | None:
    """The runs that it has started; None where there are none."""
    try:
        has_children = next(child_runs(info.folder), None) is not None
    except StorageError:
        return None  # `doctor` says so
    return run_tree(info.folder, known=known) if has_children else None


def _tell(run: Run, below: RunTree | None, *, as_json: bool) -> None:
    if as_json:
        show_json(run_json(run, below))
        return
    show("\n".join(run_lines(run, below)))


def run_json(run: Run, below: RunTree | None = None) -> dict[str, Any]:
    """Where a run stands, as JSON values.

    Args:
        below: its tree, if it has started runs.
    """
    info = run.info
    head = {"run": info.id, "name": info.name, "kind": info.kind, "folder": info.folder, "created": info.created}
    if info.kind == SWEEP:
        rest: dict[str, Any] = {"status": info.status, **(status_json(sweep_status(run)) if has_begun(run) else {})}
    else:
        status = pipeline_status(run)
        rest = {
            "status": status.status,
            "stages": status.stages,
            "resumed": status.resumed,
            "failure": status.failure,
        }
    found: dict[str, Any] = jsonable({**head, **rest})
    children = () if below is None else below.children
    return {**found, "children": [child.to_json() for child in children]}


def run_lines(run: Run, below: RunTree | None = None) -> list[str]:
    """The same for people."""
    info = run.info
    nested = [] if below is None else _nested(below)
    if info.kind == SWEEP:
        lines = status_lines(sweep_status(run)) if has_begun(run) else ["it has not begun"]
        return [*_head(info, info.status), *lines, *nested, *_next_command(info, info.status)]
    status = pipeline_status(run)
    return [*_head(info, status.status), *_stages(status), *nested, *_why(status), *_next_command(info, status.status)]


def _nested(tree: RunTree) -> list[str]:
    """The runs that it has started, as many as fit on a page."""
    lines = to_text(tree).splitlines()
    if len(lines) <= MOST_NESTED:
        return ["", *lines]
    return ["", *lines[:MOST_NESTED], f"and more: metta-sweep tree {tree.id}"]


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
    if (top := top_run(info.folder)) is not None:
        return ["", f"it is a part of {top.name}; go on with: metta-sweep resume {top.name}"]
    origin = read_origin(info.folder)
    what = "" if origin is not None else " FILE:NAME"
    return ["", f"go on with: metta-sweep resume {info.id}{what}"]
