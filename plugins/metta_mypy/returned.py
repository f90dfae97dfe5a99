"""The pipeline that a function returns: its loops are closed, and that of an experiment is known outside.

`def pipeline(self) -> Pipeline` says nothing of what the pipeline takes and gives. So the pipeline that such a method
returns is kept in its class, as the type of an attribute that no program can name: mypy's cache and daemon treat it
like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from mypy.nodes import (
    MDEF,
    AssignmentStmt,
    CallExpr,
    ClassDef,
    Expression,
    FuncDef,
    NameExpr,
    Node,
    OverloadedFuncDef,
    ReturnStmt,
    Statement,
    SymbolTableNode,
    TypeInfo,
    Var,
)
from mypy.plugin import FunctionContext, MethodContext
from mypy.types import AnyType, CallableType, Instance, Type, get_proper_type
from mypy.typevars import fill_typevars

from metta.sweep.contracts.flow import experiment_output
from metta_mypy import fullnames
from metta_mypy.calls import Call
from metta_mypy.point import Point
from metta_mypy.session import Session, as_instance_of
from metta_mypy.settle import check_closed, report

_HIDDEN: Final = "__metta_pipeline"
"""mypy leaves names of this form out when it compares a class with its bases."""


def returned(session: Session, ctx: FunctionContext | MethodContext, found: Type) -> Type:
    """The type of a builder call; if its function returns it, that of a pipeline without open loops.

    Args:
        found: the type of the call anywhere else.
    """
    call = ctx.context
    function = session.api.scope.stack[-1]
    if not isinstance(call, CallExpr) or not isinstance(function, FuncDef):
        return found
    if session.chains.follower(call) is not None or not _gives_pipeline(function):
        return found
    returns = _returns(function)
    if call not in returns.calls:
        return found
    point = session.point_of(found)
    is_open = bool(point.loops)
    if is_open:
        point = check_closed(session, point, Call.of(call))
        found = session.type_of(point, call)
    if function.name == "pipeline" and function.info and function.info.has_base(fullnames.EXPERIMENT):
        if not is_open:  # else it does not end there
            _check_result(session, function.info, point, Call.of(call))
        if returns.is_only_one:
            _remember(function.info, found)
    return found


def pipeline_of(session: Session, experiment: Instance) -> Point | None:
    """The pipeline of an experiment; None where its class does not say."""
    session.oracle.reads.attribute(experiment, _HIDDEN)
    info = experiment.type
    owner = next((base for base in info.mro if _HIDDEN in base.names or "pipeline" in base.names), None)
    symbol = None if owner is None else owner.names.get(_HIDDEN)
    if owner is None or symbol is None or owner.type_vars or not isinstance(symbol.node, Var):
        return None
    point = None if symbol.node.type is None else session.point_of(symbol.node.type)
    return None if point is None or point.inputs is None else point


def has_own_run(info: TypeInfo) -> bool:
    """Whether the class of an experiment writes `run` itself, so that its pipeline does not say what that gives."""
    run = info.get("run")
    return run is not None and run.node is not None and run.node.fullname != f"{fullnames.EXPERIMENT}.run"


def _check_result(session: Session, info: TypeInfo, point: Point, call: Call) -> None:
    """`stage-output` where the pipeline ends with something else than the class declares."""
    if has_own_run(info):
        return
    instance = fill_typevars(info)
    declared = as_instance_of(instance, fullnames.EXPERIMENT).args if isinstance(instance, Instance) else ()
    if not declared or session.oracle.is_generic(declared[0]):
        return
    problem = experiment_output(info.name, declared[0], point.state, session.oracle)[1]
    if problem is not None:
        report(session, [problem.on(0 if call.positional and _is_through(call) else None)], call)


def _is_through(call: Call) -> bool:
    return getattr(call.expression.callee, "name", "") == "through"


def _remember(info: TypeInfo, tp: Type) -> None:
    variable = Var(_HIDDEN, tp)
    variable.info, variable._fullname = info, f"{info.fullname}.{_HIDDEN}"
    info.names[_HIDDEN] = SymbolTableNode(MDEF, variable, plugin_generated=True)


# -- what a function returns ------------------------------------------------------------------------------------------


class _Returns(NamedTuple):
    """The calls whose values a function returns, and whether they are all that it returns."""

    calls: frozenset[Expression]
    is_only_one: bool


_last: list[tuple[Node, _Returns]] = []


def _returns(function: FuncDef) -> _Returns:
    """The plugin asks for each call of a function, one after the other."""
    if not _last or _last[0][0] is not function.body:  # the daemon gives a function another body
        _last[:] = [(function.body, _read(function))]
    return _last[0][1]


def _read(function: FuncDef) -> _Returns:
    found = [it.expr for it in _statements(function.body) if isinstance(it, ReturnStmt)]
    calls = frozenset(it for it in found if isinstance(it, CallExpr))
    if len(found) == 1 and isinstance(found[0], NameExpr):
        last = _last_value(function, found[0].name)
        calls = frozenset() if last is None else frozenset((last,))
    return _Returns(calls, len(found) == 1)


def _last_value(function: FuncDef, name: str) -> CallExpr | None:
    """What a variable was given last, where that does not depend on the way to the end of the function."""
    values = [it for it in _statements(function.body) if isinstance(it, AssignmentStmt) and _gives(it, name)]
    is_straight = all(it in function.body.body for it in values)
    last = values[-1].rvalue if values and is_straight else None
    return last if isinstance(last, CallExpr) else None


def _gives(statement: AssignmentStmt, name: str) -> bool:
    return any(isinstance(it, NameExpr) and it.name == name for it in statement.lvalues)


_BLOCKS = ("body", "else_body", "finally_body", "handlers", "bodies")


def _statements(node: Node) -> Iterator[Statement]:
    """All statements below a node, but for those of the functions and classes that are defined there."""
    for name in _BLOCKS:
        below = getattr(node, name, None)
        for item in below if isinstance(below, list) else [below]:
            if isinstance(item, Node) and not isinstance(item, (FuncDef, OverloadedFuncDef, ClassDef)):
                if isinstance(item, Statement):
                    yield item
                yield from _statements(item)


def _gives_pipeline(function: FuncDef) -> bool:
    """Whether it is declared to return a pipeline that is whole: `Pipeline`, and not one that stands in a loop."""
    if not isinstance(function.type, CallableType):
        return False
    result = get_proper_type(function.type.ret_type)
    if not isinstance(result, Instance) or not result.type.has_base(fullnames.PIPELINE):
        return False
    scope = get_proper_type(as_instance_of(result, fullnames.PIPELINE).args[-1])
    return isinstance(scope, AnyType) or (isinstance(scope, Instance) and scope.type.fullname == fullnames.TOP)
