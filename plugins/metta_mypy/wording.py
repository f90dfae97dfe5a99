"""Types and callables in the words of their author: the twin of `describe` and `source_name` at run time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mypy.checker import TypeChecker
from mypy.nodes import (
    ARG_POS,
    BytesExpr,
    ComplexExpr,
    Decorator,
    DictExpr,
    Expression,
    FloatExpr,
    FuncDef,
    IntExpr,
    LambdaExpr,
    ListExpr,
    OverloadedFuncDef,
    RefExpr,
    SetExpr,
    StrExpr,
    SymbolNode,
    TupleExpr,
    TypeInfo,
    UnaryExpr,
)
from mypy.types import (
    AnyType,
    CallableType,
    DeletedType,
    ErasedType,
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
    TypeVarLikeType,
    UnboundType,
    UninhabitedType,
    UnionType,
    UnpackType,
    get_proper_type,
)

from metta_mypy.fullnames import CONTEXT

TUPLE = "builtins.tuple"


def describe(tp: Type) -> str:
    """The type as one would write it: `list[Trial]`, `float | None`, `Literal["a"]`.

    A class is shown by its name alone and an old-style alias by what it stands for, as at run time.
    """
    if isinstance(tp, TypeAliasType) and tp.alias is not None:
        if tp.alias.python_3_12_type_alias or tp.is_recursive:
            return _applied(tp.alias.name, tp.args)
    proper = get_proper_type(tp)
    if isinstance(proper, Instance):
        return _describe_instance(proper)
    if isinstance(proper, UnionType):
        return _describe_union(proper)
    if isinstance(proper, TupleType):
        named = proper.partial_fallback
        if named.type.fullname != TUPLE:
            return _describe_instance(named)
        return f"tuple[{_listed(proper.items) or '()'}]"
    if isinstance(proper, TypedDictType):
        return _describe_typed_dict(proper)
    if isinstance(proper, LiteralType):
        return f"Literal[{_literal(proper)}]"
    return _describe_other(proper)


def _describe_other(tp: ProperType) -> str:
    if isinstance(tp, NoneType):
        return "None"
    if isinstance(tp, AnyType):
        return "Any"
    if isinstance(tp, TypeType):
        return f"type[{describe(tp.item)}]"
    if isinstance(tp, Overloaded):
        return describe(tp.items[0])
    if isinstance(tp, CallableType):
        return _describe_callable(tp)
    if isinstance(tp, UnpackType):
        return f"*{describe(tp.type)}"
    if isinstance(tp, (TypeVarLikeType, UnboundType)):
        return tp.name
    if isinstance(tp, (UninhabitedType, ErasedType)):
        return "Never"
    return "a deleted variable" if isinstance(tp, DeletedType) else str(tp)


def _describe_instance(tp: Instance) -> str:
    name = _AT_RUN_TIME.get(tp.type.fullname) or class_name(tp.type)
    if _is_bare(tp):
        return name
    if tp.type.fullname == CONTEXT and isinstance(fields := get_proper_type(tp.args[0]), TypedDictType):
        return f"{name}({_described_fields(fields)})"
    if tp.type.fullname == TUPLE and not isinstance(get_proper_type(tp.args[0]), UnpackType):
        return f"tuple[{describe(tp.args[0])}, ...]"
    return _applied(name, tp.args)


def _described_fields(fields: TypedDictType) -> str:
    """The fields of a Context view, as messages say them of a context."""
    parts = [
        f"{name}: {describe(it)}{'' if name in fields.required_keys else ' (maybe set)'}"
        for name, it in fields.items.items()
    ]
    text = ", ".join(parts)
    while len(text) > _LIMIT and len(parts) > 1:
        parts.pop()
        text = ", ".join(parts) + ", ..."
    return text


# What typeshed calls by the name that `typing` has for it.
_AT_RUN_TIME = {"typing.AbstractSet": "Set"}


def _is_bare(tp: Instance) -> bool:
    """Whether the author left the type arguments of a generic class out."""
    return all(map(_is_left_out, tp.args))


def _is_left_out(arg: Type) -> bool:
    proper = get_proper_type(arg)
    return isinstance(proper, AnyType) and proper.type_of_any == TypeOfAny.from_omitted_generics


def _describe_union(tp: UnionType) -> str:
    """Literals read as one `Literal[...]`, at the place of the first."""
    parts: dict[str, None] = {}
    literals: list[str] = []
    for item in tp.items:
        proper = get_proper_type(item)
        if isinstance(proper, LiteralType):
            literals.append(_literal(proper))
            parts["Literal"] = None
        else:
            parts[describe(item)] = None
    return " | ".join(f"Literal[{', '.join(literals)}]" if part == "Literal" else part for part in parts)


def _literal(tp: LiteralType) -> str:
    if tp.is_enum_literal():
        return f"{class_name(tp.fallback.type)}.{tp.value}"
    if tp.fallback.type.fullname == "builtins.bytes":
        return f"b{json.dumps(tp.value)}" if '"' in str(tp.value) else f"b'{tp.value}'"
    return json.dumps(tp.value, ensure_ascii=False) if isinstance(tp.value, str) else repr(tp.value)


def _describe_typed_dict(tp: TypedDictType) -> str:
    if tp.is_anonymous():
        fields = (f"{name}: {describe(it)}" for name, it in tp.items.items())
        return f"TypedDict({', '.join(fields)})"
    return _describe_instance(tp.fallback)


def _describe_callable(tp: CallableType) -> str:
    if tp.is_type_obj():
        return f"type[{describe(tp.ret_type)}]"
    if tp.is_ellipsis_args and _is_left_out(tp.ret_type):
        return "Callable"
    pack = tp.param_spec()
    if pack is not None and len(tp.arg_types) == 2:
        parameters = pack.name
    elif not tp.is_ellipsis_args and all(kind is ARG_POS for kind in tp.arg_kinds):
        parameters = f"[{_listed(tp.arg_types)}]"
    else:  # optional or keyword parameters: Callable[...] has no words for them
        parameters = "..."
    return f"Callable[{parameters}, {describe(tp.ret_type)}]"


def _applied(name: str, args: Sequence[Type]) -> str:
    return f"{name}[{_listed(args)}]" if args else name


def _listed(items: Iterable[Type]) -> str:
    return ", ".join(map(describe, items))


def class_name(info: TypeInfo) -> str:
    """The name of a class alone; mypy numbers the classes that are local to a function."""
    return info.name.partition("@")[0]


def qualified_class_name(info: TypeInfo) -> str:
    """The name of a class within its module: "Outer.Inner"."""
    inside = info.fullname.removeprefix(f"{info.module_name}.")
    return ".".join(part.partition("@")[0] for part in inside.split("."))


def function_name(definition: SymbolNode | None) -> str | None:
    """What its user calls a function: "MyExperiment.train"; None where mypy does not know the definition."""
    if isinstance(definition, Decorator):
        definition = definition.func
    if not isinstance(definition, FuncDef):
        return None
    return f"{qualified_class_name(definition.info)}.{definition.name}" if definition.info else definition.name


# -- values -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Argument:
    """A value that the program passes: the setting of a stage, or what a partial has bound.

    Args:
        text: the value as a message shows it.
        expr: where it is written; None where only the type is known.
    """

    type: Type
    text: str
    expr: Expression | None = None


def argument_of(expr: Expression, checker: TypeChecker, tp: Type | None = None) -> Argument:
    """The argument that is written as `expr`.

    Args:
        tp: its type; None: what the checker has found.
    """
    known = checker.lookup_type_or_none(expr) if tp is None else tp
    if known is None:
        known = AnyType(TypeOfAny.special_form)
    return Argument(known, summarize(expr, known), expr)


_LIMIT = 60
_PIECE = 40
_ITEMS = 3


def summarize(expr: Expression, tp: Type | None) -> str:
    """A value in one line, in the words that run time has for it; where only the type is known, that."""
    return _cut(_summary(expr) or _known_by_type(tp), _LIMIT)


def _known_by_type(tp: Type | None) -> str:
    if tp is None:
        return "an unknown value"
    proper = get_proper_type(tp)
    name = function_name(proper.definition) if isinstance(proper, CallableType) else None
    return f"function {name}" if name else f"a value of type {describe(tp)}"


def _summary(expr: Expression) -> str | None:
    scalar = _scalar(expr)
    if scalar is not None:
        name, text = scalar
        size = len(expr.value) if isinstance(expr, (StrExpr, BytesExpr)) else 0
        return text if name == "None" else f"{name}{f' of {size:,}' if size > _PIECE else ''} ({text})"
    if isinstance(expr, (ListExpr, TupleExpr, SetExpr)):
        return _collection(type(expr).__name__.removesuffix("Expr").lower(), [_brief(it) for it in expr.items])
    if isinstance(expr, DictExpr):
        return _collection("dict", [_pair(key, value) for key, value in expr.items])
    if isinstance(expr, LambdaExpr):
        return "function <lambda>"
    if isinstance(expr, RefExpr):
        return _referred(expr.node)
    return None


def _referred(node: SymbolNode | None) -> str | None:
    if isinstance(node, TypeInfo):
        return f"class {qualified_class_name(node)}"
    if isinstance(node, OverloadedFuncDef):
        node = node.items[0]
    name = function_name(node)
    return None if name is None else f"function {name}"


def _scalar(expr: Expression) -> tuple[str, str] | None:
    """Type and text of a literal."""
    if isinstance(expr, UnaryExpr) and expr.op == "-":
        inside = _scalar(expr.expr)
        return None if inside is None else (inside[0], f"-{inside[1]}")
    if isinstance(expr, StrExpr):
        return "str", json.dumps(_cut(expr.value, _PIECE), ensure_ascii=False)
    if isinstance(expr, BytesExpr):
        return "bytes", _cut(f"b'{expr.value}'", _PIECE)
    if isinstance(expr, (IntExpr, FloatExpr, ComplexExpr)):
        return type(expr.value).__name__, _cut(repr(expr.value), _PIECE)
    if isinstance(expr, RefExpr) and expr.fullname in ("builtins.True", "builtins.False", "builtins.None"):
        text = expr.fullname.rpartition(".")[2]
        return "None" if text == "None" else "bool", text
    return None


def _brief(expr: Expression) -> str:
    """One item inside another value; dots where it is no literal."""
    scalar = _scalar(expr)
    if scalar is not None:
        return scalar[1]
    if isinstance(expr, (ListExpr, TupleExpr, SetExpr, DictExpr)):
        return f"{type(expr).__name__.removesuffix('Expr').lower()} of {len(expr.items):,}"
    if isinstance(expr, RefExpr) and isinstance(expr.node, TypeInfo):
        return "type"
    return "..."


def _pair(key: Expression | None, value: Expression) -> str:
    return "..." if key is None else f"{_brief(key)}: {_brief(value)}"


def _collection(name: str, items: Sequence[str]) -> str:
    if not items:
        return f"empty {name}"
    shown = ", ".join([*items[:_ITEMS], *(["..."] if len(items) > _ITEMS else [])])
    return f"{name} of {len(items):,} ({shown})"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
