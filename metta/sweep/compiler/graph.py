"""The intermediate representation: a frozen tree of nodes, one per step, with the context before and after each.

Structured control flow is kept as regions (arms, bodies), so that it can be printed, drawn and turned into ordinary
Python; `to_networkx` gives the flat view for analysis and drawing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from metta.sweep.contracts.diagnostics import Diagnostic
from metta.sweep.contracts.flow import State
from metta.sweep.pipeline.plan import Plan
from metta.sweep.pipeline.steps import Inputs

if TYPE_CHECKING:
    import networkx


class NodeKind(StrEnum):
    STAGE = "stage"
    MAP = "map"
    NESTED = "nested"
    BRANCH = "branch"
    PARALLEL = "parallel"
    LOOP = "loop"
    BREAK = "break"


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Nodes that run one after another: the body of the graph, of a loop or of an arm.

    Attributes:
        label: "then", "otherwise", the name of an arm, "body"; "" for the graph itself.
    """

    label: str
    nodes: tuple[Node, ...]
    start: State[Any]
    end: State[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One step of the graph.

    Attributes:
        id: unique in the graph and stable under changes elsewhere: the names on the way to it ("curriculum.train").
        plan: what the rules decided.
        hooks: those of the stage's own `.through`.
        global_hooks: of the pipelines around it, innermost first; only what calls something of its own has them (a
            stage, a map): in a nested pipeline and in the arms of a parallel they act on the stages inside.
        reads: the context fields and optional inputs it takes ("@value" is the value, "@whole" the context as a whole).
        writes: the context fields it sets; a replacing contract writes "@value" and the fields of its type.
        regions: arms or the body.
        recorded: a durable run passes it under a record (compiler/recording.py).
    """

    id: str
    kind: NodeKind
    name: str
    plan: Plan
    hooks: Mapping[str, Any] = field(default_factory=dict)
    global_hooks: tuple[Mapping[str, Any], ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    regions: tuple[Region, ...] = ()
    recorded: bool = False

    @property
    def before(self) -> State[Any]:
        return self.plan.before

    @property
    def after(self) -> State[Any]:
        plan = self.plan
        return plan.before if self.kind is NodeKind.BREAK else plan.after  # type: ignore[union-attr]


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A checked pipeline: its inputs, its nodes, and the notes of the check."""

    name: str
    inputs: Inputs
    body: Region
    notes: tuple[Diagnostic, ...] = ()

    def walk(self) -> Iterator[Node]:
        """Every node, outer ones before the nodes inside them."""
        return _walk(self.body)

    def to_networkx(self) -> networkx.DiGraph[str]:
        """The flat view (see compiler/flat.py): nodes are ids, edges carry the context that flows along them."""
        from metta.sweep.compiler.flat import flatten

        return flatten(self)

    def __str__(self) -> str:
        from metta.sweep.compiler.text import graph_text

        return graph_text(self)


def _walk(region: Region) -> Iterator[Node]:
    for node in region.nodes:
        yield node
        for inner in node.regions:
            yield from _walk(inner)
