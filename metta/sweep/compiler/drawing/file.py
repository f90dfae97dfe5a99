"""A drawing as JSON: how a run keeps the one of its pipeline, beside its journal.

    {"schema": "metta-sweep/drawing", "version": 1, "name": str, "every_stage": [str],
     "nodes": [{"id", "kind", "text", "frame", "details": [str], "badges": [[text, family]], "place"}],
     "frames": [{"id", "kind", "title", "parent", "badges", "every_stage": [str]}],
     "edges": [{"source", "target", "kind", "lines": [str]}]}

What is read back is only ever text to be drawn. Keys that are not known are left out, so later versions may add some.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from metta.sweep.compiler.drawing.build import drawing_of
from metta.sweep.compiler.drawing.model import (
    EDGE_KINDS,
    FRAME_KINDS,
    NODE_KINDS,
    Drawing,
    DrawnEdge,
    DrawnFrame,
    DrawnNode,
)
from metta.sweep.compiler.graph import Graph
from metta.sweep.compiler.render_labels import Badge, Family
from metta.sweep.errors import DamagedError, StorageError
from metta.sweep.store import files
from metta.sweep.store.run import read_json

SCHEMA: Final = "metta-sweep/drawing"
VERSION: Final = 1
FILE: Final = "drawing.json"

MOST_STEPS: Final = 20_000
"""Boxes, frames or arrows of a drawing that is kept or read."""
LONGEST: Final = 4_000
"""Characters of one text of it."""
MOST_LINES: Final = 100
"""Lines on one arrow, badges or details on one box."""
LARGEST: Final = 12 * 2**20
"""Bytes of the file."""

logger: logging.Logger = logging.getLogger("metta.sweep")


def keep_drawing(folder: Path, graph: Graph) -> None:
    """Write the drawing of a graph into a run's folder. The run does not depend on it: what goes wrong is only told.

    Args:
        folder: of the run.
        graph: its pipeline.
    """
    if sum(1 for _ in graph.walk()) > MOST_STEPS:
        return
    try:
        text = json.dumps(drawing_to_json(drawing_of(graph)), separators=(",", ":")).encode("ascii")
        if len(text) <= LARGEST:
            # Torn by a power cut it is no JSON, and then there is no drawing.
            files.write_file(folder / FILE, [text, b"\n"], durable=False)
    except StorageError as error:
        logger.warning("the drawing of this run is not kept: %s", error)


def read_drawing(folder: Path) -> Drawing:
    """The drawing in a run's folder.

    Raises:
        DamagedError: there is none (runs of older releases have none), or it cannot be used; the message says which.
        StorageError: it cannot be read.
    """
    path = folder / FILE
    if not path.exists():
        raise DamagedError("this run has kept no drawing of its pipeline", path=str(path))
    data = read_json(path)
    if data.get("schema") == SCHEMA and isinstance(data.get("version"), int) and data["version"] > VERSION:
        raise DamagedError("the drawing of this run was written by a newer release: update metta-sweep", path=str(path))
    try:
        return drawing_from_json(data)
    except ValueError as error:
        raise DamagedError(f"the drawing of this run is damaged: {error}", path=str(path)) from None


def drawing_to_json(drawing: Drawing) -> dict[str, Any]:
    """The drawing as JSON values."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "name": drawing.name,
        "every_stage": list(drawing.every_stage),
        "nodes": [
            {
                "id": node.id,
                "kind": node.kind,
                "text": node.text,
                "frame": node.frame,
                "details": list(node.details),
                "badges": [[badge.text, badge.family.value] for badge in node.badges],
                "place": node.place,
            }
            for node in drawing.nodes
        ],
        "frames": [
            {
                "id": frame.id,
                "kind": frame.kind,
                "title": frame.title,
                "parent": frame.parent,
                "badges": [[badge.text, badge.family.value] for badge in frame.badges],
                "every_stage": list(frame.every_stage),
            }
            for frame in drawing.frames
        ],
        "edges": [
            {"source": edge.source, "target": edge.target, "kind": edge.kind, "lines": list(edge.lines)}
            for edge in drawing.edges
        ],
    }


def drawing_from_json(data: Mapping[str, Any]) -> Drawing:
    """What `drawing_to_json` gave, checked as something that anybody may have written.

    Raises:
        ValueError: it is something else; the message says what, as a phrase.
    """
    if data.get("schema") != SCHEMA or data.get("version") != VERSION:
        raise ValueError(f'expected the schema "{SCHEMA}", version {VERSION}')
    frames: dict[str, DrawnFrame] = {}
    for row in _rows(data, "frames"):
        frame = DrawnFrame(
            _string(row, "id"),
            _one_of(row, "kind", FRAME_KINDS),
            _string(row, "title"),
            _frame_of(row, "parent", frames),
            _badges(row),
            _strings(row, "every_stage"),
        )
        frames[_new(frame.id, frames)] = frame
    nodes: dict[str, DrawnNode] = {}
    for row in _rows(data, "nodes"):
        node = DrawnNode(
            _string(row, "id"),
            _one_of(row, "kind", NODE_KINDS),
            _string(row, "text"),
            _frame_of(row, "frame", frames),
            _strings(row, "details"),
            _badges(row),
            _string(row, "place"),
        )
        nodes[_new(node.id, nodes)] = node
    if not nodes:
        raise ValueError("it has no boxes")
    edges = tuple(
        DrawnEdge(
            _one_of(row, "source", nodes),
            _one_of(row, "target", nodes),
            _one_of(row, "kind", EDGE_KINDS),
            _strings(row, "lines"),
        )
        for row in _rows(data, "edges")
    )
    return Drawing(
        _string(data, "name"), tuple(nodes.values()), tuple(frames.values()), edges, _strings(data, "every_stage")
    )


def _rows(data: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = data.get(key)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError(f'"{key}" is no list of objects')
    if len(found) > MOST_STEPS:
        raise ValueError(f'"{key}" has more than {MOST_STEPS} entries')
    return found


def _string(row: Mapping[str, Any], key: str) -> str:
    found = row.get(key)
    if not isinstance(found, str) or len(found) > LONGEST:
        raise ValueError(f'"{key}" is no text of at most {LONGEST} characters')
    return found


def _strings(row: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = row.get(key)
    if not isinstance(found, list) or len(found) > MOST_LINES:
        raise ValueError(f'"{key}" is no list of at most {MOST_LINES} texts')
    return tuple(_string({key: each}, key) for each in found)


def _one_of(row: Mapping[str, Any], key: str, known: Collection[str]) -> str:
    found = _string(row, key)
    if found not in known:
        raise ValueError(f'"{key}" is none of those that are known')
    return found


def _frame_of(row: Mapping[str, Any], key: str, frames: Collection[str]) -> str:
    """A frame that stands before it, so that none is around itself; or ""."""
    return _string(row, key) and _one_of(row, key, frames)


def _new(id: str, known: Collection[str]) -> str:
    if not id or id in known:
        raise ValueError("two steps have the same id" if id else "a step has no id")
    return id


def _badges(row: Mapping[str, Any]) -> tuple[Badge, ...]:
    found = row.get("badges")
    if not isinstance(found, list) or len(found) > MOST_LINES:
        raise ValueError(f'"badges" is no list of at most {MOST_LINES}')
    pairs = [_strings({"badges": each}, "badges") for each in found]
    if not all(len(pair) == 2 and pair[1] in _FAMILIES for pair in pairs):
        raise ValueError('"badges" are no pairs of a text and a family')
    return tuple(Badge(text, Family(family)) for text, family in pairs)


_FAMILIES: Final = frozenset(family.value for family in Family)
