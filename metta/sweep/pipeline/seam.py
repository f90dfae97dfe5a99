"""The one place where this floor reaches up: `Pipeline.compile()` is sugar for the compiler, which stands above.

The function is looked up by name when it is called, so that importing the builder loads neither the compiler nor
the runtime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metta.sweep.pipeline.builder import Pipeline
    from metta.sweep.runtime.compiled import CompiledGraph


def compile(pipeline: Pipeline) -> CompiledGraph:
    """Compile a pipeline (metta.sweep.runtime.compiled)."""
    graph: CompiledGraph = import_module("metta.sweep.runtime.compiled").compile_pipeline(pipeline)
    return graph
