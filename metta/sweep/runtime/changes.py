"""What has changed in a graph since a run of it began, and what those changes touch."""

from __future__ import annotations

from collections.abc import Mapping

from metta.sweep.compiler.graph import Graph, Node, NodeKind, Region
from metta.sweep.compiler.liveness import may_skip
from metta.sweep.compiler.lower import VALUE, WHOLE, whole_reads
from metta.sweep.contracts.diagnostics import nearest
from metta.sweep.pipeline.plan import NestedPlan


def changes_of(before: Mapping[str, str], now: Mapping[str, str], inputs: frozenset[str]) -> list[str]:
    """The differences between two tables of fingerprints (node id -> digest), a phrase each.

    Args:
        inputs: the inputs that are not what the run began with.
    """
    found = [f'the input "{name.removeprefix("@")}" is another' for name in sorted(inputs)]
    new = [node for node in now if node not in before]
    for node, digest in before.items():
        if node not in now:
            near = nearest(node, new)
            found.append(f'stage "{node}" is gone' + (f' (is it "{near}" now?)' if near else ""))
        elif now[node] != digest:
            found.append(f'stage "{node}" has changed: its code, its settings or its contract')
    return [*found, *(f'stage "{node}" is new' for node in new)]


def touched(graph: Graph, before: Mapping[str, str], now: Mapping[str, str], inputs: frozenset[str]) -> frozenset[str]:
    """The ids of the nodes that have changed, and of those that read what a touched one has written.

    A touched condition touches all that stands under it. Nodes that are gone are named, too.
    """
    changed = {node for node in before.keys() | now.keys() if before.get(node) != now.get(node)}
    walk = _Walk(changed)
    walk.region(graph.body, set(inputs))
    return frozenset(walk.found | changed)


class _Walk:
    """Carries the names of what is tainted along the graph."""

    def __init__(self, changed: set[str]) -> None:
        self._changed = changed
        self.found: set[str] = set()

    def region(self, region: Region, tainted: set[str], all_of_it: bool = False) -> set[str]:
        """Walk a region; `tainted` becomes what is tainted at its end."""
        for node in region.nodes:
            self._node(node, tainted, all_of_it)
        return tainted

    def _node(self, node: Node, tainted: set[str], all_of_it: bool) -> None:
        reads = {*node.reads, *(whole_reads(node.before) if _sees_all(node) else ())}
        hit = all_of_it or node.id in self._changed or bool(tainted & reads) or (WHOLE in reads and bool(tainted))
        if hit:
            self.found.add(node.id)
        if node.kind is NodeKind.LOOP:
            # What the end of a pass taints, the next pass reads; names are only added, so this comes to an end.
            seen = None
            while seen != (len(tainted), hit):
                seen = (len(tainted), hit)
                tainted |= self.region(node.regions[0], set(tainted), hit)
                hit = hit or bool(tainted & reads)
            if hit:
                self.found.add(node.id)
        elif node.regions:
            self._regions(node, tainted, hit)
        elif hit:
            tainted |= _written(node)
        elif not may_skip(node):
            self._overwrite(node, tainted)

    def _regions(self, node: Node, tainted: set[str], hit: bool) -> None:
        """Arms, a nested pipeline, or the drawn graph of an experiment."""
        inside = tainted
        if isinstance(node.plan, NestedPlan) and node.plan.arguments is not None:
            # A closed pipeline knows only its inputs, by names of its own.
            inside = {VALUE, *node.plan.body.start.fields} if tainted & {*node.reads} else set()
        known = len(self.found)
        ends = [self.region(region, set(inside), hit) for region in node.regions]
        hit = hit or len(self.found) > known
        if node.kind is NodeKind.BRANCH or (node.kind is NodeKind.NESTED and not node.writes):
            tainted |= set().union(*ends)
        elif hit:
            self.found.add(node.id)  # its own outcome is made of theirs
            tainted |= _written(node)
        else:
            self._overwrite(node, tainted)

    def _overwrite(self, node: Node, tainted: set[str]) -> None:
        """An untouched node gives what it gave before."""
        if VALUE in node.writes:
            tainted.clear()
        else:
            tainted -= set(node.writes)


def _written(node: Node) -> set[str]:
    """What the node sets; with a field of the value, the value."""
    names = set(node.writes)
    if not node.before.own.isdisjoint(names):
        names.add(VALUE)
    if node.after.unknown:
        names.add(WHOLE)
    return names


def _sees_all(node: Node) -> bool:
    """Whether hooks of the node are given its input as a whole."""
    hooks = (node.hooks, *node.global_hooks)
    return any(name in given for given in hooks for name in ("skip_if", "on_error"))
