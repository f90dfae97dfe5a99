"""The inputs of an open pipeline standing alone: what its first step asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from metta.sweep.contracts import flow
from metta.sweep.contracts.diagnostics import Site
from metta.sweep.contracts.flow import Positional
from metta.sweep.contracts.signature import Parameter
from metta.sweep.pipeline.replay import ORACLE
from metta.sweep.pipeline.steps import BranchStep, Inputs, ParallelStep, StageStep, Step

if TYPE_CHECKING:
    from metta.sweep.pipeline.builder import Pipeline


def inferred_inputs(steps: Sequence[Step], site: Site) -> Inputs:
    """The required parameters of the first step as fields; its optional ones as optional inputs of it alone."""
    first = next((s for s in steps if isinstance(s, (StageStep, ParallelStep, BranchStep))), None)
    contract, optional = flow.inferred_inputs(() if first is None else _asked(first))
    return Inputs(contract, site, optional)


def _asked(step: Step) -> Iterator[Parameter[Any] | Positional[Any]]:
    if isinstance(step, StageStep):
        if step.call is None:
            assert step.nested is not None
            yield from _of_pipeline(step.nested)
        elif step.over is None:
            settings = {**step.settings, **(step.through.settings if step.through is not None else {})}
            yield from flow.asked_of_stage(step.signature, settings, ORACLE)
    elif isinstance(step, ParallelStep):
        for arm in step.arms.values():
            yield from _of_pipeline(arm)
    elif isinstance(step, BranchStep):
        yield from _of_pipeline(step.then)
        if step.otherwise is not None:
            yield from _of_pipeline(step.otherwise)


def _of_pipeline(pipeline: Pipeline) -> Iterator[Parameter[Any] | Positional[Any]]:
    inputs = pipeline._standing_inputs()
    return flow.asked_of_inputs(inputs.contract, inputs.optional)
