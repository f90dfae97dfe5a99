"""Which worker ran what, and when."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from metta.sweep.report.drawing.legends import Entry, state_entries
from metta.sweep.report.drawing.marks import FEW, MANY, thinned
from metta.sweep.report.drawing.panels import SMALL, Box, Panel, x_axis
from metta.sweep.report.drawing.scales import Linear
from metta.sweep.report.drawing.styles import STYLES
from metta.sweep.report.drawing.svg import Attributes, Markup, element, joined, number, text
from metta.sweep.report.drawing.ticks import duration_ticks
from metta.sweep.report.drawing.words import fitted, width_of
from metta.sweep.report.figures.attempts import SLICES, TIME, counted, each, together
from metta.sweep.report.figures.base import Figure
from metta.sweep.report.figures.lanes import Bar, by_worker, lanes
from metta.sweep.report.figures.scores import listed
from metta.sweep.report.snapshot import Span, SweepSnapshot
from metta.sweep.report.text import duration, trials_text

MOST_ROWS: Final = 40
LEAST_ROW: Final = 9.0
MOST_ROW: Final = 30.0
LEAST_SECONDS: Final = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline(Figure):
    """See `timeline`.

    Attributes:
        bars: the attempts, each in its row.
        rows: the name of each row: of a worker, "" for a further row of the one above.
        bundled: whether rows are not workers: "" (they are), "slots" or "counts" (there are no rows at all).
        seconds: how long the sweep has run.
    """

    name: ClassVar[str] = "timeline"
    title: ClassVar[str] = "Timeline"

    bars: tuple[Bar, ...]
    rows: tuple[str, ...]
    bundled: str
    seconds: float

    def _data(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds,
            "workers": len({bar.span.worker for bar in self.bars}),
            "attempts": [
                {
                    "trial": bar.span.trial,
                    "attempt": bar.span.attempt,
                    "worker": bar.span.worker,
                    "began": bar.span.began,
                    "ended": bar.span.ended,
                    "end": bar.span.end,
                    "reason": bar.span.reason,
                }
                for bar in thinned(self.bars, MANY)
            ],
            "left_out": max(0, len(self.bars) - MANY),
        }

    def _legend(self) -> Sequence[Entry]:
        return state_entries(bar.span.end for bar in self.bars)

    def _heights(self) -> tuple[float, float]:
        if self.bundled == "counts":
            return 220.0, math.inf
        return LEAST_ROW * len(self.rows) + 46, MOST_ROW * len(self.rows) + 46

    def _draw(self, box: Box) -> Markup:
        time = Linear(0.0, self.seconds)
        if self.bundled == "counts":
            return counted(box, self.bars, time)
        margin = min(box.width * 0.3, max(width_of(row, SMALL) for row in self.rows) + 16)
        inner = box.inside(left=max(40.0, margin), right=16, top=6, bottom=40)
        height = inner.height / len(self.rows)
        every = math.ceil(12 / height)  # names that would lie on one another are left out
        panel = Panel(inner, time, Linear(0.0, 1.0))
        names = [
            text(inner.left - 8, inner.top + (row + 0.5) * height + 4, fitted(name, margin - 10, SMALL), **_NAME)
            for row, name in enumerate(self.rows)
            if row % every == 0
        ]
        lines = [
            element(
                "path", d=f"M{number(inner.left)},{number(inner.top + row * height)}h{number(inner.width)}", **_LINE
            )
            for row, name in enumerate(self.rows)
            if name
        ]
        draw = each if len(self.bars) <= FEW else together
        axis = x_axis(panel, duration_ticks(self.seconds, max(2, int(inner.width // 90))), TIME)
        return joined(*lines, *names, draw(panel, self.bars, height), axis)


def timeline(snapshot: SweepSnapshot) -> Timeline:
    """A row per worker and a bar per attempt, coloured by its end; failures and preemptions have a mark.

    A worker that runs several attempts at once has several rows. Where that makes more than 40 rows (workers may be
    named anew for each attempt), rows are slots: an attempt takes the first that is free; where that is not enough
    either, the number of attempts that run is drawn over time.
    """
    spans = sorted(snapshot.spans, key=lambda span: (span.began, span.trial, span.attempt))
    now = max([snapshot.seconds, *(span.began if span.ended is None else span.ended for span in spans)])
    ends = [max(span.began, now if span.ended is None else span.ended) for span in spans]
    rows, places = by_worker(spans, ends)
    bundled = ""
    if len(rows) > MOST_ROWS:
        places = lanes(spans, ends)
        bundled = "slots" if max(places) < MOST_ROWS else "counts"
        rows = [f"slot {row + 1}" for row in range(max(places) + 1)] if bundled == "slots" else []
    workers = len({span.worker for span in spans})
    notes = {
        "": (),
        "slots": (f"{workers} workers: a row is a slot, in which one attempt runs after the other.",),
        "counts": (
            f"{workers} workers: the number of attempts that run at once is drawn, over {SLICES} parts of the time.",
        ),
    }
    missing = (
        "" if spans else "No attempt of a trial is known: only a sweep that keeps a run in a store has a timeline."
    )
    return Timeline(
        alt=missing or _alt(spans, workers, now),
        notes=notes[bundled],
        missing=missing,
        bars=tuple(Bar(span, place, end) for span, place, end in zip(spans, places, ends, strict=True)),
        rows=tuple(rows),
        bundled=bundled,
        seconds=max(now, LEAST_SECONDS),
    )


def _alt(spans: Sequence[Span], workers: int, seconds: float) -> str:
    ends: dict[str, int] = {}
    for span in spans:
        ends[span.end] = ends.get(span.end, 0) + 1
    attempts = "1 attempt" if len(spans) == 1 else f"{len(spans)} attempts"
    on = "1 worker" if workers == 1 else f"{workers} workers"
    told = listed(f"{ends[style.name]} {style.name}" for style in STYLES if style.name in ends)
    trials = trials_text(len({span.trial for span in spans}))
    return f"{attempts} of {trials} on {on} in {duration(seconds)}: {told}."


_NAME: Attributes = {"text_anchor": "end", "font_size": SMALL}
_LINE: Attributes = {"stroke": "currentColor", "stroke_opacity": "0.15", "class_": "grid"}
