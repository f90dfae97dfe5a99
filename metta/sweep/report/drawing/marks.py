"""Points: one element with a tooltip for each where they are few, one path for all where they are many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeVar

from metta.sweep.report.drawing.styles import Shape, Style
from metta.sweep.report.drawing.svg import Attributes, Markup, element, joined, number, titled

T = TypeVar("T")

FEW: Final = 300
"""So many elements have a tooltip each: a page with thousands of elements is slow, and nobody finds one of them."""

MANY: Final = 5000
"""So many marks are drawn at most."""


class Mark(NamedTuple):
    """A point in pixels, and its tooltip."""

    x: float
    y: float
    title: str


def outline(shape: Shape, x: float, y: float, size: float) -> str:
    """The path of a mark with about `size` pixels around its middle."""
    a, b, at = number(size), number(2 * size), f"{number(x)},{number(y)}"
    match shape:
        case "dot":  # a line without length; its round cap is the dot
            return f"M{at}h0"
        case "ring":
            return f"M{number(x - size)},{number(y)}a{a},{a} 0 1 0 {b},0a{a},{a} 0 1 0 -{b},0z"
        case "triangle":
            return f"M{number(x - size)},{number(y - size)}h{b}l-{a},{b}z"
        case "square":
            return f"M{number(x - size)},{number(y - size)}h{b}v{b}h-{b}z"
        case "diamond":
            return f"M{number(x)},{number(y - size)}l{a},{a}l-{a},{a}l-{a},-{a}z"
        case "cross":
            return f"M{number(x - size)},{number(y - size)}l{b},{b}m0,-{b}l-{b},{b}"
        case "plus":
            return f"M{number(x - size)},{number(y)}h{b}m-{a},-{a}v{b}"
        case "bar":
            return f"M{number(x)},{number(y - size)}v{b}"


def marks(points: Sequence[Mark], style: Style, size: float = 3.0) -> Markup:
    """Points of one state."""
    if not points:
        return Markup("")
    small = size if len(points) <= FEW else max(1.5, size * 0.7)
    stroke = 2 * small if style.shape == "dot" else 1.4
    shared: Attributes = {
        "class_": f"mark {style.name}",
        "fill": style.color if style.shape in ("triangle", "diamond") else "none",
        "stroke": style.color,
        "stroke_width": stroke,
        "stroke_linecap": "round",
    }
    if len(points) <= FEW:
        shapes = (titled("path", mark.title, d=outline(style.shape, mark.x, mark.y, small)) for mark in points)
        return element("g", joined(*shapes), pointer_events="all", **shared)
    path = "".join(outline(style.shape, mark.x, mark.y, small) for mark in points)
    return element("path", d=path, opacity="0.7", **shared)


def polyline(points: Iterable[tuple[float, float]]) -> str:
    """The path through points in pixels."""
    return "M" + "L".join(f"{number(x)},{number(y)}" for x, y in points)


def thinned(items: Sequence[T], limit: int) -> Sequence[T]:
    """At most `limit` of the items in equal distances, the first and the last among them."""
    if len(items) <= limit:
        return items
    if limit < 2:
        return items[:limit]
    last = len(items) - 1
    return [items[index * last // (limit - 1)] for index in range(limit)]
