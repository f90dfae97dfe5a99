"""What all features of the plugin share during one run of mypy."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final, cast

from mypy.checker import TypeChecker
from mypy.nodes import ARG_NAMED_OPT, ARG_STAR2, CallExpr, Context, Expression, LambdaExpr, MemberExpr, RefExpr
from mypy.plugin import CheckerPluginInterface, MethodContext, MethodSigContext
from mypy.types import AnyType, CallableType, Instance, NoneType, Type, TypeOfAny, UnionType, get_proper_type

from metta.sweep.contracts.flow import State, whole
from metta_mypy.chains import root
from metta_mypy.pipeline_types import PipelineTypes
from metta_mypy.pipeline_types import as_instance_of as as_instance_of
from metta_mypy.pipeline_types import is_constructor as is_constructor
from metta_mypy.point import UNKNOWN, Point
from metta_mypy.reporting import Reporter
from metta_mypy.type_expressions import NotAType, Unknown, read_type

_WATCHED: Final = 64
"""How many lambdas are remembered: one is checked right after its types are given."""


class Session(PipelineTypes):
    """State of the plugin; all of it only speeds things up or belongs to the expression that is being checked.

    Args:
        strict: see `Reporter`.

    Attributes:
        arms: the root call of a chain that stands inside another call -> the context it runs on.
        watched: lambdas that are being checked, and the context each of them sees.
        foreseen: what a signature hook has found that the method hook of the same call needs.
    """

    def __init__(self, strict: bool) -> None:
        super().__init__()
        self.reporter = Reporter(strict)
        self.arms: dict[Expression, Point] = {}
        self.watched: deque[tuple[LambdaExpr, State[Type]]] = deque(maxlen=_WATCHED)
        self.foreseen: object = None
        self._loose: dict[str, CallableType] = {}
        self._written: dict[Expression, Type | NotAType | Unknown] = {}

    def begin(self, api: CheckerPluginInterface) -> TypeChecker:
        """The checker of the file a hook was called for."""
        checker = cast(TypeChecker, api)
        if self.turn_to(checker):
            # Nothing remembered concerns another file.
            self._loose.clear()
            self._written.clear()
            self.arms.clear()
            self.watched.clear()
            self.foreseen = None
        return checker

    # -- arms and lambdas --------------------------------------------------------------------------------------------

    def place_arm(self, expression: Expression, point: Point) -> None:
        """A chain that stands as an argument and begins with `Pipeline()` runs on the context at this point."""
        if point.state.open and not point.is_arm:
            return  # what the pipeline around is given, its arms have to ask for first
        begin = root(expression)
        if is_constructor(begin) and isinstance(begin, CallExpr) and not begin.args:
            self.stand(begin, point.as_arm())

    def stand(self, begin: Expression, arm: Point) -> None:
        """The chain that begins here will be checked as an arm."""
        self.arms[begin] = arm
        # mypy checks the items of a list twice, and takes what it has found for their parts from a cache: an arm
        # would stand on the context of the first time.
        getattr(self.api.expr_checker, "expr_cache", {}).clear()

    def drop_arm(self, expression: Expression) -> None:
        """The chain has been checked."""
        self.arms.pop(root(expression), None)

    def watch(self, expression: LambdaExpr, state: State[Type]) -> None:
        """While mypy checks the lambda, what it reads of its context can be explained."""
        self.watched.append((expression, state))

    def state_around(self, place: Context) -> State[Type] | None:
        """The context that the lambda around an expression sees."""
        for expression, state in reversed(self.watched):
            # Older versions of mypy do not say where a lambda ends.
            end = expression.end_line or expression.expr().end_line or expression.line
            if expression.line <= place.line <= end:
                return state
        return None

    # -- expressions -------------------------------------------------------------------------------------------------

    def expression_type(self, expression: Expression, context: Type | None = None) -> Type:
        """The type mypy has found for an argument, or finds for it where a certain type is wanted."""
        if context is None and self.is_checked(expression):
            return self.api.lookup_type(expression)
        with self.api.msg.filter_errors() as errors:
            found = self.api.get_expression_type(expression, context)
            if context is not None and errors.has_new_errors():
                # Where a list[str] is wanted, `[3]` is one, and an error: what is it alone?
                found = self.api.get_expression_type(expression)
        return found

    def method_type(self, owner: Instance, name: str) -> Type:
        """The type of a bound method."""
        with self.api.msg.filter_errors():
            found: Type = self.api.expr_checker.analyze_external_member_access(name, owner, Context())
        return found

    def written_type(self, expression: Expression) -> Type | NotAType | Unknown:
        """The type that an argument denotes, if it is one. It is asked for while sorting, and again for its value."""
        known = self._written.get(expression)
        if known is None:
            known = read_type(expression, self.api)
            if isinstance(known, Type) or self.is_checked(expression):
                # A call may give a class: what it gives is not known before it is checked.
                self._written[expression] = known
        return known

    def is_checked(self, expression: Expression) -> bool:
        return self.api.has_type(expression)

    def is_surely_no(self, expression: Expression, fullname: str, *, or_none: bool = False) -> bool:
        """Whether the value of an argument cannot be an instance of the class."""
        wanted: Type = self.api.named_generic_type(fullname, [])
        if or_none:
            wanted = UnionType([wanted, NoneType()])
        return self.oracle.is_assignable(self.expression_type(expression), wanted) is False

    def is_no_collection(self, expression: Expression) -> bool:
        """Whether the value of an argument cannot hold the arms of a parallel step."""
        any_type = AnyType(TypeOfAny.special_form)
        sequence = self.api.named_generic_type("typing.Sequence", [any_type])
        mapping = self.api.named_generic_type("typing.Mapping", [any_type, any_type])
        text = [self.api.named_generic_type(f"builtins.{name}", []) for name in ("str", "bytes")]
        tp = self.expression_type(expression)
        if self.oracle.is_assignable(tp, UnionType([sequence, mapping])) is False:
            return True
        return not self.oracle.is_any(tp) and self.oracle.is_assignable(tp, UnionType(text)) is True

    def whole_of(self, point: Point) -> Type | None:
        return whole(point.state, self.oracle)

    def loose(self, ctx: MethodSigContext) -> CallableType:
        """The signature of a builder method with `object` for every parameter: our sentences say what does not fit.

        Any would spoil the types of arguments that are calls of generic functions. The signature does not depend on the
        pipeline the method is called on, so it is made once per file.
        """
        signature = ctx.default_signature
        name = signature.name or ""
        known = self._loose.get(name)
        if known is None:
            anything = self.api.named_generic_type("builtins.object", [])
            known = signature.copy_modified(arg_types=[anything] * len(signature.arg_types))
            self._loose[name] = known
        return known

    # -- pipelines -------------------------------------------------------------------------------------------------

    def receiver(self, ctx: MethodContext | MethodSigContext) -> Point:
        """The pipeline that a builder method is called on.

        Where several statements may have given a variable its value, as behind `if` and `for`, definition time decides.
        """
        callee = ctx.context.callee if isinstance(ctx.context, CallExpr) else None
        if isinstance(callee, MemberExpr) and isinstance(callee.expr, RefExpr) and self.is_checked(callee.expr):
            if isinstance(get_proper_type(self.api.lookup_type(callee.expr)), UnionType):
                return UNKNOWN
        return self.point_of(ctx.type)

    def settled(self, ctx: MethodContext | MethodSigContext) -> Point:
        """The same with its last stage applied; a `.through` can no longer follow."""
        point = self.receiver(ctx)
        return point.at(point.state)

    def is_lost(self, point: Point) -> bool:
        """Whether the pipeline came from elsewhere as a bare `Pipeline`, so that nothing is known of its loops."""
        return point.inputs is None and point.state.unknown

    # -- signatures --------------------------------------------------------------------------------------------------

    def with_argument(self, signature: CallableType, index: int, tp: Type) -> CallableType:
        """The signature of a builder method with another type for one parameter."""
        types = list(signature.arg_types)
        types[index] = tp
        return signature.copy_modified(arg_types=types)

    def with_keywords(self, signature: CallableType, types: Mapping[str, Type]) -> CallableType:
        """The signature of a builder method with keyword parameters of their own for some that `**` would take."""
        at = signature.arg_kinds.index(ARG_STAR2)
        return signature.copy_modified(
            arg_types=[*signature.arg_types[:at], *types.values(), *signature.arg_types[at:]],
            arg_kinds=[*signature.arg_kinds[:at], *[ARG_NAMED_OPT] * len(types), *signature.arg_kinds[at:]],
            arg_names=[*signature.arg_names[:at], *types, *signature.arg_names[at:]],
        )
