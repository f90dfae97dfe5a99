"""A compiled pipeline: checked, drawn, and callable like the function its author would have written."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Coroutine, Mapping
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, overload

from metta.sweep.compiler.codegen import generate, is_dynamic
from metta.sweep.compiler.dynamic_codegen import generate_dynamic
from metta.sweep.compiler.graph import Graph
from metta.sweep.compiler.loading import stop_if_loading
from metta.sweep.compiler.lower import lower
from metta.sweep.contracts.diagnostics import Diagnostic
from metta.sweep.contracts.flow import Positional
from metta.sweep.contracts.values import check_value
from metta.sweep.errors import ContractViolation, UsageError
from metta.sweep.pipeline.reporting import is_collecting
from metta.sweep.pipeline.typed import In, Out, checked_by_plugin
from metta.sweep.runtime.link import link
from metta.sweep.runtime.stage_hooks import storeless_hooks

if TYPE_CHECKING:
    from metta.sweep.pipeline.builder import Pipeline
    from metta.sweep.pipeline.steps import StageView
    from metta.sweep.runtime.durable import DurableGraph

logger: logging.Logger = logging.getLogger("metta.sweep")


def compile_pipeline(pipeline: Pipeline[In, Out], name: str | None = None) -> CompiledGraph[In, Out]:
    """Check a pipeline standing alone and compile it.

    Args:
        name: for drawings and messages; default: the variable or function the pipeline was built in.

    Raises:
        ContractError: with every finding, each at its line.
    """
    block, inputs, notes = pipeline._standing()
    if name is None:
        name = inputs.site.scope()
    return CompiledGraph(pipeline, lower(block, inputs, name, notes))


@checked_by_plugin
class CompiledGraph(Generic[In, Out]):
    """A pipeline that has been checked and can be run.

    `graph.run(x=1)` blocks; `await graph.arun(x=1)` does not; `graph(1)` is the bare function for use inside
    training code. The result is the whole of the final context: its value, or a Context of its fields.

    Attributes:
        graph: the intermediate representation; `print(graph.graph)` shows it.
        source: the generated Python.
        function: what it defines, a coroutine function if `is_async`.
        is_async: whether a stage is async; `run` then uses an event loop of its own.
    """

    def __init__(self, pipeline: Pipeline[In, Out], graph: Graph) -> None:
        self._pipeline = pipeline
        self.graph = graph
        self._told = False
        # Plain attributes: torch.compile traces through `__call__` and knows no cached properties.
        self.source: str = ""
        self.is_async: bool = False
        self.function: Callable[..., Any] = _only_checked
        if is_collecting():
            # Errors do not stop a check, so that there may be nothing that could run.
            return
        module = generate_dynamic(graph) if is_dynamic(graph) else generate(graph)
        self.source = module.source
        self.is_async = module.is_async
        self.function = link(module, graph.name, self)

    # -- what it is --------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.graph.name

    @property
    def notes(self) -> tuple[Diagnostic, ...]:
        """What the check found that is no error: un-annotated stages, isolated time-outs."""
        return self.graph.notes

    @cached_property
    def fingerprints(self) -> Mapping[str, str]:
        """Node id -> digest of the stage's code, settings and contract; equal in every process."""
        from metta.sweep.compiler.fingerprint import fingerprints

        return fingerprints(self.graph)

    # -- running -----------------------------------------------------------------------------------------------------

    @overload
    def __call__(self: CompiledGraph[object, Out], /, *args: Any, **inputs: Any) -> Out: ...
    @overload
    def __call__(self, value: In, /) -> Out: ...
    def __call__(self, /, *args: Any, **inputs: Any) -> Any:
        """Run without checking the inputs, for use inside training code; blocks."""
        if self.is_async:
            return block(self.function(*args, **inputs))
        return self.function(*args, **inputs)

    @overload
    def run(self: CompiledGraph[object, Out], /, *args: Any, **inputs: Any) -> Out: ...
    @overload
    def run(self, value: In, /) -> Out: ...
    def run(self, /, *args: Any, **inputs: Any) -> Any:
        """Check the inputs, run and return the final whole. Blocks, also where an event loop is running.

        Args:
            args: the value, for `Pipeline(T)`.
            inputs: the fields, for `Pipeline(x=int)` or inferred inputs.

        Raises:
            UsageError: a missing or unknown input.
            ContractViolation: an input or the output of a stage is not what its contract says.
        """
        self._begin(args, inputs)
        return self(*args, **inputs)

    @overload
    async def arun(self: CompiledGraph[object, Out], /, *args: Any, **inputs: Any) -> Out: ...
    @overload
    async def arun(self, value: In, /) -> Out: ...
    async def arun(self, /, *args: Any, **inputs: Any) -> Any:
        """Like `run`, without blocking the event loop: sync stages run in threads."""
        self._begin(args, inputs)
        if self.is_async:
            return await self.function(*args, **inputs)
        from metta.sweep.runtime.threads import in_thread

        return await in_thread(self.function, *args, **inputs)

    def _begin(self, args: tuple[Any, ...], inputs: Mapping[str, Any]) -> None:
        stop_if_loading()
        self.check_inputs(args, inputs)
        if not self._told:
            self._told = True
            self._tell_storeless()

    def _tell_storeless(self) -> None:
        found: dict[str, None] = {}
        for node in self.graph.walk():
            for hooks in (node.hooks, *node.global_hooks):
                found.update(dict.fromkeys(storeless_hooks(hooks)))
        if found:
            logger.warning("%s: without a store these hooks have no effect: %s", self.name, ", ".join(found))

    def check_inputs(self, args: tuple[Any, ...], inputs: Mapping[str, Any]) -> None:
        """What `run` does first.

        Raises:
            UsageError: a missing or unknown input.
            ContractViolation: an input that is not of its type.
        """
        declared = self.graph.inputs
        contract = declared.contract
        if isinstance(contract, Positional):
            if len(args) != 1 or inputs:
                raise UsageError(f"{self.name} takes one value: run(value)")
            wrong = check_value(args[0], contract.type)
            if wrong is not None:
                raise ContractViolation(f"the input of {self.name}: {wrong}", data=args[0])
            return
        if args:
            raise UsageError(f"{self.name} takes its inputs by name: run({_call(contract.fields)})")
        known = {**contract.fields, **declared.optional}
        for name, value in inputs.items():
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f' (did you mean "{near[0]}"?)' if near else ""
                raise UsageError(f'{self.name} has no input "{name}"{hint}; it takes {", ".join(known) or "none"}')
            tp = known[name]
            wrong = None if tp is None else check_value(value, tp, path=name)
            if wrong is not None:
                raise ContractViolation(f"the input of {self.name}: {wrong}", data=value)
        missing = [name for name in contract.fields if name not in inputs]
        if missing:
            raise UsageError(f"{self.name} needs {', '.join(missing)}: run({_call(contract.fields)})")

    def with_store(self, store: str | os.PathLike[str] | None = None, name: str | None = None) -> DurableGraph[In, Out]:
        """The same graph with runs that are recorded: `graph.with_store("runs").run(x=1)`, `.resume()`.

        Args:
            store: a folder for runs; None for METTA_SWEEP_HOME, else `./.metta-sweep`.
            name: what the runs are called; default: the graph's name.
        """
        from metta.sweep.runtime.durable import DurableGraph
        from metta.sweep.store.runs import Store

        return DurableGraph(self, Store.at(store), name or self.name)

    # -- looking at it -----------------------------------------------------------------------------------------------

    def to_dot(self) -> str:
        """The graph as DOT text."""
        from metta.sweep.compiler.render import to_dot

        return to_dot(self.graph)

    def to_mermaid(self) -> str:
        """The graph as Mermaid text."""
        from metta.sweep.compiler.render import to_mermaid

        return to_mermaid(self.graph)

    def to_json(self) -> str:
        """The graph as JSON text."""
        from metta.sweep.compiler.render import to_json

        return to_json(self.graph)

    def draw(self, path: str) -> None:
        """Draw the graph to a file; the ending says how: .svg, .png, .pdf (these need `dot`), .dot, .mmd, .json."""
        from metta.sweep.compiler.render import draw

        draw(self.graph, path)

    def _repr_html_(self) -> str:
        return self._repr_mimebundle_()["text/html"]

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """What a notebook shows: the graph, or the table of its stages where the program `dot` is missing."""
        from metta.sweep.compiler.drawing.notebook import graph_bundle

        return {"text/plain": repr(self), **graph_bundle(self.graph)}

    def __metta_stage__(self) -> StageView:
        """Inside another pipeline a compiled graph is a closed pipeline with the inputs it was compiled with."""
        from metta.sweep.pipeline.steps import StageView

        return StageView(self._pipeline._closed(self.graph.inputs))

    def __repr__(self) -> str:
        return f"<CompiledGraph {self.name}({_call(self._names())})>"

    def _names(self) -> Mapping[str, Any]:
        contract = self.graph.inputs.contract
        return {"value": None} if isinstance(contract, Positional) else contract.fields


def _only_checked(*args: Any, **inputs: Any) -> Any:
    raise UsageError("this graph was built while its file was checked: it cannot be run")


def _call(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}=..." for name in fields)


def block(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end in this thread, or in another one where a loop is running here."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    import contextvars
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, "metta-sweep-run") as pool:
        return pool.submit(contextvars.copy_context().run, asyncio.run, coroutine).result()
