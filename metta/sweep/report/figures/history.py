"""Each trial's score in the order of their numbers, and the best so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

from metta.sweep.goal import Direction
from metta.sweep.report.drawing.legends import Entry, Line, state_entries
from metta.sweep.report.drawing.marks import FEW, MANY, Mark, marks, thinned
from metta.sweep.report.drawing.panels import SMALL, Box, Panel, heading, x_axis, x_ticks, y_axis, y_margin
from metta.sweep.report.drawing.scales import Scale, beyond, score_scale, whole
from metta.sweep.report.drawing.styles import STYLES, Style, style_of
from metta.sweep.report.drawing.svg import Attributes, Markup, element, joined, number, text
from metta.sweep.report.drawing.words import brief
from metta.sweep.report.figures.base import Figure
from metta.sweep.report.figures.scores import (
    MOST_NAMES,
    capitalized,
    listed,
    listed_names,
    states_text,
    trial_text,
    values_of,
)
from metta.sweep.report.ranking import ranking
from metta.sweep.report.snapshot import SweepSnapshot
from metta.sweep.report.text import number_text, trials_text
from metta.sweep.trial import Trial

STRIP: Final = 24.0
"""Pixels of the strip for trials without a score."""

BEST: Final = Line(width=1.8)
PANEL: Final = 150.0
"""Least pixels of the panel of one objective."""


class Dot(NamedTuple):
    """The score of one trial; None where it has no finite one."""

    trial: int
    value: float | None
    state: str
    step: int
    title: str


@dataclass(frozen=True, slots=True)
class Track:
    """One objective: the score of every trial, and those that were better than all before them."""

    metric: str
    direction: Direction
    scale: Scale
    dots: tuple[Dot, ...]
    best: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class History(Figure):
    """See `history`."""

    name: ClassVar[str] = "history"
    title: ClassVar[str] = "History"

    tracks: tuple[Track, ...]
    last: int

    def _data(self) -> dict[str, Any]:
        return {
            "objectives": [
                {
                    "metric": track.metric,
                    "direction": track.direction,
                    "trials": [
                        {"trial": dot.trial, "value": dot.value, "state": dot.state, "step": dot.step}
                        for dot in thinned(track.dots, MANY)
                    ],
                    "best_so_far": [{"trial": trial, "value": value} for trial, value in track.best],
                    "left_out": max(0, len(track.dots) - MANY),
                }
                for track in self.tracks
            ],
        }

    def _legend(self) -> Sequence[Entry]:
        entries = state_entries(dot.state for dot in self.tracks[0].dots)
        return [*entries, Entry("best so far", BEST)] if any(track.best for track in self.tracks) else entries

    def _heights(self) -> tuple[float, float]:
        return PANEL * len(self.tracks) + 24, math.inf

    def _draw(self, box: Box) -> Markup:
        rows = box.inside(bottom=24).rows(len(self.tracks))
        has_strip = any(dot.value is None for track in self.tracks for dot in track.dots)
        height = rows[0].height - 38 - (STRIP if has_strip else 0)
        margin = max(y_margin([track.scale for track in self.tracks], height), 62.0 if has_strip else 0.0)
        parts = []
        for row, track in zip(rows, self.tracks, strict=True):
            panel = Panel(row.inside(left=margin, top=26, right=14, bottom=12), whole(0, self.last), track.scale)
            parts.append(_track(panel, track))
        lowest = Panel(
            rows[-1].inside(left=margin, top=26, right=14, bottom=12), whole(0, self.last), self.tracks[-1].scale
        )
        return joined(*parts, x_axis(lowest, x_ticks(lowest.x, lowest.box.width), "trial"))


def history(snapshot: SweepSnapshot) -> History:
    """Each trial's score as a mark in the order of trial numbers, and the best so far as a step line.

    One panel per objective. What counts as best is compared among the trials that reached the largest resource; a
    trial without a finite score is marked in a strip at the bottom.
    """
    objectives, trials = snapshot.objectives, snapshot.trials
    values = [values_of(trial, objectives) for trial in trials]
    order = ranking(trials, objectives)
    longest = order[0].step if order else 0
    counted = sorted((trial for trial in order if trial.step == longest), key=lambda trial: trial.id)
    titles = [trial_text(trial, found, objectives) for trial, found in zip(trials, values, strict=True)]
    tracks = []
    for place, (metric, direction) in enumerate(zip(objectives.keys, objectives.directions, strict=True)):
        dots = tuple(
            Dot(trial.id, found[place], trial.state.value, trial.step, title)
            for trial, found, title in zip(trials, values, titles, strict=True)
        )
        scale = score_scale((dot.value for dot in dots if dot.value is not None), direction)
        pairs = [(trial.id, values_of(trial, objectives)[place]) for trial in counted]
        tracks.append(Track(metric, direction, scale, dots, _best_so_far(pairs, direction)))
    return History(
        alt=_alt(tracks, trials),
        notes=_notes(tracks, len(counted), len(order), longest),
        missing="" if trials else "No trial has been started.",
        tracks=tuple(tracks),
        last=max((trial.id for trial in trials), default=0),
    )


def _best_so_far(pairs: Sequence[tuple[int, float | None]], direction: Direction) -> tuple[tuple[int, float], ...]:
    best: list[tuple[int, float]] = []
    sign = -1 if direction == "maximize" else 1
    for trial, value in pairs:
        if value is not None and (not best or sign * value < sign * best[-1][1]):
            best.append((trial, value))
    return tuple(best)


def _alt(tracks: Sequence[Track], trials: Sequence[Trial]) -> str:
    if not trials:
        return "No trial has been started."
    metrics = listed_names([track.metric for track in tracks])
    what = f"{capitalized(metrics)} of {trials_text(len(trials))} in order"
    found = [
        f"the best{f' {brief(track.metric)}' if len(tracks) > 1 else ''}, {number_text(track.best[-1][1])}, "
        f"was reached by trial {track.best[-1][0]}"
        for track in tracks[:MOST_NAMES]
        if track.best
    ]
    told = listed(found) or "none has a score yet"
    return f"{what}: {told} ({states_text(trials)})."


def _notes(tracks: Sequence[Track], counted: int, scored: int, longest: int) -> tuple[str, ...]:
    notes = []
    if counted < scored:
        notes.append(f"Best so far is compared among the {trials_text(counted)} that reached step {longest}.")
    for track in tracks:
        far = beyond(track.scale, (dot.value for dot in track.dots if dot.value is not None))
        if far:
            worst = (max if track.direction == "minimize" else min)(
                dot.value for dot in track.dots if dot.value is not None
            )
            beyond_it = f"{trials_text(far)} beyond the axis of {brief(track.metric)}"
            notes.append(f"{beyond_it} (the worst: {number_text(worst)}): at its edge.")
    drawn = len(tracks[0].dots)
    if drawn > MANY:
        notes.append(f"{MANY} of the {drawn} trials are drawn, in equal distances.")
    return tuple(notes)


def _track(panel: Panel, track: Track) -> Markup:
    box = panel.box
    shown = thinned(track.dots, MANY)
    strip = box.bottom - 8 if any(dot.value is None for dot in shown) else None
    if strip is not None:
        panel = Panel(box.inside(bottom=STRIP), panel.x, panel.y)
    parts = [y_axis(panel), heading(box, f"{track.metric} ({track.direction})", _best_text(track))]
    if strip is not None:
        parts.append(text(box.left - 6, strip + 4, "no score", text_anchor="end", font_size=SMALL))
        parts.append(element("path", d=f"M{number(box.left)},{number(strip - 8)}h{number(box.width)}", **_STRIP))
    points = [_points(panel, [dot for dot in shown if style_of(dot.state) is style], style, strip) for style in STYLES]
    line = element("path", d=_steps(panel, track.best), class_="best", **BEST.attributes) if track.best else Markup("")
    # A few marks lie on the line, many would hide it.
    parts.extend([line, *points] if len(shown) <= FEW else [*points, line])
    if track.best:
        x, y = panel.across(track.best[-1][0]), panel.up(track.best[-1][1])
        parts.append(element("circle", cx=x, cy=y, r=6, **BEST.attributes))
    return joined(*parts)


def _points(panel: Panel, dots: Sequence[Dot], style: Style, strip: float | None) -> Markup:
    """The marks of one state; those without a score lie in the strip."""
    found = []
    for dot in dots:
        y = strip if dot.value is None else panel.up(dot.value)
        if y is not None:
            found.append(Mark(panel.across(dot.trial), y, dot.title))
    return marks(found, style)


def _best_text(track: Track) -> str:
    return f"best {number_text(track.best[-1][1])} (trial {track.best[-1][0]})" if track.best else "no score yet"


def _steps(panel: Panel, best: Sequence[tuple[int, float]]) -> str:
    first, value = best[0]
    path = f"M{number(panel.across(first))},{number(panel.up(value))}"
    for trial, value in best[1:]:
        path += f"H{number(panel.across(trial))}V{number(panel.up(value))}"
    return f"{path}H{number(panel.box.right)}"


_STRIP: Attributes = {
    "stroke": "currentColor",
    "stroke_opacity": "0.4",
    "stroke_dasharray": "2 3",
    "fill": "none",
}
