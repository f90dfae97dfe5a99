"""`.stage(name, target, **settings)` and `.map(name, target, over=..., **settings)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mypy.nodes import ARG_POS, CallExpr, Expression, IntExpr, LambdaExpr, RefExpr, StrExpr, UnaryExpr
from mypy.plugin import MethodContext, MethodSigContext
from mypy.types import (
    AnyType,
    CallableType,
    FunctionLike,
    Instance,
    LiteralType,
    Type,
    TypeOfAny,
    get_proper_type,
)

from metta.sweep.contracts.flow import ASSUMED, Field, Setting, map_element, no_count, no_name, no_source, not_a_stage
from metta_mypy import fullnames
from metta_mypy.calls import Call, is_none
from metta_mypy.effects import asked_of_point, with_inputs
from metta_mypy.lambdas import named
from metta_mypy.parts import in_place
from metta_mypy.point import Pending, Point
from metta_mypy.session import Session
from metta_mypy.settle import check_closed, check_name, report, settle
from metta_mypy.targets import Target, any_signature, read_target
from metta_mypy.wording import argument_of

_NOT_SETTINGS = frozenset({"over", "max_parallel"})
"""Keywords of `.map` itself."""


def stage_signature(session: Session, ctx: MethodSigContext) -> FunctionLike:
    """Types a lambda's parameters from the fields of their names, and places a chain that stands as the stage."""
    return _signature(session, ctx, None)


def map_signature(session: Session, ctx: MethodSigContext) -> FunctionLike:
    """The same; the first parameter of a lambda is an element."""
    assert isinstance(ctx.context, CallExpr)
    over = _text(session, Call.of(ctx.context).keywords.get("over"))
    if over is None:
        return _signature(session, ctx, None)
    return _signature(session, ctx, map_element("", over, session.receiver(ctx).state, session.oracle)[0])


def _signature(session: Session, ctx: MethodSigContext, element: Type | None) -> FunctionLike:
    assert isinstance(ctx.context, CallExpr)
    signature = session.loose(ctx)
    if not any(isinstance(argument, (LambdaExpr, CallExpr)) for argument in ctx.context.args):
        return signature
    target = Call.of(ctx.context).argument(1)
    if target is None:
        return signature
    point = session.receiver(ctx)
    session.place_arm(target, point)
    if not isinstance(target, LambdaExpr):
        return signature
    names = {a.variable.name for a in target.arguments}
    settings = {name: value for name, value in Call.of(ctx.context).keywords.items() if name in names}
    return session.with_argument(signature, 1, stage_lambda(session, target, point, element, settings))


def stage_lambda(
    session: Session,
    target: LambdaExpr,
    point: Point,
    element: Type | None = None,
    settings: Mapping[str, Expression] | None = None,
) -> CallableType:
    """What a lambda that stands as a stage will be called with.

    Args:
        element: for a map, what its first parameter takes.
        settings: the keywords of its `.stage`.
    """
    known = {name: _read_type(field) for name, field in point.state.fields.items()}
    required = [a.variable.name for a in target.arguments if a.kind == ARG_POS]
    if element is not None and target.arguments:
        known[target.arguments[0].variable.name] = element
    for name, value in (settings or {}).items():
        source = renamed(value)
        field = None if source is None else point.state.fields.get(source)
        known[name] = session.expression_type(value) if field is None else _read_type(field)
    known |= {
        a.variable.name: session.expression_type(a.initializer)
        for a in target.arguments
        if a.initializer is not None and not is_none(a.initializer) and a.variable.name not in known
    }
    if len(left := [name for name in required if name not in known]) == 1:
        known[left[0]] = session.whole_of(point)
    if point.state.unknown:
        # Why nothing is known has been told: what the lambda makes of it is not told again.
        known = {name: known.get(name) or AnyType(TypeOfAny.from_error) for name in required}
    return named(target, known, session.api)


def _read_type(field: Field[Type]) -> Type | None:
    return AnyType(TypeOfAny.from_error) if field == ASSUMED else field.type


def stage_method(session: Session, ctx: MethodContext) -> Type:
    """The pipeline with one more stage."""
    assert isinstance(ctx.context, CallExpr)
    call = Call.of(ctx.context)
    before = session.settled(ctx)
    found = _read(session, call, before)
    if found is None:
        return _add(session, ctx, _unread(before))
    name, target = found
    settings = {}
    if target.problem is None:
        # Else nothing can take them, and what is wrong has been said.
        settings = {key: setting_of(session, value, "stage") for key, value in call.keywords.items()}
    nested = target.nested
    if nested is not None and nested.part is not None:
        before = with_inputs(before, asked_of_point(nested), session.oracle)
        nested = in_place(session, nested, before.state)
    found_target = (nested, target.takes_any, target.is_anonymous)
    return _add(session, ctx, Pending(before, name, target.signature, settings, None, *found_target))


def map_method(session: Session, ctx: MethodContext) -> Type:
    """The pipeline with a stage that runs once per element."""
    assert isinstance(ctx.context, CallExpr)
    call = Call.of(ctx.context)
    before = session.settled(ctx)
    found = _read(session, call, before)
    if found is None:
        return _add(session, ctx, _unread(before))
    name, target = found
    over = _over(session, call, name)
    signature = target.signature if over is not None else any_signature(name)
    if target.nested is not None:
        shown = argument_of(call.positional[1], session.api).text
        report(session, [not_a_stage(name, shown, 1)], call)
        signature, over = any_signature(name), None
    elif target.problem is not None:
        over = None
    settings = {}
    if target.problem is None and target.nested is None:
        settings = {
            key: setting_of(session, value, "stage") for key, value in call.keywords.items() if key not in _NOT_SETTINGS
        }
    return _add(session, ctx, Pending(before, name, signature, settings, over))


def _unread(before: Point) -> Pending:
    """A stage whose name and target come from `*args`."""
    return Pending(before, "...", any_signature("..."))


def _read(session: Session, call: Call, before: Point) -> tuple[str, Target] | None:
    """The name and the target of a stage; what is wrong with them is reported."""
    if call.has_star or len(call.positional) < 2:
        return None
    name_of, target_of = call.positional[:2]
    name = _text(session, name_of)
    is_swapped = False
    if name:
        check_name(session, before, name, call)
    elif name == "" or session.is_surely_no(name_of, "builtins.str"):
        report(session, [no_name(argument_of(name_of, session.api).text)], call)
        is_swapped = isinstance(target_of, StrExpr)
    name = name or "..."
    target = read_target(session, name, target_of, session.expression_type(target_of), 1)
    session.drop_arm(target_of)
    report(session, [] if target.problem is None or is_swapped else [target.problem], call)
    if target.nested is not None:
        target = replace(target, nested=check_closed(session, target.nested, call))
    return name, target


def _add(session: Session, ctx: MethodContext, pending: Pending) -> Type:
    assert isinstance(ctx.context, CallExpr)
    if session.chains.follower(ctx.context) == "through":
        # Its `.through` decides what stands behind it.
        return session.type_of(pending.before.waiting(pending), ctx.context)
    return session.type_of(settle(session, pending, Call.of(ctx.context)), ctx.context)


def setting_of(session: Session, expression: Expression, at: str) -> Setting:
    """One setting; `field("x")` renames."""
    rename = renamed(expression)
    return Setting(argument_of(expression, session.api), rename, at)


def renamed(expression: Expression) -> str | None:
    """The x of `field("x")`."""
    if not (isinstance(expression, CallExpr) and isinstance(expression.callee, RefExpr)):
        return None
    if expression.callee.fullname != fullnames.FIELD or not expression.args:
        return None
    text = expression.args[0]
    return text.value if isinstance(text, StrExpr) else None


def _over(session: Session, call: Call, name: str) -> str | None:
    """The field a map runs over; checks the numbers of `.map` as well."""
    if (count := call.keywords.get("max_parallel")) is not None and is_no_count(session, count):
        report(session, [no_count("max_parallel", argument_of(count, session.api).text)], call)
    expression = call.keywords.get("over")
    if expression is None:
        return None
    text = _text(session, expression)
    if text is None and session.is_surely_no(expression, "builtins.str"):
        report(session, [no_source(name, argument_of(expression, session.api).text)], call)
    return text


def is_no_count(session: Session, expression: Expression) -> bool:
    if isinstance(expression, IntExpr):
        return expression.value < 1
    if isinstance(expression, UnaryExpr) and expression.op == "-":
        return True
    if session.is_surely_no(expression, "builtins.int", or_none=True):
        return True
    return isinstance(found := get_proper_type(session.expression_type(expression)), Instance) and (
        found.type.fullname == "builtins.bool"
    )


def _text(session: Session, expression: Expression | None) -> str | None:
    """The value of a string that is known before anything runs."""
    if expression is None or isinstance(expression, StrExpr):
        return None if expression is None else expression.value
    if session.is_checked(expression):
        found = get_proper_type(session.expression_type(expression))
        literal = found.last_known_value if isinstance(found, Instance) else found
        if isinstance(literal, LiteralType) and isinstance(literal.value, str):
            return literal.value
    return None
