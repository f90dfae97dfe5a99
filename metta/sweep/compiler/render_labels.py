"""The words of a drawing, the same in every format: conditions, hooks as badges, contracts, places in files."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, NamedTuple

from metta.sweep.compiler.flat import Cluster, Contract
from metta.sweep.compiler.graph import Graph, Node, NodeKind
from metta.sweep.contracts.diagnostics import Site
from metta.sweep.contracts.flow import NEED_STORE
from metta.sweep.pipeline.hooks import RetryPolicy, timeout_seconds
from metta.sweep.pipeline.plan import BranchPlan, BreakPlan, LoopPlan, MapPlan
from metta.sweep.pipeline.steps import StageStep

NAME_WIDTH = 32
CONDITION_WIDTH = 60
TYPE_WIDTH = 36
FIELDS_SHOWN = 6


class Family(Enum):
    """What a hook is for; drawings colour badges by it."""

    CONTROL = "control"
    CHECK = "check"
    STORE = "store"
    CHANGE = "change"
    OBSERVE = "observe"


class Badge(NamedTuple):
    text: str
    family: Family


_FAMILIES: Mapping[str, Family] = {
    **dict.fromkeys(("retry", "timeout", "on_error", "skip_if", "default", "resources", "executor"), Family.CONTROL),
    **dict.fromkeys(("validate_type", "schema", "validate", "assert_fn"), Family.CHECK),
    **dict.fromkeys(("transform", "filter", "enrich", "serialize"), Family.CHANGE),
    **dict.fromkeys(NEED_STORE, Family.STORE),
}


def badges(hooks: Mapping[str, Any]) -> list[Badge]:
    """The hooks that act, in the order in which they were written."""
    return [Badge(_badge_text(name, value), _FAMILIES.get(name, Family.OBSERVE)) for name, value in _acting(hooks)]


def _acting(hooks: Mapping[str, Any]) -> list[tuple[str, Any]]:
    idle = {"validate_type": "auto", "retry": 0}
    switched_off = ("checkpoint", "cache", "profile")
    return [(n, v) for n, v in hooks.items() if not (v is False and n in switched_off) and idle.get(n, idle) != v]


def _badge_text(name: str, value: Any) -> str:
    match name:
        case "retry":
            return f"retry {value.max_attempts - 1 if isinstance(value, RetryPolicy) else value}"
        case "timeout":
            return f"timeout {timeout_seconds(value):g} s"
        case "schema":
            return f"schema {shortened(value.__name__, NAME_WIDTH)}"
        case "executor":
            return f"on {shortened(_executor_name(value), NAME_WIDTH)}"
        case "validate_type":
            return "types unchecked" if value is False else f"types {'checked' if value is True else value}"
    return name


def _executor_name(value: object) -> str:
    """A name as it is; of an executor, or what makes one, the name of the class or function."""
    made = getattr(value, "func", value)  # of a functools.partial
    return value if isinstance(value, str) else str(getattr(made, "__name__", type(made).__name__))


_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+")


def printable(text: str) -> str:
    """Without control characters and half surrogate pairs, which no drawing format can hold, and without marks that
    turn round the direction of the words beside them."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def shortened(text: str, width: int) -> str:
    """The text on one line of at most `width` characters, the middle left out."""
    text = " ".join(text.split())
    if len(text) <= width:
        return text
    tail = (width - 3) // 3
    return f"{text[: width - 3 - tail].rstrip()}...{text[len(text) - tail :].lstrip()}"


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` characters; names without blanks are broken where they must be."""
    return textwrap.wrap(text, width) or [""]


def contract_lines(carries: Contract) -> list[str]:
    """A contract, one field per line; long types and long lists are shortened."""
    lines = [shortened(carries.value, TYPE_WIDTH)] if carries.value else []
    indent = "  " if lines else ""
    shown = carries.fields[: FIELDS_SHOWN if len(carries.fields) > FIELDS_SHOWN + 1 else None]
    for name, tp, definite in shown:
        head = shortened(name, NAME_WIDTH) + ("" if definite else "?")
        lines.append(indent + (f"{head}: {shortened(tp, TYPE_WIDTH)}" if tp else head))
    if len(shown) < len(carries.fields):
        lines.append(f"{indent}... {len(carries.fields) - len(shown)} more")
    return lines


# -- places and conditions -----------------------------------------------------------------------------------------


def location(node: Node, *, end: bool = False) -> tuple[str, int]:
    """File and line of the builder call; with `end`, of the `end_loop` of a loop."""
    return _site(node, end).locate(None)


def _site(node: Node, end: bool) -> Site:
    plan = node.plan
    return plan.end.site if end and isinstance(plan, LoopPlan) else plan.step.site


def called(node: Node) -> str:
    """The name of what the stage calls, or "" where it has none of its own."""
    step = node.plan.step
    if not isinstance(step, StageStep) or step.call is None:
        return ""
    if step.signature is not None:
        return step.signature.name
    return getattr(step.call, "__name__", type(step.call).__name__)


def condition(node: Node, kind: str) -> str:
    """The source text of the condition of a flat node ("branch", "loop", "until", "break"); "" where it has none."""
    plan = node.plan
    if isinstance(plan, BranchPlan):
        return _source(plan.step.site, plan.step.predicate, 0)
    if isinstance(plan, BreakPlan):
        return _source(plan.step.site, plan.step.condition, 0)
    if isinstance(plan, LoopPlan):
        if kind == "until":
            return _source(plan.end.site, plan.end.until, "until", 0)
        return _source(plan.step.site, plan.step.condition, 0)
    return ""


def _source(site: Site, function: Callable[..., Any] | None, *arguments: str | int) -> str:
    """What the user wrote; of a lambda only the expression."""
    if function is None:
        return ""
    text = site.source(*arguments)
    if text is None or text.startswith("*"):
        name = getattr(function, "__name__", type(function).__name__)
        return "condition" if name == "<lambda>" else name
    try:
        written = ast.parse(text, mode="eval").body
    except SyntaxError:  # the lines of a parenthesized argument, joined without their parentheses
        return text
    if isinstance(written, ast.Lambda):
        return ast.get_source_segment(text, written.body) or text
    return text


def title(node: Node, kind: str) -> str:
    """The sentence on the entry of a control-flow step."""
    text = shortened(condition(node, kind), CONDITION_WIDTH)
    match kind:
        case "branch":
            return f"if {text}"
        case "break":
            return f"break if {text}"
        case "until":
            return f"until {text}"
        case "loop":
            return f"while {text}" if text else "repeat"
    return shortened(node.name, NAME_WIDTH)


# -- clusters ------------------------------------------------------------------------------------------------------


def cluster_title(cluster: Cluster) -> str:
    """The sentence on the frame of a cluster, without its hooks."""
    plan = cluster.node.plan
    name = shortened(cluster.name, NAME_WIDTH)
    match cluster.kind:
        case "loop":
            assert isinstance(plan, LoopPlan)
            limit = plan.step.max_iterations
            return "loop" if limit is None else f"loop, at most {limit} {'pass' if limit == 1 else 'passes'}"
        case "branch":
            return "conditional"
        case "experiment":
            kind = shortened(called(cluster.node).removesuffix(".run"), NAME_WIDTH)
            return f"{name}: experiment {kind}" if kind and kind != cluster.name else f"{name}: experiment"
    return name


def cluster_badges(cluster: Cluster) -> list[Badge]:
    """The hooks of the step that a frame stands for; an arm has none of its own."""
    return [] if cluster.kind == "arm" else badges(cluster.node.hooks)


def is_redundant(cluster: Cluster, clusters: Mapping[str, Cluster]) -> bool:
    """Whether an arm's frame would only repeat the frame of the one pipeline inside it."""
    if cluster.kind != "arm" or cluster.global_hooks:
        return False
    region = next(r for r in cluster.node.regions if r.label == cluster.name)
    return len(region.nodes) == 1 and (region.nodes[0].kind is NodeKind.NESTED or region.nodes[0].id not in clusters)


def global_badges(graph: Graph) -> list[Badge]:
    """The hooks that the pipeline itself sets for all its stages."""
    merged: dict[str, Any] = {}
    for hooks in _shared(graph.body.nodes) or ():
        merged = {**hooks, **merged}
    return badges(merged)


def _shared(nodes: Iterable[Node]) -> tuple[Mapping[str, Any], ...] | None:
    """The global hooks that all stages have in common (the outer ones stand last); None where there is no stage."""
    shared: tuple[Mapping[str, Any], ...] | None = None
    for node in nodes:
        if node.kind in (NodeKind.STAGE, NodeKind.MAP):
            found: tuple[Mapping[str, Any], ...] | None = node.global_hooks
        else:
            found = _shared(inner for region in node.regions for inner in region.nodes)
        if found is None:
            continue
        if shared is None:
            shared = found
        while shared and (len(shared) > len(found) or shared[0] is not found[len(found) - len(shared)]):
            shared = shared[1:]
    return shared


def repeats(node: Node) -> str:
    """What a map runs over, in words; "" for every other step."""
    plan = node.plan
    if not isinstance(plan, MapPlan):
        return ""
    limit = plan.step.max_parallel
    return f"for each of {plan.step.over}" + ("" if limit is None else f", {limit} at a time")
