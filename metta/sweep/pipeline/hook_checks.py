"""The hooks of one `.through`, checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from metta.sweep.contracts import flow
from metta.sweep.contracts.flow import CALLABLE_HOOKS, HookValue, Keyword, Output, Positional, Problem, State
from metta.sweep.contracts.runtime_oracle import RuntimeOracle
from metta.sweep.contracts.signature import signature_of
from metta.sweep.contracts.summary import summarize
from metta.sweep.pipeline.hooks import hook_value_error
from metta.sweep.pipeline.plan import NestedPlan
from metta.sweep.pipeline.steps import ParallelStep, StageStep, Through

Tell = Callable[[Problem], None]


def check_hooks(
    step: StageStep | ParallelStep,
    through: Through,
    out: Output[Any],
    state: State[Any],
    oracle: RuntimeOracle,
    tell: Tell,
    *,
    nested: NestedPlan | None = None,
) -> None:
    """Report what is wrong with the hooks of a stage, given its output and the context before it.

    Args:
        nested: a nested pipeline without a contract; the data of its hooks is its final whole.
    """
    stage = step.name
    hooks = through.hooks
    is_map = isinstance(step, StageStep) and step.over is not None
    end: flow.NestedEnd[Any] | None = None
    if nested is not None:
        leaving = None if nested.arguments is None else nested.leaving
        end = flow.NestedEnd(nested.body.start, nested.body.end, leaving)
    for problem in flow.hook_problems(stage, hook_values(hooks), out, state, oracle, is_map=is_map, nested=end):
        tell(problem)
    if "default" in hooks and out.contract is not None:
        element = flow.element_type(out.contract, oracle) if is_map else None
        _check_default(stage, hooks["default"], out.contract if element is None else Positional(element), tell)
    if hooks.get("checkpoint") is True and out.contract is not None:
        _check_storable(stage, out.contract, oracle, tell)
    if "timeout" in hooks and isinstance(step, StageStep) and step.signature is not None:
        if not step.signature.is_async:
            tell(flow.isolates(stage))


def hook_values(hooks: Mapping[str, Any]) -> Mapping[str, HookValue[Any]]:
    """The values of hooks as the rules need them; names that are no hooks are left to the rules."""
    return {name: _hook_value(name, value) for name, value in hooks.items()}


def _hook_value(name: str, value: Any) -> HookValue[Any]:
    if name not in CALLABLE_HOOKS:
        return HookValue(None, hook_value_error(name, value) or "")
    return HookValue(signature_of(value)) if callable(value) else HookValue(None, summarize(value, 60))


def _check_default(stage: str, default: Any, contract: Positional[Any] | Keyword[Any], tell: Tell) -> None:
    from metta.sweep.contracts.output_value import unpack

    _, wrong = unpack(default, contract, check=True)
    if wrong is not None:
        tell(
            Problem(
                "hook-type",
                f'the default of stage "{stage}" does not meet its contract: {wrong}',
                expected="a value that meets the contract",
                found=summarize(default, 60),
                remedy="give what the stage would return: the value, or a tuple, mapping or record of the fields",
                argument="default",
                at="through",
            )
        )


def _check_storable(stage: str, contract: Positional[Any] | Keyword[Any], oracle: RuntimeOracle, tell: Tell) -> None:
    from metta.sweep.contracts.storable import storable

    types = {"": contract.type} if isinstance(contract, Positional) else contract.fields
    for name, tp in types.items():
        if tp is not None and storable(tp) is False:
            found = oracle.describe(tp)
            tell(
                Problem(
                    "unstorable",
                    f'stage "{stage}" asks for a checkpoint, but {name + ": " if name else ""}{found} cannot be stored',
                    expected="a type that the typed codec stores (records, containers, numbers, arrays)",
                    found=found,
                    remedy="return data instead of live objects, or leave checkpoint= out",
                    argument="checkpoint",
                    at="through",
                )
            )
