"""Drawing -> DOT, the language of graphviz."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from typing import Final

from metta.sweep.compiler import render_labels as words
from metta.sweep.compiler.drawing.build import drawing_of
from metta.sweep.compiler.drawing.model import CONTROL_KINDS, Drawing, DrawnEdge, DrawnFrame, DrawnNode
from metta.sweep.compiler.graph import Graph
from metta.sweep.compiler.render_labels import Badge, Family

SLOT: Final = "\ue000"
"""Stands where a live drawing says how a stage is: a sign for private use, which no font shows."""
SLOT_WIDTH: Final = 150
"""How much room there is for it, in points; some 30 signs."""

_INK = "#1f2933"
_MUTED = "#52606d"
_BADGE = {
    Family.CONTROL: "#ffe8b8",
    Family.CHECK: "#d5e6ff",
    Family.STORE: "#d3f2dc",
    Family.CHANGE: "#f3dcf7",
    Family.OBSERVE: "#e4e7eb",
}
FRAME_COLORS: Final = {
    "loop": ("#c77700", "#fffaf0"),
    "branch": ("#6b46c1", "#faf7ff"),
    "parallel": ("#2c7a7b", "#f2fbfa"),
    "nested": ("#4a6fa5", "#f5f8fd"),
    "experiment": ("#1f6f43", "#f2faf5"),
    "arm": ("#9aa5b1", "#ffffff"),
}
_EDGE = {"back": "#c77700", "exit": "#c77700", "then": "#6b46c1", "otherwise": "#6b46c1", "arm": "#2c7a7b"}
_BADGES_PER_ROW = 4
_BADGE_PADDING, _BADGE_SIGN = 10, 3.8
"""Points around the text of a badge, and for each of its signs, about."""
# A chain is as wide as one box: beyond this many ranks it is laid out in columns.
_RANKS_PER_COLUMN = 24

_HEADER = f"""\
  graph [rankdir=TB, fontname="Helvetica,Arial,sans-serif", fontsize=14, fontcolor="{_INK}", labelloc=t, \
nodesep=0.35, ranksep=0.42, pad=0.25, bgcolor=white]
  node [fontname="Helvetica,Arial,sans-serif", fontsize=11, fontcolor="{_INK}", color="#4a6fa5", penwidth=1.1]
  edge [fontname="Helvetica,Arial,sans-serif", fontsize=9, fontcolor="{_MUTED}", color="#7b8794", arrowsize=0.7]"""


def to_dot(graph: Graph) -> str:
    """The graph in the DOT language; no binary is needed for the text.

    Stages are boxes with their hooks as badges, the edge behind a stage carries its contract, and loops,
    conditionals, parallel steps, nested pipelines and experiments are framed.
    """
    return drawing_dot(drawing_of(graph))


def drawing_dot(drawing: Drawing, *, named: bool = False, live: bool = False) -> str:
    """The same of a drawing.

    Args:
        drawing: what to draw.
        named: name the groups of the SVG: "n3" is the fourth node, "f0" the first frame.
        live: leave room for the state of each stage.
    """
    return "\n".join(_Dot(drawing, named, live).lines()) + "\n"


class _Dot:
    def __init__(self, drawing: Drawing, named: bool, live: bool) -> None:
        self._drawing = drawing
        self._named = named
        self._live = live
        self._nodes = {node.id: node for node in drawing.nodes}
        self._inside: dict[str, list[tuple[int, DrawnNode]]] = {}
        for number, node in enumerate(drawing.nodes):
            self._inside.setdefault(node.frame, []).append((number, node))
        self._children: dict[str, list[tuple[int, DrawnFrame]]] = {}
        for number, frame in enumerate(drawing.frames):
            self._children.setdefault(frame.parent, []).append((number, frame))

    def lines(self) -> Iterator[str]:
        yield f"digraph {_quoted(self._drawing.name)} {{"
        yield _HEADER
        rows = [_bold(self._drawing.name)]
        if self._drawing.every_stage:
            rows.append(_small(f"every stage: {', '.join(self._drawing.every_stage)}"))
        yield f"  label=<{'<BR/>'.join(rows)}>"
        yield from self._level("", 1)
        breaks = self._column_breaks()
        for edge in self._drawing.edges:
            yield "  " + self._edge(edge, breaks)
        yield "}"

    def _level(self, parent: str, depth: int) -> Iterator[str]:
        pad = "  " * depth
        for number, node in self._inside.get(parent, ()):
            name = f"id=n{number}, " if self._named else ""
            yield f"{pad}{_quoted(node.id)} [{name}{self._shape(node)}]"
        for number, frame in self._children.get(parent, ()):
            color, fill = FRAME_COLORS[frame.kind]
            style = "rounded,dashed" if frame.kind in ("arm", "experiment") else "rounded"
            name = f"id=f{number}; " if self._named else ""
            yield f"{pad}subgraph {_quoted('cluster_' + frame.id)} {{"
            yield f"{pad}  {name}label=<{self._title(frame)}>; labeljust=l; fontsize=10; fontcolor={_quoted(color)}"
            yield f"{pad}  style={_quoted(style)}; color={_quoted(color)}; bgcolor={_quoted(fill)}; margin=12"
            yield from self._level(frame.id, depth + 1)
            yield f"{pad}}}"

    def _shape(self, node: DrawnNode) -> str:
        kind = node.kind
        if node.folded:
            color, fill = FRAME_COLORS[kind]
            return (
                f'shape=folder, style=filled, color="{color}", fillcolor="{fill}", label=<{self._stage(node)}>, '
                + _tip(node)
            )
        if kind in ("input", "output"):
            return f'shape=ellipse, style=filled, fillcolor="#edf2f7", label={_lines(words.wrapped(node.text, 32))}'
        if kind == "join":
            return 'shape=point, width=0.09, color="#7b8794", label=""'
        if kind == "parallel":
            return 'shape=box, style=filled, fillcolor="#2c7a7b", color="#2c7a7b", height=0.06, width=0.9, label=""'
        if kind in CONTROL_KINDS:
            color, fill = ("#6b46c1", "#efe8ff") if kind == "branch" else ("#c77700", "#fff0d1")
            slot = [SLOT] if self._live else []
            lines = [*words.wrapped(node.text, 32), *slot]
            return f'shape=hexagon, style=filled, fillcolor="{fill}", color="{color}", label={_lines(lines)}, ' + _tip(
                node
            )
        border = ", peripheries=2" if kind == "map" else ""
        return f'shape=box, style="rounded,filled", fillcolor="#eaf1fb"{border}, label=<{self._stage(node)}>, ' + _tip(
            node
        )

    def _stage(self, node: DrawnNode) -> str:
        """An HTML-like label: the name, what is called where that is another name, the badges, room for the state."""
        rows = [_bold(line) for line in words.wrapped(node.text, words.NAME_WIDTH)]
        text = "<BR/>".join([*rows, *map(_small, node.details)])
        if not node.badges and not self._live:
            return text
        width = SLOT_WIDTH if self._live else 0
        slot = f'<TR><TD FIXEDSIZE="TRUE" WIDTH="{SLOT_WIDTH}" HEIGHT="13">{_small(SLOT)}</TD></TR>'
        return (
            '<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="2" CELLPADDING="0">'
            f"<TR><TD>{text}</TD></TR>{_badge_rows(node.badges, width)}{slot if self._live else ''}</TABLE>"
        )

    def _title(self, frame: DrawnFrame) -> str:
        rows = [_bold(frame.title)]
        if frame.badges:
            rows.append(_small(", ".join(badge.text for badge in frame.badges)))
        if frame.every_stage:
            rows.append(_small(f"every stage: {', '.join(frame.every_stage)}"))
        if self._live and frame.is_recorded:
            rows.append(_small(SLOT))
        return "".join(f'{row}<BR ALIGN="LEFT"/>' for row in rows)

    def _edge(self, edge: DrawnEdge, breaks: set[tuple[str, str]]) -> str:
        source, target = edge.source, edge.target
        given = []
        if edge.lines:
            given.append(f"label={_lines(edge.lines, align='l')}")
        if color := _EDGE.get(edge.kind):
            given.append(f'color="{color}"')
        if edge.kind == "back":
            # Written the other way round, so that the layout never takes another edge of the cycle for the back edge.
            source, target = target, source
            given.append("style=dashed, dir=back")
        if self._nodes[target].kind == "join":
            given.append("arrowhead=none")
        if (source, target) in breaks:
            given.append("constraint=false")
        return f"{_quoted(source)} -> {_quoted(target)}" + (f" [{', '.join(given)}]" if given else "")

    def _column_breaks(self) -> set[tuple[str, str]]:
        """The edges of the outermost level at which a long graph goes on in a new column."""
        total = len(self._drawing.nodes)
        if total <= _RANKS_PER_COLUMN * 1.5:
            return set()
        columns = math.ceil(total / max(_RANKS_PER_COLUMN, math.sqrt(total * 4)))
        height = math.ceil(total / columns)
        edges = {(edge.source, edge.target) for edge in self._drawing.edges}
        found: set[tuple[str, str]] = set()
        ranks = 0
        previous = self._drawing.nodes[0].id
        for node in self._drawing.nodes:
            ranks += 1
            if ranks > height and not node.frame and node.kind != "output":
                if (previous, node.id) in edges:
                    found.add((previous, node.id))
                    ranks = 1
            previous = node.id
        return found


def _badge_rows(badges: Sequence[Badge], width: int = 0) -> str:
    """The badges in rows, for a box that has to be `width` points wide for something else."""
    rows = []
    for start in range(0, len(badges), _BADGES_PER_ROW):
        shown = badges[start : start + _BADGES_PER_ROW]
        cells = "".join(
            f'<TD BGCOLOR="{_BADGE[badge.family]}" STYLE="rounded" CELLPADDING="2">{_small(badge.text)}</TD>'
            for badge in shown
        )
        # Without empty cells at its sides the table would stretch its badges to the width of the box.
        spare = (width - sum(_BADGE_PADDING + _BADGE_SIGN * len(badge.text) for badge in shown)) // 2
        side = f'<TD WIDTH="{spare:.0f}"></TD>' if spare > 0 else "<TD></TD>"
        row = f"<TR>{side}{cells}{side}</TR>"
        rows.append(f'<TR><TD><TABLE BORDER="0" CELLSPACING="3" CELLPADDING="0">{row}</TABLE></TD></TR>')
    return "".join(rows)


def _tip(node: DrawnNode) -> str:
    return f"tooltip={_quoted(tip_of(node))}"


def tip_of(node: DrawnNode) -> str:
    """What a box says when one points at it: the id of its step, and where that was written."""
    step = node.id.removesuffix("@until") if node.kind == "until" else node.id
    return f"{step} ({node.place})" if node.place else step


def _bold(text: str) -> str:
    return f"<B>{_markup(text)}</B>"


def _small(text: str) -> str:
    return f'<FONT POINT-SIZE="8.5" COLOR="{_MUTED}">{_markup(text)}</FONT>'


def _markup(text: str) -> str:
    return html.escape(words.printable(text))


def _quoted(text: str) -> str:
    """A DOT string that shows exactly this text."""
    escaped = words.printable(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _lines(lines: Sequence[str], align: str = "n") -> str:
    """A DOT string of several lines, left-justified ("l") or centered ("n")."""
    if align == "l":
        return '"' + "".join(_quoted(f" {line}")[1:-1] + r"\l" for line in lines) + '"'
    return '"' + r"\n".join(_quoted(line)[1:-1] for line in lines) + '"'
