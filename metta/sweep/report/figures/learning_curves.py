"""The score of each trial after each step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

from metta.sweep.goal import Objectives
from metta.sweep.report.drawing.legends import Entry, Line, state_entries
from metta.sweep.report.drawing.marks import Mark, marks, polyline, thinned
from metta.sweep.report.drawing.panels import Box, Panel, heading, x_axis, x_ticks, y_axis, y_margin
from metta.sweep.report.drawing.scales import Linear, Scale, beyond, positive, score_scale, spread
from metta.sweep.report.drawing.styles import PRUNED, STYLES, style_of
from metta.sweep.report.drawing.svg import Markup, element, joined, titled
from metta.sweep.report.drawing.words import brief
from metta.sweep.report.figures.base import Figure
from metta.sweep.report.figures.scores import Values, capitalized, listed_names, reported, trial_text, values_of
from metta.sweep.report.ranking import ranking
from metta.sweep.report.snapshot import SweepSnapshot
from metta.sweep.report.text import number_text, trials_text
from metta.sweep.trial import Report, Trial

SINGLE: Final = 200
"""Up to so many trials each has a line of its own; with more, half as many have one."""

BUNDLE: Final = 200
"""So many of the others are read and drawn as one bundle."""

POINTS: Final = 20_000
"""So many points of single lines, and half as many of the bundle, at most."""

PANEL: Final = 150.0
BEST: Final = Line(width=2.6)
OTHERS: Final = Line(PRUNED.color, 1.0, 0.3)
FORK: Final = Line(width=0.9, opacity=0.7, dashes="2 3")


class Point(NamedTuple):
    """The score after a step; one number, or none, for each objective."""

    step: int
    values: Values


@dataclass(frozen=True, slots=True)
class Curve:
    """One trial: `start` is the point of its parent where a fork went on from."""

    trial: int
    state: str
    points: tuple[Point, ...]
    title: str
    start: Point | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningCurves(Figure):
    """See `learning_curves`."""

    name: ClassVar[str] = "learning_curves"
    title: ClassVar[str] = "Learning curves"

    objectives: Objectives
    scales: tuple[Scale, ...]
    steps: Scale
    curves: tuple[Curve, ...]
    bundle: tuple[Curve, ...]
    best: int | None
    left_out: int

    def _data(self) -> dict[str, Any]:
        return {
            "objectives": [
                {"metric": metric, "direction": direction}
                for metric, direction in zip(self.objectives.keys, self.objectives.directions, strict=True)
            ],
            "best": self.best,
            "trials": [
                {
                    "trial": curve.trial,
                    "state": curve.state,
                    "steps": [point.step for point in curve.points],
                    "values": [list(point.values) for point in curve.points],
                }
                for curve in self.curves
            ],
            "left_out": self.left_out,
        }

    def _legend(self) -> Sequence[Entry]:
        entries = state_entries(curve.state for curve in self.curves)
        if self.best is not None:
            entries.append(Entry(f"best (trial {self.best})", BEST))
        if any(curve.start for curve in self.curves):
            entries.append(Entry("fork of another trial", FORK))
        return [*entries, Entry("other trials", OTHERS)] if self.bundle else entries

    def _heights(self) -> tuple[float, float]:
        return PANEL * len(self.scales) + 24, math.inf

    def _draw(self, box: Box) -> Markup:
        rows = box.inside(bottom=24).rows(len(self.scales))
        margin = y_margin(self.scales, rows[0].height - 38)
        panels = [
            Panel(row.inside(left=margin, top=26, right=14, bottom=12), self.steps, scale)
            for row, scale in zip(rows, self.scales, strict=True)
        ]
        parts = [self._panel(panel, place) for place, panel in enumerate(panels)]
        name = "step" if isinstance(self.steps, Linear) else "step (logarithmic)"
        return joined(*parts, x_axis(panels[-1], x_ticks(self.steps, panels[-1].box.width), name))

    def _panel(self, panel: Panel, place: int) -> Markup:
        metric, direction = self.objectives.keys[place], self.objectives.directions[place]
        parts = [y_axis(panel), heading(panel.box, f"{metric} ({direction})")]
        if self.bundle:
            path = "".join(_path(panel, curve.points, place) for curve in self.bundle)
            parts.append(element("path", d=path, class_="others", **OTHERS.attributes))
        ends: dict[str, list[Mark]] = {}
        for curve in reversed(self.curves):  # the best lies on top
            style = style_of(curve.state)
            look = BEST if curve.trial == self.best else Line(style.color, 1.1, 0.9).among(len(self.curves))
            drawn = _path(panel, curve.points, place)
            if not drawn:
                continue
            if curve.start is not None:
                fork = _path(panel, (curve.start, curve.points[0]), place)
                parts.append(element("path", d=fork, **FORK.attributes))
            parts.append(titled("path", curve.title, d=drawn, class_=f"line {style.name}", **look.attributes))
            step, value = next((p.step, p.values[place]) for p in reversed(curve.points) if p.values[place] is not None)
            ends.setdefault(style.name, []).append(Mark(panel.across(step), panel.up(value or 0.0), curve.title))
        parts.extend(marks(ends.get(style.name, []), style, 2.6) for style in STYLES)
        return joined(*parts)


def learning_curves(snapshot: SweepSnapshot) -> LearningCurves:
    """One line per trial: the score over the steps (units of resource), one panel per objective.

    Above 200 trials the best 100 have a line of their own, and 200 of the others, in equal distances of rank, are one
    faint bundle: reports of the rest are not even read. A fork of population based training hangs on its parent.
    """
    objectives = snapshot.objectives
    order = ranking(snapshot.trials, objectives)
    ranked = {trial.id for trial in order}
    ordered = [*order, *(trial for trial in snapshot.trials if trial.id not in ranked and trial.step)]
    single = len(ordered) if len(ordered) <= SINGLE else SINGLE // 2
    others = thinned(ordered[single:], BUNDLE)
    room = POINTS // len(objectives.keys)
    curves = _curves(ordered[:single], objectives, room // max(1, single))
    bundle = _curves(others, objectives, room // 2 // max(1, len(others)))
    points = [point for curve in (*curves, *bundle) for point in curve.points]
    scales = tuple(
        score_scale((value for point in points if (value := point.values[place]) is not None), direction)
        for place, direction in enumerate(objectives.directions)
    )
    longest = max((trial.step for trial in ordered), default=0)
    missing = ""
    if all(value is None for point in points for value in point.values):
        missing = "No trial has reported a score yet."
    elif longest == min(point.step for point in points):
        missing = "Every trial reported once: there are no curves to draw."
    left_out = len(ordered) - single - len(others)
    best = order[0].id if order and objectives.is_single else None
    return LearningCurves(
        alt=missing or capitalized(_alt(ordered, objectives, longest, best)),
        notes=() if missing else _notes(len(ordered), single, left_out, scales, points, objectives),
        missing=missing,
        objectives=objectives,
        scales=scales,
        steps=_steps(ordered, longest),
        curves=tuple(_with_starts(curves, snapshot.trials, objectives)),
        bundle=bundle,
        best=best,
        left_out=len(ordered) - single,
    )


def _curves(trials: Iterable[Trial], objectives: Objectives, limit: int) -> tuple[Curve, ...]:
    found = []
    for trial in trials:
        points = _thinned([_point(report, objectives) for report in trial.reports], max(8, limit))
        if points:
            title = trial_text(trial, values_of(trial, objectives), objectives)
            found.append(Curve(trial.id, trial.state.value, tuple(points), title))
    return tuple(found)


def _point(report: Report, objectives: Objectives) -> Point:
    return Point(report.step, reported(report.metrics, objectives))


def _thinned(points: Sequence[Point], limit: int) -> Sequence[Point]:
    """At most `limit` points: from each stretch the lowest and the highest, so that no peak gets lost."""
    if len(points) <= limit:
        return points
    stretches = limit // 2 - 1
    inner = points[1:-1]
    kept = [points[0]]
    for index in range(stretches):
        stretch = inner[len(inner) * index // stretches : len(inner) * (index + 1) // stretches]
        known = [point for point in stretch if point.values[0] is not None]
        ends = {min(known, key=_first), max(known, key=_first)} if known else set(stretch[:1])
        kept.extend(sorted(ends))
    return [*kept, points[-1]]


def _first(point: Point) -> float:
    return point.values[0] or 0.0


def _with_starts(curves: Sequence[Curve], trials: Sequence[Trial], objectives: Objectives) -> Iterable[Curve]:
    known = {trial.id: trial for trial in trials}
    for curve in curves:
        parent = known[curve.trial].parent
        if parent is None or parent not in known:
            yield curve
            continue
        before = [report for report in known[parent].reports if report.step < curve.points[0].step]
        start = _point(before[-1], objectives) if before else None
        yield Curve(curve.trial, curve.state, curve.points, curve.title, start)


def _steps(trials: Sequence[Trial], longest: int) -> Scale:
    """Logarithmic where most trials ended before a quarter of the steps, as with successive halving."""
    ends = sorted(trial.step for trial in trials)
    if longest >= 8 and ends[len(ends) // 2] * 4 <= longest:
        return positive(1.0, float(longest))
    return spread(min(1.0, float(longest)), float(longest)) if longest > 1 else Linear(0.0, 1.0)


def _path(panel: Panel, points: Iterable[Point], place: int) -> str:
    """The line, with gaps where there is no finite number; a single point between gaps is a dot."""
    runs: list[list[tuple[float, float]]] = [[]]
    for step, values in points:
        value = values[place]
        if value is None:
            runs.append([])
        else:
            runs[-1].append((panel.across(step), panel.up(value)))
    return "".join(polyline(run) + ("h0" if len(run) == 1 else "") for run in runs if run)


def _alt(trials: Sequence[Trial], objectives: Objectives, longest: int, best: int | None) -> str:
    reached = sum(trial.step == longest for trial in trials)
    told = f"; trial {best} is the best of them" if best is not None else ""
    return (
        f"{listed_names(objectives.keys)} of {trials_text(len(trials))} over {longest} steps: "
        f"{reached} reached the last step{told}."
    )


def _notes(
    count: int, single: int, left_out: int, scales: Sequence[Scale], points: Sequence[Point], objectives: Objectives
) -> tuple[str, ...]:
    notes = []
    if count > single:
        bundle = count - single - left_out
        which = f"{bundle} of the {count - single} others, in equal distances of rank," if left_out else "the others"
        notes.append(f"The best {single} of {count} trials have a line of their own; {which} are a faint bundle.")
    for place, scale in enumerate(scales):
        values = [value for point in points if (value := point.values[place]) is not None]
        if beyond(scale, values):
            worst = (max if objectives.directions[place] == "minimize" else min)(values)
            notes.append(
                f"Beyond the axis of {brief(objectives.keys[place])}, to {number_text(worst)}, points are at its edge."
            )
    return tuple(notes)
