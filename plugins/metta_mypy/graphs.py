"""`.compile()`, and the arguments of `graph.run(...)`."""

from __future__ import annotations

from mypy.nodes import ARG_NAMED, ARG_NAMED_OPT, ARG_POS, CallExpr
from mypy.plugin import MethodContext, MethodSigContext
from mypy.types import (
    AnyType,
    CallableType,
    FunctionLike,
    Instance,
    Type,
    TypedDictType,
    TypeOfAny,
    get_proper_type,
)

from metta_mypy import fullnames
from metta_mypy.calls import Call
from metta_mypy.session import Session, as_instance_of
from metta_mypy.settle import check_closed


def compile_method(session: Session, ctx: MethodContext) -> Type:
    assert isinstance(ctx.context, CallExpr)
    point = check_closed(session, session.settled(ctx), Call.of(ctx.context))
    graph = session.class_of(fullnames.GRAPH)
    return Instance(graph, [session.input_type(point), session.result_type(point)])


def run_signature(session: Session, ctx: MethodSigContext) -> FunctionLike:
    """`run(x=..., y=...)` or `run(value)`, as the pipeline declares it; `graph(...)` is the same."""
    return ctx.default_signature if (found := _typed(ctx)) is None else found


def arun_signature(session: Session, ctx: MethodSigContext) -> FunctionLike:
    """The same for `await graph.arun(...)`."""
    if (found := _typed(ctx)) is None:
        return ctx.default_signature
    any_type = AnyType(TypeOfAny.special_form)
    result = session.api.named_generic_type("typing.Coroutine", [any_type, any_type, found.ret_type])
    return found.copy_modified(ret_type=result)


def _typed(ctx: MethodSigContext) -> CallableType | None:
    """The signature of `run`; None where the inputs and the result are not known."""
    if not isinstance(ctx.type, Instance):
        return None
    given, result = as_instance_of(ctx.type, fullnames.GRAPH).args[:2]
    signature = ctx.default_signature.copy_modified(ret_type=result)
    given = get_proper_type(given)
    if isinstance(given, AnyType):
        return signature
    if isinstance(given, TypedDictType) and given.fallback.type.fullname == fullnames.ANONYMOUS:
        kinds = [ARG_NAMED if name in given.required_keys else ARG_NAMED_OPT for name in given.items]
        fields: list[str | None] = list(given.items)
        return signature.copy_modified(arg_types=list(given.items.values()), arg_kinds=kinds, arg_names=fields)
    return signature.copy_modified(arg_types=[given], arg_kinds=[ARG_POS], arg_names=[None])
