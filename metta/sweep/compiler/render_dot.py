"""Graph -> DOT, the language of graphviz."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from metta.sweep.compiler import render_labels as words
from metta.sweep.compiler.flat import INPUT, OUTPUT, Cluster, Contract, flatten, result_of
from metta.sweep.compiler.graph import Graph, Node
from metta.sweep.compiler.render_labels import Badge, Family

if TYPE_CHECKING:
    import networkx

_INK = "#1f2933"
_MUTED = "#52606d"
_BADGE = {
    Family.CONTROL: "#ffe8b8",
    Family.CHECK: "#d5e6ff",
    Family.STORE: "#d3f2dc",
    Family.CHANGE: "#f3dcf7",
    Family.OBSERVE: "#e4e7eb",
}
_FRAME = {
    "loop": ("#c77700", "#fffaf0"),
    "branch": ("#6b46c1", "#faf7ff"),
    "parallel": ("#2c7a7b", "#f2fbfa"),
    "nested": ("#4a6fa5", "#f5f8fd"),
    "experiment": ("#1f6f43", "#f2faf5"),
    "arm": ("#9aa5b1", "#ffffff"),
}
_EDGE = {"back": "#c77700", "exit": "#c77700", "then": "#6b46c1", "otherwise": "#6b46c1", "arm": "#2c7a7b"}
_BADGES_PER_ROW = 4
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
    return "\n".join(_Dot(graph).lines()) + "\n"


class _Dot:
    def __init__(self, graph: Graph) -> None:
        self._source = graph
        self._flat: networkx.DiGraph[str] = flatten(graph)
        self._clusters: dict[str, Cluster] = self._flat.graph["clusters"]
        self._inside: dict[str, list[str]] = {}
        for key, data in self._flat.nodes(data=True):
            path = data["clusters"]
            self._inside.setdefault(path[-1] if path else "", []).append(key)
        self._children: dict[str, list[Cluster]] = {}
        for cluster in self._clusters.values():
            self._children.setdefault(cluster.parent, []).append(cluster)

    def lines(self) -> Iterator[str]:
        yield f"digraph {_quoted(self._source.name)} {{"
        yield _HEADER
        all_stages = [badge.text for badge in words.global_badges(self._source)]
        rows = [_bold(words.shortened(self._source.name, 80))]
        if all_stages:
            rows.append(_small(f"every stage: {', '.join(all_stages)}"))
        yield f"  label=<{'<BR/>'.join(rows)}>"
        yield from self._level("", 1)
        breaks = self._column_breaks()
        for source, target, data in self._flat.edges(data=True):
            yield "  " + self._edge(source, target, data["kind"], data["label"], data["carries"], breaks)
        yield "}"

    def _level(self, parent: str, depth: int) -> Iterator[str]:
        pad = "  " * depth
        for key in self._inside.get(parent, ()):
            yield pad + self._node(key)
        for cluster in self._children.get(parent, ()):
            if words.is_redundant(cluster, self._clusters):
                yield from self._level(cluster.id, depth)
                continue
            color, fill = _FRAME[cluster.kind]
            style = "rounded,dashed" if cluster.kind in ("arm", "experiment") else "rounded"
            yield f"{pad}subgraph {_quoted('cluster_' + cluster.id)} {{"
            yield f"{pad}  label=<{_cluster_label(cluster)}>; labeljust=l; fontsize=10; fontcolor={_quoted(color)}"
            yield f"{pad}  style={_quoted(style)}; color={_quoted(color)}; bgcolor={_quoted(fill)}; margin=12"
            yield from self._level(cluster.id, depth + 1)
            yield f"{pad}}}"

    def _node(self, key: str) -> str:
        data = self._flat.nodes[key]
        return f"{_quoted(key)} [{self._shape(key, data['kind'], data['node'])}]"

    def _shape(self, key: str, kind: str, node: Node | None) -> str:
        if node is None:
            text = "inputs" if key == INPUT else "result"
            if key == OUTPUT:
                result = result_of(self._source)
                text += f": {result.value or 'Context' if result else 'Context'}"
            lines = words.wrapped(words.shortened(text, 60), 32)
            return f'shape=ellipse, style=filled, fillcolor="#edf2f7", label={_lines(lines)}'
        if kind == "join":
            return 'shape=point, width=0.09, color="#7b8794", label=""'
        if kind == "parallel":
            return 'shape=box, style=filled, fillcolor="#2c7a7b", color="#2c7a7b", height=0.06, width=0.9, label=""'
        if kind in ("branch", "loop", "break", "until"):
            color, fill = ("#6b46c1", "#efe8ff") if kind == "branch" else ("#c77700", "#fff0d1")
            lines = words.wrapped(words.title(node, kind), 32)
            return f'shape=hexagon, style=filled, fillcolor="{fill}", color="{color}", label={_lines(lines)}, ' + _tip(
                node, kind
            )
        border = ", peripheries=2" if kind == "map" else ""
        return f'shape=box, style="rounded,filled", fillcolor="#eaf1fb"{border}, label=<{_stage(node)}>, ' + _tip(
            node, kind
        )

    def _edge(
        self, source: str, target: str, kind: str, label: str, carries: Contract, breaks: set[tuple[str, str]]
    ) -> str:
        given = []
        lines = words.contract_lines(carries)
        if kind in ("then", "otherwise"):
            lines = ["yes" if kind == "then" else "no"]
        elif kind == "arm" and not self._is_framed(f"{source}/{label}"):
            lines = [words.shortened(label, words.NAME_WIDTH)]
        elif kind == "exit" and target.endswith("@join"):
            lines = ["done"] if self._flat.nodes[source]["kind"] != "break" else ["break"]
        if lines:
            given.append(f"label={_lines(lines, align='l')}")
        if color := _EDGE.get(kind):
            given.append(f'color="{color}"')
        if kind == "back":
            # Written the other way round, so that the layout never takes another edge of the cycle for the back edge.
            source, target = target, source
            given.append("style=dashed, dir=back")
        if self._flat.nodes[target]["kind"] == "join":
            given.append("arrowhead=none")
        if (source, target) in breaks:
            given.append("constraint=false")
        return f"{_quoted(source)} -> {_quoted(target)}" + (f" [{', '.join(given)}]" if given else "")

    def _is_framed(self, arm: str) -> bool:
        """Whether a frame shows the name of the arm: its own, or that of the pipeline it consists of."""
        cluster = self._clusters.get(arm)
        return cluster is not None and (
            not words.is_redundant(cluster, self._clusters) or bool(self._children.get(arm))
        )

    def _column_breaks(self) -> set[tuple[str, str]]:
        """The edges of the outermost level at which a long graph goes on in a new column."""
        total = self._flat.number_of_nodes()
        if total <= _RANKS_PER_COLUMN * 1.5:
            return set()
        columns = math.ceil(total / max(_RANKS_PER_COLUMN, math.sqrt(total * 4)))
        height = math.ceil(total / columns)
        found: set[tuple[str, str]] = set()
        ranks = 0
        previous = INPUT
        for key, data in self._flat.nodes(data=True):
            ranks += 1
            if ranks > height and not data["clusters"] and data["kind"] != "output":
                if self._flat.has_edge(previous, key):
                    found.add((previous, key))
                    ranks = 1
            previous = key
        return found


def _stage(node: Node) -> str:
    """An HTML-like label: the name, what is called where that is another name, the badges."""
    rows = [_bold(line) for line in words.wrapped(words.shortened(node.name, 64), words.NAME_WIDTH)]
    called = words.called(node)
    if called and called.rpartition(".")[2] != node.name:
        rows.append(_small(words.shortened(called, 40)))
    if over := words.repeats(node):
        rows.append(_small(over))
    text = "<BR/>".join(rows)
    badges = words.badges(node.hooks)
    if not badges:
        return text
    return (
        '<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="2" CELLPADDING="0">'
        f"<TR><TD>{text}</TD></TR>{_badge_rows(badges)}</TABLE>"
    )


def _badge_rows(badges: list[Badge]) -> str:
    rows = []
    for start in range(0, len(badges), _BADGES_PER_ROW):
        cells = "".join(
            f'<TD BGCOLOR="{_BADGE[badge.family]}" STYLE="rounded" CELLPADDING="2">{_small(badge.text)}</TD>'
            for badge in badges[start : start + _BADGES_PER_ROW]
        )
        # Without empty cells at its sides the table would stretch its badges to the width of the box.
        row = f"<TR><TD></TD>{cells}<TD></TD></TR>"
        rows.append(f'<TR><TD><TABLE BORDER="0" CELLSPACING="3" CELLPADDING="0">{row}</TABLE></TD></TR>')
    return "".join(rows)


def _cluster_label(cluster: Cluster) -> str:
    rows = [_bold(words.cluster_title(cluster))]
    if badges := words.cluster_badges(cluster):
        rows.append(_small(", ".join(badge.text for badge in badges)))
    if cluster.global_hooks:
        rows.append(_small(f"every stage: {', '.join(cluster.global_hooks)}"))
    return "".join(f'{row}<BR ALIGN="LEFT"/>' for row in rows)


def _tip(node: Node, kind: str) -> str:
    file, line = words.location(node, end=kind == "until")
    return f"tooltip={_quoted(f'{node.id} ({file}:{line})')}"


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


def _lines(lines: list[str], align: str = "n") -> str:
    """A DOT string of several lines, left-justified ("l") or centered ("n")."""
    if align == "l":
        return '"' + "".join(_quoted(f" {line}")[1:-1] + r"\l" for line in lines) + '"'
    return '"' + r"\n".join(_quoted(line)[1:-1] for line in lines) + '"'
