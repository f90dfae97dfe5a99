"""What the page of one trial says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from metta.sweep.report.ranking import ranking
from metta.sweep.report.snapshot import Span, SweepSnapshot
from metta.sweep.report.text import duration, number_text, scores_text, shorten
from metta.sweep.trial import Report, Trial, TrialState
from metta.sweep.ui.head import Fact
from metta.sweep.ui.logs import LogPart, log_paths, tails
from metta.sweep.ui.opened import RunData
from metta.sweep.ui.views import Cause, Node, cause_of, nodes_of

if TYPE_CHECKING:
    from markupsafe import Markup

MOST_REPORTS: Final = 500
MOST_LOGS: Final = 5


@dataclass(frozen=True, slots=True)
class TrialView:
    """The page of a trial.

    Attributes:
        params: path and value, as text; whole, unless very long.
        metrics: the names of what was reported.
        reports: steps and values as text, in ascending steps; `reports_left_out` earlier ones are missing.
        curve: the SVG of its learning curve; "" where there are fewer than two reports.
        attempts: in the order in which they began.
        below: the runs that it has started.
        logs: the ends of its logs, the newest attempt last.
    """

    number: int
    state: str
    facts: tuple[Fact, ...]
    params: tuple[tuple[str, str], ...]
    cause: Cause | None
    metrics: tuple[str, ...]
    reports: tuple[tuple[int, tuple[str, ...]], ...]
    reports_left_out: int
    curve: Markup
    attempts: tuple[Span, ...]
    below: tuple[Node, ...]
    logs: tuple[LogPart, ...]


def trial_view(data: RunData, number: int, folder: Path, trial_folder: Path, address: str) -> TrialView | None:
    """The page of a trial; None where there is no such trial.

    Args:
        folder: of the run.
        trial_folder: of the trial.
        address: of the run.
    """
    from markupsafe import Markup

    from metta.sweep.report.figures import learning_curves

    sweep = data.sweep
    if sweep is None or not 0 <= number < len(sweep.trials):
        return None
    trial = sweep.trials[number]
    reports = trial.reports
    shown = reports[-MOST_REPORTS:]
    metrics = tuple(dict.fromkeys(name for report in shown for name in report.metrics))
    curve = Markup()
    if len(reports) > 1:
        curve = Markup(learning_curves(replace(sweep, trials=(trial,))).to_svg(width=640, height=260))
    return TrialView(
        number=number,
        state=trial.state.value,
        facts=tuple(_facts(sweep, trial)),
        params=tuple((path, _whole(value)) for path, value in trial.params.items()),
        cause=cause_of(trial) if trial.state is TrialState.FAILED and trial.failure is not None else None,
        metrics=metrics,
        reports=tuple((report.step, _values(report, metrics)) for report in shown),
        reports_left_out=len(reports) - len(shown),
        curve=curve,
        attempts=tuple(span for span in sweep.spans if span.trial == number),
        below=_below(data, number, address),
        logs=tuple(tails(folder, log_paths(folder, trial_folder)[-MOST_LOGS:])),
    )


def _facts(sweep: SweepSnapshot, trial: Trial) -> list[Fact]:
    place = next(
        (at for at, each in enumerate(ranking(sweep.trials, sweep.objectives), 1) if each.id == trial.id), None
    )
    facts = [Fact("Score", scores_text(sweep.objectives, trial.score))]
    if place is not None:
        facts.append(Fact("Rank", str(place)))
    facts.append(Fact("Step", str(trial.step)))
    if trial.cost is not None:
        facts.append(Fact("Cost", number_text(trial.cost)))
    took = sum(span.ended - span.began for span in sweep.spans if span.trial == trial.id and span.ended is not None)
    if took:
        facts.append(Fact("Time", duration(took)))
    if trial.parent is not None:
        facts.append(Fact("Fork of", f"trial {trial.parent}", trial.parent))
    return facts


def _whole(value: object) -> str:
    """A parameter's value with all digits."""
    if isinstance(value, Mapping | list | tuple):
        return shorten(json.dumps(value, default=str), 2_000)
    return shorten(str(value), 2_000)


def _values(report: Report, metrics: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(number_text(report.metrics[name]) if name in report.metrics else "" for name in metrics)


def _below(data: RunData, number: int, address: str) -> tuple[Node, ...]:
    if data.tree is None:
        return ()
    mine = tuple(child for child in data.tree.children if getattr(child.starter, "trial", None) == number)
    nodes, _ = nodes_of(replace(data.tree, children=mine), address)
    return nodes
