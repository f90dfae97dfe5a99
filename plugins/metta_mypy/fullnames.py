"""Where the classes stand that the plugin knows."""

from __future__ import annotations

from typing import Final

from mypy.checker import TypeChecker
from mypy.nodes import TypeInfo

PIPELINE: Final = "metta.sweep.pipeline.builder.Pipeline"
STAGED: Final = "metta.sweep.pipeline.builder.Staged"
TOP: Final = "metta.sweep.pipeline.typed.Top"
LOOP: Final = "metta.sweep.pipeline.typed.Loop"
MARKER: Final = "metta.sweep.pipeline.typed.checked_by_plugin"
CONTEXT: Final = "metta.sweep.pipeline.context.Context"
FIELD: Final = "metta.sweep.pipeline.hooks.field"
RETRY_POLICY: Final = "metta.sweep.pipeline.hooks.RetryPolicy"
RESOURCES: Final = "metta.sweep.trial.Resources"
GRAPH: Final = "metta.sweep.runtime.compiled.CompiledGraph"
EXPERIMENT: Final = "metta.sweep.experiments.base.Experiment"
ANONYMOUS: Final = "typing._TypedDict"


def class_of(checker: TypeChecker, fullname: str) -> TypeInfo:
    """A top-level class. (The checker's own look-up does not go through namespace packages such as `metta`.)"""
    module, _, name = fullname.rpartition(".")
    symbol = checker.modules[module].names[name]
    assert isinstance(symbol.node, TypeInfo), fullname
    return symbol.node
