"""metta-sweep: typed pipelines, sweeps, and experiments that contain experiments.

Names are loaded when they are first used, so that importing the package costs nothing that is not needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metta.sweep.contracts.diagnostics import ContractError as ContractError
    from metta.sweep.contracts.diagnostics import Diagnostic as Diagnostic
    from metta.sweep.errors import ContractViolation as ContractViolation
    from metta.sweep.errors import LoopLimitExceeded as LoopLimitExceeded
    from metta.sweep.errors import MettaSweepError as MettaSweepError
    from metta.sweep.errors import StageTimeout as StageTimeout
    from metta.sweep.experiments.base import Experiment as Experiment
    from metta.sweep.experiments.sweep import SweepExperiment as SweepExperiment
    from metta.sweep.experiments.training import TrainingExperiment as TrainingExperiment
    from metta.sweep.pipeline.builder import Pipeline as Pipeline
    from metta.sweep.pipeline.context import Context as Context
    from metta.sweep.pipeline.hooks import Hooks as Hooks
    from metta.sweep.pipeline.hooks import HookSet as HookSet
    from metta.sweep.pipeline.hooks import RetryPolicy as RetryPolicy
    from metta.sweep.pipeline.hooks import exponential as exponential
    from metta.sweep.pipeline.hooks import field as field
    from metta.sweep.runtime.compiled import CompiledGraph as CompiledGraph
    from metta.sweep.trial import Resources as Resources
    from metta.sweep.trial import Trial as Trial

__version__ = "0.1.0"

_HOME = {
    "CompiledGraph": "runtime.compiled",
    "Context": "pipeline.context",
    "ContractError": "contracts.diagnostics",
    "ContractViolation": "errors",
    "Diagnostic": "contracts.diagnostics",
    "Experiment": "experiments.base",
    "HookSet": "pipeline.hooks",
    "Hooks": "pipeline.hooks",
    "LoopLimitExceeded": "errors",
    "MettaSweepError": "errors",
    "Pipeline": "pipeline.builder",
    "Resources": "trial",
    "RetryPolicy": "pipeline.hooks",
    "StageTimeout": "errors",
    "SweepExperiment": "experiments.sweep",
    "TrainingExperiment": "experiments.training",
    "Trial": "trial",
    "exponential": "pipeline.hooks",
    "field": "pipeline.hooks",
}

__all__ = [
    "CompiledGraph",
    "Context",
    "ContractError",
    "ContractViolation",
    "Diagnostic",
    "Experiment",
    "HookSet",
    "Hooks",
    "LoopLimitExceeded",
    "MettaSweepError",
    "Pipeline",
    "Resources",
    "RetryPolicy",
    "StageTimeout",
    "SweepExperiment",
    "TrainingExperiment",
    "Trial",
    "__version__",
    "exponential",
    "field",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'metta.sweep' has no attribute {name!r}")
    value = getattr(import_module(f"metta.sweep.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
