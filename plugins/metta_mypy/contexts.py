"""Reading a `Context`: its fields have types, and one that may not be set is told."""

from __future__ import annotations

from mypy.erasetype import remove_instance_last_known_values
from mypy.errorcodes import ATTR_DEFINED
from mypy.nodes import ARG_NAMED_OPT, CallExpr, Context, StrExpr
from mypy.plugin import AttributeContext, MethodContext, MethodSigContext
from mypy.types import (
    AnyType,
    FunctionLike,
    Instance,
    NoneType,
    Type,
    TypedDictType,
    TypeOfAny,
    UnionType,
    get_proper_type,
)

from metta.sweep.contracts.flow import Problem, did_you_mean, fitted, listed
from metta_mypy import fullnames
from metta_mypy.session import Session, as_instance_of


def attribute(session: Session, ctx: AttributeContext, name: str) -> Type:
    """`ctx.x`: the type of the field."""
    fields = _fields(ctx.type)
    if fields is None or getattr(ctx, "is_lvalue", False):  # mypy 1.12 does not say
        return ctx.default_attr_type
    found = fields.items.get(name)
    if found is None:
        near = did_you_mean(name, list(fields.items))
        parts = [f"{n}: {session.oracle.describe(tp)}" for n, tp in fields.items.items()]
        message = fitted(lambda limit: f'the context has no field "{name}"; it has {listed(parts, limit)}{near}')
        session.api.fail(message, ctx.context, code=ATTR_DEFINED)
        return AnyType(TypeOfAny.from_error)
    if name not in fields.required_keys:
        session.reporter.problem(_maybe(session, name, ctx.context), session.api, ctx.context)
    return found


def _maybe(session: Session, name: str, place: Context) -> Problem:
    state = session.state_around(place)
    known = None if state is None else state.fields.get(name)
    why = f": {known.origin}" if known is not None and known.origin else ""
    return Problem(
        "maybe-missing-field",
        f'"{name}" may not be set{why}',
        remedy=f'set it before, or read it with ctx.get("{name}", default)',
    )


def get_method(session: Session, ctx: MethodContext) -> Type:
    """`ctx.get("x", default)`."""
    fields = _fields(ctx.type)
    if fields is None or not isinstance(ctx.context, CallExpr) or not ctx.context.args:
        return ctx.default_return_type
    name = ctx.context.args[0]
    if not isinstance(name, StrExpr):
        return ctx.default_return_type
    found = fields.items.get(name.value)
    default: Type = NoneType() if len(ctx.context.args) < 2 else session.expression_type(ctx.context.args[1])
    if found is None:
        return default
    if name.value in fields.required_keys:
        return found
    return UnionType.make_union([found, remove_instance_last_known_values(default)])


def replace_signature(session: Session, ctx: MethodSigContext) -> FunctionLike:
    """`ctx._replace(x=...)`: fields of the context, with their types."""
    fields = _fields(ctx.type)
    if fields is None:
        return ctx.default_signature
    return ctx.default_signature.copy_modified(
        arg_types=list(fields.items.values()),
        arg_kinds=[ARG_NAMED_OPT] * len(fields.items),
        arg_names=list(fields.items),
        ret_type=ctx.type,
    )


def _fields(tp: Type) -> TypedDictType | None:
    """The fields a context is known to have."""
    found = get_proper_type(tp)
    if not isinstance(found, Instance) or not found.type.has_base(fullnames.CONTEXT):
        return None
    base = as_instance_of(found, fullnames.CONTEXT)
    fields = get_proper_type(base.args[0]) if base.args else None
    return fields if isinstance(fields, TypedDictType) else None
