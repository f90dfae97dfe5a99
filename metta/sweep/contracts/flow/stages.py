"""What a stage does to the context: the call, its result against the contract, and the context behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

from metta.sweep.contracts.flow.binding import Argument, Binding, How, Setting, bind, is_named
from metta.sweep.contracts.flow.control import map_element, whole
from metta.sweep.contracts.flow.oracle import TypeOracle
from metta.sweep.contracts.flow.output import (
    Keyword,
    Output,
    Positional,
    Shape,
    advance,
    disputed,
    output,
    unknown_after,
)
from metta.sweep.contracts.flow.problems import Problem, context_text
from metta.sweep.contracts.flow.state import State
from metta.sweep.contracts.signature import Signature

T = TypeVar("T")


class StageEffect(NamedTuple, Generic[T]):
    """The decisions about one stage: how it is called, what its result becomes, the context `after`, and problems."""

    binding: Binding[T]
    output: Output[T]
    after: State[T]
    problems: Sequence[Problem]


def stage_effect(
    stage: str,
    signature: Signature[T] | None,
    settings: Mapping[str, Setting],
    contract: Positional[T] | Keyword[T] | None,
    state: State[T],
    oracle: TypeOracle[T],
    *,
    end: State[T] | None = None,
) -> StageEffect[T]:
    """A callable as a stage.

    Args:
        settings: those of `.stage` and of its `.through`.
        contract: of its `.through`; None where there is none.
        end: of an experiment, the final context of its pipeline, where its result is that pipeline's final whole.
    """
    binding, problems = bind(stage, signature, settings, state, oracle)
    returns = _returned(signature, binding, state, oracle)
    if end is not None:
        # Not unpacked: mypy would solve T as optional.
        given = experiment_output(stage, returns, end, oracle)
        returns = given[0]
        if given[1] is not None:
            problems.insert(0, given[1])
    return _with_output(stage, binding, problems, returns, contract, state, oracle)


def map_effect(
    stage: str,
    signature: Signature[T] | None,
    over: str,
    settings: Mapping[str, Setting],
    contract: Positional[T] | Keyword[T] | None,
    state: State[T],
    oracle: TypeOracle[T],
) -> StageEffect[T]:
    """A callable run once per element of the field `over`; its output is the list of the results."""
    # Not unpacked: mypy would solve T as optional.
    mapped = map_element(stage, over, state, oracle)
    element = mapped[0]
    binding, problems = bind(stage, signature, settings, state, oracle, element=element, is_map=True)
    returns = _returned(signature, binding, state, oracle, element)
    if returns is None and contract is None:
        contract = Positional(oracle.list_of(None))
    listed = None if returns is None else oracle.list_of(returns)
    return _with_output(stage, binding, [*mapped[1], *problems], listed, contract, state, oracle)


def _with_output(
    stage: str,
    binding: Binding[T],
    problems: list[Problem],
    returns: T | None,
    contract: Positional[T] | Keyword[T] | None,
    state: State[T],
    oracle: TypeOracle[T],
) -> StageEffect[T]:
    out, more = output(stage, returns, contract, oracle)
    # What is missing, or does not fit, has been told: it is not told again of what reads it next.
    missed = [name for problem in problems for name in problem.fields]
    problems += more
    after, last = after_output(stage, out, state.assuming(missed) if missed else state, oracle)
    problems += last
    return StageEffect(binding, out, after, problems)


def _returned(
    signature: Signature[T] | None,
    binding: Binding[T],
    state: State[T],
    oracle: TypeOracle[T],
    element: T | None = None,
) -> T | None:
    """The return type; that of a generic or overloaded callable is solved from what its arguments are."""
    if signature is None or signature.returns is None:
        return None
    returns = signature.returns
    if not signature.overloads and not oracle.is_generic(returns):
        return returns
    arguments = [(it, _actual(it, state, element)) for it in binding.arguments]
    declared = {it.parameter.name: it.parameter.type for it in binding.arguments}
    if signature.overloads and not binding.star:
        chosen = _overload(signature.overloads, arguments, oracle)
        if chosen is not None and chosen.returns is not None:
            returns = chosen.returns
            declared |= {it.name: it.type for it in chosen.parameters}
    if not oracle.is_generic(returns):
        return returns
    pairs = [
        (tp, actual)
        for argument, actual in arguments
        if (tp := declared[argument.parameter.name]) is not None and actual is not None
    ]
    return oracle.resolve(returns, pairs)


def _actual(argument: Argument[T], state: State[T], element: T | None) -> T | None:
    """The type of what an argument passes, where it is one type."""
    if argument.how in (How.FIELD, How.MAYBE_FIELD):
        known = state.fields.get(argument.names[0])
        return None if known is None else known.type
    if argument.how is How.VALUE:
        return state.value
    return element if argument.how is How.ELEMENT else None


def _overload(
    overloads: Sequence[Signature[T]], arguments: Sequence[tuple[Argument[T], T | None]], oracle: TypeOracle[T]
) -> Signature[T] | None:
    """The overload that a call means: the first that takes its arguments; None where that cannot be known."""
    for overload in overloads:
        verdict = _takes(overload, arguments, oracle)
        if verdict is not False:
            return overload if verdict else None
    return None


def _takes(
    overload: Signature[T], arguments: Sequence[tuple[Argument[T], T | None]], oracle: TypeOracle[T]
) -> bool | None:
    parameters = {it.name: it for it in overload.parameters}
    passed = {argument.parameter.name for argument, _ in arguments}
    if any(it.required and it.name not in passed for it in overload.parameters):
        return False
    verdicts: list[bool | None] = []
    for argument, actual in arguments:
        parameter = parameters.get(argument.parameter.name)
        if parameter is None:
            # `*args` and `**kwargs` may take it.
            verdicts.append(False if all(is_named(it) for it in overload.parameters) else None)
        elif parameter.type is None:
            verdicts.append(True)
        elif argument.how is How.SETTING:
            verdicts.append(oracle.accepts(argument.value, parameter.type))
        elif actual is None or argument.how is How.MAYBE_FIELD or oracle.is_gradual(actual):
            verdicts.append(None)
        else:
            verdicts.append(oracle.is_assignable(actual, parameter.type))
    return False if False in verdicts else None if None in verdicts else True


def experiment_output(
    stage: str, declared: T | None, end: State[T], oracle: TypeOracle[T]
) -> tuple[T | None, Problem | None]:
    """What an experiment gives: the final whole of its pipeline, which has to fit what the class declares.

    Args:
        end: the final context of its pipeline.
    """
    found = whole(end, oracle)
    if found is None or declared is None or oracle.is_any(declared):
        return declared if found is None else found, None
    if oracle.is_assignable(found, declared) is not False:
        return declared, None
    expected, given = oracle.describe(declared), oracle.describe(found)
    return declared, Problem(
        "stage-output",
        f'experiment "{stage}" declares {expected}; its pipeline ends with {given}',
        expected=expected,
        found=given,
        remedy=f"declare class ...(Experiment[{given}]), or end the pipeline with {expected}",
        argument=1,
    )


def after_output(
    stage: str, out: Output[T], state: State[T], oracle: TypeOracle[T]
) -> tuple[State[T], Sequence[Problem]]:
    """The context behind an output."""
    if out.is_wrong and isinstance(out.contract, Keyword):
        return replace(state.assuming(out.contract.fields), pure=False), ()
    if out.is_wrong:
        return unknown_after(stage, state), ()
    if out.contract is not None:
        return advance(stage, out.contract, state, oracle)
    return unknown_after(stage, state) if out.shape is Shape.UNKNOWN else state, ()


def uncalled(stage: str, function: str, problems: Sequence[Problem]) -> Sequence[Problem]:
    """The problems of a function that makes a pipeline: where its call was meant, that is the only one.

    Args:
        function: its name in the source.
    """
    wrong = next((it for it in problems if it.code == "stage-output"), None)
    if wrong is None:
        return problems
    return [replace(wrong, remedy=f'call it: .stage("{stage}", {function}(...)) nests the pipeline that it makes')]


def unknown_inputs(stage: str, settings: Mapping[str, Setting]) -> list[Problem]:
    """`unknown-setting` for each setting of a nested pipeline that declares no inputs."""
    return [
        Problem(
            "unknown-setting",
            f'nested pipeline "{stage}" declares no input "{name}"',
            expected="a declared input",
            found=name,
            remedy=f"declare it: Pipeline({name}=...)",
            argument=name,
            at=setting.at,
        )
        for name, setting in settings.items()
    ]


def nested_output(
    stage: str, end: State[T], contract: Positional[T] | Keyword[T], oracle: TypeOracle[T]
) -> tuple[Output[T], list[Problem]]:
    """The contract of a nested pipeline, its entire effect: the final whole, read as a record.

    Args:
        end: the final context of the nested pipeline.
    """
    if end.whole_is_value:
        return output(stage, end.value, contract, oracle, is_nested=isinstance(contract, Keyword))
    # A Context view: every field of the contract must be there, definitely set, of the right type.
    wanted: Mapping[str, T | None]
    if isinstance(contract, Positional):
        if oracle.is_context(contract.type):
            return Output(Shape.VALUE, contract, True), []
        members = oracle.fields_of(contract.type)
        if members is None:
            if end.open or end.unknown:
                return Output(Shape.VALUE, contract, False), []
            message = (
                f'nested pipeline "{stage}" ends with {context_text(end, oracle)}; '
                f"its contract is {oracle.describe(contract.type)}"
            )
            return _no_such_end(contract, Problem("stage-output", message, argument=0), oracle)
        wanted = {name: tp for name, (tp, needed) in members.items() if needed}
    else:
        wanted = contract.fields
    for name, tp in wanted.items():
        problem = _not_left(stage, name, tp, end, oracle)
        if problem is not None:
            return _no_such_end(contract, problem, oracle)
    return Output(Shape.RECORD, contract, isinstance(contract, Keyword) and not end.unknown), []


def _no_such_end(
    contract: Positional[T] | Keyword[T], problem: Problem, oracle: TypeOracle[T]
) -> tuple[Output[T], list[Problem]]:
    remedy = "set it inside, or change the contract of the nested stage"
    return disputed(contract, oracle), [replace(problem, at="through", remedy=remedy)]


def _not_left(stage: str, name: str, tp: T | None, end: State[T], oracle: TypeOracle[T]) -> Problem | None:
    """Why a nested pipeline that ends so does not give the field of its contract; None where it does."""
    known = end.fields.get(name)
    if known is None:
        if end.open or end.unknown:
            return None
        found = context_text(end, oracle)
        message = f'nested pipeline "{stage}" does not set "{name}"; it ends with {found}'
        return Problem("stage-output", message, expected=name, found=found, argument=name)
    if not known.definite and not end.open:
        message = f'nested pipeline "{stage}" may not set "{name}": {known.origin}'
        return Problem("stage-output", message, expected=name, found=known.origin, argument=name)
    if known.type is not None and tp is not None and oracle.is_assignable(known.type, tp) is False:
        expected, found = oracle.describe(tp), oracle.describe(known.type)
        message = f'nested pipeline "{stage}" sets {name}: {found}; its contract is {name}: {expected}'
        return Problem("stage-output", message, expected=expected, found=found, argument=name)
    return None
