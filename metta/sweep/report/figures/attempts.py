"""How the attempts of a timeline are drawn: each, many together, or only how many there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from metta.sweep.report.drawing.marks import MANY, Mark, marks, outline, thinned
from metta.sweep.report.drawing.panels import SMALL, Box, Panel, heading, x_axis, y_axis, y_margin
from metta.sweep.report.drawing.scales import Linear
from metta.sweep.report.drawing.styles import COMPLETED, STYLES, Style, style_of
from metta.sweep.report.drawing.svg import Markup, element, escaped, group, joined, number, text
from metta.sweep.report.drawing.ticks import duration_ticks
from metta.sweep.report.drawing.words import width_of
from metta.sweep.report.figures.lanes import Bar
from metta.sweep.report.text import duration

TROUBLE: Final = ("failed", "preempted", "lost")

SLICES: Final = 300
"""Into so many parts the time is cut where only the number of attempts is drawn."""

THIN: Final = 2.0
"""Bars of less than so many pixels become one where they touch."""

TIME: Final = "time since the beginning"


def each(panel: Panel, bars: Sequence[Bar], height: float) -> Markup:
    """A bar with a tooltip for each attempt, its trial's number in it, and a mark at its end."""
    parts = []
    for bar in bars:
        span, style = bar.span, style_of(bar.span.end)
        left, right = panel.across(span.began), panel.across(bar.end)
        width = max(1.5, right - left - 1)
        middle = panel.box.top + (bar.row + 0.5) * height
        shapes = [
            element("title", escaped(_title(bar))),
            element(
                "rect",
                x=left,
                y=middle - height * 0.4,
                width=width,
                height=height * 0.8,
                fill=style.color,
                class_=f"bar {style.name}",
            ),
        ]
        label = str(span.trial)
        if width >= width_of(label, SMALL) + 22 and height >= 13:
            shapes.append(text(left + 4, middle + 4, label, fill="#ffffff", font_size=SMALL))
        if style is not COMPLETED and (width >= 14 or style.name in TROUBLE):
            at = left + width - 7 if width >= 14 else left + width / 2
            mark = outline(style.shape, at, middle, min(3.5, height * 0.3))
            stroke = "#ffffff" if width >= 14 else "currentColor"
            shapes.append(element("path", d=mark, fill="none", stroke=stroke, stroke_width=1.4))
        parts.append(group(*shapes))
    return joined(*parts)


def together(panel: Panel, bars: Sequence[Bar], height: float) -> Markup:
    """One path for all bars with the same end, and marks where something went wrong."""
    parts = []
    for style in STYLES:
        segments = _segments(panel, [bar for bar in bars if style_of(bar.span.end) is style])
        path = "".join(
            f"M{number(left)},{number(panel.box.top + (row + 0.5) * height)}H{number(right)}"
            for row, left, right in segments
        )
        if path:
            thick = max(2.0, height * 0.8)
            parts.append(element("path", d=path, stroke=style.color, stroke_width=thick, class_=f"bar {style.name}"))
    for style in STYLES:
        ends = [bar for bar in bars if bar.span.end == style.name and style.name in TROUBLE]
        found = [Mark(panel.across(bar.end), panel.box.top + (bar.row + 0.5) * height, _title(bar)) for bar in ends]
        parts.append(_outlined(thinned(found, MANY), style, min(3.0, height * 0.35)))
    return joined(*parts)


def _segments(panel: Panel, bars: Iterable[Bar]) -> list[tuple[int, float, float]]:
    """Row, left and right end of each bar; those that are too thin to be told apart are one."""
    found: list[tuple[int, float, float]] = []
    last: dict[int, int] = {}
    for bar in bars:
        left, right = panel.across(bar.span.began), panel.across(bar.end)
        before = found[last[bar.row]] if bar.row in last else None
        if before is not None and right - left < THIN and left <= before[2] + THIN / 2:
            found[last[bar.row]] = (bar.row, before[1], max(before[2], right))
            continue
        last[bar.row] = len(found)
        found.append((bar.row, left, max(left + 1, right - 0.8)))  # a gap between neighbours
    return found


def _outlined(found: Sequence[Mark], style: Style, size: float) -> Markup:
    """Marks in the colour of text, which stand out from the bars."""
    if not found:
        return Markup("")
    path = "".join(outline(style.shape, mark.x, mark.y, size) for mark in found)
    return element("path", d=path, fill="none", stroke="currentColor", stroke_width=1.2, class_=f"mark {style.name}")


def counted(box: Box, bars: Sequence[Bar], time: Linear) -> Markup:
    """How many attempts run, in each of the slices of time; what went wrong is a strip below."""
    counts = running(bars, time.hi)
    scale = Linear(0.0, max(1.0, *counts) * 1.05)
    inner = box.inside(left=y_margin([scale], box.height - 86), right=16, top=26, bottom=60)
    panel = Panel(inner, time, scale)
    width = inner.width / len(counts)
    steps = "".join(f"V{number(panel.up(count))}h{number(width)}" for count in counts)
    area = f"M{number(inner.left)},{number(inner.bottom)}{steps}V{number(inner.bottom)}z"
    parts = [
        y_axis(panel),
        heading(inner, "attempts that run at once"),
        element("path", d=area, fill=COMPLETED.color, fill_opacity="0.6", class_="area"),
    ]
    strip = Panel(Box(inner.left, inner.top, inner.width, inner.height + 20), time, scale)
    for style in STYLES:
        ends = [bar for bar in bars if bar.span.end == style.name and style.name in TROUBLE]
        found = [Mark(strip.across(bar.end), inner.bottom + 12, _title(bar)) for bar in ends]
        parts.append(marks(thinned(found, MANY), style))
    return joined(*parts, x_axis(strip, duration_ticks(time.hi, max(2, int(inner.width // 90))), TIME))


def running(bars: Iterable[Bar], seconds: float) -> list[float]:
    """The mean number of attempts that run in each slice of time."""
    changes = [0.0] * (SLICES + 1)
    for bar in bars:
        _add(changes, bar.span.began / seconds * SLICES, 1.0)
        _add(changes, bar.end / seconds * SLICES, -1.0)
    found, level = [], 0.0
    for change in changes[:SLICES]:
        level += change
        found.append(max(0.0, level))
    return found


def _add(changes: list[float], place: float, amount: float) -> None:
    """Let the level change at `place`: the slice that it lies in has it for a part of its time."""
    index = min(SLICES - 1, max(0, int(place)))
    late = min(1.0, max(0.0, place - index))
    changes[index] += amount * (1 - late)
    changes[index + 1] += amount * late


def _title(bar: Bar) -> str:
    span = bar.span
    again = f", attempt {span.attempt}" if span.attempt > 1 else ""
    where = f" on {span.worker}" if span.worker else ""
    why = f": {span.reason}" if span.reason else ""
    times = f"{duration(span.began)} to {duration(bar.end)}"
    return f"trial {span.trial}{again}{where}, {times}, {span.end}{why}"[:400]
