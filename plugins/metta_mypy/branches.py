"""`.conditional(predicate, then, otherwise)` and `.parallel([...])`: arms on the context around them."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import NamedTuple

from mypy.nodes import CallExpr, DictExpr, Expression, IntExpr, LambdaExpr, ListExpr, RefExpr, StrExpr, TupleExpr
from mypy.plugin import MethodContext, MethodSigContext
from mypy.types import FunctionLike, Type

from metta.sweep.contracts.flow import (
    PREDICATE,
    Problem,
    State,
    asked_of_stage,
    branch,
    is_field_name,
    no_arms,
    no_key,
    reserved,
)
from metta_mypy import conditions
from metta_mypy.calls import Call, is_none
from metta_mypy.effects import (
    Asked,
    asked_of_point,
    effect_of,
    nested_after,
    nested_call,
    with_inputs,
    without_optional,
)
from metta_mypy.parts import in_place
from metta_mypy.point import Pending, Point
from metta_mypy.session import Session
from metta_mypy.settle import check_closed, report, settle
from metta_mypy.stages import stage_lambda
from metta_mypy.targets import Target, any_signature, read_target
from metta_mypy.wording import argument_of


class Arm(NamedTuple):
    """One arm, by its name in messages."""

    name: str
    target: Target
    expression: Expression


# -- conditional ----------------------------------------------------------------------------------------------------


def conditional_signature(session: Session, ctx: MethodSigContext) -> FunctionLike:
    """Types the predicate, and places the arms that are written in it."""
    assert isinstance(ctx.context, CallExpr)
    call = Call.of(ctx.context)
    point = session.receiver(ctx)
    signature = conditions.typed(session, session.loose(ctx), call.argument(0), 0, point.state)
    for index, expression in ((1, call.argument(1, "then")), (2, call.argument(2, "otherwise"))):
        if isinstance(expression, LambdaExpr):
            signature = session.with_argument(signature, index, stage_lambda(session, expression, point))
        elif expression is not None:
            session.place_arm(expression, point)
    return signature


def conditional_method(session: Session, ctx: MethodContext) -> Type:
    assert isinstance(ctx.context, CallExpr)
    call = Call.of(ctx.context)
    point = session.settled(ctx)
    arms = []
    for position, name in ((1, "then"), (2, "otherwise")):
        expression = call.argument(position, name)
        if expression is not None and not is_none(expression):
            arms.append(_arm(session, call, name, expression, position))
    point = with_inputs(point, _asked(session, arms), session.oracle)
    report(session, conditions.problem_of(session, PREDICATE, call.argument(0), point.state), call)
    ends = [_end(session, arm, point.state) for arm in _placed(session, arms, point.state)]
    states = [end for end, _ in ends]
    first = next((name for _, name in ends if name), "")
    if not states:
        return session.type_of(point, ctx.context)
    otherwise = states[1] if len(states) > 1 else point.state
    after = without_optional(branch(states[0], otherwise, session.oracle, first))
    return session.type_of(replace(point.at(after), first=point.first or first), ctx.context)


def _arm(session: Session, call: Call, name: str, expression: Expression, position: int) -> Arm:
    own = expression.name if isinstance(expression, RefExpr) and hasattr(expression, "name") else name
    session.drop_arm(expression)
    target = read_target(session, own, expression, session.expression_type(expression), position)
    if target.problem is not None:
        session.reporter.problem(target.problem, session.api, expression)
    if target.nested is None:
        return Arm(own, target, expression)
    return Arm(name, replace(target, nested=check_closed(session, target.nested, call)), expression)


def _placed(session: Session, arms: list[Arm], state: State[Type]) -> list[Arm]:
    """The arms on the context of the step; a named one is checked as if it were written there."""
    return [
        arm
        if arm.target.nested is None
        else arm._replace(target=replace(arm.target, nested=in_place(session, arm.target.nested, state)))
        for arm in arms
    ]


def _end(session: Session, arm: Arm, state: State[Type]) -> tuple[State[Type], str]:
    """The context at the end of an arm, and the name of its first stage."""
    nested = arm.target.nested
    if nested is not None:
        after, _, problems = nested_after(arm.name, nested, {}, state, session.oracle)
        _report(session, problems, arm)
        return after, nested.first
    pending = Pending(Point(state, is_arm=True), arm.name, arm.target.signature)
    effect = effect_of(pending, None, {}, session.oracle)
    _report(session, effect.problems, arm)
    return without_optional(effect.after), arm.name


def _report(session: Session, problems: list[Problem], arm: Arm) -> None:
    """A bare callable, and the inputs of a pipeline: what is wrong stands where the arm does."""
    for problem in problems:
        session.reporter.problem(problem, session.api, arm.expression)


def _asked(session: Session, arms: list[Arm]) -> Asked | None:
    """What all arms ask for; None where that of one cannot be known."""
    found: list[Asked] = []
    for arm in arms:
        if arm.target.nested is not None:
            asked = asked_of_point(arm.target.nested)
        else:
            known = arm.target.signature
            asked = None if known is None else asked_of_stage(known, {}, session.oracle)
        if asked is None:
            return None
        found.append(asked)
    return list(chain.from_iterable(found))


# -- parallel -------------------------------------------------------------------------------------------------------


def parallel_signature(session: Session, ctx: MethodSigContext) -> FunctionLike:
    """Places the arms that are written in the list or the mapping."""
    assert isinstance(ctx.context, CallExpr)
    given = Call.of(ctx.context).argument(0)
    point = session.receiver(ctx)
    for expression in [] if given is None else _written(given).values():
        session.place_arm(expression, point)
    return session.loose(ctx)


def parallel_method(session: Session, ctx: MethodContext) -> Type:
    assert isinstance(ctx.context, CallExpr)
    call = Call.of(ctx.context)
    point = session.settled(ctx)
    given = call.argument(0)
    if given is None or not isinstance(given, (ListExpr, TupleExpr, DictExpr)):
        pending = _elsewhere(session, call, point, given)
    else:
        pending = _pending(session, call, point, given)
    if session.chains.follower(ctx.context) == "through":
        return session.type_of(pending.before.waiting(pending), ctx.context)
    return session.type_of(settle(session, pending, call), ctx.context)


def _written(given: Expression) -> dict[str, Expression]:
    """The arms of a list, a tuple or a mapping that is written out, by the names messages give them."""
    if isinstance(given, DictExpr):
        return {_key(key): value for key, value in given.items if isinstance(key, (StrExpr, IntExpr))}
    items = given.items if isinstance(given, (ListExpr, TupleExpr)) else []
    return {f"arm {index}": item for index, item in enumerate(items)}


def _key(key: StrExpr | IntExpr) -> str:
    """What messages call an arm; that a number is no name of a field is reported."""
    return str(key.value)


def _pending(session: Session, call: Call, point: Point, given: Expression) -> Pending:
    problems: list[Problem] = []
    if isinstance(given, DictExpr):
        for key, _ in given.items:
            if isinstance(key, StrExpr):
                problems += [] if is_field_name(key.value) else [reserved(key.value, "a field").on(0)]
            elif key is not None and session.is_surely_no(key, "builtins.str"):
                problems.append(no_key(argument_of(key, session.api).text).on(0))
    for expression in _written(given).values():
        if isinstance(expression, LambdaExpr):
            # mypy has one type for all items of a list, and so has checked it without any.
            session.watch(expression, point.state)
            session.api.expr_checker.accept(expression, stage_lambda(session, expression, point))
    arms = [_arm(session, call, name, expression, 0) for name, expression in _written(given).items()]
    if not arms and not problems:
        problems.append(no_arms("nothing"))
    report(session, problems, call)
    if not arms:
        return Pending(point, "parallel", any_signature("parallel"))
    point = with_inputs(point, _asked(session, arms), session.oracle)
    arms = _placed(session, arms, point.state)
    names = list(_written(given))
    ends = {name: _parallel_end(session, arm, point.state) for name, arm in zip(names, arms, strict=True)}
    opened = frozenset(name for name, arm in zip(names, arms, strict=True) if _is_open(arm))
    return Pending(point, "parallel", ends=ends, opened=opened, is_keyed=isinstance(given, DictExpr))


def _is_open(arm: Arm) -> bool:
    """Whether an arm runs on the context around it."""
    return arm.target.nested is None or arm.target.nested.is_arm


def _parallel_end(session: Session, arm: Arm, state: State[Type]) -> State[Type]:
    """Only the whole of an arm leaves it: that of a closed pipeline is its own."""
    nested = arm.target.nested
    if nested is None:
        pending = Pending(Point(state, is_arm=True), arm.name, arm.target.signature)
        effect = effect_of(pending, None, {}, session.oracle)
        _report(session, effect.problems, arm)
        return effect.after
    _report(session, nested_call(arm.name, nested, {}, state, session.oracle), arm)
    return nested.state


def _elsewhere(session: Session, call: Call, point: Point, given: Expression | None) -> Pending:
    """Arms that were put together elsewhere: a list has one type for all of them."""
    if given is not None and session.is_no_collection(given):
        report(session, [no_arms(session.oracle.describe(session.expression_type(given)))], call)
    return Pending(point, "parallel", any_signature("parallel"))
