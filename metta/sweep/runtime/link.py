"""The generated code and the objects its names stand for, made into a function."""

from __future__ import annotations

import linecache
import re
import sys
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from types import CoroutineType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from metta.sweep.compiler.codegen import Module, Symbol
from metta.sweep.compiler.graph import Node
from metta.sweep.compiler.liveness import keeps
from metta.sweep.compiler.lower import given_by, leaving
from metta.sweep.contracts.records import build, replace, replacer
from metta.sweep.errors import ContractViolation, LoopLimitExceeded
from metta.sweep.pipeline.context import Context
from metta.sweep.pipeline.plan import MapPlan, NestedPlan, ParallelPlan, StagePlan
from metta.sweep.runtime.recording import element_record, node_record, recorded_condition
from metta.sweep.runtime.shaping import UNSET, ContractShaping, ElementShaping, NestedShaping, PlainShaping, view

if TYPE_CHECKING:
    from metta.sweep.runtime.recorder import Recorder

_serial = count(1)


def link(module: Module, name: str, owner: object, recorder: Recorder | None = None) -> Callable[..., Any]:
    """Execute the generated module and return its `run`.

    Args:
        owner: the registrations below go when it does.
        recorder: of a durable run, for a module generated from a recorded graph.
    """
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    qualified = f"metta.sweep.compiled.{plain}_{next(_serial)}"
    home = ModuleType(qualified, f"Generated from {name!r}.")
    filename = f"<{qualified}>"
    home.__file__ = filename  # no finder finds it, so its functions travel to a worker by value
    namespace = home.__dict__
    namespace.update(_fixed(module.source))
    late: list[tuple[str, Symbol]] = []
    for symbol_name, symbol in module.symbols.items():
        if symbol.kind == "function":
            continue
        if symbol.kind.endswith(("membrane", "step")):
            late.append((symbol_name, symbol))
        else:
            made = _object(symbol)
            if recorder is not None and symbol.kind == "condition":
                assert symbol.node is not None
                made = recorded_condition(recorder, symbol.node.id, symbol_name.strip("_"), made)
            namespace[symbol_name] = made
    exec(compile(module.source, filename, "exec"), namespace)
    for symbol_name, symbol in late:
        # These may wrap functions of the module itself.
        namespace[symbol_name] = _late(symbol, namespace, recorder)
    # Tracebacks show the generated lines, and torch.compile finds the globals of what it traces by module name.
    linecache.cache[filename] = (len(module.source), None, module.source.splitlines(True), filename)
    sys.modules[qualified] = home
    weakref.finalize(owner, _forget, qualified, filename)
    run: Callable[..., Any] = namespace["run"]
    return run


def _forget(qualified: str, filename: str) -> None:
    sys.modules.pop(qualified, None)
    linecache.cache.pop(filename, None)


def _fixed(source: str) -> dict[str, Any]:
    """The names of codegen.FIXED that the source uses; heavier modules are loaded only for those."""
    names: dict[str, Any] = {
        "_Context": Context,
        "_UNSET": UNSET,
        "_given": given,
        "_partial": partial,
        "_replace": replace,
        "_whole": view,
    }
    if "_thread(" in source:
        from metta.sweep.runtime.threads import in_thread

        names["_thread"] = in_thread
    if "parallel(" in source:
        from metta.sweep.runtime.fanout import aparallel, parallel

        names.update(_parallel=parallel, _aparallel=aparallel)
    if "_state" in source:
        from metta.sweep.runtime.dynamic import PROVIDED

        names.update(PROVIDED)
    if "_SKIPPED" in source:
        from metta.sweep.runtime.membrane import SKIPPED

        names["_SKIPPED"] = SKIPPED
    return names


def given(**keywords: Any) -> dict[str, Any]:
    """The keywords that are set: the others keep the defaults of their parameters."""
    return {name: value for name, value in keywords.items() if value is not UNSET}


def _late(symbol: Symbol, namespace: Mapping[str, Any], recorder: Recorder | None) -> Any:
    node = symbol.node
    assert node is not None
    if symbol.kind.endswith("step"):
        from metta.sweep.runtime.dynamic import make_step

        return make_step(symbol, namespace, recorder)
    return membrane_of(node, namespace.get(symbol.value), flavored=symbol.kind == "async membrane", recorder=recorder)


def _object(symbol: Symbol) -> Any:
    node = symbol.node
    if symbol.kind == "constant":
        return symbol.value
    assert node is not None
    if symbol.kind == "condition":
        return _truth(node.id, symbol.value)
    if symbol.kind == "record":
        return partial(build, symbol.value)
    if symbol.kind == "replacer":
        return replacer(symbol.value)
    if symbol.kind == "limit":
        return partial(_limit, node.id, symbol.value)
    if symbol.kind == "shape":
        shaping = shaping_of(node)
        return lambda raw: shaping.leave(shaping.enter(raw))
    return symbol.value


def _truth(where: str, condition: Callable[..., Any]) -> Callable[[Any], bool]:
    """A condition whose answer is looked at: a coroutine or a function is true whatever it would have said."""

    def checked(whole: Any) -> bool:
        answer = condition(whole)
        if answer is True or answer is False:
            return bool(answer)
        if isinstance(answer, CoroutineType):
            answer.close()
        if isinstance(answer, (CoroutineType, FunctionType, MethodType)):
            kind = "coroutine" if isinstance(answer, CoroutineType) else "function"
            raise ContractViolation(
                f"the condition of {where} gave a {kind}: it has to give a truth value", stage=where
            )
        return bool(answer)

    return checked


def _limit(loop: str, limit: int, context: Any) -> LoopLimitExceeded:
    return LoopLimitExceeded(f"{loop} would begin pass {limit + 1}; max_iterations is {limit}", context=context)


def shaping_of(node: Node) -> Any:
    """Between what the node's call gives and the data of its contract."""
    plan = node.plan
    if isinstance(plan, NestedPlan) and plan.output is None:
        return NestedShaping(node.name, plan.body.end, given_by(plan), leaving(plan))
    assert isinstance(plan, (StagePlan, MapPlan, NestedPlan, ParallelPlan))
    out = plan.output
    if out is None or out.contract is None:
        return PlainShaping()
    validate_type = node.hooks.get("validate_type")
    if validate_type is None:
        found = [h["validate_type"] for h in node.global_hooks if "validate_type" in h]
        validate_type = found[0] if found else "auto"
    return ContractShaping(node.name, out, validate_type)


def membrane_of(
    node: Node,
    function: Callable[..., Any] | None,
    *,
    flavored: bool,
    shaping: Any = None,
    recorder: Recorder | None = None,
) -> Callable[..., Any]:
    """The call of a node inside its hooks: (whole, *arguments) -> what the generated code assigns.

    Args:
        function: the body of a nested pipeline.
        flavored: whether the membrane is async.
        shaping: if it is not that of the node's contract.
        recorder: of a durable run.
    """
    from metta.sweep.runtime import fanout
    from metta.sweep.runtime.membrane import HookedStage, async_membrane, sync_membrane

    plan = node.plan
    hooks, global_hooks = node.hooks, node.global_hooks
    if isinstance(plan, StagePlan):
        assert plan.step.call is not None
        call, is_async = plan.step.call, plan.step.signature is not None and plan.step.signature.is_async
    elif isinstance(plan, NestedPlan):
        import inspect

        assert function is not None
        call = function
        is_async = inspect.iscoroutinefunction(call)
    elif isinstance(plan, ParallelPlan):
        run: Any = fanout.aparallel if flavored else fanout.parallel
        keys = tuple(plan.arms) if plan.step.keyed else None
        call = run if keys is None else partial(_akeyed if flavored else _keyed, keys)
        is_async = flavored
    else:
        assert isinstance(plan, MapPlan)
        assert plan.step.call is not None
        element_hooks, hooks = fanout.split_map_hooks(hooks)
        split = [fanout.split_map_hooks(h) for h in global_hooks]
        is_async = plan.step.signature is not None and plan.step.signature.is_async
        of_element = ElementShaping(node.name, plan.output.contract)
        element = HookedStage(
            node.name,
            plan.step.call,
            is_async,
            element_hooks,
            tuple(one for one, _ in split),
            of_element,
            record=None if recorder is None else element_record(recorder, node, plan),
            is_element=recorder is not None,
        )
        call = _mapper(element, plan.step.max_parallel, flavored)
        global_hooks, is_async = tuple(rest for _, rest in split), flavored
    shaping = shaping or shaping_of(node)
    record = None if recorder is None or not node.recorded else node_record(recorder, node, hooks, global_hooks)
    stage = HookedStage(node.name, call, is_async, hooks, global_hooks, shaping, keeps(node), record)
    return async_membrane(stage) if flavored else sync_membrane(stage)


def _mapper(element: Any, max_parallel: int | None, flavored: bool) -> Callable[..., Any]:
    """The call of a map: (items, **other arguments) -> the list of results; control hooks act on each element."""
    from metta.sweep.runtime import fanout
    from metta.sweep.runtime.membrane import async_membrane, sync_membrane
    from metta.sweep.runtime.threads import off_loop

    call, is_async = element.call, element.is_async
    numbered: Callable[[Any], Any] = enumerate if element.is_element else lambda items: items
    if element.hooks or any(element.global_hooks) or element.is_element:
        inner = async_membrane(element) if flavored else sync_membrane(element)
        is_async = flavored

        def call(item: Any, /, *args: Any, **kwargs: Any) -> Any:
            return inner(item, item[1] if element.is_element else item, *args, **kwargs)

    if not flavored:

        def run(items: Any, /, *args: Any, **kwargs: Any) -> Any:
            return fanout.map_elements(call, numbered(items), args, kwargs, max_parallel)

        return run

    acall = call if is_async else off_loop(call)
    threaded = not element.is_async

    async def arun(items: Any, /, *args: Any, **kwargs: Any) -> Any:
        return await fanout.amap_elements(acall, numbered(items), args, kwargs, max_parallel, threaded=threaded)

    return arun


def _keyed(keys: tuple[str, ...], arms: Any) -> dict[str, Any]:
    from metta.sweep.runtime.fanout import parallel

    return dict(zip(keys, parallel(arms), strict=True))


async def _akeyed(keys: tuple[str, ...], arms: Any) -> dict[str, Any]:
    from metta.sweep.runtime.fanout import aparallel

    return dict(zip(keys, await aparallel(arms), strict=True))
