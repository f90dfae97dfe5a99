"""Drawing -> SVG that stands in a page: no script, no style sheet, no reference to anything outside.

`dot` lays the boxes out; its SVG is then cleaned and marked. A layout depends only on the drawing, so that a picture
that is looked at every second is laid out once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from metta.sweep.compiler.drawing.layout import layout
from metta.sweep.compiler.drawing.model import CONTROL_KINDS, Drawing, DrawnNode
from metta.sweep.compiler.render_dot import FRAME_COLORS, SLOT, drawing_dot, tip_of
from metta.sweep.compiler.render_labels import printable
from metta.sweep.errors import UsageError

SVG: Final = "http://www.w3.org/2000/svg"


class Mark(NamedTuple):
    """How a step is in a run.

    Attributes:
        state: a key of `PAINTS`, and a class of its group in the SVG: "state-running".
        text: what is written into its box, some 30 signs.
        tip: what it says when one points at it, in lines.
    """

    state: str
    text: str
    tip: tuple[str, ...] = ()


class Paint(NamedTuple):
    """The colours of a state, and the width of the border in points."""

    fill: str
    line: str
    width: str = "1.1"
    dashes: str = ""


PAINTS: Final[Mapping[str, Paint]] = {
    "waiting": Paint("#ffffff", "#9aa5b1"),
    "running": Paint("#d5e6ff", "#1d4ed8", "2.4"),
    "retrying": Paint("#ffe8b8", "#b45309", "2.4", "6,2"),
    "done": Paint("#d3f2dc", "#2f7d4f"),
    "cached": Paint("#e6f7ec", "#2f7d4f", "1.1", "2,2"),
    "skipped": Paint("#eef0f3", "#9aa5b1", "1.1", "4,3"),
    "failed": Paint("#ffd9d9", "#b91c1c", "2.4"),
    "stopped": Paint("#fbe3d0", "#9a3412", "1.6", "6,2"),
}

Link = Callable[[str, bool], str]
"""Where a click on a frame leads: its id, and whether it is then drawn as one box."""


class NoPicture(UsageError):
    """A drawing for which there is no SVG; the message says why and what helps."""


def drawing_svg(
    drawing: Drawing,
    marks: Mapping[str, Mark] | None = None,
    *,
    title: str = "",
    alt: str = "",
    link: Link | None = None,
) -> str:
    """The drawing as an `<svg>` element, to stand in HTML or in a file.

    It has no ids, styles and scripts: several may stand on one page, under any content security policy. Groups have
    the classes "node", "edge", "cluster" and "state-STATE", and the id of their step as `data-step`.

    Args:
        drawing: what to draw, folded already.
        marks: how its steps are, by id, and that there is room for it; None for a picture without states.
        title: its name; by default the drawing's.
        alt: what one sees, for those who do not.
        link: makes the titles of frames, and the boxes of folded ones, links.

    Raises:
        NoPicture: `dot` is missing, or takes too long.
    """
    laid_out = layout(drawing_dot(drawing, named=True, live=marks is not None))
    if laid_out.problem:
        raise NoPicture(laid_out.problem)
    root = ElementTree.fromstring(laid_out.svg)
    (graph,) = (each for each in root if _name(each) == "g")
    return _Marker(drawing, marks or {}, link).svg(root, graph, printable(title or drawing.name), printable(alt))


class _Marker:
    def __init__(self, drawing: Drawing, marks: Mapping[str, Mark], link: Link | None) -> None:
        self._drawing = drawing
        self._marks = marks
        self._link = link
        self._titles: list[Element] = []

    def svg(self, root: Element, graph: Element, title: str, alt: str) -> str:
        made = Element("svg", {key: root.attrib[key] for key in ("width", "height", "viewBox")})
        # A picture hides what is inside of it from assistive software; links have to be found.
        made.attrib.update(
            {"xmlns": SVG, "class": "dag", "role": "img" if self._link is None else "group", "aria-label": alt or title}
        )
        made.append(_text("title", title))
        inner = Element("g", {"transform": graph.get("transform", "")})
        for each in graph:
            if _name(each) == "g":
                inner.append(self._group(each))
            elif _name(each) != "title":
                inner.append(_clean(each))
        # Arrows into a frame cross its title: titles are drawn last, on a border of the frame's own colour.
        inner.extend(self._titles)
        made.append(inner)
        return ElementTree.tostring(made, encoding="unicode")

    def _group(self, group: Element) -> Element:
        name, number = group.get("id", "")[:1], group.get("id", "")[1:]
        parts = list(_parts(group))
        if name == "n" and number.isdigit():
            return self._node(self._drawing.nodes[int(number)], parts)
        if name == "f" and number.isdigit():
            return self._frame(int(number), parts)
        made = Element("g", {"class": group.get("class", "")})
        made.extend(parts)
        return made

    def _node(self, node: DrawnNode, parts: list[Element]) -> Element:
        mark = self._marks.get(node.id)
        made = Element("g", {"class": "node", "data-step": printable(node.id)})
        tip = [tip_of(node)]
        if mark is not None:
            made.set("class", f"node state-{mark.state}")
            tip += [mark.text, *mark.tip]
            if node.kind not in CONTROL_KINDS or node.folded:  # a condition keeps the colour of its kind
                _paint(parts, PAINTS[mark.state])
        if node.kind not in ("join", "input", "output"):
            made.append(_text("title", "\n".join(map(printable, tip))))
        _fill_slot(parts, mark, centre=_centre(parts))
        if node.folded and self._link is not None:
            parts = [self._anchor(node.id, False, parts)]
        made.extend(parts)
        return made

    def _frame(self, number: int, parts: list[Element]) -> Element:
        frame = self._drawing.frames[number]
        mark = self._marks.get(frame.id) if frame.is_recorded else None
        made = Element("g", {"class": f"cluster {frame.kind}", "data-step": printable(frame.id)})
        if mark is not None:
            made.set("class", f"cluster {frame.kind} state-{mark.state}")
            made.append(_text("title", "\n".join(map(printable, [mark.text, *mark.tip]))))
        _fill_slot(parts, mark)
        lines = [part for part in parts if part.tag == "text"]
        made.extend(part for part in parts if part.tag != "text")
        for line in lines:
            halo = {"stroke": FRAME_COLORS[frame.kind][1], "stroke-width": "4", "stroke-linejoin": "round"}
            line.attrib.update({"paint-order": "stroke", **halo})
        self._titles.append(self._anchor(frame.id, True, lines))
        return made

    def _anchor(self, frame: str, fold: bool, parts: list[Element]) -> Element:
        """A link around parts of a frame, a plain group where nothing is linked."""
        if self._link is None:
            made = Element("g", {"class": "title"})
        else:
            told = printable(f"{'fold' if fold else 'open'} {frame}")
            made = Element("a", {"href": self._link(frame, fold), "aria-label": told})
        made.extend(parts)
        return made


_SHAPES: Final = frozenset({"path", "polygon", "polyline", "ellipse"})
_KEPT: Final = frozenset(
    {"cx", "cy", "d", "fill", "font-family", "font-size", "font-style", "font-weight", "points", "rx", "ry", "stroke"}
    | {"stroke-dasharray", "stroke-width", "text-anchor", "x", "y"}
)


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _text(tag: str, text: str) -> Element:
    made = Element(tag)
    made.text = text
    return made


def _parts(group: Element) -> Iterator[Element]:
    """The shapes and texts of a group, cleaned; `dot` wraps them into links for its tool tips."""
    for each in group:
        if _name(each) in ("g", "a"):
            yield from _parts(each)
        elif _name(each) != "title":
            yield _clean(each)


def _clean(element: Element) -> Element:
    made = Element(_name(element), {key: value for key, value in element.attrib.items() if key in _KEPT})
    if made.get("stroke") == "transparent":
        made.set("stroke", "none")
    text = element.text or ""
    # A page drops the blank that keeps the label of an arrow away from its line.
    made.text = f"\N{NO-BREAK SPACE}{text[1:]}" if text.startswith(" ") else text
    return made


def _paint(parts: list[Element], paint: Paint) -> None:
    """Paint a box, which is what stands before the first text; what stands behind are its badges."""
    first = next((number for number, part in enumerate(parts) if part.tag not in _SHAPES), len(parts))
    for badge in parts[first:]:
        if badge.tag in _SHAPES:  # they have a colour of their own, and have to be seen on that of every state
            badge.attrib.update({"fill": "#ffffff", "fill-opacity": "0.7"})
    for part in parts[:first]:
        if part.get("fill") != "none":
            part.set("fill", paint.fill)
        part.set("stroke", paint.line)
        part.set("stroke-width", paint.width)
        if paint.dashes:
            part.set("stroke-dasharray", paint.dashes)


def _centre(parts: list[Element]) -> float | None:
    """The middle of a box, from left to right, in points."""
    for part in parts:
        if part.tag in _SHAPES and (where := part.get("points") or part.get("d")):
            numbers = where.translate(_LETTERS).split()
            lefts = [float(pair.partition(",")[0]) for pair in numbers]
            return (min(lefts) + max(lefts)) / 2
    return None


_LETTERS: Final = str.maketrans("MCLZ", "    ")


def _fill_slot(parts: list[Element], mark: Mark | None, centre: float | None = None) -> None:
    """Write the state where room was left for it; without one the room stays empty."""
    slots = [part for part in parts if part.tag == "text" and part.text == SLOT]
    if not slots:
        return
    slot = slots[-1]  # a name of the user's may be the same sign
    if mark is None:
        parts.remove(slot)
        return
    slot.text = printable(mark.text)
    slot.set("font-size", "9")
    slot.set("fill", "#1f2933")
    slot.set("class", "state")
    if centre is not None:
        slot.set("x", f"{centre:g}")
        slot.set("text-anchor", "middle")
