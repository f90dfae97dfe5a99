"""How a stage is called: which parameter takes what (rules 1 to 4 of the language)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Generic, NamedTuple, TypeVar

from metta.sweep.contracts.diagnostics import nearest
from metta.sweep.contracts.flow.hook_table import HOOK_NAMES
from metta.sweep.contracts.flow.oracle import TypeOracle
from metta.sweep.contracts.flow.problems import (
    Problem,
    article,
    context_text,
    describe,
    did_you_mean,
    fitted,
    is_nameless,
    typed,
)
from metta.sweep.contracts.flow.state import State
from metta.sweep.contracts.signature import Kind, Parameter, Signature

T = TypeVar("T")


class Setting(NamedTuple):
    """A keyword of `.stage`, of `.through` or of a partial.

    `value` is opaque to the rules. `rename` is the context field of `field("name")`. `at` is the builder call it
    was written in.
    """

    value: object
    rename: str | None = None
    at: str = "stage"


class How(Enum):
    """Where an argument comes from."""

    SETTING = "setting"
    FIELD = "field"
    MAYBE_FIELD = "maybe field"  # passed only if set; the parameter has a default
    WHOLE = "whole"
    VALUE = "value"
    RECORD = "record"  # built from fields
    PROTOCOL = "protocol"  # a read-only view
    CONTEXT = "context"
    INPUT = "input"  # an optional input of the pipeline
    ELEMENT = "element"  # of the sequence a map runs over
    LATER = "later"  # the pipeline is open: decided where it is used


class Argument(NamedTuple, Generic[T]):
    """One argument: the parameter, where it comes from, and the field names it reads."""

    parameter: Parameter[T]
    how: How
    names: tuple[str, ...] = ()
    value: object = None


@dataclass(frozen=True, slots=True)
class Binding(Generic[T]):
    """All arguments of a call, in the order of the parameters. `star`: the whole goes before them, by position."""

    arguments: tuple[Argument[T], ...] = ()
    star: bool = False


def bind(
    stage: str,
    signature: Signature[T] | None,
    settings: Mapping[str, Setting],
    state: State[T],
    oracle: TypeOracle[T],
    *,
    element: T | None = None,
    is_map: bool = False,
) -> tuple[Binding[T], list[Problem]]:
    """Decide the call of one stage at one point.

    Args:
        settings: rule 1, without those that a partial passes itself.
        element: for a map, the type of an element: it goes to the first positional parameter.
    """
    problems: list[Problem] = []
    named = () if signature is None else tuple([p for p in signature.parameters if is_named(p)])
    if signature is None or not (named or is_empty(signature)):
        problems.append(_untyped(stage))
        if is_map:
            return Binding((Argument(_ANONYMOUS, How.ELEMENT),)), problems
        extra = _extra(stage, signature, settings, state, oracle, problems)
        # `**kwargs` alone takes settings and nothing else.
        takes_whole = signature is None or any(p.kind is Kind.VAR_POSITIONAL for p in signature.parameters)
        return Binding(extra, star=takes_whole), problems

    arguments: dict[str, Argument[T]] = {}
    left: list[tuple[Parameter[T], Problem | None]] = []
    if is_map:
        named = _take_element(stage, named, settings, element, oracle, arguments, problems)
    misspelt = _misspelt(signature, settings) if settings else ()
    for parameter in named:
        if parameter.name in misspelt:
            continue
        setting = settings.get(parameter.name)
        if setting is not None and parameter.kind is not Kind.POSITIONAL_ONLY:
            found, problem = _from_setting(stage, parameter, setting, state, oracle)
        elif parameter.kind is Kind.POSITIONAL_ONLY:
            # `float`, `tuple`: an optional first one takes the whole too, where there is one.
            given = parameter is named[0] and (state.has_value or len(state.fields) > 0)
            if parameter.required or given:
                left.append((parameter, None))
            continue
        else:
            found, problem = _from_field(stage, parameter, state, oracle)
            if found is None and parameter.required:
                left.append((parameter, problem))
                continue
        if problem is not None:
            problems.append(problem)
        if found is not None:
            arguments[parameter.name] = found

    if len(left) == 1:
        found, problem = _whole(stage, *left[0], state, oracle)
        if found is not None:
            arguments[left[0][0].name] = found
        if problem is not None:
            problems.append(problem)
    elif left:
        problems += _missing(stage, left, state, oracle, arguments)
    order = [a for p in signature.parameters if (a := arguments.get(p.name)) is not None]
    if settings:
        order += _extra(stage, signature, settings, state, oracle, problems)
    return Binding(tuple(order)), problems


_ANONYMOUS: Parameter[Any] = Parameter("", Kind.POSITIONAL_ONLY, None, True)


def is_named(parameter: Parameter[Any]) -> bool:
    """Whether it is a single parameter, not *args or **kwargs."""
    return parameter.kind is not Kind.VAR_POSITIONAL and parameter.kind is not Kind.VAR_KEYWORD


def is_positional(parameter: Parameter[Any]) -> bool:
    return parameter.kind is Kind.POSITIONAL_OR_KEYWORD or parameter.kind is Kind.POSITIONAL_ONLY


def is_empty(signature: Signature[Any]) -> bool:
    """Whether the callable takes no argument at all."""
    return not signature.parameters


def _untyped(stage: str) -> Problem:
    return Problem(
        "untyped-stage",
        f'stage "{stage}" has no readable parameters: it is called with the whole context, unverified',
        expected="named, annotated parameters",
        found="*args, **kwargs or no signature",
        remedy="annotate the parameters the stage reads",
        note=True,
    )


def _extra(
    stage: str,
    signature: Signature[T] | None,
    settings: Mapping[str, Setting],
    state: State[T],
    oracle: TypeOracle[T],
    problems: list[Problem],
) -> tuple[Argument[T], ...]:
    """The settings that no parameter is named after: they go to `**kwargs`, or are unknown."""
    parameters = () if signature is None else signature.parameters
    names = [p.name for p in parameters if is_named(p) and p.kind is not Kind.POSITIONAL_ONLY]
    others = {name: setting for name, setting in settings.items() if name not in names}
    rest = next((p for p in parameters if p.kind is Kind.VAR_KEYWORD), None)
    if signature is not None and rest is None:
        problems += _unknown_settings(stage, names, others, oracle)
        return ()
    found: list[Argument[T]] = []
    for name, setting in others.items():
        parameter = Parameter(name, Kind.KEYWORD_ONLY, None if rest is None else rest.type, required=True)
        argument, problem = _from_setting(stage, parameter, setting, state, oracle)
        if argument is not None:
            found.append(argument)
        if problem is not None:
            problems.append(problem)
    return tuple(found)


def _unknown_settings(
    stage: str, names: list[str], settings: Mapping[str, Setting], oracle: TypeOracle[T]
) -> list[Problem]:
    problems = []
    for name, setting in settings.items():
        if setting.at == "stage":
            code = "unknown-setting"
            message = f'stage "{stage}" has no parameter "{name}"' + did_you_mean(name, names)
        else:
            code = "unknown-hook"
            message = f'"{name}" is no hook and no parameter of stage "{stage}"'
            near = did_you_mean(name, [*HOOK_NAMES, *names])
            if not near and setting.rename is None:
                near = f", and {oracle.describe_value(setting.value)} is no type for a field"
            message += near
        problems.append(
            Problem(
                code,
                message,
                expected="one of " + (", ".join(names) or "no keyword at all"),
                found=name,
                remedy=f'add a parameter "{name}" to the stage, or leave the keyword out',
                argument=name,
                at=setting.at,
            )
        )
    return problems


def _misspelt(signature: Signature[Any], settings: Mapping[str, Setting]) -> list[str]:
    """The parameters that settings of other names were probably meant for: those are told, and not what they leave."""
    if any(p.kind is Kind.VAR_KEYWORD for p in signature.parameters):
        return []
    names = [p.name for p in signature.parameters if is_named(p) and p.kind is not Kind.POSITIONAL_ONLY]
    unknown = [name for name in settings if name not in names]
    free = [name for name in names if name not in settings]
    return [near for name in unknown if (near := nearest(name, free)) is not None]


def _take_element(
    stage: str,
    named: tuple[Parameter[T], ...],
    settings: Mapping[str, Setting],
    element: T | None,
    oracle: TypeOracle[T],
    arguments: dict[str, Argument[T]],
    problems: list[Problem],
) -> tuple[Parameter[T], ...]:
    """Give the element of a map to the first positional parameter; the parameters that are left."""
    first = named[0] if named and is_positional(named[0]) else None
    if first is None or first.name in settings:
        found = "a setting on it" if first is not None else "no such parameter"
        problems.append(
            Problem(
                "stage-input",
                f'the element of the map goes to the first positional parameter of stage "{stage}": {found}',
                expected="a first positional parameter that is free",
                found=found,
                remedy="take the element as the first parameter",
            )
        )
        return () if first is None else named
    if first.type is not None and element is not None and oracle.is_assignable(element, first.type) is False:
        problems.append(
            Problem(
                "stage-input",
                f'stage "{stage}" takes each element as {typed(first.name, first.type, oracle)}; '
                f"the elements are {oracle.describe(element)}",
                expected=oracle.describe(first.type),
                found=oracle.describe(element),
                remedy="make the annotation of the first parameter the type of the elements",
            )
        )
    arguments[first.name] = Argument(first, How.ELEMENT)
    return named[1:]


def _from_setting(
    stage: str, parameter: Parameter[T], setting: Setting, state: State[T], oracle: TypeOracle[T]
) -> tuple[Argument[T] | None, Problem | None]:
    name = parameter.name
    if setting.rename is None:
        if parameter.type is not None and oracle.accepts(setting.value, parameter.type) is False:
            expected, found = oracle.describe(parameter.type), oracle.describe_value(setting.value)
            return None, Problem(
                "setting-type",
                f'setting "{name}" of stage "{stage}" is {found}; the parameter is {name}: {expected}',
                expected=expected,
                found=found,
                remedy=f"pass {article(expected)}, or change the annotation",
                argument=name,
                at=setting.at,
            )
        return Argument(parameter, How.SETTING, (), setting.value), None
    source = Parameter(setting.rename, parameter.kind, parameter.type, parameter.required)
    found_argument, problem = _from_field(stage, source, state, oracle, takes=name)
    if found_argument is None and problem is None:
        if state.open or state.unknown:
            return Argument(parameter, How.LATER, (setting.rename,)), None
        problem = _missing_field(stage, [(source, None)], state, oracle)
    if found_argument is not None:
        found_argument = found_argument._replace(parameter=parameter)
    return found_argument, None if problem is None else problem.on(name, setting.at)


def _from_field(
    stage: str, parameter: Parameter[T], state: State[T], oracle: TypeOracle[T], *, takes: str | None = None
) -> tuple[Argument[T] | None, Problem | None]:
    """Rule 2; (None, problem) where the field exists but does not fit, (None, None) where there is none.

    Args:
        takes: the name of the stage's parameter, if it is another one than the field's.
    """
    known = state.fields.get(parameter.name)
    if known is None:
        if parameter.name in state.optional and not parameter.required:
            return Argument(parameter, How.INPUT, (parameter.name,)), None
        return None, None
    if (
        parameter.type is not None
        and known.type is not None
        and parameter.type is not known.type
        and oracle.is_assignable(known.type, parameter.type) is False
    ):
        name, expected, found = (
            parameter.name,
            oracle.describe(parameter.type),
            oracle.describe(known.type),
        )
        return None, Problem(
            "stage-input",
            f'stage "{stage}" takes {takes or name}: {expected}; the context has {name}: {found}'
            + (f" ({known.origin})" if known.definite and known.origin else ""),
            expected=expected,
            found=found,
            remedy=f'change the annotation of "{takes or name}", or the contract that sets '
            + ("it" if takes is None else f'"{name}"'),
            fields=(name,),
        )
    if known.definite:
        return Argument(parameter, How.FIELD, (parameter.name,)), None
    if parameter.required:
        if state.open:
            # The context around may have it on the ways that do not set it here.
            return Argument(parameter, How.LATER, (parameter.name,)), None
        return None, _maybe_missing(stage, parameter.name, known.origin)
    return Argument(parameter, How.MAYBE_FIELD, (parameter.name,)), None


def _maybe_missing(stage: str, name: str, origin: str) -> Problem:
    return Problem(
        "maybe-missing-field",
        f'stage "{stage}" reads "{name}", which may not be set: {origin}',
        expected=f'"{name}" set on every way here',
        found=origin,
        remedy=f'set it before, give the parameter a default, or read it with ctx.get("{name}", default)',
        fields=(name,),
    )


def _whole(
    stage: str, parameter: Parameter[T], misfit: Problem | None, state: State[T], oracle: TypeOracle[T]
) -> tuple[Argument[T] | None, Problem | None]:
    """Rule 3: the one required parameter left takes the context as a whole."""
    tp = parameter.type
    if misfit is not None and misfit.code == "maybe-missing-field":
        return None, misfit
    waits = state.open or state.unknown
    if tp is None or oracle.is_any(tp) or oracle.is_object(tp):
        if misfit is not None:
            return None, misfit
        return Argument(parameter, How.LATER if state.open and not state.has_value else How.WHOLE), None
    if oracle.is_context(tp):
        return Argument(parameter, How.CONTEXT), None
    if state.has_value and (state.value is None or oracle.is_assignable(state.value, tp) is not False):
        return Argument(parameter, How.VALUE), None
    problem: Problem | None = None
    constructor = oracle.constructor_of(tp)
    attributes = oracle.protocol_of(tp) if constructor is None else None
    if constructor is not None:
        required = {n: t for n, (t, needed) in constructor.items() if needed}
        optional = {n: t for n, (t, needed) in constructor.items() if not needed}
        argument, problem = _build(stage, parameter, How.RECORD, {**required, **optional}, set(required), state, oracle)
        if argument is not None:
            return argument, None
    elif attributes is not None:
        argument, problem = _build(stage, parameter, How.PROTOCOL, dict(attributes), set(attributes), state, oracle)
        if argument is not None:
            return argument, None
    if waits and (problem is None or problem.code == "missing-field") and misfit is None:
        return Argument(parameter, How.LATER), None
    if misfit is not None:
        return None, misfit
    if problem is not None and problem.code != "missing-field":
        return None, problem
    if state.has_value and not (len(state.fields) and problem is None and not is_nameless(parameter.name)):
        expected, found = oracle.describe(tp), describe(state.value, oracle)
        return None, Problem(
            "stage-input",
            f'stage "{stage}" takes {typed(parameter.name, tp, oracle)}; the context is {article(found)}'
            + ("" if not state.replaced_by else f' since stage "{state.replaced_by}"')
            + did_you_mean(parameter.name, list(state.fields)),
            expected=expected,
            found=found,
            remedy=f"let the stage take {article(found)}, or change the contract before it",
        )
    problem = problem or _missing_field(stage, [(parameter, None)], state, oracle)
    return None, replace(problem, code="stage-input") if state.has_value else problem


def _build(
    stage: str,
    parameter: Parameter[T],
    how: How,
    members: Mapping[str, T | None],
    required: set[str],
    state: State[T],
    oracle: TypeOracle[T],
) -> tuple[Argument[T] | None, Problem | None]:
    """A record or a view from the fields: every required one and at least one, definite, of the right type."""
    taken: list[str] = []
    missing: list[tuple[Parameter[T], Problem | None]] = []
    problem: Problem | None = None
    for name, tp in members.items():
        known = state.fields.get(name)
        if known is None:
            if name in required:
                missing.append((Parameter(name, Kind.KEYWORD_ONLY, tp, True), None))
            continue
        if known.type is not None and tp is not None and oracle.is_assignable(known.type, tp) is False:
            expected, found = oracle.describe(tp), oracle.describe(known.type)
            record = describe(parameter.type, oracle)
            problem = problem or Problem(
                "stage-input",
                f'stage "{stage}" takes {typed(parameter.name, parameter.type, oracle)} with {name}: {expected}; '
                f"the context has {name}: {found}",
                expected=expected,
                found=found,
                remedy=f'change the type of "{name}" in {record}, or the contract that sets it',
                fields=(name,),
            )
        elif not known.definite:
            if name in required and state.open:
                missing.append((Parameter(name, Kind.KEYWORD_ONLY, tp, True), None))
            elif name in required:
                problem = problem or _maybe_missing(stage, name, known.origin)
        else:
            taken.append(name)
    if missing and problem is None:
        problem = _missing_field(stage, missing, state, oracle, parameter)
    if problem is None and not taken:
        problem = _missing_field(
            stage,
            [(Parameter(n, Kind.KEYWORD_ONLY, t, True), None) for n, t in members.items()],
            state,
            oracle,
            parameter,
        )
    if problem is not None:
        return None, problem
    return Argument(parameter, how, tuple(taken)), None


def _missing(
    stage: str,
    left: list[tuple[Parameter[T], Problem | None]],
    state: State[T],
    oracle: TypeOracle[T],
    arguments: dict[str, Argument[T]],
) -> list[Problem]:
    """Several required parameters are left: each misfit is a problem, and all missing fields are one."""
    waits = state.open or state.unknown
    misfits = [parameter for parameter, problem in left if problem is not None]
    if waits and len(misfits) == 1 and _is_built(misfits[0], oracle):
        # Once the others find their fields, it is the one that takes the whole.
        left = [(parameter, None) for parameter, _ in left]
    problems = [problem for _, problem in left if problem is not None]
    missing: list[tuple[Parameter[T], Problem | None]] = []
    for parameter, problem in left:
        if problem is not None:
            continue
        if parameter.type is not None and oracle.is_context(parameter.type):
            arguments[parameter.name] = Argument(parameter, How.CONTEXT)
        else:
            missing.append((parameter, None))
    if missing and waits:
        for parameter, _ in missing:
            arguments[parameter.name] = Argument(parameter, How.LATER)
    elif missing:
        problems.append(_missing_field(stage, missing, state, oracle))
    return problems


def _is_built(parameter: Parameter[T], oracle: TypeOracle[T]) -> bool:
    """Whether the whole can be given to a parameter as a record or a view of fields."""
    tp = parameter.type
    return tp is not None and (oracle.constructor_of(tp) is not None or oracle.protocol_of(tp) is not None)


_LONG = 90
"""Missing fields are shown with their types up to so many characters."""


def _missing_field(
    stage: str,
    missing: list[tuple[Parameter[T], Problem | None]],
    state: State[T],
    oracle: TypeOracle[T],
    record: Parameter[T] | None = None,
) -> Problem:
    wanted = [typed(p.name, p.type, oracle) for p, _ in missing]
    more = ", ..." if len(wanted) > 3 else ""
    shown = ", ".join(f'"{w}"' for w in wanted[:3]) + more
    if len(shown) > _LONG:
        shown = ", ".join(f'"{p.name}"' for p, _ in missing[:3]) + more
    names = list(state.fields)
    found = context_text(state, oracle)
    of = "" if record is None else f" of {typed(record.name, record.type, oracle)}"
    since = f' since stage "{state.replaced_by}" replaced it' if state.replaced_by else ""
    first = missing[0][0].name
    fields = tuple(p.name for p, _ in missing) if record is None else (record.name, *(p.name for p, _ in missing))
    near = next((it for name in fields if (it := did_you_mean(name, names))), "")
    if missing[0][0].kind is Kind.POSITIONAL_ONLY:
        return Problem(
            "missing-field",
            fitted(
                lambda limit: (
                    f'stage "{stage}" takes the context as a whole as {wanted[0]}, which is positional-only; '
                    f"the context has {context_text(state, oracle, limit)}{since}"
                )
            ),
            expected=wanted[0],
            found=found,
            remedy=(
                "pass a function whose parameters have names, so that they take the fields of their names"
                if is_nameless(first)
                else f'drop the "/" behind "{first}", so that it takes the field of its name'
            ),
        )
    return Problem(
        "missing-field",
        fitted(
            lambda limit: (
                f'stage "{stage}" needs field{"s" if len(wanted) > 1 else ""} {shown}{of}; '
                f"the context has {context_text(state, oracle, limit)}{since}{near}"
            )
        ),
        expected=", ".join(wanted),
        found=found,
        remedy=(
            f'let a stage before it set "{first}" with .through({first}=...)'
            if state.replaced_by or state.has_value
            else f"declare it: Pipeline({', '.join(_declared(p, oracle) for p, _ in missing)})"
        )
        if "self" not in fields
        else _from_an_object(next(p.type for p, _ in missing if p.name == "self"), oracle),
        fields=fields,
    )


def _from_an_object(owner: T | None, oracle: TypeOracle[T]) -> str:
    """What to do about a method that was taken from its class."""
    name = "an object" if owner is None else f"{oracle.describe(owner)}(...)"
    return f"take the method from {name}, not from the class: it has no self"


def _declared(parameter: Parameter[T], oracle: TypeOracle[T]) -> str:
    return f"{parameter.name}={'...' if parameter.type is None else oracle.describe(parameter.type)}"
