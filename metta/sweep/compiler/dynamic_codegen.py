"""Code for a graph with an un-annotated stage: its context is known only at run time, so it is carried as a value.

The same straight-line form as codegen.py, but each step is `_state = _train(_state)`; what it binds is decided by
the same rules, at run time (runtime/dynamic.py).
"""

from __future__ import annotations

from typing import Any

from metta.sweep.compiler.codegen import Module, Symbol, SymbolTable, comment_of, is_async_region
from metta.sweep.compiler.graph import Graph, Node, Region
from metta.sweep.contracts.flow import Positional, State
from metta.sweep.pipeline.plan import BranchPlan, BreakPlan, LoopPlan, NestedPlan, ParallelPlan

DYNAMIC_FIXED = frozenset(
    {
        "_begin_fields",
        "_begin_value",
        "_fields",
        "_only",
        "_only_known",
        "_state",
        "_value",
        "_whole",
        "_whole_value",
        "_whole_view",
        "_without_value",
    }
)
"""Names that runtime/dynamic.py provides."""


def generate_dynamic(graph: Graph) -> Module:
    """Generate the function of a graph whose context is not known everywhere."""
    return _Writer(graph).module()


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._symbols = SymbolTable(DYNAMIC_FIXED)
        self._functions: list[str] = []
        self._lines: list[str] = []
        self._depth = 1
        self._async = is_async_region(graph.body)
        self._loops = 0

    def module(self) -> Module:
        inputs, body = self._graph.inputs, self._graph.body
        if isinstance(inputs.contract, Positional):
            start = self._symbols.add("start", Symbol("constant", None, body.start))
            parameters, begin = "_value", f"_begin_value(_value, {start})"
        else:
            parameters, begin = "**_fields", f"_begin_fields(_fields, {tuple(inputs.optional)!r})"
        self._line(f"_state = {begin}")
        self._region(body)
        self._line(f"return {_whole(body.end)}")
        head = f"{'async ' if self._async else ''}def run({parameters}):"
        return Module("\n".join([*self._functions, head, *self._lines, ""]), self._symbols.found, self._async)

    def _line(self, text: str) -> None:
        self._lines.append("    " * self._depth + text)

    def _region(self, region: Region) -> None:
        for node in region.nodes:
            self._node(node)

    def _step(self, node: Node, functions: tuple[str, ...] = ()) -> None:
        """One step as a whole: the linker makes it from the node."""
        flavor = "async" if self._async else "sync"
        name = self._symbols.add(node.name, Symbol(f"{flavor} step", node, functions))
        self._line(f"_state = {'await ' if self._async else ''}{name}(_state)  # {comment_of(node)}")

    def _node(self, node: Node) -> None:
        plan = node.plan
        if isinstance(plan, BranchPlan):
            predicate = self._symbols.add("if", Symbol("condition", node, plan.step.predicate))
            self._line(f"if {predicate}({_whole(plan.before)}):")
            for index, region in enumerate(node.regions):
                if index:
                    self._line("else:")
                self._indented(region)
            self._join(plan.after, plan.then.end, plan.otherwise.end)
        elif isinstance(plan, LoopPlan):
            self._loop(node, plan)
            self._join(plan.after, plan.before, plan.body.end)
        elif isinstance(plan, BreakPlan):
            condition = self._symbols.add("break", Symbol("condition", node, plan.step.condition))
            self._line(f"if {condition}({_whole(plan.before)}): break")
        elif isinstance(plan, ParallelPlan):
            self._step(node, tuple(self._function(node, region) for region in node.regions))
        elif isinstance(plan, NestedPlan):
            if plan.arguments is None and plan.output is None and not node.hooks:
                self._region(node.regions[0])
            else:
                self._step(node, (self._function(node, node.regions[0]),))
        else:
            self._step(node)

    def _join(self, after: State[Any], *ends: State[Any]) -> None:
        """Several ways meet here: a value that some of them lack is none any more."""
        if not after.unknown and not after.has_value and any(end.has_value for end in ends):
            self._line("_state = _without_value(_state)")

    def _indented(self, region: Region) -> None:
        self._depth += 1
        count = len(self._lines)
        self._region(region)
        if len(self._lines) == count:
            self._line("pass")
        self._depth -= 1

    def _function(self, node: Node, region: Region) -> str:
        name = self._symbols.add(f"{node.name}_{region.label}", Symbol("function", node))
        lines, depth, was_async = self._lines, self._depth, self._async
        self._lines, self._depth, self._async = [], 1, is_async_region(region)
        self._region(region)
        head = f"{'async ' if self._async else ''}def {name}(_state):"
        self._functions.extend([head, *self._lines, "    return _state", ""])
        self._lines, self._depth, self._async = lines, depth, was_async
        return name

    def _loop(self, node: Node, plan: LoopPlan) -> None:
        self._loops += 1
        entry, passes = f"_entry{self._loops}", f"_passes{self._loops}"
        if plan.before.unknown:
            self._line(f"{entry} = _state")
            only = f"_only(_state, {entry})"
        else:
            names = self._symbols.add("names", Symbol("constant", None, frozenset(plan.before.fields)))
            only = f"_only_known(_state, {names}, {plan.before.has_value})"
        limit = plan.step.max_iterations
        if limit is not None:
            self._line(f"{passes} = 0")
        condition = "True"
        if plan.step.condition is not None:
            name = self._symbols.add("while", Symbol("condition", node, plan.step.condition))
            condition = f"{name}({_whole(plan.before, only)})"
        self._line(f"while {condition}:")
        self._depth += 1
        if limit is not None:
            name = self._symbols.add("limit", Symbol("limit", node, limit))
            self._line(f"if {passes} >= {limit}: raise {name}({_whole(plan.before, only)})")
            self._line(f"{passes} += 1")
        self._line(f"_state = {only}")
        self._region(node.regions[0])
        if plan.end.until is not None:
            until = self._symbols.add("until", Symbol("condition", node, plan.end.until))
            self._line(f"if {until}({_whole(plan.body.end)}): break")
        self._depth -= 1


def _whole(known: State[Any], state: str = "_state") -> str:
    """The whole, decided from the types wherever they are known."""
    if known.unknown:
        return f"_whole({state})"
    return f"_whole_value({state})" if known.whole_is_value else f"_whole_view({state})"
