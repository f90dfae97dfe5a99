"""The verifier: what must hold of every graph, checked without the rule book.

Compiling does not need it, because the rules build only graphs for which it holds; the tests run it on every graph
they make, and a pass that breaks a graph is found at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import networkx

from metta.sweep.compiler.graph import Graph, Node, NodeKind, Region
from metta.sweep.compiler.lower import VALUE
from metta.sweep.contracts.flow import How
from metta.sweep.errors import InternalError
from metta.sweep.pipeline.plan import LoopPlan, MapPlan, NestedPlan, StagePlan


def verify(graph: Graph) -> None:
    """Check structure and definite assignment.

    Raises:
        InternalError: with everything that does not hold.
    """
    found = [*_structure(graph), *_assignment(graph)]
    if found:
        raise InternalError(f"graph {graph.name} is malformed: " + "; ".join(found))


def _structure(graph: Graph) -> Iterator[str]:
    """Ids are unique, a break stands in a loop, every node is reached, and only loops lead back."""
    seen: set[str] = set()
    for node in graph.walk():
        if node.id in seen:
            yield f"id {node.id} stands twice"
        seen.add(node.id)
    yield from _breaks(graph.body, in_loop=False)
    flat = graph.to_networkx()
    forward: networkx.DiGraph[str] = networkx.DiGraph()
    forward.add_edges_from((a, b) for a, b, facts in flat.edges(data=True) if facts.get("kind") != "back")
    if not networkx.is_directed_acyclic_graph(forward):
        yield "a cycle that is no loop"
    if len(flat) and not networkx.is_weakly_connected(flat):
        yield "a part that nothing leads to"


def _breaks(region: Region, *, in_loop: bool) -> Iterator[str]:
    for node in region.nodes:
        if node.kind is NodeKind.BREAK and not in_loop:
            yield f"{node.id} stands outside a loop"
        for inner in node.regions:
            # A nested pipeline without a loop of its own cannot leave the loop around it.
            yield from _breaks(inner, in_loop=node.kind is NodeKind.LOOP)


def _assignment(graph: Graph) -> Iterator[str]:
    """Every read that needs a field finds it set on every way."""
    start = _named(graph.body)
    start.update(graph.inputs.optional)
    yield from _region(graph.body, start)


def _named(region: Region) -> set[str]:
    names = {name for name, known in region.start.fields.items() if known.definite}
    return names | {VALUE} if region.start.has_value else names


def _region(region: Region, known: set[str]) -> Iterator[str]:
    """Walk forward; `known` is what is set before the region and becomes what is set behind it."""
    for node in region.nodes:
        if node.before.unknown or node.after.unknown:
            return  # verified at run time
        for name in _needs(node):
            if name not in known:
                yield f"{node.id} reads {name}, which is not set on every way"
        yield from _effect(node, known)


def _needs(node: Node) -> Iterator[str]:
    """The names that a node reads and that no default replaces."""
    plan = node.plan
    if isinstance(plan, (StagePlan, MapPlan)):
        arguments = plan.binding.arguments
    elif isinstance(plan, NestedPlan) and plan.arguments is not None:
        arguments = plan.arguments
    else:
        arguments = ()
    for argument in arguments:
        if argument.how in (How.FIELD, How.RECORD, How.PROTOCOL):
            yield from argument.names
        elif argument.how is How.VALUE:
            yield VALUE
    if isinstance(plan, MapPlan) and plan.step.over is not None:
        yield plan.step.over


def _effect(node: Node, known: set[str]) -> Iterator[str]:
    plan = node.plan
    if node.kind is NodeKind.BRANCH:
        ends = []
        for arm in node.regions:
            end = set(known)
            yield from _region(arm, end)
            ends.append(end)
        known.clear()
        known.update(set.intersection(*ends))
    elif isinstance(plan, LoopPlan):
        (body,) = node.regions
        end = set(known)
        yield from _region(body, end)
        if plan.step.condition is None:
            known.update(name for name in end if (f := plan.after.fields.get(name)) is not None and f.definite)
            if plan.after.has_value:
                known.add(VALUE)
    elif isinstance(plan, NestedPlan):
        (body,) = node.regions
        end = set(known) if plan.arguments is None else _named(body)
        yield from _region(body, end)
        replaces = body.end.replacements != body.start.replacements
        if plan.output is None:
            if replaces:
                known.clear()
            known.update(end if plan.arguments is None or replaces else end.intersection(plan.leaving))
        else:
            _write(node, known)
    else:
        for arm in node.regions:
            if node.kind is NodeKind.PARALLEL:
                yield from _region(arm, set(known))
        _write(node, known)


def _write(node: Node, known: set[str]) -> None:
    if VALUE in node.writes:
        known.clear()
        known.add(VALUE)
    for name in node.writes:
        field = node.after.fields.get(name)
        if field is not None and field.definite:
            known.add(name)
