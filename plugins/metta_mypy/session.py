"""What all features of the plugin share during one run of mypy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, cast

from mypy.checker import TypeChecker
from mypy.maptype import map_instance_to_supertype
from mypy.nodes import (
    ARG_NAMED_OPT,
    ARG_STAR2,
    CallExpr,
    Context,
    Expression,
    LambdaExpr,
    MemberExpr,
    RefExpr,
    TypeInfo,
)
from mypy.plugin import CheckerPluginInterface, MethodContext, MethodSigContext
from mypy.types import (
    AnyType,
    CallableType,
    Instance,
    NoneType,
    Type,
    TypedDictType,
    TypeOfAny,
    UnionType,
    get_proper_type,
)

from metta.sweep.contracts.flow import Field, Keyword, Loop, PersistentMap, Positional, Setting, State, replaced, whole
from metta.sweep.contracts.signature import Kind, Parameter, Signature
from metta_mypy import fullnames
from metta_mypy.chains import Chains, root
from metta_mypy.facts import Facts
from metta_mypy.oracle import MypyOracle
from metta_mypy.point import UNKNOWN, Contract, Inputs, OpenLoop, Pending, Place, Point
from metta_mypy.reporting import Reporter
from metta_mypy.type_expressions import NotAType, Unknown, read_type
from metta_mypy.variables import Value
from metta_mypy.wording import Argument

_KEPT = (
    *(Point, Inputs, OpenLoop, Pending, Place),
    *(State, Loop, Field, Keyword, Positional, Setting, Argument),
    *(Signature, Parameter, Kind),
)

_WATCHED: Final = 64
"""How many lambdas are remembered: one is checked right after its types are given."""


class Session:
    """State of the plugin; all of it only speeds things up or belongs to the expression that is being checked.

    Args:
        strict: see `Reporter`.

    Attributes:
        arms: the root call of a chain that stands inside another call -> the context it runs on.
        watched: lambdas that are being checked, and the context each of them sees.
    """

    def __init__(self, strict: bool) -> None:
        self.reporter = Reporter(strict)
        self.chains = Chains()
        self.arms: dict[Expression, Point] = {}
        self.watched: list[tuple[LambdaExpr, State[Type]]] = []
        self._loose: dict[str, CallableType] = {}
        self._classes: dict[str, TypeInfo] = {}
        self._written: dict[Expression, Type | NotAType | Unknown] = {}
        self._facts = Facts(_KEPT)
        self._oracle: MypyOracle | None = None
        self._api: TypeChecker | None = None

    def begin(self, api: CheckerPluginInterface) -> TypeChecker:
        """The checker of the file a hook was called for."""
        checker = cast(TypeChecker, api)
        if checker is not self._api:
            # Another file: nothing remembered here concerns it.
            self.chains.begin(checker.path)
            self._api, self._oracle = checker, MypyOracle(checker)
            self._facts.clear()
            self._loose.clear()
            self._classes.clear()
            self._written.clear()
            self.arms.clear()
            self.watched.clear()
        return checker

    @property
    def api(self) -> TypeChecker:
        assert self._api is not None
        return self._api

    @property
    def oracle(self) -> MypyOracle:
        assert self._oracle is not None
        return self._oracle

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
        self.watched = [*self.watched[-_WATCHED:], (expression, state)]

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
            known = self._written[expression] = read_type(expression, self.api)
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

    # -- from types to points ----------------------------------------------------------------------------------------

    def point_of(self, tp: Type) -> Point:
        """What the type of a pipeline says."""
        found = get_proper_type(tp)
        if not isinstance(found, Instance) or not found.type.has_base(fullnames.PIPELINE):
            return UNKNOWN
        scope = _scope(found)
        if scope is not None and scope.args:
            holder = get_proper_type(scope.args[-1])
            if isinstance(holder, UnionType):
                # The first value of a variable that has several.
                holder = get_proper_type(holder.items[0])
            held = self._facts.read(holder)
            if isinstance(held, Point):
                return held
        return self._written_out(found)

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

    def _written_out(self, tp: Instance) -> Point:
        """`Pipeline[Batch, Score]` in an annotation: the types of its ends."""
        base = as_instance_of(tp, fullnames.PIPELINE)
        given, result = (get_proper_type(arg) for arg in base.args[:2])
        if isinstance(given, AnyType):
            return UNKNOWN
        point = Point.beginning(Inputs(Positional(given)), self.oracle)
        if isinstance(result, AnyType):
            return point.at(State(unknown=True, replacements=1))
        return point.at(replaced("", result, point.state, self.oracle))

    def graph_point(self, tp: Instance) -> Point:
        """A compiled graph as a closed pipeline: its type says what goes in and what comes out."""
        base = as_instance_of(tp, fullnames.GRAPH)
        if len(base.args) < 2 or isinstance(get_proper_type(base.args[0]), AnyType):
            return UNKNOWN
        given, result = (get_proper_type(arg) for arg in base.args[:2])
        point = Point.beginning(Inputs(_contract(given)), self.oracle)
        if isinstance(result, AnyType):
            return point.at(State(unknown=True, replacements=1))
        if not self.oracle.is_context(result):
            return point.at(replaced("", result, point.state, self.oracle))
        return point.at(_seen_as(result, point.state))

    def class_of(self, fullname: str) -> TypeInfo:
        known = self._classes.get(fullname)
        if known is None:
            known = self._classes[fullname] = fullnames.class_of(self.api, fullname)
        return known

    # -- from points to types ----------------------------------------------------------------------------------------

    def type_of(self, point: Point, call: CallExpr) -> Type:
        """The type of the pipeline that a builder call gives."""
        any_type = AnyType(TypeOfAny.special_form)
        api = self.api
        if point.is_part and is_constructor(root(call)):
            point = replace(point, part=Place(api.tree.fullname, call.end_line or 0, call.end_column or 0))
        if self.chains.follower(call) is not None:
            # Only the next call of the chain reads it, and at once.
            holder = self._facts.hold(point, api.named_generic_type)
            given = result = cast(Type, any_type)
        elif (variable := self.chains.variable(call)) is not None:
            # A name whose first value begins with `Pipeline(...)` has been declared as any pipeline.
            is_first = variable is Value.FIRST and not is_constructor(root(call))
            return self._value_of_variable(point, is_first=is_first)
        else:
            holder = self._facts.write(point, api.named_generic_type)
            given, result = self.input_type(point), self.result_type(point)
        if point.loops:
            scope = Instance(self.class_of(fullnames.LOOP), [any_type, any_type, holder])
        else:
            scope = Instance(self.class_of(fullnames.TOP), [holder])
        if point.pending is not None:
            return Instance(self.class_of(fullnames.STAGED), [given, result, scope, any_type])
        return Instance(self.class_of(fullnames.PIPELINE), [given, result, scope])

    def _value_of_variable(self, point: Point, *, is_first: bool) -> Type:
        """A type that a variable of several pipelines can have: that of its first value is above the others."""
        any_type = AnyType(TypeOfAny.special_form)
        held: Type = self._facts.write(point, self.api.named_generic_type, is_distinct=True)
        if is_first:
            held = UnionType([held, self.api.named_generic_type("builtins.object", [])])
        scope = Instance(self.class_of(fullnames.TOP), [held])
        return Instance(self.class_of(fullnames.PIPELINE), [any_type, any_type, scope])

    def result_type(self, point: Point) -> Type:
        """What running the pipeline gives; Any where it is not known."""
        found = whole(point.state, self.oracle)
        return AnyType(TypeOfAny.special_form) if found is None else found

    def input_type(self, point: Point) -> Type:
        """The value it takes, or an anonymous TypedDict of its fields; Any where they are not known."""
        inputs = point.inputs
        if inputs is None:
            return AnyType(TypeOfAny.special_form)
        if isinstance(inputs.contract, Positional):
            given: Type = inputs.contract.type
            return given
        any_type = AnyType(TypeOfAny.unannotated)
        required = inputs.contract.fields
        items = {name: tp or any_type for name, tp in {**inputs.optional, **required}.items()}
        return TypedDictType(items, set(required), set(), Instance(self.class_of(fullnames.ANONYMOUS), []))


def as_instance_of(tp: Instance, fullname: str) -> Instance:
    """The instance seen as one of its base class."""
    if tp.type.fullname == fullname:
        return tp
    return map_instance_to_supertype(tp, next(info for info in tp.type.mro if info.fullname == fullname))


def is_constructor(expression: Expression) -> bool:
    """Whether it is `Pipeline(...)`."""
    if not isinstance(expression, CallExpr) or not isinstance(expression.callee, RefExpr):
        return False
    return expression.callee.fullname == fullnames.PIPELINE


def _scope(tp: Instance) -> Instance | None:
    # What the plugin itself makes has the scope in the same place.
    base = tp if tp.type.fullname == fullnames.STAGED else as_instance_of(tp, fullnames.PIPELINE)
    scope = get_proper_type(base.args[2]) if len(base.args) > 2 else None
    return scope if isinstance(scope, Instance) else None


def _contract(given: Type) -> Contract:
    found = get_proper_type(given)
    if isinstance(found, TypedDictType) and found.fallback.type.fullname == fullnames.ANONYMOUS:
        return Keyword(dict(found.items))
    return Positional(given)


def _seen_as(view: Type, start: State[Type]) -> State[Type]:
    """The final context of a graph, as far as the type of its result says: `Context[fields, value]`."""
    found = get_proper_type(view)
    fields = get_proper_type(found.args[0]) if isinstance(found, Instance) and found.args else None
    if not isinstance(fields, TypedDictType):
        return State(unknown=True, replacements=1)
    # An input that was set again inside is not told from one that was not.
    known = {n: start.fields.get(n) or Field(tp, n in fields.required_keys) for n, tp in fields.items.items()}
    return State(PersistentMap.of(known))
