"""The type that a value expression denotes: `dict[str, float]` in `.through(scores=dict[str, float])`.

mypy reads annotations, not the arguments of a call, as types; so they are read here, from the nodes that its semantic
analysis has resolved. What run time alone can say (a variable that holds a class, a quoted name) stays unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from mypy.checker import TypeChecker
from mypy.nodes import (
    ARG_POS,
    ARG_STAR,
    ARG_STAR2,
    BytesExpr,
    ConditionalExpr,
    EllipsisExpr,
    Expression,
    IndexExpr,
    IntExpr,
    ListExpr,
    MemberExpr,
    OpExpr,
    RefExpr,
    StrExpr,
    TupleExpr,
    TypeAlias,
    TypeInfo,
    TypeVarLikeExpr,
    UnaryExpr,
    Var,
)
from mypy.types import (
    AnyType,
    CallableType,
    Instance,
    LiteralType,
    LiteralValue,
    NoneType,
    Overloaded,
    TupleType,
    Type,
    TypeAliasType,
    TypeOfAny,
    TypeType,
    TypeVarLikeType,
    TypeVarType,
    UninhabitedType,
    UnionType,
    flatten_nested_unions,
    get_proper_type,
    remove_dups,
)

from metta_mypy.wording import TUPLE, describe
from metta_mypy.wording import summarize as summarize


class Unknown(Enum):
    """The answer where only run time can say which type it is, or whether it is one."""

    UNKNOWN = "unknown"


UNKNOWN = Unknown.UNKNOWN


@dataclass(frozen=True, slots=True)
class NotAType:
    """The answer for what is surely no type.

    Args:
        description: the value, as `summarize` shows it.
        remedy: what to write instead.
    """

    description: str
    remedy: str


Answer = Type | NotAType | Unknown


def read_type(expr: Expression, checker: TypeChecker) -> Answer:
    """The type that `expr` denotes, the value that it surely is instead, or that it cannot be known.

    Args:
        expr: an argument of a call that is being checked, so that the checker knows the types of its parts.
    """
    return _Reader(checker).read(expr)


# What `typing` has that is a type in brackets only, and what is none at all.
_IN_BRACKETS = frozenset({"Union", "Optional", "Literal", "Annotated"})
_NO_TYPES = frozenset({"Generic", "Protocol", "NamedTuple", "TypedDict", "Concatenate", "Unpack"})
_QUALIFIERS = frozenset({"Final", "ClassVar", "Required", "NotRequired", "ReadOnly"})
_MODULES = ("typing", "typing_extensions", "collections.abc", "_collections_abc")
_TYPES_OF_TYPES = frozenset(
    {
        "builtins.object",
        "builtins.type",
        "types.GenericAlias",
        "types.UnionType",
        "typing._SpecialForm",
        "typing.NewType",
        "typing.TypeAliasType",
        "typing_extensions.TypeAliasType",
    }
)


class _Reader:
    """Reads expressions of one file."""

    def __init__(self, checker: TypeChecker) -> None:
        self._checker = checker

    def read(self, expr: Expression) -> Answer:
        if isinstance(expr, RefExpr):
            return self._name(expr)
        if isinstance(expr, IndexExpr):
            return self._index(expr)
        if isinstance(expr, OpExpr) and expr.op == "|":
            return self._union(expr)
        if isinstance(expr, ConditionalExpr):
            arms = (self.read(expr.if_expr), self.read(expr.else_expr))
            return arms[0] if all(isinstance(it, NotAType) for it in arms) else UNKNOWN
        return self._value(expr)

    def _inside(self, expr: Expression) -> Answer:
        """A type argument: there a quoted name is a type, too."""
        return UNKNOWN if isinstance(expr, StrExpr) else self.read(expr)

    # -- names --------------------------------------------------------------------------------------------------------

    def _name(self, expr: RefExpr) -> Answer:
        if expr.fullname == "builtins.None":
            return NoneType()
        form = _special_form(expr)
        if form == "Any":
            return AnyType(TypeOfAny.explicit)
        if form in ("Never", "NoReturn"):
            return UninhabitedType()
        if form == "LiteralString":
            return self._checker.named_type("builtins.str")
        if form == "Callable":
            return self._callable([], AnyType(TypeOfAny.from_omitted_generics), is_ellipsis=True)
        if form in _IN_BRACKETS or form in _NO_TYPES or form in _QUALIFIERS:
            wanted = "give it its arguments in brackets" if form in _IN_BRACKETS else _THE_TYPE_ITSELF
            return NotAType(f"typing.{form}", wanted)
        node = expr.node
        if isinstance(node, TypeInfo):
            return self._class(node, ())
        if isinstance(node, TypeAlias):
            return TypeAliasType(node, [_default(it) for it in node.alias_tvars])
        if isinstance(node, TypeVarLikeExpr):
            return NotAType(f"{type(node).__name__.removesuffix('Expr')} ({node.name})", _THE_TYPE_ITSELF)
        return self._value(expr)

    def _class(self, info: TypeInfo, args: Sequence[Type]) -> Answer:
        """A class with type arguments; those left out have their default, else are Any."""
        variables = info.defn.type_vars
        if len(args) > len(variables) or any(not isinstance(it, TypeVarType) for it in variables):
            return UNKNOWN if args else Instance(info, [_default(it) for it in variables])
        filled = [*args, *(_default(it) for it in variables[len(args) :])]
        if info.special_alias is not None:  # a NamedTuple or a TypedDict
            return get_proper_type(TypeAliasType(info.special_alias, filled))
        if info.tuple_type is not None:  # a NewType of a tuple
            return info.tuple_type
        return Instance(info, filled)

    # -- values -------------------------------------------------------------------------------------------------------

    def _value(self, expr: Expression) -> Answer:
        """No form of a type: a value, unless its own type says that it may hold one."""
        tp = self._checker.lookup_type_or_none(expr)
        if tp is None and isinstance(expr, RefExpr) and isinstance(expr.node, Var):
            tp = expr.node.type
        if tp is not None and _may_hold_a_type(tp):
            return UNKNOWN
        return NotAType(summarize(expr, tp), self._remedy(expr, tp))

    def _remedy(self, expr: Expression, tp: Type | None) -> str:
        if isinstance(expr, ListExpr) and len(expr.items) == 1:
            item = self.read(expr.items[0])
            if not isinstance(item, (NotAType, Unknown)):
                return f"write list[{describe(item)}]"
        is_function = isinstance(get_proper_type(tp), (CallableType, Overloaded)) if tp is not None else False
        return "pass a type, not a function" if is_function else _THE_TYPE_ITSELF

    # -- brackets and unions ------------------------------------------------------------------------------------------

    def _union(self, expr: OpExpr) -> Answer:
        sides = (self._inside(expr.left), self._inside(expr.right))
        if any(isinstance(it, NotAType) for it in sides):
            return self._value(expr)
        return _all(sides, lambda types: UnionType.make_union(remove_dups(flatten_nested_unions(types))))

    def _index(self, expr: IndexExpr) -> Answer:
        base, index = expr.base, expr.index
        if not isinstance(base, RefExpr):
            return self._value(expr)
        items = index.items if isinstance(index, TupleExpr) else [index]
        form = _special_form(base)
        if form in ("Literal", "Annotated", "Callable", "Union", "Optional"):
            return self._form(form, items)
        if form in _QUALIFIERS or form in ("Concatenate", "Unpack"):
            return NotAType(f"typing.{form}[...]", _THE_TYPE_ITSELF)
        if form == "Tuple" or base.fullname == TUPLE:
            return self._tuple(items)
        if form == "Type" or base.fullname == "builtins.type":
            return _all([self._inside(it) for it in items], lambda types: TypeType.make_normalized(types[0]))
        node = base.node
        if isinstance(node, TypeInfo):
            return self._generic(expr, items, lambda args: self._class(node, args))
        if isinstance(node, TypeAlias):
            target = get_proper_type(node.target)
            if node.no_args and isinstance(target, Instance):  # List = list
                return self._generic(expr, items, lambda args: self._class(target.type, args))
            if len(items) == len(node.alias_tvars) and all(isinstance(it, TypeVarType) for it in node.alias_tvars):
                return self._generic(expr, items, lambda args: TypeAliasType(node, list(args)))
            return UNKNOWN
        return self._value(expr)

    def _generic(self, expr: IndexExpr, items: list[Expression], build: Callable[[list[Type]], Answer]) -> Answer:
        args = [self._inside(it) for it in items]
        if any(isinstance(it, NotAType) for it in args):
            # An enum's member by name, say.
            return self._value(expr)
        known = [it for it in args if not isinstance(it, (NotAType, Unknown))]
        return build(known) if len(known) == len(args) else UNKNOWN

    def _form(self, form: str, items: list[Expression]) -> Answer:
        match form, items:
            case "Literal", _:
                found = [self._literal(it) for it in items]
                known = [it for it in found if it is not None]
                return UnionType.make_union(remove_dups(known)) if len(known) == len(found) else UNKNOWN
            case "Annotated", [first, *_]:
                return self._inside(first)
            case "Callable", [ListExpr() as parameters, returns]:
                read = [self._inside(it) for it in (*parameters.items, returns)]
                return _all(read, lambda types: self._callable(types[:-1], types[-1]))
            case "Callable", [EllipsisExpr(), returns]:
                return _all([self._inside(returns)], lambda types: self._callable([], types[0], is_ellipsis=True))
            case "Optional", [only]:
                return _all([self._inside(only)], lambda types: UnionType.make_union([types[0], NoneType()]))
            case "Union", _:
                read = [self._inside(it) for it in items]
                return _all(read, lambda types: UnionType.make_union(remove_dups(flatten_nested_unions(types))))
        return UNKNOWN

    def _tuple(self, items: list[Expression]) -> Answer:
        tuple_of = self._checker.named_generic_type
        if len(items) == 2 and isinstance(items[1], EllipsisExpr):
            return _all([self._inside(items[0])], lambda types: tuple_of(TUPLE, types))
        fallback = tuple_of(TUPLE, [AnyType(TypeOfAny.special_form)])
        return _all([self._inside(it) for it in items], lambda types: TupleType(types, fallback))

    def _callable(self, parameters: list[Type], returns: Type, *, is_ellipsis: bool = False) -> Type:
        kinds = [ARG_POS for _ in parameters]
        if is_ellipsis:
            anything = AnyType(TypeOfAny.explicit)
            parameters, kinds = [anything, anything], [ARG_STAR, ARG_STAR2]
        function = self._checker.named_type("builtins.function")
        names = [None for _ in kinds]
        return CallableType(parameters, kinds, names, returns, function, is_ellipsis_args=is_ellipsis)

    def _literal(self, expr: Expression) -> Type | None:
        """One argument of Literal[...]; None where it cannot be read here."""
        if isinstance(expr, RefExpr) and expr.fullname == "builtins.None":
            return NoneType()
        value: LiteralValue | None = None
        kind = ""
        if isinstance(expr, RefExpr) and expr.fullname in ("builtins.True", "builtins.False"):
            value, kind = expr.fullname == "builtins.True", "builtins.bool"
        elif isinstance(expr, (IntExpr, StrExpr, BytesExpr)):
            value, kind = expr.value, _LITERALS[type(expr)]
        elif isinstance(expr, UnaryExpr) and expr.op == "-" and isinstance(expr.expr, IntExpr):
            value, kind = -expr.expr.value, "builtins.int"
        if value is not None:
            return LiteralType(value, self._checker.named_type(kind))
        owner = expr.expr.node if isinstance(expr, MemberExpr) and isinstance(expr.expr, RefExpr) else None
        if isinstance(owner, TypeInfo) and owner.is_enum and isinstance(expr, MemberExpr):
            return LiteralType(expr.name, Instance(owner, []))
        nested = self.read(expr) if isinstance(expr, (RefExpr, IndexExpr)) else UNKNOWN
        return None if isinstance(nested, (NotAType, Unknown)) else nested


_LITERALS = {IntExpr: "builtins.int", StrExpr: "builtins.str", BytesExpr: "builtins.bytes"}
_THE_TYPE_ITSELF = "pass the type itself, not a value of it"


def _special_form(expr: RefExpr) -> str:
    """ "Optional" for typing.Optional and its like; "" for every other name."""
    module, _, name = (expr.fullname or "").rpartition(".")
    return name if module in _MODULES else ""


def _default(variable: TypeVarLikeType) -> Type:
    """What a type variable is where its argument is left out."""
    return variable.default if variable.has_default() else AnyType(TypeOfAny.from_omitted_generics)


def _all(found: Sequence[Answer], build: Callable[[list[Type]], Type]) -> Answer:
    """What `build` makes of the types; the first answer that is none, and UNKNOWN only where no other is."""
    wrong = next((it for it in found if isinstance(it, NotAType)), None)
    if wrong is not None:
        return wrong
    types = [it for it in found if not isinstance(it, (NotAType, Unknown))]
    return build(types) if len(types) == len(found) else UNKNOWN


def _may_hold_a_type(tp: Type) -> bool:
    proper = get_proper_type(tp)
    match proper:
        case AnyType() | TypeType() | UninhabitedType():
            return True
        case CallableType() | Overloaded():
            return proper.is_type_obj()
        case UnionType():
            return any(map(_may_hold_a_type, proper.items))
        case TypeVarType():
            return _may_hold_a_type(proper.upper_bound)
        case Instance():
            return proper.type.fullname in _TYPES_OF_TYPES or proper.type.has_base("builtins.type")
    return False
