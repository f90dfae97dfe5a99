"""The six figures of a sweep, each a pure function of a `SweepSnapshot`.

    history(snapshot).to_svg()

A figure knows its title, a sentence for who cannot see it, its data as JSON and its drawing as SVG, and shows itself in
a notebook. Drawings need no script, no style sheet and no network. Elements have classes ("mark", "line", "bar",
"area", "grid", "axis", "legend", "notes", and the state of a trial), so that a page can give them other colours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from metta.sweep.report.figures.base import Figure as Figure
from metta.sweep.report.figures.history import History as History
from metta.sweep.report.figures.history import history as history
from metta.sweep.report.figures.importance import ParameterImportance as ParameterImportance
from metta.sweep.report.figures.importance import parameter_importance as parameter_importance
from metta.sweep.report.figures.learning_curves import LearningCurves as LearningCurves
from metta.sweep.report.figures.learning_curves import learning_curves as learning_curves
from metta.sweep.report.figures.parallel import ParallelCoordinates as ParallelCoordinates
from metta.sweep.report.figures.parallel import parallel_coordinates as parallel_coordinates
from metta.sweep.report.figures.pareto import Pareto as Pareto
from metta.sweep.report.figures.pareto import pareto as pareto
from metta.sweep.report.figures.timeline import Timeline as Timeline
from metta.sweep.report.figures.timeline import timeline as timeline
from metta.sweep.report.snapshot import SweepSnapshot

MAKERS: Mapping[str, Callable[[SweepSnapshot], Figure]] = {
    "history": history,
    "learning_curves": learning_curves,
    "parallel_coordinates": parallel_coordinates,
    "parameter_importance": parameter_importance,
    "pareto": pareto,
    "timeline": timeline,
}
"""The figures by name, in the order in which a report shows them."""

_KINDS = (History, LearningCurves, ParallelCoordinates, ParameterImportance, Pareto, Timeline)
TITLES = {kind.name: kind.title for kind in _KINDS}
"""What they are called, by name."""


def all_figures(snapshot: SweepSnapshot) -> tuple[Figure, ...]:
    """The figures that have something to show, in the order in which a report shows them."""
    figures = (make(snapshot) for make in MAKERS.values())
    return tuple(figure for figure in figures if not figure.missing)
