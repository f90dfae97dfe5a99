"""The inputs of an open pipeline standing alone: what its first step asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from metta.sweep.contracts.diagnostics import Site
from metta.sweep.contracts.flow import Keyword, Positional
from metta.sweep.contracts.signature import Kind, Parameter
from metta.sweep.pipeline.replay import ORACLE
from metta.sweep.pipeline.steps import BranchStep, Inputs, LoopStep, ParallelStep, StageStep, Step

if TYPE_CHECKING:
    from metta.sweep.pipeline.builder import Pipeline


def inferred_inputs(steps: Sequence[Step], site: Site) -> Inputs:
    """The required parameters of the first step as fields; its optional ones as optional inputs of it alone."""
    first = next((s for s in steps if not isinstance(s, LoopStep)), None)
    if first is None:
        return Inputs(Keyword({}), site)
    required: dict[str, Any] = {}
    optional: dict[str, Any] = {}
    for parameter in _asked(first):
        if isinstance(parameter, Positional):
            return Inputs(parameter, site)
        if parameter.required:
            required.setdefault(parameter.name, parameter.type)
        else:
            optional.setdefault(parameter.name, parameter.type)
    return Inputs(Keyword(required), site, {n: t for n, t in optional.items() if n not in required})


def _asked(step: Step) -> Iterator[Parameter[Any] | Positional[Any]]:
    if isinstance(step, StageStep):
        if step.call is None:
            assert step.nested is not None
            yield from _of_pipeline(step.nested)
        elif step.over is None:
            yield from _of_stage(step)
    elif isinstance(step, ParallelStep):
        for arm in step.arms.values():
            yield from _of_pipeline(arm)
    elif isinstance(step, BranchStep):
        yield from _of_pipeline(step.then)
        if step.otherwise is not None:
            yield from _of_pipeline(step.otherwise)


def _of_pipeline(pipeline: Pipeline) -> Iterator[Parameter[Any] | Positional[Any]]:
    inputs = pipeline._standing_inputs()
    if isinstance(inputs.contract, Positional):
        yield inputs.contract
        return
    for name, tp in inputs.contract.fields.items():
        yield Parameter(name, Kind.KEYWORD_ONLY, tp, True)
    for name, tp in inputs.optional.items():
        yield Parameter(name, Kind.KEYWORD_ONLY, tp, False)


def _of_stage(step: StageStep) -> Iterator[Parameter[Any] | Positional[Any]]:
    if step.signature is None:
        return
    settings = {**step.settings, **(step.through.settings if step.through is not None else {})}
    parameters = [p for p in step.signature.parameters if p.kind is not Kind.VAR_POSITIONAL]
    left = [p for p in parameters if p.kind is not Kind.VAR_KEYWORD and p.name not in settings]
    required = [p for p in left if p.required]
    if len(required) == 1 and required[0].kind is Kind.POSITIONAL_ONLY and not _takes_view(required[0]):
        yield Positional(Any if required[0].type is None else required[0].type)
        return
    for parameter in left:
        if not _takes_view(parameter):
            if parameter.kind is not Kind.POSITIONAL_ONLY:
                yield parameter
    for name, setting in settings.items():
        if setting.rename is not None:
            tp = next((p.type for p in parameters if p.name == name), None)
            yield Parameter(setting.rename, Kind.KEYWORD_ONLY, tp, True)


def _takes_view(parameter: Parameter[Any]) -> bool:
    """A `Context` parameter gets the view of whatever there is: it asks for nothing."""
    return parameter.type is not None and ORACLE.is_context(parameter.type)
