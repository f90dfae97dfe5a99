"""What a drawing of a pipeline shows, as plain data: the static picture and the live one are drawn from the same.

A drawing knows nothing of the user's code, so that it can be kept in a run's folder and drawn by whoever looks at it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from metta.sweep.compiler.render_labels import Badge

STAGE_KINDS: Final = ("stage", "map")
CONTROL_KINDS: Final = ("branch", "loop", "break", "until")
FRAME_KINDS: Final = ("nested", "experiment", "loop", "branch", "parallel", "arm")
NODE_KINDS: Final = frozenset({"input", "output", "join", "nested", "parallel", *STAGE_KINDS, *CONTROL_KINDS})
EDGE_KINDS: Final = frozenset({"flow", "then", "otherwise", "arm", "body", "back", "exit"})

READABLE: Final = 60
"""Stages above which a drawing is folded by default."""
DEPTH_SHOWN: Final = 2
"""How many frames are shown around a stage of a drawing that is folded by default."""


@dataclass(frozen=True, slots=True)
class DrawnNode:
    """A box.

    Attributes:
        id: that of its step, also in a run's journal; "@input", "@output", "ID@join" and "ID@until" are none of these.
        kind: one of `NODE_KINDS`; of a folded frame, one of `FRAME_KINDS`.
        text: its name, its condition or its result.
        frame: the id of the innermost frame around it, or "".
        details: more lines: what is called, what a map runs over.
        badges: its hooks.
        place: file and line of the call that made it, or "".
        folded: the stages inside of a folded frame; empty for everything else.
    """

    id: str
    kind: str
    text: str = ""
    frame: str = ""
    details: tuple[str, ...] = ()
    badges: tuple[Badge, ...] = ()
    place: str = ""
    folded: tuple[str, ...] = ()

    @property
    def is_stage(self) -> bool:
        """Whether it calls something."""
        return self.kind in STAGE_KINDS


@dataclass(frozen=True, slots=True)
class DrawnFrame:
    """A frame around boxes: a loop, a conditional, a parallel step, one of their arms, a pipeline inside of another.

    Attributes:
        id: of its step; an arm's is "STEP/ARM".
        kind: one of `FRAME_KINDS`.
        title: what stands on it.
        parent: the id of the frame around it, or "".
        badges: the hooks of the step.
        every_stage: the hooks that it adds to every stage inside.
    """

    id: str
    kind: str
    title: str
    parent: str = ""
    badges: tuple[Badge, ...] = ()
    every_stage: tuple[str, ...] = ()

    @property
    def is_recorded(self) -> bool:
        """Whether a durable run notes how the step as a whole has ended."""
        return self.kind == "experiment" or (self.kind in ("nested", "parallel") and bool(self.badges))


@dataclass(frozen=True, slots=True)
class DrawnEdge:
    """An arrow. `kind` is one of `EDGE_KINDS`; `lines` is what stands on it: the contract, an answer, an arm's name."""

    source: str
    target: str
    kind: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawing of a pipeline.

    Attributes:
        name: of the pipeline.
        nodes, edges: in the order of the steps.
        frames: each behind the one around it.
        every_stage: the hooks that all stages have.
    """

    name: str
    nodes: tuple[DrawnNode, ...]
    frames: tuple[DrawnFrame, ...] = ()
    edges: tuple[DrawnEdge, ...] = ()
    every_stage: tuple[str, ...] = ()

    @property
    def stages(self) -> tuple[str, ...]:
        """The ids of its stages, those in folded frames included."""
        return tuple(
            id for node in self.nodes for id in (node.folded or ((node.id,) if node.kind in STAGE_KINDS else ()))
        )


def around(drawing: Drawing) -> Mapping[str, tuple[str, ...]]:
    """For each frame (and "", which is none) the ids of the frames around it and its own, the outermost first."""
    paths: dict[str, tuple[str, ...]] = {"": ()}
    for frame in drawing.frames:
        paths[frame.id] = (*paths[frame.parent], frame.id)
    return MappingProxyType(paths)


def folded_by_default(drawing: Drawing, *, live: bool = False) -> frozenset[str]:
    """The frames that are drawn as one box unless somebody wants to see what is inside.

    Args:
        drawing: the whole.
        live: whether it shows a run: an experiment in it is a run of its own, with a drawing of its own.
    """
    found = {frame.id for frame in drawing.frames if live and frame.kind == "experiment"}
    if len(drawing.stages) > READABLE:
        paths = around(drawing)
        found.update(frame.id for frame in drawing.frames if len(paths[frame.id]) > DEPTH_SHOWN)
    return frozenset(found)


def fold(drawing: Drawing, frames: Collection[str]) -> Drawing:
    """The drawing with these frames drawn as one box each; what is inside of a folded one does not count.

    Ids that name no frame change nothing.
    """
    paths = around(drawing)
    box_of = {id: next((each for each in path if each in frames), "") for id, path in paths.items()}
    if not any(box_of.values()):
        return drawing
    inside: dict[str, list[DrawnNode]] = {}
    for node in drawing.nodes:
        inside.setdefault(box_of[node.frame], []).append(node)
    by_id = {frame.id: frame for frame in drawing.frames}
    nodes: list[DrawnNode] = []
    moved: dict[str, str] = {}
    for node in drawing.nodes:
        box = box_of[node.frame]
        if box:
            moved[node.id] = box
        if not box:
            nodes.append(node)
        elif box in inside:
            nodes.append(_box(by_id[box], inside.pop(box)))
    edges: dict[tuple[str, str, str], DrawnEdge] = {}
    for edge in drawing.edges:
        source, target = moved.get(edge.source, edge.source), moved.get(edge.target, edge.target)
        if source != target or edge.source not in moved:  # what stays inside of a box is not seen
            key = (source, target, edge.kind)
            if key not in edges or not edges[key].lines:
                edges[key] = replace(edge, source=source, target=target)
    shown = tuple(frame for frame in drawing.frames if not box_of[frame.id])
    return replace(drawing, nodes=tuple(nodes), frames=shown, edges=tuple(edges.values()))


def _box(frame: DrawnFrame, inside: Collection[DrawnNode]) -> DrawnNode:
    """The box that stands for a frame."""
    stages = tuple(id for node in inside for id in (node.folded or ((node.id,) if node.is_stage else ())))
    count = f"{len(stages)} {'stage' if len(stages) == 1 else 'stages'}"
    # Without a stage there is no state to sum up, yet the box has to be known as a folded frame.
    return DrawnNode(
        frame.id, frame.kind, frame.title, frame.parent, (count,), frame.badges, folded=stages or (frame.id,)
    )
