"""The printable form of a graph: one line per node, contexts in words, no addresses and no paths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from metta.sweep.compiler.graph import Graph, Node, NodeKind, Region
from metta.sweep.compiler.lower import VALUE
from metta.sweep.contracts.flow import How, State, context_text
from metta.sweep.pipeline.plan import LoopPlan, MapPlan, NestedPlan, StagePlan
from metta.sweep.pipeline.replay import ORACLE

_UNLIMITED = 1_000_000


def graph_text(graph: Graph) -> str:
    """The whole graph as indented lines."""
    lines = [f"graph {graph.name}({state_text(graph.body.start)})"]
    lines += _region(graph.body, 1)
    lines.append(f"  -> {state_text(graph.body.end)}")
    return "\n".join(lines) + "\n"


def state_text(state: State[Any]) -> str:
    """A context in words; '?' where an un-annotated stage made it unknown."""
    if state.unknown:
        return "?"
    return context_text(state, ORACLE, _UNLIMITED)


def _region(region: Region, depth: int) -> Iterator[str]:
    for node in region.nodes:
        yield "  " * depth + _line(node)
        for inner in node.regions:
            if len(node.regions) > 1 or inner.label == "experiment":
                yield "  " * (depth + 1) + f"{inner.label}:"
                yield from _region(inner, depth + 2)
            else:
                yield from _region(inner, depth + 1)


def _line(node: Node) -> str:
    plan = node.plan
    parts = [f"{node.kind} {node.id}"]
    if isinstance(plan, (StagePlan, MapPlan)):
        if isinstance(plan, MapPlan):
            parts.append(f"over {plan.step.over}")
        parts.append(f"({_arguments(plan)})")
    elif isinstance(plan, LoopPlan):
        if plan.step.condition is not None:
            parts.append("while ...")
        if plan.end.until is not None:
            parts.append("until ...")
        if plan.step.max_iterations is not None:
            parts.append(f"at most {plan.step.max_iterations}")
    elif isinstance(plan, NestedPlan) and plan.arguments is not None:
        parts.append(f"({', '.join(n for a in plan.arguments for n in a.names)})")
    if node.writes:
        written = [("value" if name == VALUE else name) for name in node.writes]
        parts.append(f"sets {', '.join(written)}")
    hooks = [*node.hooks, *(f"global {name}" for hooks in node.global_hooks for name in hooks)]
    if hooks:
        parts.append(f"[{', '.join(hooks)}]")
    if node.kind in (NodeKind.STAGE, NodeKind.MAP) and node.writes:
        parts.append(f"-> {state_text(node.after)}")
    return " ".join(parts)


def _arguments(plan: StagePlan | MapPlan) -> str:
    if plan.binding.star:
        return "whole"
    shown = []
    for argument in plan.binding.arguments:
        name = argument.parameter.name
        match argument.how:
            case How.FIELD:
                source = argument.names[0]
                shown.append(name if source == name else f"{name}={source}")
            case How.MAYBE_FIELD:
                shown.append(f"{name}?")
            case How.RECORD | How.PROTOCOL:
                shown.append(f"{name}={{{', '.join(argument.names)}}}")
            case _:
                shown.append(f"{name}=<{argument.how.value}>")
    return ", ".join(shown)
