"""What stands for a stage: a callable, a pipeline, a compiled graph, an experiment, or nothing of the kind."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mypy.checker import TypeChecker
from mypy.nodes import CallExpr, Expression, LambdaExpr, MemberExpr, NameExpr, RefExpr, Var
from mypy.types import AnyType, CallableType, Instance, ProperType, Type, TypeOfAny, UnionType, get_proper_type

from metta.sweep.contracts.flow import Keyword, Problem, not_a_stage
from metta.sweep.contracts.signature import Kind, Parameter, Signature
from metta_mypy import fullnames
from metta_mypy.point import UNKNOWN, Point
from metta_mypy.returned import has_own_run, pipeline_of
from metta_mypy.session import Session, as_instance_of
from metta_mypy.signatures import awaited, is_callable, signature_of
from metta_mypy.wording import argument_of


@dataclass(frozen=True, slots=True)
class Target:
    """A stage's callable or pipeline.

    Attributes:
        signature: None where it is not known.
        nested: the pipeline that stands as the stage.
        takes_any: what it takes is known only where its pipeline is built.
        is_anonymous: the names of its parameters are not known.
    """

    signature: Signature[Type] | None = None
    nested: Point | None = None
    takes_any: bool = False
    is_anonymous: bool = False
    problem: Problem | None = None


def read_target(session: Session, stage: str, expression: Expression, tp: Type, position: int) -> Target:
    """What an argument stands for.

    Args:
        position: of the argument in the builder call.
    """
    found = get_proper_type(tp)
    if isinstance(found, Instance):
        if found.type.has_base(fullnames.PIPELINE):
            return Target(nested=session.point_of(found))
        if found.type.has_base(fullnames.GRAPH):
            return Target(nested=session.graph_point(found))
        if found.type.has_base(fullnames.EXPERIMENT):
            return _experiment(session, found)
    if isinstance(found, UnionType) and any(_is_composite(item) for item in found.items):
        # Which one it is, is known when it runs.
        return Target(nested=UNKNOWN)
    if isinstance(found, AnyType) and (_is_error(found) or _is_told_import(found, session.api)):
        return Target(any_signature(stage), takes_any=True)
    if is_callable(found) is False:
        shown = argument_of(expression, session.api, found).text
        problem = not_a_stage(stage, shown, position, called=_called(expression))
        return Target(any_signature(stage), problem=problem)
    signature = callable_signature(session, expression, found)
    return Target(signature, is_anonymous=_is_anonymous(expression, found))


def _is_composite(tp: Type) -> bool:
    found = get_proper_type(tp)
    bases = (fullnames.PIPELINE, fullnames.GRAPH, fullnames.EXPERIMENT)
    return isinstance(found, Instance) and any(found.type.has_base(base) for base in bases)


def _is_anonymous(expression: Expression, tp: ProperType) -> bool:
    """Whether a variable holds a function: `Callable[[float], float]` says no names of parameters."""
    if not isinstance(tp, CallableType) or tp.is_type_obj():
        return False
    if tp.definition is not None and not (isinstance(expression, RefExpr) and isinstance(expression.node, Var)):
        return False
    return any(kind.is_positional() and name is None for kind, name in zip(tp.arg_kinds, tp.arg_names, strict=True))


def callable_signature(session: Session, expression: Expression, tp: Type) -> Signature[Type] | None:
    """The signature of an argument; what a lambda returns is known here, unlike when it is defined."""
    session.oracle.reads.call(tp)
    signature = signature_of(tp, session.api, expression)
    found = get_proper_type(tp)
    if signature is None or not isinstance(expression, LambdaExpr) or not isinstance(found, CallableType):
        return signature
    result, is_async = awaited(found.ret_type)
    proper = get_proper_type(result)
    # What has an error inside has been told already.
    is_known = not isinstance(proper, AnyType) or _is_error(proper)
    return replace(signature, returns=result if is_known else None, is_async=is_async)


def _is_error(tp: AnyType) -> bool:
    return (tp if tp.source_any is None else tp.source_any).type_of_any == TypeOfAny.from_error


def _is_told_import(tp: AnyType, checker: TypeChecker) -> bool:
    """Whether a name comes from a module that was not found, and mypy has said so."""
    source = tp if tp.source_any is None else tp.source_any
    if source.type_of_any != TypeOfAny.from_unimported_type:
        return False
    known = checker.errors.error_info_map.get(checker.errors.file, [])
    return any(it.code is not None and it.code.code in _IMPORTS for it in known)


_IMPORTS = ("import-not-found", "import-untyped", "import")


def any_signature(stage: str) -> Signature[Type]:
    """In place of a stage that could not be read: what stands behind it is not blamed for it."""
    return Signature(stage, (), AnyType(TypeOfAny.from_error), False)


def _called(expression: Expression) -> str:
    """`self.train` of `self.train()`."""
    if not isinstance(expression, CallExpr):
        return ""
    parts: list[str] = []
    callee: Expression = expression.callee
    while isinstance(callee, MemberExpr):
        parts.append(callee.name)
        callee = callee.expr
    return ".".join([callee.name, *reversed(parts)]) if isinstance(callee, NameExpr) else ""


def _experiment(session: Session, experiment: Instance) -> Target:
    """An experiment stands for its `run`; unless the class writes that, its pipeline says what it takes."""
    base = as_instance_of(experiment, fullnames.EXPERIMENT)
    result = base.args[0] if base.args else AnyType(TypeOfAny.special_form)
    name = f"{experiment.type.name}.run"
    if has_own_run(experiment.type):
        own = signature_of(session.method_type(experiment, "run"), session.api)
        if own is not None:
            return Target(replace(own, name=name, is_async=True))
    point = pipeline_of(session, experiment)
    if point is not None and session.oracle.is_any(result):
        result = session.result_type(point)
    returns = awaited(result)[0]
    if point is None or point.inputs is None or not isinstance(point.inputs.contract, Keyword):
        return Target(Signature(name, (), returns, True), takes_any=True)
    taken = point.inputs.contract.fields.items()
    parameters = tuple(Parameter(field, Kind.KEYWORD_ONLY, tp, True) for field, tp in taken)
    return Target(Signature(name, parameters, returns, True))
