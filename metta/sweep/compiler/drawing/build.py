"""Graph -> drawing: what the steps say of themselves becomes text, and the code behind it is left out."""

from __future__ import annotations

from collections.abc import Container

from metta.sweep.compiler import render_labels as words
from metta.sweep.compiler.drawing.model import Drawing, DrawnEdge, DrawnFrame, DrawnNode
from metta.sweep.compiler.flat import INPUT, OUTPUT, Cluster, Flat, FlatNode, flat_of, result_of
from metta.sweep.compiler.graph import Graph


def drawing_of(graph: Graph) -> Drawing:
    """The drawing of a graph, in time linear in the number of steps."""
    flat = flat_of(graph)
    # An arm that is one pipeline would be framed twice.
    dropped = {id: each.parent for id, each in flat.clusters.items() if words.is_redundant(each, flat.clusters)}

    def kept(frame: str) -> str:
        while frame in dropped:
            frame = dropped[frame]
        return frame

    parents = frozenset(each.parent for each in flat.clusters.values())
    order = {key: number for number, key in enumerate(flat.nodes)}
    return Drawing(
        name=words.printable(words.shortened(graph.name, 80)),
        nodes=tuple(
            _node(graph, key, node, kept(node.clusters[-1] if node.clusters else ""))
            for key, node in flat.nodes.items()
        ),
        frames=tuple(_frame(each, kept(each.parent)) for each in flat.clusters.values() if each.id not in dropped),
        edges=tuple(
            DrawnEdge(source, target, flat.edges[source, target].kind, tuple(_lines(flat, parents, source, target)))
            for source, target in sorted(flat.edges, key=lambda edge: order[edge[0]])
        ),
        every_stage=tuple(badge.text for badge in words.global_badges(graph)),
    )


def _node(graph: Graph, key: str, flat: FlatNode, frame: str) -> DrawnNode:
    node, kind = flat.node, flat.kind
    if node is None:
        text = "inputs" if key == INPUT else "result"
        if key == OUTPUT:
            result = result_of(graph)
            text += f": {result.value or 'Context' if result else 'Context'}"
        return DrawnNode(key, kind, words.shortened(text, 60))
    if kind == "join":
        return DrawnNode(key, kind, frame=frame)
    file, line = words.location(node, end=kind == "until")
    place = f"{file}:{line}"
    if kind in ("parallel", "branch", "loop", "break", "until"):
        return DrawnNode(key, kind, "" if kind == "parallel" else words.title(node, kind), frame, place=place)
    called = words.called(node)
    details = [words.shortened(called, 40)] if called and called.rpartition(".")[2] != node.name else []
    details += filter(None, [words.repeats(node)])
    badges = tuple(words.badges(node.hooks))
    return DrawnNode(key, kind, words.shortened(node.name, 64), frame, tuple(details), badges, place)


def _frame(cluster: Cluster, parent: str) -> DrawnFrame:
    return DrawnFrame(
        cluster.id,
        cluster.kind,
        words.cluster_title(cluster),
        parent,
        tuple(words.cluster_badges(cluster)),
        cluster.global_hooks,
    )


def _lines(flat: Flat, parents: Container[str], source: str, target: str) -> list[str]:
    edge = flat.edges[source, target]
    if edge.kind in ("then", "otherwise"):
        return ["yes" if edge.kind == "then" else "no"]
    if edge.kind == "arm" and not _is_framed(flat, parents, f"{source}/{edge.label}"):
        return [words.shortened(edge.label, words.NAME_WIDTH)]
    if edge.kind == "exit" and target.endswith("@join"):
        return ["break" if flat.nodes[source].kind == "break" else "done"]
    return words.contract_lines(edge.carries)


def _is_framed(flat: Flat, parents: Container[str], arm: str) -> bool:
    """Whether a frame shows the name of the arm: its own, or that of the pipeline it consists of."""
    cluster = flat.clusters.get(arm)
    return cluster is not None and (not words.is_redundant(cluster, flat.clusters) or arm in parents)
