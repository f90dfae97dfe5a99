"""Every trial as a line across an axis for each parameter and its score."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from metta.sweep.goal import Objectives
from metta.sweep.report.drawing.legends import Entry, Line
from metta.sweep.report.drawing.marks import FEW, polyline, thinned
from metta.sweep.report.drawing.panels import BOLD, Box
from metta.sweep.report.drawing.scales import beyond, score_scale
from metta.sweep.report.drawing.styles import EMPHASIS, FAILED, RANKS
from metta.sweep.report.drawing.svg import Markup, element, escaped, group, joined, number, text, titled
from metta.sweep.report.drawing.ticks import Tick
from metta.sweep.report.drawing.words import brief, fitted, unique_ends, width_of
from metta.sweep.report.figures.base import Figure
from metta.sweep.report.figures.parameters import ABSENT, Axis, as_number, axis_of, values_in, varied
from metta.sweep.report.figures.scores import MOST_NAMES, listed_names, trial_text, values_of
from metta.sweep.report.importance import LEAST_TRIALS, shares
from metta.sweep.report.ranking import pareto_front, ranking
from metta.sweep.report.snapshot import SweepSnapshot
from metta.sweep.report.text import trials_text, value_text
from metta.sweep.trial import Trial, TrialState

MOST_AXES: Final = 12
MOST_SCORES: Final = 4
BEST_LINES: Final = 60
LINES: Final = 300
FAILED_LINES: Final = 60
SMALL: Final = 10.0
LEFT: Final = 44.0
MOST_LEFT: Final = 110.0
RIGHT: Final = 60.0
LEAST_GAP: Final = 46.0

# From the bottom of the drawing to its top.
LOOKS: Final = {
    "failed": Line(FAILED.color, 1.0, 0.6, "4 3"),
    "the others": Line(RANKS[2], 0.9, 0.6),
    "best half": Line(RANKS[1], 1.1, 0.7),
    "best 10 %": Line(RANKS[0], 1.5, 0.9),
    "Pareto front": Line(EMPHASIS, 1.6, 0.9),
    "best": Line(EMPHASIS, 3.0),
}

_CLASSES: Final = dict(zip(LOOKS, ("failed", "others", "half", "tenth", "front", "best"), strict=True))


@dataclass(frozen=True, slots=True)
class Row:
    """A trial: its values on the axes, where they lie (None: it has none), and how it looks."""

    trial: int
    values: tuple[Any, ...]
    places: tuple[float | None, ...]
    look: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelCoordinates(Figure):
    """See `parallel_coordinates`."""

    name: ClassVar[str] = "parallel_coordinates"
    title: ClassVar[str] = "Parallel coordinates"

    axes: tuple[Axis, ...]
    scores: int
    rows: tuple[Row, ...]
    left_out: int
    axes_left_out: tuple[str, ...]

    def _data(self) -> dict[str, Any]:
        parameters = self.axes[: len(self.axes) - self.scores]
        return {
            "parameters": [{"path": axis.path, "scale": type(axis.scale).__name__.lower()} for axis in parameters],
            "objectives": [axis.path for axis in self.axes[len(parameters) :]],
            "trials": [
                {"trial": row.trial, "group": row.look, "values": [_json_value(value) for value in row.values]}
                for row in self.rows
            ],
            "left_out": self.left_out,
            "parameters_left_out": list(self.axes_left_out),
        }

    def _legend(self) -> Sequence[Entry]:
        found = {row.look for row in self.rows}
        return [Entry(name, look) for name, look in reversed(LOOKS.items()) if name in found]

    def _least_width(self) -> float:
        return LEFT + RIGHT + LEAST_GAP * (len(self.axes) - 1)

    def _heights(self) -> tuple[float, float]:
        return 220.0, math.inf

    def _draw(self, box: Box) -> Markup:
        inner = box.inside(left=_left(self.axes[0], box.height), right=RIGHT, top=46, bottom=36)
        gap = inner.width / max(1, len(self.axes) - 1)
        across = [inner.left + index * gap for index in range(len(self.axes))]
        parts = []
        for name, look in LOOKS.items():
            rows = [row for row in self.rows if row.look == name]
            paths = [polyline(_points(row, across, inner)) for row in reversed(rows)]
            shown = look if name == "best" else look.among(len(rows))
            attributes = shown.attributes | {"class_": f"line {_CLASSES[name]}"}
            if len(self.rows) <= FEW:
                pairs = zip(reversed(rows), paths, strict=True)
                parts.append(group(*(titled("path", row.title, d=path) for row, path in pairs), **attributes))
            elif paths:
                parts.append(element("path", d="".join(paths), **attributes))
        titles = unique_ends([axis.path for axis in self.axes])
        for index, (axis, title) in enumerate(zip(self.axes, titles, strict=True)):
            is_score = index >= len(self.axes) - self.scores
            parts.append(_axis(axis, title, across[index], inner, index, gap, bold=is_score))
            if any(row.places[index] is None for row in self.rows):
                missing = "no score" if is_score else "not set"
                parts.append(text(across[index], inner.bottom + 34, missing, font_size=SMALL, text_anchor="middle"))
        return joined(*parts)


def parallel_coordinates(snapshot: SweepSnapshot) -> ParallelCoordinates:
    """Every trial as a line across one axis per parameter and one per objective, the best on top.

    Axes have the scale of the parameter's distribution; constants have none. A parameter that a trial does not have (it
    is conditional) lies in the band "not set" below its axis, and so does the score of a trial that failed. At most 12
    parameters, the most important, and at most 300 trials: the best 60, and others in equal distances of rank; of those
    that failed 60 more.
    """
    objectives = snapshot.objectives
    order = ranking(snapshot.trials, objectives)
    failed = [trial for trial in snapshot.trials if trial.state is TrialState.FAILED]
    searched = varied(snapshot.trials, snapshot.space)
    kept = _most_important(searched, order)
    keys = objectives.keys[:MOST_SCORES]
    front = {trial.id for trial in pareto_front(order, objectives)} if not objectives.is_single else None
    drawn = [(order[rank], _look(order[rank], rank, len(order), front)) for rank in _chosen(len(order))]
    drawn.extend((trial, "failed") for trial in thinned(failed, FAILED_LINES))
    table = [values_in(trial, kept) for trial, _ in drawn]
    axes = [
        axis_of(path, [row[index] for row in table], snapshot.space.get(path, {})) for index, path in enumerate(kept)
    ]
    scores = [values_of(trial, objectives)[: len(keys)] for trial, _ in drawn]
    notes = _notes(len(order), len(failed), len(drawn), kept, searched)
    for place, key in enumerate(keys):
        found = [row[place] for row in scores]
        known = [value for value in found if value is not None]
        scale = score_scale(known, objectives.directions[place])
        if beyond(scale, known):
            notes.append(f"Beyond the axis of {brief(key)}, lines end at its end.")
        axes.append(Axis(key, scale, {}))
    rows = []
    for (trial, look), values, score in zip(drawn, table, scores, strict=True):
        everything = (*values, *(ABSENT if value is None else value for value in score))
        places = tuple(axis.place(value) for axis, value in zip(axes, everything, strict=True))
        rows.append(Row(trial.id, everything, places, look, _title(trial, kept, values, objectives)))
    missing = "No trial has a score yet." if not order else ""
    if order and not kept:
        missing = "All parameters are constant: there is nothing to compare."
    return ParallelCoordinates(
        alt=missing or _alt(order, kept, keys, table),
        notes=() if missing else tuple(notes),
        missing=missing,
        axes=tuple(axes),
        scores=len(keys),
        rows=tuple(rows),
        left_out=len(order) + len(failed) - len(drawn),
        axes_left_out=tuple(path for path in searched if path not in kept),
    )


def _most_important(paths: list[str], order: Sequence[Trial]) -> list[str]:
    if len(paths) <= MOST_AXES:
        return paths
    by_share = list(shares(order)) if len(order) >= LEAST_TRIALS else paths
    most = set([path for path in by_share if path in set(paths)][:MOST_AXES])
    return [path for path in paths if path in most]


def _chosen(count: int) -> Sequence[int]:
    """The ranks that are drawn."""
    return [*range(min(count, BEST_LINES)), *thinned(range(BEST_LINES, count), LINES - BEST_LINES)]


def _look(trial: Trial, rank: int, count: int, front: set[int] | None) -> str:
    """The look of a trial; with one objective there is no front, with several there is no best trial."""
    if front is None and rank == 0:
        return "best"
    if front is not None and trial.id in front:
        return "Pareto front"
    if rank < count * 0.1:
        return "best 10 %"
    return "best half" if rank < count * 0.5 else "the others"


def _points(row: Row, across: Sequence[float], box: Box) -> Iterable[tuple[float, float]]:
    for x, place in zip(across, row.places, strict=True):
        yield x, box.bottom + 20 if place is None else box.bottom - place * box.height


def _ticks(axis: Axis, height: float) -> Sequence[Tick]:
    return axis.scale.ticks(max(2, int(height // 28)))


def _left(axis: Axis, height: float) -> float:
    """The pixels at the left of the first axis, where its labels stand: there no line crosses them."""
    widest = max((width_of(tick.label, SMALL) for tick in _ticks(axis, height)), default=0.0)
    return min(MOST_LEFT, max(LEFT, widest + 12))


def _axis(axis: Axis, title: str, x: float, box: Box, index: int, gap: float, *, bold: bool) -> Markup:
    line = element("path", d=f"M{number(x)},{number(box.top)}V{number(box.bottom)}", stroke="currentColor")
    narrow = gap < 110
    size = BOLD if bold else 12.0
    room = (2 * gap if narrow else gap) - 10
    # A long name at an end stays in the drawing, and so has less room on the other side.
    ends = [margin + room / 2 for margin, end in ((box.left, box.left), (RIGHT, box.right)) if abs(x - end) < 1]
    shown = fitted(title, min(room, *ends) if ends else room, size)
    half = width_of(shown, size) / 2
    middle = min(max(x, half + 2), box.right + RIGHT - 2 - half)
    row = box.top - (26 if narrow and index % 2 else 10)
    weight = "600" if bold else None
    name = group(
        element("title", escaped(axis.path)), text(middle, row, shown, text_anchor="middle", font_weight=weight)
    )
    labels = []
    at_left = index == 0
    space = box.left - 10 if at_left else min(gap, 110) - 8
    for value, label in _ticks(axis, box.height):
        y = box.bottom - axis.scale.place(value) * box.height
        labels.append(element("path", d=f"M{number(x - 3)},{number(y)}h6", stroke="currentColor"))
        # Lines cross the labels of the other axes: a page may set their halo in the colour of its ground.
        labels.append(
            text(
                x - 5 if at_left else x + 5,
                y + 3.5,
                fitted(label, space, SMALL),
                font_size=SMALL,
                text_anchor="end" if at_left else None,
                class_="halo",
            )
        )
    return group(line, name, *labels, class_="axis")


def _json_value(value: object) -> Any:
    if value is ABSENT:
        return None
    found = as_number(value)
    if found is not None or isinstance(value, bool):
        return value
    return value_text(value)


def _title(trial: Trial, paths: Sequence[str], values: Sequence[object], objectives: Objectives) -> str:
    told = [f"{path} = {value_text(value)}" for path, value in zip(paths, values, strict=True) if value is not ABSENT]
    return "; ".join([trial_text(trial, values_of(trial, objectives), objectives), *told])


def _alt(order: Sequence[Trial], paths: Sequence[str], keys: Sequence[str], table: Sequence[Sequence[object]]) -> str:
    given = zip(paths, table[0], strict=True)
    best = [f"{brief(path)} = {value_text(value)}" for path, value in given if value is not ABSENT]
    more = f" and {len(best) - MOST_NAMES} more" if len(best) > MOST_NAMES else ""
    return (
        f"{trials_text(len(order))} across {len(paths)} parameters and {listed_names(keys)}: the first in rank, trial "
        f"{order[0].id}, has {', '.join(best[:MOST_NAMES])}{more}."
    )


def _notes(scored: int, failed: int, drawn: int, kept: Sequence[str], searched: Sequence[str]) -> list[str]:
    notes = []
    if drawn < scored + failed:
        notes.append(
            f"{drawn} of {scored + failed} trials are drawn: the best {BEST_LINES}, and others "
            "in equal distances of rank."
        )
    if len(kept) < len(searched):
        notes.append(f"The {len(kept)} most important of {len(searched)} parameters are drawn.")
    return notes
