"""What several objectives cost each other: the trials, and those that no other one beats."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar, Final

from metta.sweep.goal import Objectives
from metta.sweep.report.drawing.legends import Entry, Line, state_entries
from metta.sweep.report.drawing.marks import MANY, Mark, marks, thinned
from metta.sweep.report.drawing.panels import Box, Panel, heading, x_axis, x_ticks, y_axis, y_margin
from metta.sweep.report.drawing.scales import Scale, beyond, score_scale
from metta.sweep.report.drawing.styles import EMPHASIS, STYLES, Style, style_of
from metta.sweep.report.drawing.svg import Markup, element, joined, number
from metta.sweep.report.drawing.words import brief
from metta.sweep.report.figures.base import Figure
from metta.sweep.report.figures.scores import capitalized, finite, listed_names, trial_text
from metta.sweep.report.ranking import pareto_front, ranking
from metta.sweep.report.snapshot import SweepSnapshot
from metta.sweep.report.text import trials_text
from metta.sweep.trial import Trial

MOST: Final = 4
"""So many objectives have panels."""

FRONT: Final = Style("front", EMPHASIS, "diamond")
STEPS: Final = Line(EMPHASIS, 1.6)


@dataclass(frozen=True, slots=True)
class Spot:
    """A trial with all its scores."""

    trial: int
    values: tuple[float, ...]
    state: str
    on_front: bool
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pareto(Figure):
    """See `pareto`."""

    name: ClassVar[str] = "pareto"
    title: ClassVar[str] = "Pareto front"

    objectives: Objectives
    scales: tuple[Scale, ...]
    spots: tuple[Spot, ...]
    left_out: int

    def _data(self) -> dict[str, Any]:
        return {
            "objectives": [
                {"metric": key, "direction": direction}
                for key, direction in zip(self.objectives.keys, self.objectives.directions, strict=True)
            ],
            "trials": [
                {"trial": spot.trial, "values": list(spot.values), "state": spot.state, "front": spot.on_front}
                for spot in self.spots
            ],
            "left_out": self.left_out,
        }

    def _legend(self) -> Sequence[Entry]:
        members = sum(spot.on_front for spot in self.spots)
        others = state_entries(spot.state for spot in self.spots if not spot.on_front)
        return [Entry(f"Pareto front ({members})", FRONT), *others]

    def _pairs(self) -> list[tuple[int, int]]:
        return list(combinations(range(len(self.scales)), 2))

    def _heights(self) -> tuple[float, float]:
        return {1: 240.0, 3: 420.0}.get(len(self._pairs()), 600.0), math.inf

    def _draw(self, box: Box) -> Markup:
        pairs = self._pairs()
        columns = min(2, len(pairs))
        rows = math.ceil(len(pairs) / columns)
        cells = [cell for row in box.rows(rows) for cell in row.columns(columns)]
        return joined(*(self._panel(cell, x, y) for cell, (x, y) in zip(cells, pairs, strict=False)))

    def _panel(self, cell: Box, x: int, y: int) -> Markup:
        keys, directions = self.objectives.keys, self.objectives.directions
        margin = y_margin([self.scales[y]], cell.height - 66)
        panel = Panel(cell.inside(left=margin, right=16, top=26, bottom=40), self.scales[x], self.scales[y])
        parts = [
            y_axis(panel),
            x_axis(panel, x_ticks(panel.x, panel.box.width), f"{keys[x]} ({directions[x]})"),
            heading(panel.box, f"{keys[y]} ({directions[y]})"),
        ]
        for style in STYLES:
            found = [spot for spot in self.spots if not spot.on_front and style_of(spot.state) is style]
            parts.append(marks(_marks(panel, found, x, y), style))
        front = [spot for spot in self.spots if spot.on_front]
        if len(self.scales) == 2 and front:
            parts.append(element("path", d=self._steps(panel, front), class_="front", **STEPS.attributes))
        parts.append(marks(_marks(panel, front, x, y), FRONT, 4.5))
        return joined(*parts)

    def _steps(self, panel: Panel, front: Sequence[Spot]) -> str:
        """The border of what was reached: from one member to the next by the corner that both beat."""
        ordered = sorted(
            front, key=lambda spot: self.objectives.losses(dict(zip(self.objectives.keys, spot.values, strict=True)))
        )
        first, *rest = ordered
        path = f"M{number(panel.across(first.values[0]))},{number(panel.up(first.values[1]))}"
        for spot in rest:
            path += f"H{number(panel.across(spot.values[0]))}V{number(panel.up(spot.values[1]))}"
        return path


def pareto(snapshot: SweepSnapshot) -> Pareto:
    """The trials of a sweep with several objectives in the plane of two of them, and the Pareto front.

    Two objectives: one panel, the front as a step line. More: one panel for each pair of the first four, where the
    front, which is a surface, has marks only. The front is that of the trials that reached the largest resource.
    """
    objectives = snapshot.objectives
    order = () if objectives.is_single else ranking(snapshot.trials, objectives)
    members = {trial.id for trial in pareto_front(order, objectives)}
    chosen = [*(trial for trial in order if trial.id in members)]
    chosen.extend(thinned([trial for trial in order if trial.id not in members], max(0, MANY - len(chosen))))
    spots = []
    for trial in sorted(chosen, key=lambda trial: trial.id):
        values = tuple(objectives.values(trial.score)) if trial.score is not None else ()
        title = trial_text(trial, tuple(map(finite, values)), objectives)
        spots.append(Spot(trial.id, values, trial.state.value, trial.id in members, title))
    kept = min(MOST, len(objectives.keys))
    scales = tuple(
        score_scale((spot.values[place] for spot in spots), objectives.directions[place]) for place in range(kept)
    )
    missing = ""
    if objectives.is_single:
        missing = "There is one objective: nothing is traded for anything else."
    elif not spots:
        missing = "No trial has a score yet."
    told = f"{listed_names(objectives.keys)} of {trials_text(len(order))}"
    return Pareto(
        alt=missing or capitalized(f"{told}: {len(members)} of them are beaten by no other."),
        notes=() if missing else _notes(objectives, scales, spots, order),
        missing=missing,
        objectives=objectives,
        scales=scales,
        spots=tuple(spots),
        left_out=len(order) - len(spots),
    )


def _marks(panel: Panel, spots: Iterable[Spot], x: int, y: int) -> list[Mark]:
    return [Mark(panel.across(spot.values[x]), panel.up(spot.values[y]), spot.title) for spot in spots]


def _notes(
    objectives: Objectives, scales: Sequence[Scale], spots: Sequence[Spot], order: Sequence[Trial]
) -> tuple[str, ...]:
    notes = []
    keys = objectives.keys
    if len(keys) > 2:
        pairs = (
            "each pair of objectives"
            if len(keys) <= MOST
            else f"each pair of the first {MOST} of {len(keys)} objectives"
        )
        notes.append(f"One panel for {pairs}; the front is the one of all objectives together.")
    reached = sum(trial.step == order[0].step for trial in order)
    if reached < len(order):
        notes.append(f"The front is that of the {trials_text(reached)} that reached step {order[0].step}.")
    for place, scale in enumerate(scales):
        far = beyond(scale, (spot.values[place] for spot in spots))
        if far:
            notes.append(f"{trials_text(far)} beyond the axis of {brief(keys[place])}: at its edge.")
    if len(spots) < len(order):
        notes.append(
            f"{len(spots)} of {len(order)} trials are drawn: the front, and others in equal distances of rank."
        )
    return tuple(notes)
