"""Graph -> Mermaid, the flow charts that GitHub, GitLab and notebooks draw in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from metta.sweep.compiler import render_labels as words
from metta.sweep.compiler.flat import INPUT, Cluster, flatten, result_of
from metta.sweep.compiler.graph import Graph, Node

_STYLES = """\
  classDef terminal fill:#edf2f7,stroke:#4a6fa5,color:#1f2933
  classDef stage fill:#eaf1fb,stroke:#4a6fa5,color:#1f2933
  classDef loop fill:#fff0d1,stroke:#c77700,color:#1f2933
  classDef branch fill:#efe8ff,stroke:#6b46c1,color:#1f2933
  classDef fork fill:#2c7a7b,stroke:#2c7a7b,color:#ffffff
  classDef join fill:#7b8794,stroke:#7b8794,color:#7b8794"""

_CLASSES = {
    "input": "terminal",
    "output": "terminal",
    "branch": "branch",
    "loop": "loop",
    "until": "loop",
    "break": "loop",
    "parallel": "fork",
    "join": "join",
}


def to_mermaid(graph: Graph) -> str:
    """The graph as a Mermaid flow chart; it says the same as the DOT drawing, with hooks as a line of text."""
    return "\n".join(_lines(graph)) + "\n"


def _lines(graph: Graph) -> Iterator[str]:
    flat = flatten(graph)
    clusters: dict[str, Cluster] = flat.graph["clusters"]
    # User names may hold anything, and some words ("end") break the parser: nodes are numbered.
    numbers = {key: f"n{i}" for i, key in enumerate(flat)}
    frames = {key: f"c{i}" for i, key in enumerate(clusters)}
    inside: dict[str, list[str]] = {}
    for key, data in flat.nodes(data=True):
        path = data["clusters"]
        inside.setdefault(path[-1] if path else "", []).append(key)

    def level(parent: str, depth: int) -> Iterator[str]:
        pad = "  " * depth
        for key in inside.get(parent, ()):
            data = flat.nodes[key]
            kind = data["kind"]
            shape = _shape(graph, key, kind, data["node"])
            yield f"{pad}{numbers[key]}{shape}:::{_CLASSES.get(kind, 'stage')}"
        for cluster in clusters.values():
            if cluster.parent != parent:
                continue
            if words.is_redundant(cluster, clusters):
                yield from level(cluster.id, depth)
                continue
            yield f"{pad}subgraph {frames[cluster.id]}[{_text(_frame(cluster))}]"
            yield from level(cluster.id, depth + 1)
            yield f"{pad}end"

    heading = ", ".join(badge.text for badge in words.global_badges(graph))
    yield "---"
    yield f"title: {_yaml(graph.name + (f' (every stage: {heading})' if heading else ''))}"
    yield "---"
    yield "flowchart TD"
    yield from level("", 1)
    for source, target, data in flat.edges(data=True):
        label = _edge_lines(data["kind"], data["label"], words.contract_lines(data["carries"]))
        if data["kind"] == "exit" and target.endswith("@join"):
            label = ["break" if flat.nodes[source]["kind"] == "break" else "done"]
        arrow = "-.->" if data["kind"] == "back" else "-->"
        shown = f"|{_text(label)}|" if label else ""
        yield f"  {numbers[source]} {arrow}{shown} {numbers[target]}"
    yield _STYLES


def _edge_lines(kind: str, label: str, contract: list[str]) -> list[str]:
    match kind:
        case "then":
            return ["yes"]
        case "otherwise":
            return ["no"]
        case "arm":
            return [words.shortened(label, words.NAME_WIDTH)]
    return contract


def _shape(graph: Graph, key: str, kind: str, node: Node | None) -> str:
    if node is None:
        result = result_of(graph)
        text = "inputs" if key == INPUT else f"result: {words.shortened(result.value or 'Context', 52)}"
        return f"([{_text([text])}])"
    match kind:
        case "branch" | "loop" | "until" | "break":
            return "{{" + _text(words.wrapped(words.title(node, kind), 40)) + "}}"
        case "parallel":
            return f"[{_text(['parallel'])}]"
        case "join":
            return f"(({_text([' '])}))"
    lines = [words.shortened(node.name, 64)]
    called = words.called(node)
    if called and called.rpartition(".")[2] != node.name:
        lines.append(words.shortened(called, 40))
    if over := words.repeats(node):
        lines.append(over)
    if badges := words.badges(node.hooks):
        lines.append(" · ".join(badge.text for badge in badges))
    return f"[[{_text(lines)}]]" if kind == "map" else f"[{_text(lines)}]"


def _frame(cluster: Cluster) -> list[str]:
    lines = [words.cluster_title(cluster)]
    if badges := words.cluster_badges(cluster):
        lines.append(" · ".join(badge.text for badge in badges))
    if cluster.global_hooks:
        lines.append(f"every stage: {', '.join(cluster.global_hooks)}")
    return lines


_SPECIAL = re.compile(r"[\"#<>&`|\\\[\]{}]")


def _text(lines: list[str]) -> str:
    """A quoted label; what Mermaid or HTML would read as markup becomes a numbered entity."""
    escaped = (
        _SPECIAL.sub(lambda found: f"#{ord(found[0])};", words.printable(line)).lstrip() or " " for line in lines
    )
    return f'"{"<br/>".join(escaped)}"'


def _yaml(text: str) -> str:
    return "'" + words.printable(text).replace("'", "''") + "'"
