"""The hooks of one `.through`, checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from metta.sweep.contracts import flow
from metta.sweep.contracts.flow import CALLABLE_HOOKS, CHANGERS, Keyword, Output, Positional, Problem, Shape, State
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
    data = data_type(out, state, oracle) if nested is None else flow.whole(nested.body.end, oracle)
    # In a map, skip_if and on_error see one element.
    given = None if state.open or state.unknown or is_map else flow.whole(state, oracle)
    check_callables(stage, hooks, data, given, oracle, tell)
    if out.shape is Shape.KEEP and nested is None:
        for name in CHANGERS:
            if name in hooks:
                tell(_nothing_to_change(stage, name))
    # An element of a map that is skipped is left out, or takes its default: neither touches the contract's list.
    if "skip_if" in hooks and not is_map:
        _check_skip(stage, hooks, out, state, oracle, tell, nested)
    if "default" in hooks and out.contract is not None:
        element = element_type(out.contract) if is_map else None
        _check_default(stage, hooks["default"], out.contract if element is None else Positional(element), tell)
    if hooks.get("checkpoint") is True and out.contract is not None:
        _check_storable(stage, out.contract, oracle, tell)
    if "timeout" in hooks and isinstance(step, StageStep) and step.signature is not None:
        if not step.signature.is_async:
            tell(_isolates(stage))


def data_type(out: Output[Any], state: State[Any], oracle: RuntimeOracle) -> Any | None:
    """The contract's whole: what the hooks of the membrane are given."""
    if isinstance(out.contract, Positional):
        return out.contract.type
    if isinstance(out.contract, Keyword):
        return oracle.view(state)
    return flow.whole(state, oracle) if out.shape is Shape.KEEP else None


def check_callables(
    stage: str,
    hooks: Mapping[str, Any],
    data: Any | None,
    given: Any | None,
    oracle: RuntimeOracle,
    tell: Tell,
    *,
    is_global: bool = False,
) -> None:
    """`hook-type` for values under the wrong name and `hook-signature` for callables that do not fit."""
    for name, value in hooks.items():
        if name not in CALLABLE_HOOKS:
            found = hook_value_error(name, value)
            if found is not None:
                tell(_hook_type(stage, name, flow.VALUE_HOOKS[name], found))
        elif not callable(value):
            tell(_hook_type(stage, name, "a callable", summarize(value, 60)))
        else:
            before = given if is_global and name == "before" else data
            problem = flow.check_callable_hook(
                stage, name, signature_of(value), before, given, data, oracle, is_global=is_global, string=str
            )
            if problem is not None:
                tell(problem)


def _hook_type(stage: str, name: str, expected: str, found: str) -> Problem:
    return Problem(
        "hook-type",
        f'hook "{name}" of stage "{stage}" takes {expected}; found {found}',
        expected=expected,
        found=found,
        remedy=f"pass {expected}",
        argument=name,
        at="through",
    )


def _nothing_to_change(stage: str, name: str) -> Problem:
    return Problem(
        "hook-signature",
        f'hook "{name}" of stage "{stage}" has no data to change: the stage returns None',
        expected="a stage with a contract",
        found="-> None",
        remedy="let the stage return what it sets, or change the data in a stage of its own",
        argument=name,
        at="through",
    )


def _check_skip(
    stage: str,
    hooks: Mapping[str, Any],
    out: Output[Any],
    state: State[Any],
    oracle: RuntimeOracle,
    tell: Tell,
    nested: NestedPlan | None,
) -> None:
    if state.open or state.unknown:
        return
    replaces = False
    sets: Mapping[str, Any] = {}
    if nested is not None:
        end = nested.body.end
        replaces = end.replacements != nested.body.start.replacements
        names = end.fields if nested.arguments is None else nested.leaving
        sets = {name: None for name in names if (known := end.fields.get(name)) is not None and known.definite}
    elif isinstance(out.contract, Positional):
        same = (
            state.has_value
            and state.value is not None
            and oracle.is_assignable(state.value, out.contract.type) is not False
        )
        replaces = not same
    elif isinstance(out.contract, Keyword):
        sets = out.contract.fields
    elif out.shape is Shape.UNKNOWN:
        return
    present = [name for name, known in state.fields.items() if known.definite]
    problem = flow.check_skip(stage, sets, replaces, "default" in hooks, present)
    if problem is not None:
        tell(problem)


def element_type(contract: Positional[Any] | Keyword[Any] | None) -> Any | None:
    """What one element of a map's list must be; None where it is not known."""
    from metta.sweep.contracts.assignable import element_of

    if isinstance(contract, Keyword):
        listed = next(iter(contract.fields.values())) if len(contract.fields) == 1 else None
    else:
        listed = None if contract is None else contract.type
    return None if listed is None else element_of(listed)


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


def _isolates(stage: str) -> Problem:
    return Problem(
        "timeout-isolates",
        f'sync stage "{stage}" has a time-out: it runs in a worker process, '
        "so what it writes to self or to globals does not come back",
        expected="arguments and a result that can be stored",
        found="a sync stage with timeout=",
        remedy="return what the stage computes, or make it async",
        argument="timeout",
        at="through",
        note=True,
    )
