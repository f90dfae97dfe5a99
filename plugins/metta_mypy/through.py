"""`.through(contract, hooks..., settings...)`: what a stage gives, and everything that acts on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from mypy.nodes import CallExpr, Expression, LambdaExpr, MemberExpr, StrExpr
from mypy.plugin import MethodContext, MethodSigContext
from mypy.types import AnyType, FunctionLike, NoneType, Type, TypeOfAny

from metta.sweep.contracts.flow import (
    Keyword,
    Positional,
    Problem,
    Setting,
    ValueKind,
    hook_problems,
    misplaced_settings,
    not_a_type,
    sort_keywords,
    through_without_stage,
    unknown_after,
)
from metta_mypy.calls import Call, is_none
from metta_mypy.effects import Effect, effect_of
from metta_mypy.hooks import bag_problems, default_problem, hook_contexts, hook_value
from metta_mypy.point import UNKNOWN, Contract, Pending
from metta_mypy.session import Session
from metta_mypy.settle import behind, report
from metta_mypy.stages import renamed, setting_of
from metta_mypy.type_expressions import NotAType, Unknown, read_type


@dataclass(frozen=True, slots=True)
class Reading:
    """One `.through`, its keywords sorted.

    Attributes:
        contract: Any stands in for what is no type, or not known to be one: then nothing is known of what follows.
        settings: their types are not known before mypy has checked the arguments.
    """

    contract: Contract | None
    is_known: bool
    hooks: Mapping[str, Expression]
    settings: Mapping[str, Expression]
    problems: list[Problem]


class Foreseen(NamedTuple):
    """What was found for the types of lambdas, before mypy has checked the arguments."""

    call: CallExpr
    pending: Pending
    reading: Reading
    effect: Effect


def through_signature(session: Session, ctx: MethodSigContext) -> FunctionLike:
    """Types the parameters of the lambdas among the hooks."""
    assert isinstance(ctx.context, CallExpr)
    signature = session.loose(ctx)
    if not any(isinstance(argument, LambdaExpr) for argument in ctx.context.args):
        return signature
    call = Call.of(ctx.context)
    pending = session.receiver(ctx).pending
    if pending is None:
        return signature
    reading = read(session, pending, call)
    # The types of settings come later; as fields they have no say in what a stage gives.
    settings = {name: Setting(None, renamed(value), "through") for name, value in reading.settings.items()}
    effect = effect_of(pending, reading.contract, settings, session.oracle)
    if not call.positional and not settings and not reading.problems:
        # Else the types of arguments may say more, once they are known.
        session.foreseen = Foreseen(ctx.context, pending, reading, effect)
    return session.with_keywords(signature, hook_contexts(session, reading.hooks, effect, pending))


def through_method(session: Session, ctx: MethodContext) -> Type:
    """The pipeline behind the stage and its `.through`."""
    assert isinstance(ctx.context, CallExpr)
    call = Call.of(ctx.context)
    point = session.receiver(ctx)
    pending = point.pending
    if pending is None:
        if point is not UNKNOWN:
            report(session, [through_without_stage(point.closed or None)], call)
        return session.type_of(point, ctx.context)
    foreseen = session.foreseen
    if isinstance(foreseen, Foreseen) and foreseen.call is ctx.context and foreseen.pending is pending:
        reading, effect = foreseen.reading, foreseen.effect
    else:
        reading = read(session, pending, call)
        settings = {name: setting_of(session, value, "through") for name, value in reading.settings.items()}
        effect = effect_of(pending, reading.contract, settings, session.oracle)
    session.foreseen = None
    # What the stage itself has wrong was reported with it, where it was settled alone.
    found = [p for p in effect.problems if not pending.settled or p.at == "through"]
    report(session, reading.problems, call)
    if found:
        stage = ctx.context.callee.expr if isinstance(ctx.context.callee, MemberExpr) else None
        report(session, found, Call.of(stage) if isinstance(stage, CallExpr) else call, call)
    report(session, [*_hook_problems(session, reading, effect, pending), *bag_problems(session, call)], call, call)
    if not reading.is_known:
        effect = effect._replace(after=unknown_after(pending.name, effect.before.state))
    return session.type_of(behind(pending, effect), ctx.context)


def _hook_problems(session: Session, reading: Reading, effect: Effect, pending: Pending) -> list[Problem]:
    hooks = reading.hooks
    if not hooks:
        return []
    values = {name: hook_value(session, name, value) for name, value in hooks.items()}
    is_map = pending.over is not None
    state = effect.before.state
    found = hook_problems(
        pending.name, values, effect.output, state, session.oracle, is_map=is_map, nested=effect.nested
    )
    contract = effect.output.contract
    if "default" in hooks and contract is not None:
        problem = default_problem(session, pending.name, hooks["default"], contract, is_map=is_map)
        found += [] if problem is None else [problem]
    return found


# -- reading --------------------------------------------------------------------------------------------------------


def read(session: Session, pending: Pending, call: Call) -> Reading:
    """Sort the arguments, as far as their text alone says what they are."""
    problems: list[Problem] = []
    contract: Contract | None = None
    is_known = True
    positional = call.positional[0] if call.positional else None
    hooks, fields, settings, wrong = sort_keywords(
        call.keywords, lambda value: kind_of(session, value), pending.signature, positional=positional is not None
    )
    problems += wrong
    if positional is not None:
        tp = read_contract(session, positional)
        if isinstance(tp, NotAType):
            what = f'the contract of stage "{pending.name}"'
            problems.append(of_no_type(what, tp, 0))
        is_known = isinstance(tp, Type)
        contract = Positional(_known(tp))
    elif fields:
        contract = Keyword({name: field_type(session, value) for name, value in fields.items()})
    if settings and pending.ends is not None:
        problems += misplaced_settings(settings)
        settings = {}
    return Reading(contract, is_known, hooks, settings, problems)


def read_contract(session: Session, value: Expression) -> Type | NotAType | Unknown:
    """A positional contract or input; `None`, which is a type inside of others, is none there."""
    if is_none(value):
        return NotAType("None", not_a_type("", "None", 0).remedy)
    return read_type(value, session.api)


def kind_of(session: Session, value: Expression) -> ValueKind:
    if isinstance(value, StrExpr) or is_none(value):
        return ValueKind.TEXT
    if isinstance(value, LambdaExpr):
        return ValueKind.OTHER
    if renamed(value) is not None:
        return ValueKind.RENAME
    return ValueKind.OTHER if isinstance(session.written_type(value), NotAType) else ValueKind.TYPE


def field_type(session: Session, value: Expression) -> Type:
    """The type a field is declared with; what stands in quotes is left to definition time."""
    if isinstance(value, StrExpr):
        return AnyType(TypeOfAny.special_form)
    if is_none(value):
        return NoneType()
    return _known(session.written_type(value))


def _known(tp: Type | NotAType | Unknown) -> Type:
    return tp if isinstance(tp, Type) else AnyType(TypeOfAny.special_form)


def of_no_type(what: str, found: NotAType, argument: str | int) -> Problem:
    """`not-a-type`, with the remedy that fits what was found."""
    return replace(not_a_type(what, found.description, argument), remedy=found.remedy)
