"""`.compile()`, and the arguments of `graph.run(...)`."""

from __future__ import annotations

from typing import NamedTuple

from mypy.errorcodes import ATTR_DEFINED
from mypy.nodes import ARG_NAMED, ARG_NAMED_OPT, ARG_OPT, ARG_POS, ArgKind, CallExpr
from mypy.plugin import AttributeContext, MethodContext, MethodSigContext
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
from metta_mypy.returned import has_own_run, pipeline_of
from metta_mypy.session import Session, as_instance_of
from metta_mypy.settle import check_closed


def compile_method(session: Session, ctx: MethodContext) -> Type:
    assert isinstance(ctx.context, CallExpr)
    point = check_closed(session, session.settled(ctx), Call.of(ctx.context))
    graph = session.class_of(fullnames.GRAPH)
    return Instance(graph, [session.input_type(point), session.result_type(point)])


OF_GRAPHS = ("run", "arun")
"""What a pipeline can do when it is compiled; `surface` lets it have them, so that they can be told apart."""


def uncompiled(session: Session, ctx: AttributeContext) -> Type:
    """`pipeline.run(...)` without `.compile()`."""
    name = getattr(ctx.context, "name", OF_GRAPHS[0])
    message = f"a pipeline does not run before it is compiled: write .compile().{name}(...)"
    session.api.fail(message, ctx.context, code=ATTR_DEFINED)
    return AnyType(TypeOfAny.from_error)


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


def experiment_run_signature(session: Session, ctx: MethodSigContext) -> FunctionLike:
    """`experiment.run(x=..., y=...)`, as its pipeline declares it, and what `run` itself takes.

    A run that is resumed knows its inputs.
    """
    signature = ctx.default_signature
    if not isinstance(ctx.type, Instance) or not isinstance(ctx.context, CallExpr) or has_own_run(ctx.type.type):
        return signature
    point = pipeline_of(session, ctx.type)
    if point is None or point.inputs is None:
        return signature
    given = _parameters(session.input_type(point), is_resumed="resume" in ctx.context.arg_names)
    own = _options_of_run(session)
    names = {it.name for it in own}
    return _with(signature, [*(it for it in given if it.name not in names), *own])


def _options_of_run(session: Session) -> list[_Parameter]:
    """What every run takes beside the inputs: for type checkers without a plugin these go by any name."""
    symbol = session.class_of(fullnames.EXPERIMENT).get("_main")
    main = None if symbol is None else get_proper_type(symbol.type)
    if not isinstance(main, CallableType):
        return []
    listed = zip(main.arg_types, main.arg_kinds, main.arg_names, strict=True)
    return [_Parameter(tp, ARG_NAMED_OPT, name) for tp, kind, name in listed if kind is ARG_OPT]


def _typed(ctx: MethodSigContext) -> CallableType | None:
    """The signature of `run`; None where the inputs and the result are not known."""
    if not isinstance(ctx.type, Instance):
        return None
    given, result = as_instance_of(ctx.type, fullnames.GRAPH).args[:2]
    signature = ctx.default_signature.copy_modified(ret_type=result)
    return signature if isinstance(get_proper_type(given), AnyType) else _with(signature, _parameters(given))


class _Parameter(NamedTuple):
    type: Type
    kind: ArgKind
    name: str | None


def _parameters(given: Type, *, is_resumed: bool = False) -> list[_Parameter]:
    """The value that a pipeline takes, by position, or its fields, by keyword."""
    given = get_proper_type(given)
    if not isinstance(given, TypedDictType) or given.fallback.type.fullname != fullnames.ANONYMOUS:
        return [_Parameter(given, ARG_OPT if is_resumed else ARG_POS, None)]
    required = frozenset[str]() if is_resumed else given.required_keys
    return [_Parameter(tp, ARG_NAMED if n in required else ARG_NAMED_OPT, n) for n, tp in given.items.items()]


def _with(signature: CallableType, parameters: list[_Parameter]) -> CallableType:
    return signature.copy_modified(
        arg_types=[it.type for it in parameters],
        arg_kinds=[it.kind for it in parameters],
        arg_names=[it.name for it in parameters],
    )
