"""The effect of one stage, with what its `.through` says, on the pipeline in front of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from mypy.types import Instance, Type, get_proper_type

from metta.sweep.contracts.flow import (
    Field,
    NestedEnd,
    Output,
    PersistentMap,
    Positional,
    Problem,
    Setting,
    Shape,
    State,
    TypeOracle,
    after_output,
    asked_of_inputs,
    asked_of_stage,
    bind,
    inferred_inputs,
    input_signature,
    map_effect,
    nested_effect,
    nested_output,
    parallel_effect,
    stage_effect,
    start_state,
    uncalled,
    unknown_after,
    unknown_inputs,
)
from metta.sweep.contracts.signature import Kind, Parameter, Signature
from metta_mypy import fullnames
from metta_mypy.point import Contract, Inputs, Pending, Point

Asked = Iterable[Parameter[Type] | Positional[Type]]


class Effect(NamedTuple):
    """What a stage does.

    Attributes:
        before: the pipeline in front of it, with the inputs that the stage asks for if it is the first of an open one.
        nested: of a nested pipeline without a contract.
    """

    before: Point
    output: Output[Type]
    after: State[Type]
    problems: list[Problem]
    nested: NestedEnd[Type] | None = None


def effect_of(
    pending: Pending, contract: Contract | None, more: Mapping[str, Setting], oracle: TypeOracle[Type]
) -> Effect:
    """Apply the rule book to one stage.

    Args:
        contract: of its `.through`; None where there is none.
        more: settings in the `.through`.
    """
    settings = {**pending.settings, **more} if more else pending.settings
    before = pending.before
    if before.inputs is None:
        before = with_inputs(before, _asked(pending, settings, oracle), oracle)
    state = before.state
    if pending.ends is not None:
        ends, opened = pending.ends, pending.opened
        found = parallel_effect(pending.name, ends, opened, contract, state, oracle, keyed=pending.is_keyed)
        return Effect(before, found.output, found.after, list(found.problems))
    if pending.nested is not None:
        return _nested(before, pending, pending.nested, contract, settings, oracle)
    signature = pending.signature
    if _is_unclear(pending, state) and signature is not None:
        names = list(settings)
        signature = replace(signature, parameters=tuple(Parameter(n, Kind.KEYWORD_ONLY, None, False) for n in names))
    if pending.over is not None:
        effect = map_effect(pending.name, signature, pending.over, settings, contract, state, oracle)
    else:
        effect = stage_effect(pending.name, signature, settings, contract, state, oracle)
    problems = effect.problems
    if pending.signature is not None and _makes_pipeline(pending.signature):
        problems = uncalled(pending.name, pending.signature.name, problems)
    return Effect(before, effect.output, effect.after, list(problems))


def _makes_pipeline(signature: Signature[Type]) -> bool:
    made = None if signature.returns is None else get_proper_type(signature.returns)
    return isinstance(made, Instance) and made.type.has_base(fullnames.PIPELINE)


def _is_unclear(pending: Pending, state: State[Type]) -> bool:
    """Whether it is not known what the stage reads."""
    return pending.takes_any or (pending.is_anonymous and (state.open or len(state.fields) > 0))


def nested_after(
    name: str, nested: Point, settings: Mapping[str, Setting], state: State[Type], oracle: TypeOracle[Type]
) -> tuple[State[Type], NestedEnd[Type], list[Problem]]:
    """The context behind a pipeline that stands as a stage or an arm and has no contract there."""
    if not nested.is_arm and nested.inputs is not None and nested.start is not None:
        problems = nested_call(name, nested, settings, state, oracle)
        after, leaving, more = nested_effect(name, state, nested.start, nested.state, oracle)
        return after, NestedEnd(nested.start, nested.state, leaving), [*problems, *more]
    problems = nested_call(name, nested, settings, state, oracle)
    if nested.is_arm:
        return nested.state, NestedEnd(state, nested.state, None), problems
    # It came from elsewhere as a bare `Pipeline`, or asks for what cannot be known here.
    after = unknown_after(name, state) if nested.state.unknown else state
    return after, NestedEnd(nested.state, nested.state, []), problems


def nested_call(
    name: str, nested: Point, settings: Mapping[str, Setting], state: State[Type], oracle: TypeOracle[Type]
) -> list[Problem]:
    """What is wrong with the inputs of a pipeline that stands as a stage or an arm."""
    if nested.inputs is None:
        if nested.is_arm:
            return unknown_inputs(name, settings)
        return [_nothing_known(name)] if nested.state.unknown and not nested.state.open else []
    signature = input_signature(name, nested.inputs.contract, nested.inputs.optional)
    return bind(name, signature, settings, state, oracle)[1]


def _nothing_known(name: str) -> Problem:
    return Problem(
        "untyped-stage",
        f'nothing is known of the pipeline that stands as "{name}": it is checked only when it is built',
        expected="a pipeline whose type says what goes in and comes out",
        found="a bare Pipeline",
        remedy="annotate it as Pipeline[In, Out], or keep it in a variable without annotation instead of a function",
        argument=1,
        note=True,
    )


def _nested(
    before: Point,
    pending: Pending,
    nested: Point,
    contract: Contract | None,
    settings: Mapping[str, Setting],
    oracle: TypeOracle[Type],
) -> Effect:
    name, state = pending.name, before.state
    if contract is None:
        after, end, problems = nested_after(name, nested, settings, state, oracle)
        return Effect(before, Output(Shape.KEEP, None, True), after, problems, end)
    problems = nested_call(name, nested, settings, state, oracle)
    out, more = nested_output(name, nested.state, contract, oracle)
    after, last = after_output(name, out, state, oracle)
    return Effect(before, out, after, [*problems, *more, *last])


# -- the inputs of an open pipeline ---------------------------------------------------------------------------------


def with_inputs(point: Point, asked: Asked | None, oracle: TypeOracle[Type]) -> Point:
    """An open pipeline with the inputs that its first step asks for; any other one as it is.

    Args:
        asked: None where that cannot be known.
    """
    if point.inputs is not None or point.is_arm or not point.state.open or asked is None:
        return point
    contract, optional = inferred_inputs(asked)
    start = start_state(contract, optional, oracle)
    if point.is_part:
        # What it is given there may be more than its first step asks for, and of narrower types.
        fields = PersistentMap.of({name: Field[Type](None, it.definite) for name, it in start.fields.items()})
        start = replace(start, fields=fields, open=True)
    # Loops that were begun before the first stage were entered with these inputs, too.
    loops = tuple(replace(loop, frame=loop.frame._replace(entry=start)) for loop in point.loops)
    return replace(point, inputs=Inputs(contract, optional), start=start, state=start, loops=loops)


def _asked(pending: Pending, settings: Mapping[str, Setting], oracle: TypeOracle[Type]) -> Asked | None:
    if pending.ends is not None:
        return None  # settled when the arms are read
    if pending.nested is not None:
        return asked_of_point(pending.nested)
    if pending.over is not None:
        return ()
    if pending.signature is None or _is_unclear(pending, pending.before.state):
        return None
    return asked_of_stage(pending.signature, settings, oracle)


def asked_of_point(nested: Point) -> Asked | None:
    """What a pipeline asks for where it stands inside another one."""
    if nested.is_arm:
        return ()
    if nested.inputs is None:
        is_empty = nested.state.open and not nested.first
        return () if is_empty else None
    return asked_of_inputs(nested.inputs.contract, nested.inputs.optional)


def without_optional(state: State[Type]) -> State[Type]:
    """Optional inputs belong to the first step alone."""
    return replace(state, optional={}) if state.optional else state
