"""`Pipeline(...)` itself, and `.with_global_hooks(...)`."""

from __future__ import annotations

from dataclasses import replace

from mypy.nodes import CallExpr, Expression, LambdaExpr
from mypy.plugin import FunctionContext, MethodContext, MethodSigContext
from mypy.types import AnyType, FunctionLike, Type, TypeOfAny

from metta.sweep.contracts.flow import (
    Keyword,
    Positional,
    Problem,
    ValueKind,
    global_hook_problems,
    input_problems,
    mixed,
    not_a_type,
)
from metta_mypy.calls import Call
from metta_mypy.hooks import hook_value
from metta_mypy.lambdas import called_with
from metta_mypy.point import OPEN, Inputs, Point
from metta_mypy.session import Session
from metta_mypy.settle import report
from metta_mypy.through import field_type, kind_of, of_no_type, read_contract
from metta_mypy.type_expressions import NotAType, read_type
from metta_mypy.wording import argument_of


def constructor(session: Session, ctx: FunctionContext) -> Type:
    """A pipeline with declared inputs, an open one, or an arm on the context around it."""
    if not isinstance(ctx.context, CallExpr):
        return ctx.default_return_type
    arm = session.arms.get(ctx.context)
    if arm is not None:
        return session.type_of(arm, ctx.context)
    call = Call.of(ctx.context)
    if call.has_star or call.bags:
        return ctx.default_return_type
    return session.type_of(_declared(session, call), ctx.context)


def _declared(session: Session, call: Call) -> Point:
    oracle = session.oracle
    if not call.positional and not call.keywords:
        return replace(OPEN, is_part=session.chains.is_part(call.expression))
    if call.positional:
        problems = [mixed("Pipeline", next(iter(call.keywords)))] if call.keywords else []
        tp = read_contract(session, call.positional[0])
        if isinstance(tp, NotAType):
            problems.append(of_no_type("the input of the pipeline", tp, 0))
        report(session, problems, call)
        given = tp if isinstance(tp, Type) else AnyType(TypeOfAny.special_form)
        return Point.beginning(Inputs(Positional(given)), oracle)

    def no_type(what: str, value: Expression, keyword: str) -> Problem:
        found = read_type(value, session.api)
        if isinstance(found, NotAType):
            return of_no_type(what, found, keyword)
        # `field("x")` is known by its text; as a type it could be anything.
        return not_a_type(what, argument_of(value, session.api).text, keyword)

    report(session, input_problems(call.keywords, lambda value: kind_of(session, value), no_type), call)
    any_type = AnyType(TypeOfAny.from_error)
    fields: dict[str, Type | None] = {
        name: field_type(session, value) if kind_of(session, value) in (ValueKind.TYPE, ValueKind.TEXT) else any_type
        for name, value in call.keywords.items()
    }
    return Point.beginning(Inputs(Keyword(fields)), oracle)


def global_hooks_signature(session: Session, ctx: MethodSigContext) -> FunctionLike:
    """Types the lambdas: the stage's name comes first. Our own sentences say what does not fit."""
    assert isinstance(ctx.context, CallExpr)
    string = session.api.named_generic_type("builtins.str", [])
    lambdas: dict[str, Type] = {
        name: called_with(value, [string], session.api)
        for name, value in Call.of(ctx.context).keywords.items()
        if isinstance(value, LambdaExpr)
    }
    any_type = AnyType(TypeOfAny.special_form)
    plain = ctx.default_signature.copy_modified(
        arg_types=[*ctx.default_signature.arg_types[:-1], any_type], unpack_kwargs=False
    )
    return session.with_keywords(plain, lambdas)


def global_hooks_method(session: Session, ctx: MethodContext) -> Type:
    assert isinstance(ctx.context, CallExpr)
    call = Call.of(ctx.context)
    values = {name: hook_value(session, name, value) for name, value in call.keywords.items()}
    report(session, global_hook_problems(values, session.oracle), call)
    return session.type_of(session.settled(ctx), ctx.context)
