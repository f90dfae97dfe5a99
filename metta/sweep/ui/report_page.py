"""`report.html`: a run as one file that needs no network, no script and no store; and the same as JSON."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, Final

from metta.sweep import __version__
from metta.sweep.cli.shown import jsonable
from metta.sweep.cli.sweep_text import trial_json
from metta.sweep.errors import DamagedError
from metta.sweep.report.figures import all_figures
from metta.sweep.report.masking import without_secrets
from metta.sweep.report.snapshot import SweepSnapshot, state_text
from metta.sweep.store.redact import redact_values
from metta.sweep.store.run import Run
from metta.sweep.ui.head import head_of, manifest_facts
from metta.sweep.ui.opened import RunData, read_run
from metta.sweep.ui.pages import draw_dag, draw_figure
from metta.sweep.ui.rendering import csp_hash, part, render, static_file
from metta.sweep.ui.tables import trial_table
from metta.sweep.ui.views import causes_of, nodes_of, stages_of

MOST_TRIALS: Final = 200
"""Trials in the table; `metta-sweep export` writes all."""

FORMAT: Final = 1


def report_html(run: Run) -> str:
    """A run as one HTML document.

    Args:
        run: open for reading; it may be driven meanwhile.

    Raises:
        DamagedError: its journal is not what was written.
    """
    from markupsafe import Markup

    data = _data(run)
    view = head_of(data)
    figures = [] if data.sweep is None else [draw_figure(figure) for figure in all_figures(data.sweep)]
    bodies = [part("head", view), part("causes", causes_of(data))]
    dag = draw_dag(data.dag) if data.dag is not None else ""
    graph = [f"<figure>{dag}</figure>"] if dag else []
    after = []
    if data.pipeline is not None:
        after += [*graph, part("stages", stages_of(data.pipeline))]
    if data.sweep is not None:
        after.append(part("trials", trial_table(data.sweep, size=MOST_TRIALS)))
    if data.tree is not None:
        after.append(part("nested", *nodes_of(data.tree, run.id), linked=False))
    if data.pipeline is None:
        after += graph  # a sweep's own loop is the same for all
    after.append(part("manifest", manifest_facts(run), opened=True))
    style = (static_file("style.css") or b"").decode()
    return render(
        "report.html",
        title=view.name,
        style=Markup(style),
        style_hash=csp_hash(style),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        parts=list(map(Markup, bodies)),
        figures=list(map(Markup, figures)),
        rest=list(map(Markup, after)),
    )


def report_json(run: Run) -> dict[str, Any]:
    """The same as JSON values.

    Args:
        run: open for reading; it may be driven meanwhile.

    Raises:
        DamagedError: its journal is not what was written.
    """
    data = _data(run)
    view = head_of(data)
    found: dict[str, Any] = {
        "format": FORMAT,
        "version": __version__,
        "run": run.id,
        "name": run.name,
        "kind": run.kind,
        "status": view.status,
        "created": run.info.created,
        "failures": [asdict(cause) for cause in causes_of(data)],
        "manifest": redact_values(run.manifest),
        "children": [] if data.tree is None else [child.to_json() for child in data.tree.children],
    }
    if data.sweep is not None:
        found |= _sweep_json(data.sweep)
    if data.dag is not None:
        found["dag"] = data.dag.to_json()
    if data.pipeline is not None:
        found["stages"] = [asdict(row) for row in stages_of(data.pipeline)]
    result: dict[str, Any] = jsonable(found)
    return result


def _sweep_json(sweep: SweepSnapshot) -> dict[str, Any]:
    table = trial_table(sweep, size=MOST_TRIALS)
    objectives = zip(sweep.objectives.keys, sweep.objectives.directions, strict=True)
    return {
        "objectives": dict(objectives),
        "seconds": sweep.seconds,
        "ended": sweep.ended,
        "budget_trials": sweep.budget_trials,
        "counts": {state_text(state, sweep.status): number for state, number in sweep.counts.items()},
        "trials": [trial_json(sweep.trials[row.number], sweep.status) for row in table.rows],
        "trials_left_out": table.found - len(table.rows),
        "figures": {figure.name: figure.to_json() for figure in all_figures(sweep)},
    }


def _data(run: Run) -> RunData:
    data = read_run(run)
    if data.problem:
        raise DamagedError(f"{data.problem}: `metta-sweep doctor {run.folder}` says more", path=str(run.folder))
    return data if data.sweep is None else replace(data, sweep=without_secrets(data.sweep))
