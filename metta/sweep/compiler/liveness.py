"""Which fields are read later: a record's fields are only taken out where someone reads them, and a worker is sent
only what it reads.

A backward pass over the tree; a loop is run through twice, because what its head reads is live at its end.
"""

from __future__ import annotations

from metta.sweep.compiler.graph import Graph, Node, NodeKind, Region
from metta.sweep.compiler.lower import VALUE, leaving, whole_reads
from metta.sweep.contracts.flow import Shape
from metta.sweep.pipeline.plan import LoopPlan, NestedPlan, StagePlan


class Liveness:
    """The result: for each node what is live behind it *among the names it writes*, and what each region needs.

    Attributes:
        needed: node id -> the names it writes that are read later.
        entry: (node id, region label) -> the names live at the region's start.
    """

    def __init__(self) -> None:
        self.needed: dict[str, frozenset[str]] = {}
        self.entry: dict[tuple[str, str], frozenset[str]] = {}
        self.behind: list[set[str]] = []
        """What is live behind each of the loops around the current node: a break goes there."""


def liveness(graph: Graph) -> Liveness:
    """Compute liveness; the final whole is live at the end of the graph."""
    found = Liveness()
    _region(graph.body, set(whole_reads(graph.body.end)), found)
    return found


def _region(region: Region, live: set[str], found: Liveness) -> set[str]:
    """Walk backwards; `live` is what is live behind the region and becomes what is live before it."""
    for node in reversed(region.nodes):
        _node(node, live, found)
    return live


def _node(node: Node, live: set[str], found: Liveness) -> None:
    kind = node.kind
    if kind is NodeKind.STAGE or kind is NodeKind.MAP:
        _define(node, live, found)
        live.update(node.reads)
        _hook_reads(node, live)
    elif kind is NodeKind.BREAK:
        live.update(node.reads)
        live |= found.behind[-1]
    elif kind is NodeKind.BRANCH:
        before = [_region(arm, set(live), found) for arm in node.regions]
        live.clear()
        live.update(*before)
        live.update(node.reads)
    elif kind is NodeKind.PARALLEL:
        _define(node, live, found)
        for arm in node.regions:
            inner = _region(arm, set(whole_reads(arm.end)), found)
            found.entry[node.id, arm.label] = frozenset(inner)
            live |= inner
        _hook_reads(node, live)
    elif kind is NodeKind.LOOP:
        _loop(node, live, found)
    else:
        _nested(node, live, found)


def _define(node: Node, live: set[str], found: Liveness) -> None:
    """The node's writes end here; a rebinding of a value's own field reads the old value if the new one is live."""
    writes = node.writes
    rebinds = _rebinds(node, live)
    found.needed[node.id] = frozenset(live.intersection(writes) | ({VALUE} if rebinds else set()))
    if may_skip(node):
        pass  # what was there before may be there still
    elif VALUE in writes:
        live.clear()  # a replacing contract: nothing older is visible behind it
    else:
        live.difference_update(writes)
    if rebinds:
        live.add(VALUE)


def _rebinds(node: Node, live: set[str]) -> bool:
    """Whether a field of a value that is read later is set: it is replaced in the value too."""
    writes = node.writes
    return VALUE not in writes and VALUE in live and not node.before.own.isdisjoint(writes)


def _hook_reads(node: Node, live: set[str]) -> None:
    if needs_input(node):
        live.update(whole_reads(node.before))


def needs_input(node: Node) -> bool:
    """Whether a hook is given the stage's input as a whole."""
    hooks = node.hooks
    if "skip_if" in hooks or "on_error" in hooks or "cache_key" in hooks:
        return True
    if (hooks or node.global_hooks) and keeps(node):
        return True
    return any("skip_if" in h or "on_error" in h or "cache_key" in h or "before" in h for h in node.global_hooks)


def keeps(node: Node) -> bool:
    """Whether it is a stage that returns None: the data of its hooks is the context as it was."""
    return isinstance(node.plan, StagePlan) and node.plan.output.shape is Shape.KEEP


def may_skip(node: Node) -> bool:
    """Whether `skip_if` may leave everything as it was. In a map it acts on the elements."""
    if not node.hooks and not node.global_hooks:
        return False
    hooks = (node.hooks, *node.global_hooks)
    skips = any("skip_if" in h for h in hooks) and not any("default" in h for h in hooks)
    return skips and node.kind is not NodeKind.MAP


def _loop(node: Node, live: set[str], found: Liveness) -> None:
    plan = node.plan
    assert isinstance(plan, LoopPlan)
    (body,) = node.regions
    behind = set(live)
    ends = behind | set(node.reads)
    if plan.end.until is not None:
        ends |= set(whole_reads(plan.body.end))
    if plan.step.max_iterations is not None:
        ends |= set(whole_reads(plan.before))
    # Fields of the entry are carried round the loop: what any pass reads at its start is live at the end of one.
    found.behind.append(behind)
    start = _region(body, set(ends), found)
    start = _region(body, start | ends, found)
    found.behind.pop()
    found.entry[node.id, "body"] = frozenset(start)
    live.clear()
    live |= start | ends


def _nested(node: Node, live: set[str], found: Liveness) -> None:
    plan = node.plan
    assert isinstance(plan, NestedPlan)
    (body,) = node.regions
    if plan.arguments is None and plan.output is None and not node.hooks:
        # An open pipeline without a contract: its nodes stand in the outer context themselves.
        found.needed[node.id] = frozenset()
        start = _region(body, live, found)
        found.entry[node.id, "nested"] = frozenset(start)
        return
    end = plan.body.end
    inner = set(whole_reads(end))
    if plan.output is None:
        inner |= set(leaving(plan)) | (live if plan.arguments is None else set())
    start = _region(body, inner, found)
    found.entry[node.id, "nested"] = frozenset(start)
    if plan.output is not None:
        _define(node, live, found)
    else:
        rebinds = _rebinds(node, live)
        found.needed[node.id] = frozenset(live.intersection(node.writes) | ({VALUE} if rebinds else set()))
        if plan.replaces and not may_skip(node):
            live.clear()
    if plan.arguments is None:
        live |= start
    else:
        live.update(node.reads)
    _hook_reads(node, live)
