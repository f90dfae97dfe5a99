"""Steps and decisions -> graph: names become ids, global hooks are handed down, reads and writes are listed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from metta.sweep.compiler.graph import Graph, Node, NodeKind, Region
from metta.sweep.contracts.diagnostics import Diagnostic
from metta.sweep.contracts.flow import Argument, Binding, How, Output, Positional, State
from metta.sweep.pipeline.plan import (
    Block,
    BranchPlan,
    BreakPlan,
    LoopPlan,
    MapPlan,
    NestedPlan,
    ParallelPlan,
    Plan,
    StagePlan,
)
from metta.sweep.pipeline.steps import Inputs, ParallelStep, StageStep

GlobalHooks = tuple[Mapping[str, Any], ...]

VALUE = "@value"
WHOLE = "@whole"

_NO_HOOKS: Mapping[str, Any] = {}


def lower(block: Block, inputs: Inputs, name: str, notes: tuple[Diagnostic, ...] = ()) -> Graph:
    """The graph of a pipeline standing alone."""
    return Graph(name, inputs, _region("", block, "", (), _Ids()), notes)


class _Ids:
    """The ids of one graph: names on the way to a node, numbered where two would be equal ("loop", "loop-2")."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, wanted: str) -> str:
        found, count = wanted, 1
        while found in self._taken:
            count += 1
            found = f"{wanted}-{count}"
        self._taken.add(found)
        return found


def _region(label: str, block: Block, prefix: str, hooks: GlobalHooks, ids: _Ids) -> Region:
    handed = (*block.global_hooks[::-1], *hooks)
    nodes = tuple(_node(plan, prefix, handed, ids) for plan in block.plans)
    return Region(label, nodes, block.start, block.end)


def _node(plan: Plan, prefix: str, hooks: GlobalHooks, ids: _Ids) -> Node:
    if isinstance(plan, StagePlan):
        step = plan.step
        regions: tuple[Region, ...] = ()
        node_id = ids.take(prefix + step.name)
        if plan.drawn is not None:
            regions = (_region("experiment", plan.drawn, node_id + ".", (), ids),)
        return Node(
            node_id,
            NodeKind.STAGE,
            step.name,
            plan,
            _hooks(step),
            hooks,
            _binding_reads(plan.binding, plan.before),
            _writes(plan.output, plan.after),
            regions,
        )
    if isinstance(plan, MapPlan):
        assert plan.step.over is not None
        reads = (plan.step.over, *_binding_reads(plan.binding, plan.before))
        writes = _writes(plan.output, plan.after)
        node_id = ids.take(prefix + plan.step.name)
        return Node(node_id, NodeKind.MAP, plan.step.name, plan, _hooks(plan.step), hooks, reads, writes)
    if isinstance(plan, NestedPlan):
        return _nested(plan, prefix, hooks, ids)
    if isinstance(plan, BranchPlan):
        node_id = ids.take(prefix + "conditional")
        regions = (
            _region("then", plan.then, f"{node_id}.then.", hooks, ids),
            _region("otherwise", plan.otherwise, f"{node_id}.otherwise.", hooks, ids),
        )
        reads = whole_reads(plan.before)
        return Node(node_id, NodeKind.BRANCH, "conditional", plan, reads=reads, regions=regions)
    if isinstance(plan, ParallelPlan):
        node_id = ids.take(prefix + plan.step.name)
        regions = tuple(_region(name, arm, f"{node_id}.{name}.", hooks, ids) for name, arm in plan.arms.items())
        writes = _writes(plan.output, plan.after)
        return Node(node_id, NodeKind.PARALLEL, plan.step.name, plan, _hooks(plan.step), (), (), writes, regions)
    if isinstance(plan, LoopPlan):
        node_id = ids.take(prefix + "loop")
        # Stage names are unique on a level, and a loop's body belongs to the level around it.
        region = _region("body", plan.body, prefix, hooks, ids)
        reads = whole_reads(plan.before) if plan.step.condition is not None or plan.end.until is not None else ()
        return Node(node_id, NodeKind.LOOP, "loop", plan, reads=reads, regions=(region,))
    assert isinstance(plan, BreakPlan)
    node_id = ids.take(prefix + "break")
    return Node(node_id, NodeKind.BREAK, "break", plan, reads=whole_reads(plan.before))


def _nested(plan: NestedPlan, prefix: str, hooks: GlobalHooks, ids: _Ids) -> Node:
    step = plan.step
    node_id = ids.take(prefix + plan.name)
    region = _region("nested", plan.body, node_id + ".", hooks, ids)
    reads = () if plan.arguments is None else _argument_reads(plan.arguments, plan.before)
    own = _hooks(step) if isinstance(step, StageStep) else _NO_HOOKS
    if plan.output is not None:
        writes = _writes(plan.output, plan.after)
    else:
        writes = () if plan.arguments is None and not own else leaving(plan)
    return Node(node_id, NodeKind.NESTED, plan.name, plan, own, (), reads, writes, (region,))


def leaving(plan: NestedPlan) -> tuple[str, ...]:
    """What a nested pipeline without a contract sets in the context around it, the value included."""
    start, end = plan.body.start, plan.body.end
    names = plan.leaving
    if plan.arguments is None:
        # Where the context is replaced on some way, a field may be the same and yet be gone on that way.
        names = tuple(n for n, known in end.fields.items() if plan.replaces or start.fields.get(n) is not known)
    return (*names, VALUE) if plan.replaces and end.has_value else names


def given_by(plan: NestedPlan) -> tuple[str, ...]:
    """What the function of a nested pipeline under hooks gives: what leaves it, and what its hooks are shown."""
    return tuple(dict.fromkeys([*leaving(plan), *whole_reads(plan.body.end)]))


def _hooks(step: StageStep | ParallelStep) -> Mapping[str, Any]:
    return _NO_HOOKS if step.through is None else step.through.hooks


def _binding_reads(binding: Binding[Any], state: State[Any]) -> tuple[str, ...]:
    reads = _argument_reads(binding.arguments, state)
    return tuple(dict.fromkeys([*whole_reads(state), *reads])) if binding.star else reads


def _argument_reads(arguments: Iterable[Argument[Any]], state: State[Any]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for argument in arguments:
        how = argument.how
        if how in (How.FIELD, How.MAYBE_FIELD, How.INPUT, How.RECORD, How.PROTOCOL):
            names.update(dict.fromkeys(argument.names))
        elif how is How.VALUE:
            names[VALUE] = None
        elif how is How.CONTEXT:
            names.update(dict.fromkeys(state.fields))
        elif how is How.WHOLE:
            names.update(dict.fromkeys(whole_reads(state)))
    return tuple(names)


def whole_reads(state: State[Any]) -> tuple[str, ...]:
    if state.unknown:
        return (WHOLE,)
    return (VALUE,) if state.whole_is_value else tuple(state.fields)


def _writes(output: Output[Any], after: State[Any]) -> tuple[str, ...]:
    contract = output.contract
    if contract is None:
        return ()
    if isinstance(contract, Positional):
        return (VALUE, *after.fields)
    return tuple(contract.fields)
