"""The key to the marks of a figure: each with its name, in as many rows as they need."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from metta.sweep.report.drawing.marks import Mark, marks
from metta.sweep.report.drawing.styles import STYLES, Style, style_of
from metta.sweep.report.drawing.svg import Attributes, Markup, element, group, number, text
from metta.sweep.report.drawing.words import width_of

ROW = 20.0
"""Pixels of a row."""


@dataclass(frozen=True, slots=True)
class Line:
    """A look of lines: colour, width in pixels, the part of light that they stop together, and dashes."""

    color: str = "currentColor"
    width: float = 1.6
    opacity: float = 1.0
    dashes: str | None = None

    @property
    def attributes(self) -> Attributes:
        """As attributes of an SVG path."""
        return {
            "fill": "none",
            "stroke": self.color,
            "stroke_width": self.width,
            "opacity": f"{self.opacity:g}",
            "stroke_dasharray": self.dashes,
            "stroke_linejoin": "round",
        }

    def among(self, count: int) -> Line:
        """The look of each of `count` lines that cross one another: the more they are, the fainter."""
        return replace(self, opacity=min(0.9, max(0.12, self.opacity * math.sqrt(30 / max(1, count)))))


@dataclass(frozen=True, slots=True)
class Entry:
    """A mark or a line and what it means."""

    label: str
    look: Style | Line


def state_entries(states: Iterable[str]) -> list[Entry]:
    """The entries of the states that occur, with how often."""
    found: dict[str, int] = {}
    for state in states:
        name = style_of(state).name
        found[name] = found.get(name, 0) + 1
    return [Entry(f"{style.name} ({found[style.name]})", style) for style in STYLES if style.name in found]


def legend(entries: Sequence[Entry], width: float) -> tuple[Markup, float]:
    """The drawing, from the point (0, 0), and the pixels that it is high."""
    if not entries:
        return Markup(""), 0.0
    parts: list[Markup] = []
    x, y = 8.0, 14.0
    for entry in entries:
        needed = 24 + width_of(entry.label) + 16
        if x > 8 and x + needed > width:
            x, y = 8.0, y + ROW
        if isinstance(entry.look, Style):
            parts.append(marks([Mark(x + 9, y - 4, entry.label)], entry.look, 4.0))
        else:
            parts.append(element("path", d=f"M{number(x)},{number(y - 4)}h18", **entry.look.attributes))
        parts.append(text(x + 24, y, entry.label))
        x += needed
    return group(*parts, class_="legend"), y + 6
