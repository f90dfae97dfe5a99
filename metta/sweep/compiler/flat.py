"""The flat view of a graph: one networkx node per step, edges in the direction in which the context flows.

Where the tree of regions has a loop, a conditional or a parallel step, the flat view has the step itself as an entry
(its condition, its fork), edges of a kind of their own, and a join behind it; what stands inside is in a cluster.

    terminals   "@input" and "@output"
    branch      id -then-> ... -> id@join,  id -otherwise-> ... -> id@join
    parallel    id -arm-> ... -> id@join, once per arm
    loop        id -body-> ... -back-> id;  with `until` the tests at the end of a pass are id@until;
                id, id@until and every break leave with an "exit" edge, several of them by id@join
    nested      no node of its own (unless it is empty): a cluster around its steps; an experiment likewise
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from metta.sweep.compiler.graph import Graph, Node, NodeKind, Region
from metta.sweep.compiler.lower import VALUE
from metta.sweep.contracts.flow import Field, State
from metta.sweep.pipeline.plan import Block, BranchPlan, LoopPlan, NestedPlan, ParallelPlan, StagePlan
from metta.sweep.pipeline.replay import ORACLE

if TYPE_CHECKING:
    import networkx

INPUT = "@input"
OUTPUT = "@output"
UNKNOWN = "?"


class FieldText(NamedTuple):
    """One field in words; `definite` is False where it is maybe set."""

    name: str
    type: str
    definite: bool


@dataclass(frozen=True, slots=True)
class Contract:
    """What the source of an edge has put into the context.

    Attributes:
        value: the type of the value where the context was replaced; "?" where it is not known; else "".
        fields: those that were set; with a record as value its own.
    """

    value: str = ""
    fields: tuple[FieldText, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.value or self.fields)

    def __str__(self) -> str:
        listed = ", ".join(
            (name if definite else f"{name}?") + (f": {tp}" if tp else "") for name, tp, definite in self.fields
        )
        if not self.value:
            return listed
        return f"{self.value} ({listed})" if listed else self.value


@dataclass(frozen=True, slots=True)
class Cluster:
    """A frame around nodes.

    Attributes:
        id: the id of its step; for an arm, the id of the step and the arm's label.
        kind: "branch", "parallel", "loop", "nested", "experiment" or "arm".
        parent: the id of the cluster around it, or "".
        node: the step; for an arm, the one it belongs to.
        global_hooks: those that this pipeline adds for all stages inside.
    """

    id: str
    kind: str
    name: str
    parent: str
    node: Node
    global_hooks: tuple[str, ...] = ()


class FlatNode(NamedTuple):
    """A node of the flat view, see `flatten`."""

    kind: str
    name: str
    hooks: tuple[str, ...]
    clusters: tuple[str, ...]
    node: Node | None


class FlatEdge(NamedTuple):
    """An edge of the flat view, see `flatten`."""

    kind: str
    label: str
    carries: Contract


@dataclass(frozen=True, slots=True)
class Flat:
    """The flat view in plain mappings, all of them in the order of the steps; edges by source and target."""

    nodes: dict[str, FlatNode] = field(default_factory=dict)
    edges: dict[tuple[str, str], FlatEdge] = field(default_factory=dict)
    clusters: dict[str, Cluster] = field(default_factory=dict)


def flat_of(graph: Graph) -> Flat:
    """The flat view, in time linear in the number of steps; without networkx, which takes a while to import."""
    return _Flattener(graph).run()


def flatten(graph: Graph) -> networkx.DiGraph[str]:
    """The flat view for networkx.

    Returns:
        A graph whose `graph` attributes are `name` and `clusters` (id -> Cluster).
        Nodes: `kind` (of the step, or "input", "output", "join", "until"), `name`, `hooks` (names), `clusters` (ids,
        outermost first), `node` (the step, from which places in files are found; None for terminals).
        Edges: `kind` ("flow", "then", "otherwise", "arm", "body", "back" or "exit"), `label` (the arm's name, or ""),
        `contract` (as text) and `carries` (the same as a Contract).
    """
    import networkx

    flat = flat_of(graph)
    made: networkx.DiGraph[str] = networkx.DiGraph(name=graph.name, clusters=flat.clusters)
    for key, node in flat.nodes.items():
        made.add_node(key, **node._asdict())
    for (source, target), edge in flat.edges.items():
        made.add_edge(source, target, **edge._asdict(), contract=str(edge.carries))
    return made


def contract_of(names: Iterable[str], state: State[Any]) -> Contract:
    """The given fields (and the value, if "@value" is among them) as they stand in `state`."""
    names = list(names)
    value = ""
    if state.unknown and (not names or VALUE in names):
        value = UNKNOWN
    elif VALUE in names and state.has_value:
        value = _type_text(state.value)
    known = [(name, state.fields.get(name)) for name in names if name != VALUE]
    return Contract(value, tuple(_field(name, field) for name, field in known if field is not None))


def inputs_of(graph: Graph) -> Contract:
    """What the pipeline is given; optional inputs are maybe set."""
    start = graph.body.start
    given = contract_of([VALUE, *start.fields], start)
    optional = tuple(FieldText(name, _type_text(tp), False) for name, tp in graph.inputs.optional.items())
    return Contract(given.value, given.fields + optional)


def result_of(graph: Graph) -> Contract:
    """What `run()` gives: the value, or the fields of the Context."""
    end = graph.body.end
    if end.unknown or end.whole_is_value:
        return Contract(contract_of([VALUE], end).value)
    return contract_of(list(end.fields), end)


def _field(name: str, field: Field[Any]) -> FieldText:
    return FieldText(name, _type_text(field.type), field.definite)


def _type_text(tp: Any) -> str:
    return "" if tp is None else ORACLE.describe(tp)


class _Exit(NamedTuple):
    """An edge that waits for its target."""

    source: str
    kind: str = "flow"
    label: str = ""
    carries: Contract = Contract()


class _Flattener:
    """Walks the regions in order; `_exit` is the one edge that leads on (None behind a loop without an end)."""

    def __init__(self, graph: Graph) -> None:
        self._source = graph
        self._flat = Flat()
        self._exit: _Exit | None = None
        self._path: tuple[str, ...] = ()

    def run(self) -> Flat:
        self._add(INPUT, "input", None)
        self._exit = _Exit(INPUT, carries=inputs_of(self._source))
        self._region(self._source.body)
        self._add(OUTPUT, "output", None)
        return self._flat

    def _add(self, key: str, kind: str, node: Node | None, hooks: tuple[str, ...] = ()) -> None:
        """A node, and the edge that was waiting for it."""
        name = key if node is None else node.name
        self._flat.nodes[key] = FlatNode(kind, name, hooks, self._path, node)
        if self._exit is not None:
            self._edge(self._exit, key)
        self._exit = _Exit(key)

    def _edge(self, leaving: _Exit, target: str) -> None:
        self._flat.edges[leaving.source, target] = FlatEdge(leaving.kind, leaving.label, leaving.carries)

    def _enter(self, key: str, kind: str, name: str, node: Node, block: Block | None = None) -> None:
        hooks = () if block is None else tuple(dict.fromkeys(name for added in block.global_hooks for name in added))
        parent = self._path[-1] if self._path else ""
        self._flat.clusters[key] = Cluster(key, kind, name, parent, node, hooks)
        self._path = (*self._path, key)

    def _leave(self) -> None:
        self._path = self._path[:-1]

    def _carry(self, carries: Contract) -> None:
        if self._exit is not None:
            self._exit = self._exit._replace(carries=carries)

    def _region(self, region: Region) -> dict[str, None]:
        """Add the nodes of a region; the names it sets, in order."""
        names: dict[str, None] = {}
        for node in region.nodes:
            names.update(self._node(node))
        return names

    def _node(self, node: Node) -> dict[str, None]:
        names = dict.fromkeys(node.writes)
        if node.kind is NodeKind.BRANCH or node.kind is NodeKind.PARALLEL:
            inside = self._arms(node)
            if node.kind is NodeKind.BRANCH:
                names = inside
        elif node.kind is NodeKind.LOOP:
            names = self._loop(node)
        elif node.regions and node.regions[0].nodes:
            (region,) = node.regions
            if isinstance(node.plan, NestedPlan):
                self._enter(node.id, "nested", node.name, node, node.plan.body)
            else:
                assert isinstance(node.plan, StagePlan)
                self._enter(node.id, "experiment", node.name, node, node.plan.drawn)
            inside = self._region(region)
            self._leave()
            if isinstance(node.plan, NestedPlan) and node.plan.arguments is None and node.plan.output is None:
                names = inside
        else:
            self._add(node.id, node.kind.value, node, tuple(node.hooks))
        if node.kind is not NodeKind.BREAK:
            self._carry(contract_of(names, node.after))
        return names

    def _arms(self, node: Node) -> dict[str, None]:
        """The arms of a conditional or a parallel step, and the join behind them."""
        self._enter(node.id, node.kind.value, node.name, node)
        self._add(node.id, node.kind.value, node, tuple(node.hooks))
        plan = node.plan
        branch = isinstance(plan, BranchPlan)
        blocks = [plan.then, plan.otherwise] if isinstance(plan, BranchPlan) else []
        blocks += plan.arms.values() if isinstance(plan, ParallelPlan) else ()
        names: dict[str, None] = {}
        leaving: list[_Exit] = []
        for region, block in zip(node.regions, blocks, strict=True):
            self._exit = _Exit(node.id, region.label if branch else "arm", region.label)
            if region.nodes:
                self._enter(f"{node.id}/{region.label}", "arm", region.label, node, block)
                names.update(self._region(region))
                self._leave()
            if self._exit is not None:
                leaving.append(self._exit)
        self._join(node, leaving)
        self._leave()
        return names

    def _loop(self, node: Node) -> dict[str, None]:
        plan = node.plan
        assert isinstance(plan, LoopPlan)
        self._enter(node.id, node.kind.value, node.name, node)
        self._add(node.id, node.kind.value, node)
        (region,) = node.regions
        self._exit = _Exit(node.id, "body")
        names = self._region(region)
        leaving = [] if plan.step.condition is None else [_Exit(node.id, "exit")]
        leaving += [_Exit(inner.id, "exit") for inner in region.nodes if inner.kind is NodeKind.BREAK]
        if plan.end.until is not None:
            self._add(f"{node.id}@until", "until", node)
            leaving.append(_Exit(f"{node.id}@until", "exit"))
        if self._exit is not None:
            self._edge(self._exit._replace(kind="back"), node.id)
        if len(leaving) > 1:
            self._join(node, leaving)
        else:
            self._exit = leaving[0] if leaving else None
        self._leave()
        return names

    def _join(self, node: Node, leaving: list[_Exit]) -> None:
        self._exit = None
        key = f"{node.id}@join"
        self._add(key, "join", node)
        for each in leaving:
            self._edge(each, key)
