"""The type oracle over mypy's types: the twin of contracts/runtime_oracle.py.

The relation itself is mypy's own. Where the two could see a type differently, this one says what run time says: a
union keeps its members (`Dog | Animal` is not `Animal`), and a type variable of a parameter stands for the union of
what is passed there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mypy.checker import TypeChecker
from mypy.checkexpr import has_any_type
from mypy.constraints import SUPERTYPE_OF, infer_constraints
from mypy.erasetype import erase_typevars, remove_instance_last_known_values
from mypy.expandtype import expand_type
from mypy.maptype import map_instance_to_supertype
from mypy.nodes import TypeInfo
from mypy.subtypes import find_member, is_subtype
from mypy.typeops import get_all_type_vars
from mypy.types import (
    AnyType,
    CallableType,
    Instance,
    LiteralType,
    NoneType,
    Overloaded,
    ProperType,
    TupleType,
    Type,
    TypeAliasType,
    TypedDictType,
    TypeOfAny,
    TypeType,
    TypeVarId,
    TypeVarType,
    UninhabitedType,
    UnionType,
    UnpackType,
    flatten_nested_unions,
    get_proper_type,
    remove_dups,
)

from metta.sweep.contracts.flow import State, TypeOracle
from metta_mypy import records
from metta_mypy.deps import Reads
from metta_mypy.fullnames import ANONYMOUS, CONTEXT, class_of
from metta_mypy.wording import TUPLE, describe
from metta_mypy.wording import Argument as Argument
from metta_mypy.wording import argument_of as argument_of

_FUNCTIONS = ("builtins.function", "types.FunctionType", "types.MethodType", "types.BuiltinFunctionType")


class MypyOracle(TypeOracle[Type]):
    """Answers from the types of the program that is being checked.

    Args:
        checker: of the file that the pipeline stands in: `ctx.api` in the hooks of a plugin.
        context: the full name of the class of the Context view.

    Attributes:
        reads: notes what an answer depends on.
    """

    def __init__(self, checker: TypeChecker, context: str = CONTEXT) -> None:
        self._checker = checker
        self._context = context
        self.reads = Reads(checker)

    def is_assignable(self, source: Type, target: Type, /) -> bool | None:
        # For the language `Context` is one type, whatever the plugin knows of the fields of a view.
        source = _blurred(source, self._context)
        variables = _variables(target)
        if not variables:
            return is_subtype(source, target)
        solution = _solve([(target, source)])
        if not all(_within_bound(solution[it.id], it) for it in variables if it.id in solution):
            return False
        return is_subtype(source, _substitute(target, solution))

    def join(self, types: Sequence[Type], /) -> Type:
        """The union of the types: duplicates dropped, order kept, Any if one of them is."""
        return _union(types)

    def describe(self, tp: Type, /) -> str:
        return describe(tp)

    def fields_of(self, tp: Type, /) -> Mapping[str, tuple[Type, bool]] | None:
        found = records.fields_of(tp)
        self.reads.fields(tp, found)
        return found

    def constructor_of(self, tp: Type, /) -> Mapping[str, tuple[Type | None, bool]] | None:
        found = records.constructor_of(tp)
        self.reads.fields(tp, found)
        return found

    def protocol_of(self, tp: Type, /) -> Mapping[str, Type] | None:
        found = records.protocol_of(tp)
        self.reads.fields(tp, found)
        return found

    def unreplaceable(self, tp: Type, name: str, /) -> str | None:
        return records.unreplaceable(tp, name)

    def element_of(self, tp: Type, /) -> Type | None:
        self.reads.items(tp)
        return _element(get_proper_type(tp))

    def mapping_value(self, tp: Type, /) -> Type | None:
        proper = get_proper_type(tp)
        if isinstance(proper, UnionType):
            values = [self.mapping_value(item) for item in proper.items]
            known = [it for it in values if it is not None]
            return _union(known) if len(known) == len(values) else None
        seen = _as(proper, "typing.Mapping") if isinstance(proper, Instance) else None
        if seen is None:
            return None
        key = get_proper_type(seen.args[0])
        is_text = isinstance(key, Instance) and key.type.fullname == "builtins.str"
        return seen.args[1] if is_text or isinstance(key, AnyType) else None

    def plain_tuple(self, tp: Type, /) -> Sequence[Type] | None:
        proper = get_proper_type(tp)
        if not isinstance(proper, TupleType) or proper.partial_fallback.type.fullname != TUPLE:
            return None
        is_fixed = not any(isinstance(get_proper_type(item), UnpackType) for item in proper.items)
        return proper.items if is_fixed else None

    def is_any(self, tp: Type, /) -> bool:
        return isinstance(get_proper_type(tp), AnyType)

    def is_gradual(self, tp: Type, /) -> bool:
        return has_any_type(tp)

    def is_object(self, tp: Type, /) -> bool:
        return _is_instance(tp, "builtins.object")

    def is_none(self, tp: Type, /) -> bool:
        return isinstance(get_proper_type(tp), NoneType)

    def members_of(self, tp: Type, /) -> Sequence[Type]:
        return flatten_nested_unions([tp])

    def builtin(self, cls: type, /) -> Type:
        return self._checker.named_generic_type(f"builtins.{cls.__name__}", [])

    def is_context(self, tp: Type, /) -> bool:
        return _is_instance(tp, self._context)

    def is_function(self, tp: Type, /) -> bool:
        proper = get_proper_type(tp)
        if isinstance(proper, (CallableType, Overloaded)):
            return not proper.is_type_obj()
        return isinstance(proper, Instance) and proper.type.fullname in _FUNCTIONS

    def is_generic(self, tp: Type, /) -> bool:
        """Whether type variables that a call has to solve stand in the type."""
        return bool(_variables(tp))

    def any_type(self, /) -> Type:
        return _unknown()

    def list_of(self, tp: Type | None, /) -> Type:
        """`list[tp]`; `list[Any]` where the type of the items is not known."""
        return self._checker.named_generic_type("builtins.list", [_unknown() if tp is None else tp])

    def view(self, state: State[Type], /) -> Type:
        """`Context[F, V]`: F an anonymous TypedDict of the fields, V the value or None; what is not known is Any."""
        info = class_of(self._checker, self._context)
        if len(info.defn.type_vars) != 2:
            return Instance(info, [_unknown() for _ in info.defn.type_vars])
        fields = state.fields.as_dict()
        items = {name: _unknown() if it.type is None else it.type for name, it in fields.items()}
        required = {name for name, it in fields.items() if it.definite}
        fallback = Instance(class_of(self._checker, ANONYMOUS), [])
        value: Type = NoneType()
        if state.has_value:
            value = _unknown() if state.value is None else state.value
        return Instance(info, [TypedDictType(items, required, set(), fallback), value])

    def accepts(self, value: object, tp: Type, /) -> bool | None:
        """Whether an `Argument` fits; what is written in place is read with `tp` in mind: `[1]` is a list[float]."""
        if not isinstance(value, Argument):
            return None
        if self.is_assignable(value.type, tp) is not False:
            return True
        if value.expr is None:
            return False
        wanted = erase_typevars(tp)
        types: Any = self._checker.local_type_map
        # A method in the oldest versions, an object in the newest.
        with self._checker.msg.filter_errors() as errors, types() if callable(types) else types:
            found = self._checker.expr_checker.accept(value.expr, wanted)
        return not errors.has_new_errors() and is_subtype(found, wanted)

    def describe_value(self, value: object, /) -> str:
        return value.text if isinstance(value, Argument) else repr(value)

    def resolve(self, returns: Type, arguments: Sequence[tuple[Type, Type]], /) -> Type:
        return _substitute(returns, _solve(arguments)) if _variables(returns) else returns


# -- type variables ---------------------------------------------------------------------------------------------------


def _blurred(tp: Type, context: str) -> Type:
    """The type with no view of a context in it told from another one."""
    if isinstance(tp, TypeAliasType) and tp.is_recursive:  # Json: written by hand, and it has no end
        return tp
    found = get_proper_type(tp)
    if isinstance(found, UnionType):
        items = [_blurred(item, context) for item in found.items]
        return tp if items == found.items else UnionType(items)
    if not isinstance(found, Instance) or not found.args:
        return tp
    if found.type.fullname == context:
        return found.copy_modified(args=[AnyType(TypeOfAny.special_form)] * len(found.args))
    args = [_blurred(arg, context) for arg in found.args]
    return tp if args == list(found.args) else found.copy_modified(args=args)


def _variables(tp: Type) -> list[TypeVarType]:
    return [it for it in get_all_type_vars(tp) if isinstance(it, TypeVarType)]


def _solve(pairs: Sequence[tuple[Type, Type]]) -> dict[TypeVarId, Type]:
    """What the type variables of (parameter, argument) pairs stand for; the union where one is met more than once."""
    found: dict[TypeVarId, list[Type]] = {}
    for pattern, actual in pairs:
        for constraint in infer_constraints(pattern, actual, SUPERTYPE_OF):
            found.setdefault(constraint.type_var, []).append(constraint.target)
    return {variable: _union(types) for variable, types in found.items()}


def _substitute(tp: Type, solution: Mapping[TypeVarId, Type]) -> Type:
    return expand_type(tp, {it.id: solution.get(it.id, _unknown()) for it in _variables(tp)})


def _within_bound(tp: Type, variable: TypeVarType) -> bool:
    if variable.values:  # one constraint must hold all of it
        return any(is_subtype(tp, value) for value in variable.values)
    return is_subtype(tp, variable.upper_bound)


# -- members ----------------------------------------------------------------------------------------------------------


def _element(tp: ProperType) -> Type | None:
    """The type of the items that iterating gives; None where it cannot be iterated, Any where nothing is known."""
    match tp:
        case UnionType():
            found = [_element(get_proper_type(item)) for item in tp.items]
            known = [it for it in found if it is not None]
            return _union(known) if len(known) == len(found) else None
        case AnyType():
            return tp
        case LiteralType():
            return _element(tp.fallback)
        case TypeVarType():
            return _element(get_proper_type(tp.upper_bound))
        case TypeType():
            return tp.item if isinstance(tp.item, Instance) and tp.item.type.is_enum else None
        case TypedDictType():
            return _element(tp.fallback)
        case TupleType():
            return _union([_unpacked(item) for item in tp.items])
        case Instance():
            return _element_of_class(tp)
    return None


def _unpacked(item: Type) -> Type:
    """The items that one place of a tuple stands for: E of `*tuple[E, ...]`."""
    proper = get_proper_type(item)
    inside = get_proper_type(proper.type) if isinstance(proper, UnpackType) else proper
    return _element(inside) or _unknown() if isinstance(proper, UnpackType) else item


def _element_of_class(tp: Instance) -> Type | None:
    seen = _as(tp, "typing.Iterable")
    if seen is not None:
        return seen.args[0]
    iterator = _returned_by(tp, "__iter__")
    if iterator is None:
        return None
    item = _returned_by(iterator, "__next__") if isinstance(iterator, Instance) else None
    return item or _unknown()


def _returned_by(tp: Instance, method: str) -> ProperType | None:
    """What the method without arguments returns; None where there is no such method."""
    found = get_proper_type(find_member(method, tp, tp)) if tp.type.get(method) is not None else None
    return get_proper_type(found.ret_type) if isinstance(found, CallableType) else None


def _as(tp: Instance, fullname: str) -> Instance | None:
    """The type seen as an instance of one of its base classes."""
    base: TypeInfo | None = next((it for it in tp.type.mro if it.fullname == fullname), None)
    return None if base is None else map_instance_to_supertype(tp, base)


def _is_instance(tp: Type, fullname: str) -> bool:
    proper = get_proper_type(tp)
    return isinstance(proper, Instance) and proper.type.fullname == fullname


def _union(types: Iterable[Type]) -> Type:
    """What one would write between the types with `|`; never simplified, `Any` if one of them is."""
    flat = flatten_nested_unions([remove_instance_last_known_values(it) for it in types])
    if any(isinstance(get_proper_type(it), AnyType) for it in flat):
        return _unknown()
    return UnionType.make_union(remove_dups(flat)) if flat else UninhabitedType()


def _unknown() -> Type:
    return AnyType(TypeOfAny.special_form)
