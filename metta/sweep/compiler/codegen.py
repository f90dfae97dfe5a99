"""Graph -> one straight-line Python function: a compiled pipeline is what its author would have written by hand.

Every context field is a local variable, decided at compile time; a stage without hooks is a plain call. Names that
begin with an underscore are ours (fields cannot): `_train` is the callable of stage "train", `_value` the value of
the context, `_UNSET` marks a field that may be set and is not. The symbols are bound by runtime/link.py.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from metta.sweep.compiler.graph import Graph, Node, Region
from metta.sweep.compiler.liveness import Liveness, liveness, may_skip, needs_input
from metta.sweep.compiler.lower import VALUE, given_by, leaving
from metta.sweep.contracts.flow import NEED_STORE, Argument, How, Output, Positional, Shape, State
from metta.sweep.contracts.records import Family, family_of
from metta.sweep.contracts.signature import Kind
from metta.sweep.pipeline.plan import BranchPlan, BreakPlan, LoopPlan, MapPlan, NestedPlan, ParallelPlan, StagePlan


class Symbol(NamedTuple):
    """What a name in the generated code stands for.

    Attributes:
        kind: "call", "setting", "condition", "sync membrane", "async membrane", "shape", "record", "replacer",
            "limit", "sync step", "async step" (dynamic code), or "function" for one that the generated code defines
            itself.
        node: the node it belongs to.
        value: the callable, setting or record class, as far as it is known before linking.
    """

    kind: str
    node: Node | None
    value: Any = None


class Module(NamedTuple):
    """The generated code: `source` defines `run`; `symbols` are its globals."""

    source: str
    symbols: dict[str, Symbol]
    is_async: bool


def _is_plain(name: str) -> bool:
    """Whether a name can stand in the code as it is; Python would make different Unicode spellings equal."""
    return name.isascii() and name.isidentifier()


class SymbolTable:
    """Names for the objects of the generated code, readable and each used once."""

    def __init__(self, taken: frozenset[str]) -> None:
        self.found: dict[str, Symbol] = {}
        self._taken = taken

    def add(self, hint: str, symbol: Symbol) -> str:
        """Record a symbol under a name made from `hint` ("train" becomes "_train")."""
        name = base = "_" + (hint if _is_plain(hint) else re.sub(r"\W", "_", hint, flags=re.ASCII).strip("_"))
        if _NUMBERED.match(base) or (base.startswith("__") and base.endswith("__")):
            name = base = "_" + base
        count = 1
        while name in self.found or name in self._taken:
            count += 1
            name = f"{base}_{count}"
        self.found[name] = symbol
        return name


_NUMBERED = re.compile(r"_(n|passes|field|entry)\d")
"""How the local variables that are numbered begin."""

FIXED = frozenset(
    {"_Context", "_SKIPPED", "_UNSET", "_aparallel", "_given", "_more", "_parallel", "_partial", "_replace", "_result"}
    | {"_thread", "_value", "_whole"}
)
"""Names that the runtime provides in every module."""


def generate(graph: Graph) -> Module:
    """Generate the function of a graph whose context is known everywhere."""
    return _Writer(graph).module()


def is_dynamic(graph: Graph) -> bool:
    """Whether the context is unknown somewhere (an un-annotated stage without a contract)."""
    return _is_dynamic(graph.body)


def _is_dynamic(region: Region) -> bool:
    for node in region.nodes:
        if node.before.unknown or node.after.unknown:
            return True
        # The graph of an experiment is drawn here and runs elsewhere.
        if not isinstance(node.plan, StagePlan) and any(map(_is_dynamic, node.regions)):
            return True
    return False


def is_async_region(region: Region) -> bool:
    return any(is_async_node(node) for node in region.nodes)


def is_async_node(node: Node) -> bool:
    """Whether running the node awaits something."""
    plan = node.plan
    if isinstance(plan, (StagePlan, MapPlan)):
        return plan.step.signature is not None and plan.step.signature.is_async
    return any(is_async_region(region) for region in node.regions)


def has_membrane(node: Node) -> bool:
    """Whether a hook acts on the node, or the record of a durable run."""
    if node.recorded:
        return True
    if not node.hooks and not node.global_hooks:
        return False
    idle = ("serialize", *NEED_STORE)
    if any(name not in idle and not (name == "validate_type" and node.hooks[name] == "auto") for name in node.hooks):
        return True
    return any(name not in idle for hooks in node.global_hooks for name in hooks)


class _Scope(dict[str, str]):
    """Field name -> local variable, in one function or one inlined pipeline; filled as names are asked for.

    Behind the prefix our own names begin with an underscore and fields never do, so that none meet.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix

    def __missing__(self, name: str) -> str:
        if name == VALUE:
            local = f"{self.prefix}_value"
        elif _is_plain(name) and not keyword.iskeyword(name) and not name.startswith("_") and name != "run":
            local = f"{self.prefix}{name}"
        else:
            local = f"{self.prefix}_field{len(self)}"
        self[name] = local
        return local


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._live: Liveness = liveness(graph)
        self._symbols = SymbolTable(FIXED)
        self._functions: list[str] = []
        self._lines: list[str] = []
        self._depth = 1
        self._async = is_async_region(graph.body)
        self._fresh = 0

    def module(self) -> Module:
        graph, scope = self._graph, _Scope()
        contract = graph.inputs.contract
        if isinstance(contract, Positional):
            parameters = [scope[VALUE]]
            self._read_fields(scope, contract.type, graph.body.start, self._live_at_start())
        else:
            parameters = self._parameters(contract.fields, graph.inputs.optional, scope)
        self._region(graph.body, scope)
        self._line(f"return {self._whole(graph.body.end, scope)}")
        head = f"{'async ' if self._async else ''}def run({', '.join(parameters)}):"
        return Module("\n".join([*self._functions, head, *self._lines, ""]), self._symbols.found, self._async)

    def _parameters(self, required: Iterable[str], optional: Iterable[str], scope: _Scope) -> list[str]:
        """The inputs by name; a name that no parameter can have is taken out of the keywords."""
        parameters = [scope[name] for name in required if scope[name] == name]
        parameters += [f"{name}=_UNSET" for name in optional if scope[name] == name]
        for name in optional:
            if scope[name] == name:
                self._line(f"{scope[_input(name)]} = {name}")
        odd = [(name, f"_more[{name!r}]") for name in required if scope[name] != name]
        odd += [(_input(name), f"_more.get({name!r}, _UNSET)") for name in optional if scope[name] != name]
        for name, expression in odd:
            self._line(f"{scope[name]} = {expression}")
        return [*parameters, "**_more"] if odd else parameters

    def _live_at_start(self) -> frozenset[str]:
        return frozenset(self._graph.body.start.fields)

    # -- text --------------------------------------------------------------------------------------------------------

    def _line(self, text: str) -> None:
        self._lines.append("    " * self._depth + text)

    def _number(self) -> int:
        self._fresh += 1
        return self._fresh

    def _function(
        self, name: str, parameters: Sequence[str], region: Region, scope: _Scope, result: str, *, reads: bool = False
    ) -> bool:
        """Write a region as a function of its own; returns whether it is async.

        Args:
            reads: the region begins with a value as its parameter, whose fields are taken out first.
        """
        lines, depth, was_async = self._lines, self._depth, self._async
        self._lines, self._depth, self._async = [], 1, is_async_region(region)
        if reads and region.start.has_value:
            self._read_fields(scope, region.start.value, region.start, region.start.fields)
        self._region(region, scope)
        head = f"{'async ' if self._async else ''}def {name}({', '.join(parameters)}):"
        self._functions.extend([head, *self._lines, f"    return {result}", ""])
        is_async = self._async
        self._lines, self._depth, self._async = lines, depth, was_async
        return is_async

    # -- expressions -------------------------------------------------------------------------------------------------

    def _whole(self, state: State[Any], scope: _Scope) -> str:
        if state.whole_is_value:
            return scope[VALUE]
        return self._view(state.fields, state, scope)

    def _view(self, names: Iterable[str], state: State[Any], scope: _Scope) -> str:
        names = tuple(names)
        items = ", ".join(f"{name!r}: {scope[name]}" for name in names)
        known = [state.fields.get(name) for name in names]
        maker = "_Context" if all(f is not None and f.definite for f in known) else "_whole"
        return f"{maker}({{{items}}})"

    def _arguments(self, node: Node, arguments: Sequence[Argument[Any]], scope: _Scope) -> list[str]:
        """The arguments of a call; positional as long as no parameter is left out before."""
        plan = node.plan
        signature = plan.step.signature if isinstance(plan, (StagePlan, MapPlan)) else None
        order = () if signature is None else signature.parameters
        written: list[str] = []
        given: list[str] = []
        positional = signature is not None and not signature.bound
        for index, argument in enumerate(arguments):
            parameter = argument.parameter
            if argument.how is How.MAYBE_FIELD or argument.how is How.INPUT:
                given.append(f"{parameter.name}={scope[_key(argument)]}")
                positional = False
                continue
            expression = self._argument(node, argument, scope)
            if parameter.kind is Kind.POSITIONAL_ONLY:
                written.append(expression)
                continue
            in_place = index < len(order) and order[index] is parameter
            positional = positional and in_place and parameter.kind is Kind.POSITIONAL_OR_KEYWORD
            written.append(expression if positional else f"{parameter.name}={expression}")
        if given:
            written.append(f"**_given({', '.join(given)})")
        return written

    def _argument(self, node: Node, argument: Argument[Any], scope: _Scope) -> str:
        how = argument.how
        state = node.before
        if how is How.FIELD:
            return scope[argument.names[0]]
        if how is How.SETTING:
            value = argument.value
            if value is None or value is True or value is False or type(value) is int:
                return repr(value)
            return self._symbols.add(f"{node.name}_{argument.parameter.name}", Symbol("setting", node, value))
        if how is How.VALUE:
            return scope[VALUE]
        if how is How.WHOLE:
            return self._whole(state, scope)
        if how is How.CONTEXT:
            return self._view(state.fields, state, scope)
        if how is How.PROTOCOL:
            return self._view(argument.names, state, scope)
        if how is How.RECORD:
            symbol = Symbol("record", node, argument.parameter.type)
            builder = self._symbols.add(f"{node.name}_{argument.parameter.name}", symbol)
            return f"{builder}({{{', '.join(f'{n!r}: {scope[n]}' for n in argument.names)}}})"
        raise AssertionError(f"{how} in a closed graph")

    def _read_fields(self, scope: _Scope, tp: Any, state: State[Any], needed: Iterable[str]) -> None:
        """Take the fields that are read later out of the value, before anyone can change it."""
        value, keyed = scope[VALUE], family_of(tp) is Family.TYPED_DICT
        for name, known in state.fields.items():
            if name not in needed:
                continue
            if not keyed:
                self._line(f"{scope[name]} = {value}.{name}")
            elif known.definite:
                self._line(f"{scope[name]} = {value}[{name!r}]")
            else:
                self._line(f"{scope[name]} = {value}.get({name!r}, _UNSET)")

    # -- nodes -------------------------------------------------------------------------------------------------------

    def _region(self, region: Region, scope: _Scope, behind: State[Any] | None = None) -> None:
        """Write the nodes; `behind` is the context behind the loop whose body this is."""
        for node in region.nodes:
            if isinstance(node.plan, BreakPlan):
                assert behind is not None
                self._break(node, node.plan, _dropped(region.start, node.before, behind), scope)
            else:
                self._node(node, scope)

    def _node(self, node: Node, scope: _Scope) -> None:
        plan = node.plan
        if isinstance(plan, StagePlan):
            self._stage(node, plan, scope)
        elif isinstance(plan, MapPlan):
            self._map(node, plan, scope)
        elif isinstance(plan, BranchPlan):
            self._branch(node, plan, scope)
        elif isinstance(plan, LoopPlan):
            self._loop(node, plan, scope)
        elif isinstance(plan, ParallelPlan):
            self._parallel(node, plan, scope)
        else:
            assert isinstance(plan, NestedPlan)
            self._nested(node, plan, scope)

    def _stage(self, node: Node, plan: StagePlan, scope: _Scope) -> None:
        arguments = self._arguments(node, plan.binding.arguments, scope)
        if plan.binding.star:
            arguments = [self._whole(plan.before, scope), *arguments]
        shaped = has_membrane(node)
        if shaped:
            call = self._hooked(node, arguments, scope)
        else:
            function = self._symbols.add(node.name, Symbol("call", node, plan.step.call))
            call = self._call(function, arguments, is_async_node(node))
        returns = None if plan.step.signature is None else plan.step.signature.returns
        self._emit(node, plan.output, call, scope, shaped=shaped, returns=returns)

    def _call(self, function: str, arguments: Sequence[str], is_async: bool) -> str:
        if is_async:
            return f"await {function}({', '.join(arguments)})"
        if self._async:
            return f"await _thread({', '.join([function, *arguments])})"
        return f"{function}({', '.join(arguments)})"

    def _hooked(self, node: Node, arguments: Sequence[str], scope: _Scope, value: Any = None) -> str:
        """A call through the membrane; what it wraps is found by the linker from the node."""
        flavor = "async" if self._async else "sync"
        membrane = self._symbols.add(node.name, Symbol(f"{flavor} membrane", node, value))
        whole = self._whole(node.before, scope) if needs_input(node) else "None"
        return f"{'await ' if self._async else ''}{membrane}({', '.join([whole, *arguments])})"

    def _emit(
        self, node: Node, out: Output[Any], call: str, scope: _Scope, *, shaped: bool, returns: Any = None
    ) -> None:
        """Assign what a call gives to the locals of its contract.

        Args:
            shaped: the call gives the contract's data already (a membrane does): the value, the one field, or a
                tuple of the fields.
            returns: otherwise the declared return type.
        """
        if not shaped and not out.proven:
            call = f"{self._symbols.add(f'check_{node.name}', Symbol('shape', node))}({call})"
            shaped = True
        comment = f"  # {comment_of(node)}"
        if not may_skip(node):
            self._assign(node, out, call, scope, comment, shaped, returns)
            return
        self._line(f"_result = {call}{comment}")
        self._line("if _result is not _SKIPPED:")
        self._depth += 1
        self._assign(node, out, "_result", scope, "", shaped, returns)
        self._depth -= 1

    def _assign(
        self, node: Node, out: Output[Any], call: str, scope: _Scope, comment: str, shaped: bool, returns: Any
    ) -> None:
        contract = out.contract
        if contract is None:
            self._line(call + comment)
            return
        if isinstance(contract, Positional):
            self._line(f"{scope[VALUE]} = {call}{comment}")
            self._read_fields(scope, contract.type, node.after, self._live.needed[node.id])
            return
        names = tuple(contract.fields)
        targets = [scope[name] for name in names]
        if shaped or out.shape is Shape.BARE or out.shape is Shape.TUPLE:
            self._line(f"{', '.join(targets)} = {call}{comment}")
        else:
            keyed = out.shape is Shape.MAPPING or family_of(returns) is Family.TYPED_DICT
            source = f"({call})" if call.startswith("await ") else call
            if len(names) > 1:
                source = "_result"
                self._line(f"_result = {call}{comment}")
                comment = ""
            for name, target in zip(names, targets, strict=True):
                self._line(
                    f"{target} = {source}[{name!r}]{comment}" if keyed else f"{target} = {source}.{name}{comment}"
                )
        self._rebind(node, names, scope, scope[VALUE])

    def _rebind(self, node: Node, names: Iterable[str], scope: _Scope, value: str, guard: str = "") -> None:
        """A rebound field of the value is replaced in the value too, if the value is read later."""
        if VALUE not in self._live.needed[node.id] or not node.before.has_value:
            return
        own = [name for name in names if name in node.before.own]
        if own:
            replacer, tp = "_replace", node.before.value
            if family_of(tp) is None:  # a union of what several arms leave
                replacer = self._symbols.add("replace", Symbol("replacer", node, tp))
            self._line(f"{guard}{value} = {replacer}({value}, {{{', '.join(f'{n!r}: {scope[n]}' for n in own)}}})")

    def _map(self, node: Node, plan: MapPlan, scope: _Scope) -> None:
        assert plan.step.over is not None
        arguments = [a for a in plan.binding.arguments if a.how is not How.ELEMENT]
        rest = []
        for argument in arguments:
            name = argument.parameter.name
            if argument.how is How.MAYBE_FIELD or argument.how is How.INPUT:
                rest.append(f"**_given({name}={scope[_key(argument)]})")
            elif argument.parameter.kind is Kind.POSITIONAL_ONLY:
                rest.append(self._argument(node, argument, scope))
            else:
                rest.append(f"{name}={self._argument(node, argument, scope)}")
        call = self._hooked(node, [scope[plan.step.over], *rest], scope)
        self._emit(node, plan.output, call, scope, shaped=True)

    # -- control flow ------------------------------------------------------------------------------------------------

    def _branch(self, node: Node, plan: BranchPlan, scope: _Scope) -> None:
        predicate = self._symbols.add("if", Symbol("condition", node, plan.step.predicate))
        self._line(f"if {predicate}({self._whole(plan.before, scope)}):  # {comment_of(node)}")
        then, otherwise = node.regions
        self._arm(then, plan.after, scope)
        lost = _lost(otherwise.end, plan.after)
        if otherwise.nodes or lost:
            self._line("else:")
            self._arm(otherwise, plan.after, scope)

    def _arm(self, region: Region, after: State[Any], scope: _Scope) -> None:
        self._depth += 1
        count = len(self._lines)
        self._region(region, scope)
        self._unset(_lost(region.end, after), scope)
        if len(self._lines) == count:
            self._line("pass")
        self._depth -= 1

    def _unset(self, names: Iterable[str], scope: _Scope) -> None:
        for name in names:
            self._line(f"{scope[name]} = _UNSET")

    def _break(self, node: Node, plan: BreakPlan, dropped: list[str], scope: _Scope) -> None:
        condition = self._symbols.add("break", Symbol("condition", node, plan.step.condition))
        test = f"if {condition}({self._whole(plan.before, scope)}):"
        if not dropped:
            self._line(f"{test} break")
            return
        self._line(test)
        self._depth += 1
        self._unset(dropped, scope)
        self._line("break")
        self._depth -= 1

    def _loop(self, node: Node, plan: LoopPlan, scope: _Scope) -> None:
        (body,) = node.regions
        entry, after = plan.before, plan.after
        new = [name for name in {**body.end.fields.as_dict(), **after.fields.as_dict()} if name not in entry.fields]
        maybe = [n for n in new if (known := after.fields.get(n)) is not None and not known.definite]
        live = self._live.entry[node.id, "body"]
        cleared = [scope[n] for n in new if n in maybe or n in live]
        if cleared:
            self._line(" = ".join([*cleared, "_UNSET"]))
        counter = ""
        if plan.step.max_iterations is not None:
            counter = f"_passes{self._number()}"
            self._line(f"{counter} = 0")
        entry_whole = self._whole(entry, scope)
        if plan.step.condition is None:
            self._line(f"while True:  # {comment_of(node)}")
        else:
            condition = self._symbols.add("while", Symbol("condition", node, plan.step.condition))
            self._line(f"while {condition}({entry_whole}):  # {comment_of(node)}")
        self._depth += 1
        if counter:
            limit = self._symbols.add("limit", Symbol("limit", node, plan.step.max_iterations))
            self._line(f"if {counter} >= {plan.step.max_iterations}: raise {limit}({entry_whole})")
            self._line(f"{counter} += 1")
        if cleared:
            self._line(" = ".join([*cleared, "_UNSET"]))
        count = len(self._lines)
        self._region(body, scope, after)
        self._unset(_dropped(entry, body.end, after), scope)
        if plan.end.until is not None:
            until = self._symbols.add("until", Symbol("condition", node, plan.end.until))
            self._line(f"if {until}({self._whole(body.end, scope)}): break")
        if len(self._lines) == count:
            self._line("pass")
        self._depth -= 1

    def _parallel(self, node: Node, plan: ParallelPlan, scope: _Scope) -> None:
        arms = []
        for region in node.regions:
            inner = _Scope()
            needed = _given_names(self._live.entry[node.id, region.label], plan.before)
            name = self._symbols.add(f"{node.name}_{region.label}", Symbol("function", node))
            parameters = [inner[n] for n in needed]
            is_async = self._function(name, parameters, region, inner, self._whole(region.end, inner))
            arm = f"_partial({', '.join([name, *(scope[n] for n in needed)])})"
            arms.append(f"({is_async}, {arm})" if self._async else arm)
        listed = f"[{', '.join(arms)}]"
        out = plan.output
        if has_membrane(node) or not out.proven or (plan.step.keyed and plan.step.through is not None):
            self._emit(node, out, self._hooked(node, [listed], scope), scope, shaped=True)
            return
        call = f"await _aparallel({listed})" if self._async else f"_parallel({listed})"
        if plan.step.keyed and len(arms) == 1:
            call = f"({call})[0]"
        self._emit(node, out, call, scope, shaped=True)

    def _nested(self, node: Node, plan: NestedPlan, scope: _Scope) -> None:
        (body,) = node.regions
        hooked = bool(node.hooks) and has_membrane(node)
        if plan.arguments is None and plan.output is None and not hooked:
            self._region(body, scope)
            return
        prefix = f"_n{self._number()}_"
        inner = _Scope(prefix)
        live = self._live.entry[node.id, "nested"]
        given: dict[str, str]
        if plan.arguments is None:
            given = {n: scope[n] for n in _given_names(live, plan.before)}
        else:
            given = {}
            for argument in plan.arguments:
                name = VALUE if argument.parameter.kind is Kind.POSITIONAL_ONLY else argument.parameter.name
                if name in body.start.optional:
                    name = _input(name)
                if argument.how is How.MAYBE_FIELD or argument.how is How.INPUT:
                    given[name] = scope[_key(argument)]
                else:
                    given[name] = self._argument(node, argument, scope)
            given.update((_input(name), "_UNSET") for name in body.start.optional if _input(name) not in given)
        if hooked:
            self._hooked_nested(node, plan, body, given, _Scope(prefix), scope)
            return
        for name, expression in given.items():
            self._line(f"{inner[name]} = {expression}")
        if VALUE in given and plan.arguments is not None:
            self._read_fields(inner, body.start.value, body.start, live)
        self._region(body, inner)
        if plan.output is not None:
            returns = body.end.value if body.end.whole_is_value else None
            self._emit(node, plan.output, self._whole(body.end, inner), scope, shaped=False, returns=returns)
            return
        self._leave_nested(node, plan, inner, scope)

    def _leave_nested(self, node: Node, plan: NestedPlan, inner: _Scope, scope: _Scope) -> None:
        """Assign what leaves a nested pipeline without a contract to the locals around it."""
        needed = self._live.needed[node.id]
        for name in leaving(plan):
            known = plan.body.end.fields.get(name)
            maybe = not plan.replaces and name in plan.before.fields and known is not None and not known.definite
            guard = f"if {inner[name]} is not _UNSET: " if maybe else ""
            if name in needed:
                self._line(f"{guard}{scope[name]} = {inner[name]}")
            if not plan.replaces:
                self._rebind(node, (name,), inner, scope[VALUE], guard)

    def _hooked_nested(
        self, node: Node, plan: NestedPlan, body: Region, given: dict[str, str], left: _Scope, scope: _Scope
    ) -> None:
        """A nested pipeline under hooks is a function of its own, which the membrane calls (again, after a failure)."""
        name = self._symbols.add(f"{node.name}_body", Symbol("function", node))
        inner = _Scope()
        if plan.output is not None:
            result = self._whole(body.end, inner)
        else:
            result = f"({''.join(inner[n] + ', ' for n in given_by(plan))})"
        self._function(name, [inner[n] for n in given], body, inner, result, reads=plan.arguments is not None)
        call = self._hooked(node, list(given.values()), scope, name)
        if plan.output is not None:
            self._emit(node, plan.output, call, scope, shaped=True)
            return
        targets = "".join(f"{left[n]}, " for n in leaving(plan)) or "_result"
        if not may_skip(node):
            self._line(f"{targets} = {call}  # {comment_of(node)}")
            self._leave_nested(node, plan, left, scope)
            return
        self._line(f"_result = {call}  # {comment_of(node)}")
        self._line("if _result is not _SKIPPED:")
        self._depth += 1
        self._line(f"{targets} = _result")
        self._leave_nested(node, plan, left, scope)
        self._depth -= 1


def _input(name: str) -> str:
    """The key of an optional input in a scope: it is no field, and a field may get its name later."""
    return f"?{name}"


def _key(argument: Argument[Any]) -> str:
    """What an argument that may be missing reads."""
    (name,) = argument.names
    return _input(name) if argument.how is How.INPUT else name


def _given_names(live: Iterable[str], state: State[Any]) -> list[str]:
    """The keys that a function which begins in this context is given from around it."""
    found = []
    for name in sorted(live):
        if name in state.optional:
            found.append(_input(name))
        elif state.has_value if name == VALUE else name in state.fields:
            found.append(name)
    return found


def _lost(arm: State[Any], after: State[Any]) -> list[str]:
    """The fields that are maybe set after a conditional and not set at the end of this arm."""
    return [name for name in after.fields if name not in arm.fields]


def _dropped(entry: State[Any], now: State[Any], after: State[Any]) -> list[str]:
    """The fields that are maybe set behind a loop, and that a pass may have set and has dropped again by now."""
    return [] if now.replacements == entry.replacements else _lost(now, after)


def comment_of(node: Node) -> str:
    """The node's id behind its line: any string may be a stage's name, and none may end the comment."""
    return node.id if node.id.isprintable() else "".join(c if c.isprintable() else "?" for c in node.id)
