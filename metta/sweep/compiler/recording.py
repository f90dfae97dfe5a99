"""The pass that prepares a graph for a durable run: which nodes are passed under a record."""

from __future__ import annotations

from dataclasses import replace

from metta.sweep.compiler.graph import Graph, Node, NodeKind, Region


def recorded(graph: Graph) -> Graph:
    """The same graph, its stages and maps marked: each runs inside a membrane that knows the store.

    A nested pipeline and a parallel step stand for what is inside them. Only where hooks act on them as a whole are
    they recorded as one, too.
    """
    return replace(graph, body=_region(graph.body))


def _region(region: Region) -> Region:
    return replace(region, nodes=tuple(map(_node, region.nodes)))


def _node(node: Node) -> Node:
    if node.kind is NodeKind.STAGE:
        # The graph of an experiment is drawn here and runs elsewhere.
        return replace(node, recorded=True)
    marked = node.kind is NodeKind.MAP or (node.kind in (NodeKind.NESTED, NodeKind.PARALLEL) and bool(node.hooks))
    return replace(node, recorded=marked, regions=tuple(map(_region, node.regions)))
