"""`.loop_while(...)`, `.break_if(...)` and `.end_loop(...)`."""

from __future__ import annotations

from dataclasses import replace

from mypy.nodes import CallExpr, Expression
from mypy.plugin import MethodContext, MethodSigContext
from mypy.types import FunctionLike, Type

from metta.sweep.contracts.flow import (
    BREAK_CONDITION,
    LOOP_CONDITION,
    UNTIL,
    Loop,
    break_problems,
    end_of_loop,
    no_count,
    stray_break,
    stray_end,
)
from metta_mypy import conditions
from metta_mypy.calls import Call, is_none
from metta_mypy.point import OpenLoop
from metta_mypy.session import Session
from metta_mypy.settle import report
from metta_mypy.stages import is_no_count
from metta_mypy.wording import argument_of


def condition_signature(session: Session, ctx: MethodSigContext) -> FunctionLike:
    """Types the parameter of the lambda, the first argument of each of the three."""
    assert isinstance(ctx.context, CallExpr)
    call = Call.of(ctx.context)
    state = session.receiver(ctx).state
    return conditions.typed(session, session.loose(ctx), call.argument(0, "until"), 0, state)


def loop_method(session: Session, ctx: MethodContext) -> Type:
    assert isinstance(ctx.context, CallExpr)
    call = Call.of(ctx.context)
    point = session.settled(ctx)
    condition = _given(call.argument(0))
    problems = conditions.problem_of(session, LOOP_CONDITION, condition, point.state)
    if (limit := call.keywords.get("max_iterations")) is not None and is_no_count(session, limit):
        problems.append(no_count("max_iterations", argument_of(limit, session.api).text))
    report(session, problems, call)
    at = call.place_of(None)
    loop = OpenLoop(
        Loop(point.state), condition is not None, session.api.tree.fullname, at.line, at.column, point.first
    )
    return session.type_of(replace(point, loops=(*point.loops, loop), first=""), ctx.context)


def break_method(session: Session, ctx: MethodContext) -> Type:
    assert isinstance(ctx.context, CallExpr)
    call = Call.of(ctx.context)
    point = session.settled(ctx)
    if not point.loops:
        report(session, [] if session.is_lost(point) else [stray_break()], call)
        return session.type_of(point, ctx.context)
    *outer, loop = point.loops
    problems = conditions.problem_of(session, BREAK_CONDITION, call.argument(0), point.state)
    report(session, [*problems, *break_problems(loop.frame, point.state, session.oracle)], call)
    left = replace(loop, frame=loop.frame.left_in(point.state))
    return session.type_of(replace(point, loops=(*outer, left)), ctx.context)


def end_method(session: Session, ctx: MethodContext) -> Type:
    assert isinstance(ctx.context, CallExpr)
    call = Call.of(ctx.context)
    point = session.settled(ctx)
    if not point.loops:
        report(session, [] if session.is_lost(point) else [stray_end()], call)
        return session.type_of(point, ctx.context)
    *outer, loop = point.loops
    problems = conditions.problem_of(session, UNTIL, _given(call.argument(0, "until")), point.state)
    after, more = end_of_loop(
        loop.frame, point.state, session.oracle, has_condition=loop.has_condition, first=point.first
    )
    report(session, [*problems, *more], call)
    end = replace(point.at(after), loops=tuple(outer), first=loop.first or point.first)
    return session.type_of(end, ctx.context)


def _given(condition: Expression | None) -> Expression | None:
    """The condition that is given: `None` is none."""
    return None if condition is None or is_none(condition) else condition
