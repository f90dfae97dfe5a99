"""The types of pipelines: what the plugin knows about one, read from its mypy type and written into it."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from mypy.checker import TypeChecker
from mypy.maptype import map_instance_to_supertype
from mypy.nodes import CallExpr, Expression, RefExpr, TypeInfo
from mypy.types import AnyType, Instance, Type, TypedDictType, TypeOfAny, UnionType, get_proper_type

from metta.sweep.contracts.flow import Field, Keyword, Loop, PersistentMap, Positional, Setting, State, replaced, whole
from metta.sweep.contracts.signature import Kind, Parameter, Signature
from metta_mypy import fullnames
from metta_mypy.chains import Chains, root
from metta_mypy.facts import Facts
from metta_mypy.oracle import MypyOracle
from metta_mypy.point import UNKNOWN, Contract, Inputs, OpenLoop, Pending, Place, Point
from metta_mypy.variables import Value
from metta_mypy.wording import Argument

KEPT = (
    *(Point, Inputs, OpenLoop, Pending, Place),
    *(State, Loop, Field, Keyword, Positional, Setting, Argument),
    *(Signature, Parameter, Kind),
)


class PipelineTypes:
    """Types of pipelines and graphs -> points, and back. All it keeps concerns one file."""

    def __init__(self) -> None:
        self.chains = Chains()
        self._facts = Facts(KEPT)
        self._classes: dict[str, TypeInfo] = {}
        self._oracle: MypyOracle | None = None
        self._api: TypeChecker | None = None

    def turn_to(self, checker: TypeChecker) -> bool:
        """From here on the types of this file are asked for; whether it is another one than before."""
        if checker is self._api:
            return False
        self.chains.begin(checker.path)
        self._api, self._oracle = checker, MypyOracle(checker)
        self._facts.clear()
        self._classes.clear()
        return True

    @property
    def api(self) -> TypeChecker:
        assert self._api is not None
        return self._api

    @property
    def oracle(self) -> MypyOracle:
        assert self._oracle is not None
        return self._oracle

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
