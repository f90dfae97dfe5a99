"""A drawing in a notebook: a picture in its cell, or the table of its stages where `dot` is missing."""

from __future__ import annotations

from metta.sweep.compiler.drawing.build import drawing_of
from metta.sweep.compiler.drawing.model import Drawing, fold, folded_by_default
from metta.sweep.compiler.drawing.svg import NoPicture, drawing_svg
from metta.sweep.compiler.drawing.table import drawing_table
from metta.sweep.compiler.graph import Graph


def graph_bundle(graph: Graph) -> dict[str, str]:
    """What a notebook shows of a graph, by MIME type. A large one is drawn with its inner parts folded."""
    drawing = drawing_of(graph)
    try:
        svg = drawing_svg(fold(drawing, folded_by_default(drawing)), alt=alt_of(drawing))
    except NoPicture as error:
        return {"text/html": drawing_table(drawing, note=f"There is no picture: {error}.")}
    return {"text/html": svg, "image/svg+xml": svg}


def alt_of(drawing: Drawing) -> str:
    """What one sees, in a sentence."""
    stages = len(drawing.stages)
    loops = sum(frame.kind == "loop" for frame in drawing.frames)
    counted = [f"{stages} {'stage' if stages == 1 else 'stages'}"]
    if loops:
        counted.append(f"{loops} {'loop' if loops == 1 else 'loops'}")
    return f"The graph of {drawing.name}: {' and '.join(counted)}, from its inputs to its {drawing.nodes[-1].text}."
