"""Run a pipeline in both ways the compiler knows, and look at its final context."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from metta.sweep import CompiledGraph, Context, Pipeline
from metta.sweep.compiler.codegen import is_dynamic
from metta.sweep.compiler.dynamic_codegen import generate_dynamic
from metta.sweep.contracts.flow import State
from metta.sweep.pipeline.replay import ORACLE
from metta.sweep.runtime.link import link
from tests.recorder import Recorder as Recorder


def run(pipeline: Pipeline, *args: Any, **inputs: Any) -> Any:
    """The result of a run; static and dynamic code must agree on it where both can run the graph."""
    graph = pipeline.compile()
    found = graph.run(*args, **inputs)
    if not is_dynamic(graph.graph):
        other = run_dynamic(graph, *args, **inputs)
        assert type(other) is type(found)
        assert other == found
        if isinstance(found, Context):
            assert set(other._asdict()) == set(found._asdict())
    return found


def run_dynamic(graph: CompiledGraph, *args: Any, **inputs: Any) -> Any:
    """Run a graph by the code for contexts that are known only at run time."""
    module = generate_dynamic(graph.graph)
    result = link(module, graph.name, graph)(*args, **inputs)
    return asyncio.run(result) if module.is_async else result


def failure(kind: type[Exception], pipeline: Pipeline, *args: Any, **inputs: Any) -> Any:
    """The exception of a run; static and dynamic code must fail alike."""
    graph = pipeline.compile()
    with pytest.raises(kind) as caught:
        graph.run(*args, **inputs)
    if not is_dynamic(graph.graph):
        with pytest.raises(kind) as other:
            run_dynamic(graph, *args, **inputs)
        assert str(other.value) == str(caught.value)
    return caught.value


def end(pipeline: Pipeline) -> State[Any]:
    """The context at the end, as the rules see it."""
    return pipeline.compile().graph.body.end


def fields(pipeline: Pipeline) -> Mapping[str, str]:
    """The fields at the end in words: "int", or "int?" where it may be unset."""
    known = end(pipeline).fields.items()
    return {name: ORACLE.describe(field.type) + ("" if field.definite else "?") for name, field in known}


def value(pipeline: Pipeline) -> str | None:
    """The type of the value at the end; None where there is no value."""
    state = end(pipeline)
    return ORACLE.describe(state.value) if state.has_value else None
