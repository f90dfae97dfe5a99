"""Graph -> JSON, for other tools.

    {"schema": "metta-sweep/graph", "version": 1, "name": str,
     "inputs": CONTRACT, "result": CONTRACT,
     "nodes": [{"id", "kind", "name", "calls", "condition", "hooks": [str], "global_hooks": [str], "reads": [str],
                "writes": [str], "clusters": [id, outermost first], "file", "line"}],
     "edges": [{"source", "target", "kind", "label", "contract": CONTRACT}],
     "clusters": [{"id", "kind", "name", "parent", "title", "hooks": [str], "file", "line"}],
     "notes": [a Diagnostic]}
    CONTRACT = {"value": str or null, "fields": [{"name", "type", "definite"}]}

Kinds are those of `flatten` (compiler/flat.py). "calls" names the function of a stage and "condition" is the source
text of a condition; both are null elsewhere, as "file" and "line" are of the terminals. Later versions only add keys.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from metta.sweep.compiler import render_labels as words
from metta.sweep.compiler.flat import Cluster, Contract, flatten, inputs_of, result_of
from metta.sweep.compiler.graph import Graph, Node

SCHEMA = "metta-sweep/graph"
VERSION = 1


def to_json(graph: Graph) -> str:
    """The graph as a JSON document (the schema is in this module's docstring)."""
    flat = flatten(graph)
    clusters: dict[str, Cluster] = flat.graph["clusters"]
    document = {
        "schema": SCHEMA,
        "version": VERSION,
        "name": graph.name,
        "inputs": _contract(inputs_of(graph)),
        "result": _contract(result_of(graph)),
        "nodes": [_node(key, data) for key, data in flat.nodes(data=True)],
        "edges": [
            {
                "source": source,
                "target": target,
                "kind": data["kind"],
                "label": data["label"],
                "contract": _contract(data["carries"]),
            }
            for source, target, data in flat.edges(data=True)
        ],
        "clusters": [_cluster(cluster) for cluster in clusters.values()],
        "notes": [asdict(note) for note in graph.notes],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _contract(carries: Contract) -> dict[str, Any]:
    return {"value": carries.value or None, "fields": [field._asdict() for field in carries.fields]}


def _node(key: str, data: dict[str, Any]) -> dict[str, Any]:
    node: Node | None = data["node"]
    kind: str = data["kind"]
    # The tests at the end of a pass and the joins share their step: what it reads and writes is listed once, there.
    step = None if node is None or key != node.id else node
    file, line = (None, None) if node is None else words.location(node, end=kind == "until")
    return {
        "id": key,
        "kind": kind,
        "name": data["name"],
        "calls": None if step is None else words.called(step) or None,
        "condition": None if node is None or kind == "join" else words.condition(node, kind) or None,
        "hooks": list(data["hooks"]),
        "global_hooks": [] if step is None else list(dict.fromkeys(n for hooks in step.global_hooks for n in hooks)),
        "reads": [] if step is None else list(step.reads),
        "writes": [] if step is None else list(step.writes),
        "clusters": list(data["clusters"]),
        "file": file,
        "line": line,
    }


def _cluster(cluster: Cluster) -> dict[str, Any]:
    file, line = words.location(cluster.node)
    return {
        "id": cluster.id,
        "kind": cluster.kind,
        "name": cluster.name,
        "parent": cluster.parent or None,
        "title": words.cluster_title(cluster),
        "hooks": [] if cluster.kind == "arm" else list(cluster.node.hooks),
        "file": file,
        "line": line,
    }
