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
    return Graph(name, inputs, _region("", block, "", ()), notes)


def _region(label: str, block: Block, prefix: str, hooks: GlobalHooks) -> Region:
    handed = (*block.global_hooks[::-1], *hooks)
    counts: dict[str, int] = {}
    nodes = []
    for plan in block.plans:
        nodes.append(_node(plan, prefix, handed, counts))
    return Region(label, tuple(nodes), block.start, block.end)


def _node(plan: Plan, prefix: str, hooks: GlobalHooks, counts: dict[str, int]) -> Node:
    """One node. Steps without a name are numbered on their level: "loop", "loop-2"."""
    if isinstance(plan, StagePlan):
        step = plan.step
        regions: tuple[Region, ...] = ()
        node_id = prefix + step.name
        if plan.drawn is not None:
            regions = (_region("experiment", plan.drawn, node_id + ".", ()),)
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
        return Node(
            prefix + plan.step.name, NodeKind.MAP, plan.step.name, plan, _hooks(plan.step), hooks, reads, writes
        )
    if isinstance(plan, NestedPlan):
        return _nested(plan, prefix, hooks)
    if isinstance(plan, BranchPlan):
        node_id = _number(prefix, "conditional", counts)
        regions = (
            _region("then", plan.then, f"{node_id}.then.", hooks),
            _region("otherwise", plan.otherwise, f"{node_id}.otherwise.", hooks),
        )
        reads = whole_reads(plan.before)
        return Node(node_id, NodeKind.BRANCH, "conditional", plan, _NO_HOOKS, hooks, reads, (), regions)
    if isinstance(plan, ParallelPlan):
        node_id = _number(prefix, plan.step.name, counts)
        regions = tuple(_region(name, arm, f"{node_id}.{name}.", hooks) for name, arm in plan.arms.items())
        writes = _writes(plan.output, plan.after)
        return Node(node_id, NodeKind.PARALLEL, plan.step.name, plan, _hooks(plan.step), hooks, (), writes, regions)
    if isinstance(plan, LoopPlan):
        node_id = _number(prefix, "loop", counts)
        # Stage names are unique on a level, and a loop's body belongs to the level around it.
        region = _region("body", plan.body, prefix, hooks)
        reads = whole_reads(plan.before) if plan.step.condition is not None or plan.end.until is not None else ()
        return Node(node_id, NodeKind.LOOP, "loop", plan, _NO_HOOKS, hooks, reads, (), (region,))
    assert isinstance(plan, BreakPlan)
    node_id = _number(prefix, "break", counts)
    return Node(node_id, NodeKind.BREAK, "break", plan, _NO_HOOKS, hooks, whole_reads(plan.before))


def _nested(plan: NestedPlan, prefix: str, hooks: GlobalHooks) -> Node:
    step = plan.step
    node_id = prefix + plan.name
    region = _region("nested", plan.body, node_id + ".", hooks)
    reads = () if plan.arguments is None else _argument_reads(plan.arguments, plan.before)
    writes = plan.leaving if plan.output is None else _writes(plan.output, plan.after)
    own = _hooks(step) if isinstance(step, StageStep) else _NO_HOOKS
    return Node(node_id, NodeKind.NESTED, plan.name, plan, own, hooks, reads, writes, (region,))


def _number(prefix: str, what: str, counts: dict[str, int]) -> str:
    counts[what] = counts.get(what, 0) + 1
    return f"{prefix}{what}" if counts[what] == 1 else f"{prefix}{what}-{counts[what]}"


def _hooks(step: StageStep | ParallelStep) -> Mapping[str, Any]:
    return _NO_HOOKS if step.through is None else step.through.hooks


def _binding_reads(binding: Binding[Any], state: State[Any]) -> tuple[str, ...]:
    return whole_reads(state) if binding.star else _argument_reads(binding.arguments, state)


def _argument_reads(arguments: Iterable[Argument[Any]], state: State[Any]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for argument in arguments:
        how = argument.how
        if how is How.FIELD or how is How.MAYBE_FIELD or how is How.RECORD or how is How.PROTOCOL:
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
