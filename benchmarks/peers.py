"""The same chain in other libraries, each in the plainest way its documentation shows.

They are loaded by name: the `bench` extra installs them, and what is missing is left out of the table.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import version
from itertools import pairwise
from typing import Any, NamedTuple, TypedDict

from benchmarks.chains import KEYWORD, functions, module_of


class Peer(NamedTuple):
    """A library.

    Attributes:
        name: as the table calls it.
        module: what has to be there.
        distribution: that its version belongs to.
        prepare: number of stages -> a function that builds the chain; what it is built from is made before.
        runner: what was built, number of stages -> a function that runs it once on x = 1.
        value: the x in what a run returns.
    """

    name: str
    module: str
    distribution: str
    prepare: Callable[[int], Callable[[], Any]]
    runner: Callable[[Any, int], Callable[[], Any]]
    value: Callable[[Any], object]

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name} {version(self.distribution)}"


class _State(TypedDict):
    x: int


def _hamilton(count: int) -> Callable[[], Any]:
    """A node is a function, its inputs are the functions that its parameters are called after."""
    driver = import_module("hamilton.driver")
    inputs = ["x", *(f"s{i}" for i in range(count))]
    source = "".join(f"def s{i}({inputs[i]}: int) -> int:\n    return {inputs[i]} + {i}\n" for i in range(count))

    def build() -> Any:
        with module_of(source) as module:
            return driver.Builder().with_modules(module).build()

    return build


def _run_hamilton(graph: Any, count: int) -> Callable[[], Any]:
    return lambda: graph.execute([f"s{count - 1}"], inputs={"x": 1})


def _langgraph(count: int) -> Callable[[], Any]:
    """A node is a function from the state to an update of it."""
    graph = import_module("langgraph.graph")

    def node(i: int) -> Callable[[_State], _State]:
        return lambda state: {"x": state["x"] + i}

    nodes = [node(i) for i in range(count)]

    def build() -> Any:
        builder = graph.StateGraph(_State)
        for i, one in enumerate(nodes):
            builder.add_node(f"s{i}", one)
            builder.add_edge(f"s{i - 1}" if i else graph.START, f"s{i}")
        builder.add_edge(f"s{count - 1}", graph.END)
        return builder.compile()

    return build


def _run_langgraph(graph: Any, count: int) -> Callable[[], Any]:
    return lambda: graph.invoke({"x": 1}, {"recursion_limit": count + 5})


def _pydantic_graph(count: int) -> Callable[[], Any]:
    """A step is an async function of a context that holds what the step before gave."""
    library = import_module("pydantic_graph")

    def step(i: int) -> Callable[..., Any]:
        async def run(ctx: Any) -> int:
            given: int = ctx.inputs
            return given + i

        return run

    functions_of_steps = [step(i) for i in range(count)]

    def build() -> Any:
        builder = library.GraphBuilder(input_type=int, output_type=int)
        steps = [builder.step(function, node_id=f"s{i}") for i, function in enumerate(functions_of_steps)]
        line = [builder.start_node, *steps, builder.end_node]
        for before, after in pairwise(line):
            builder.add(builder.edge_from(before).to(after))
        return builder.build()

    return build


def _run_pydantic_graph(graph: Any, count: int) -> Callable[[], Any]:
    return lambda: graph.run_sync(inputs=1)


def _returns(count: int) -> Callable[[], Any]:
    """Function composition: nothing is checked or drawn, at run time there is a loop over the functions."""
    pipe = import_module("returns.pipeline").pipe
    stages = functions(KEYWORD, count)
    return lambda: pipe(*stages)


def _run_returns(composed: Any, count: int) -> Callable[[], Any]:
    return lambda: composed(1)


def _is_value(result: Any) -> Any:
    return result


PEERS = (
    Peer("hamilton", "hamilton.driver", "sf-hamilton", _hamilton, _run_hamilton, lambda r: next(iter(r.values()))),
    Peer("langgraph", "langgraph.graph", "langgraph", _langgraph, _run_langgraph, lambda r: r["x"]),
    Peer("pydantic-graph", "pydantic_graph", "pydantic-graph", _pydantic_graph, _run_pydantic_graph, _is_value),
    Peer("returns", "returns.pipeline", "returns", _returns, _run_returns, _is_value),
)


def installed() -> Iterator[Peer]:
    """The peers that are installed here."""
    # Neither reports to its makers from here.
    os.environ["HAMILTON_TELEMETRY_ENABLED"] = "false"
    os.environ["LANGSMITH_TRACING"] = "false"
    for peer in PEERS:
        try:
            import_module(peer.module)
        except ImportError:
            continue
        yield peer
