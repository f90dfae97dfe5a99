"""A rectangle with axes, and the room that they need around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metta.sweep.report.drawing.scales import Scale
from metta.sweep.report.drawing.svg import Attributes, Markup, element, group, joined, number, text
from metta.sweep.report.drawing.ticks import Tick
from metta.sweep.report.drawing.words import fitted, width_of

SMALL = 11.0
"""Pixels of the letters at axes."""

BOLD = 13.2
"""Pixels of letters that are as wide as bold ones of 12 pixels."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Where it ends."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Where it ends."""
        return self.top + self.height

    def inside(self, *, left: float = 0.0, top: float = 0.0, right: float = 0.0, bottom: float = 0.0) -> Box:
        """The rectangle without its margins; at least one pixel is left."""
        width, height = max(1.0, self.width - left - right), max(1.0, self.height - top - bottom)
        return Box(self.left + left, self.top + top, width, height)

    def rows(self, count: int) -> list[Box]:
        """So many equal rectangles below one another."""
        height = self.height / count
        return [Box(self.left, self.top + row * height, self.width, height) for row in range(count)]

    def columns(self, count: int) -> list[Box]:
        """So many equal rectangles beside one another."""
        width = self.width / count
        return [Box(self.left + column * width, self.top, width, self.height) for column in range(count)]


@dataclass(frozen=True, slots=True)
class Panel:
    """A rectangle whose sides are axes."""

    box: Box
    x: Scale
    y: Scale

    def across(self, value: float) -> float:
        """The pixel of a value of the x axis."""
        return self.box.left + self.x.place(value) * self.box.width

    def up(self, value: float) -> float:
        """The pixel of a value of the y axis, which grows upwards."""
        return self.box.bottom - self.y.place(value) * self.box.height


def y_ticks(scale: Scale, height: float) -> tuple[Tick, ...]:
    """As many ticks as stand well above one another."""
    return scale.ticks(max(3, int(height // 36)))


def y_margin(scales: Sequence[Scale], height: float) -> float:
    """Pixels that the labels at the y axes take."""
    labels = [tick.label for scale in scales for tick in y_ticks(scale, height)]
    return min(150.0, max((width_of(label, SMALL) for label in labels), default=0.0)) + 12


def y_axis(panel: Panel) -> Markup:
    """Lines across the panel with their values at its left."""
    box = panel.box
    parts = []
    for value, label in y_ticks(panel.y, box.height):
        y = panel.up(value)
        parts.append(element("path", d=f"M{number(box.left)},{number(y)}h{number(box.width)}", class_="grid"))
        parts.append(text(box.left - 6, y + 4, fitted(label, 150, SMALL), **_LABEL))
    return group(*parts, stroke_opacity="0.15", stroke="currentColor", class_="axis")


def x_axis(panel: Panel, ticks: Sequence[Tick], title: str) -> Markup:
    """Marks below the panel with their values, and below them what they count."""
    box = panel.box
    parts = [
        element(
            "path",
            d=f"M{number(box.left)},{number(box.bottom)}h{number(box.width)}",
            stroke="currentColor",
            stroke_opacity="0.6",
        )
    ]
    free = -1e9
    for value, label in ticks:
        x, half = panel.across(value), width_of(label, SMALL) / 2
        if not box.left - 1 <= x <= box.right + 1 or x - half < free:
            continue
        free = x + half + 8
        parts.append(
            element("path", d=f"M{number(x)},{number(box.bottom)}v4", stroke="currentColor", stroke_opacity="0.6")
        )
        parts.append(text(x, box.bottom + 16, label, text_anchor="middle", font_size=SMALL))
    middle = box.left + box.width / 2
    name = fitted(title, box.width, SMALL)
    parts.append(text(middle, box.bottom + 32, name, text_anchor="middle", font_size=SMALL))
    return group(*parts, class_="axis")


def x_ticks(scale: Scale, width: float) -> tuple[Tick, ...]:
    """As many ticks as stand well beside one another."""
    return scale.ticks(max(3, int(width // 90)))


def heading(box: Box, left: str, right: str = "") -> Markup:
    """A line above a panel: what its y axis counts, and what is to be known."""
    y = box.top - 8
    known = fitted(right, box.width * 0.6)
    room = box.width - (width_of(known) + 12 if known else 0)
    parts = [text(box.left, y, fitted(left, room, BOLD), font_weight="600")]
    if known:
        parts.append(text(box.right, y, known, text_anchor="end"))
    return joined(*parts)


_LABEL: Attributes = {
    "text_anchor": "end",
    "font_size": SMALL,
    "stroke": "none",
}
