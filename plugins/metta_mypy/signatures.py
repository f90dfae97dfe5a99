"""What a callable asks for and gives back, read from its mypy type: the twin of contracts/signature.py.

Run time sees the object and mypy its type, so the definition behind the type is looked at where it says more: names of
positional-only parameters, the implementation of an overloaded function, what is not annotated.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from mypy.checker import TypeChecker
from mypy.erasetype import erase_typevars
from mypy.maptype import map_instance_to_supertype
from mypy.nodes import (
    ARG_NAMED,
    ARG_NAMED_OPT,
    ARG_OPT,
    ARG_POS,
    ARG_STAR,
    ARG_STAR2,
    ArgKind,
    CallExpr,
    Decorator,
    Expression,
    FuncDef,
    LambdaExpr,
    MemberExpr,
    NameExpr,
    OverloadedFuncDef,
    RefExpr,
    TempNode,
)
from mypy.subtypes import find_member
from mypy.typeops import tuple_fallback
from mypy.types import (
    AnyType,
    CallableType,
    Instance,
    Overloaded,
    ProperType,
    TupleType,
    Type,
    TypedDictType,
    TypeOfAny,
    TypeType,
    TypeVarType,
    UnionType,
    UnpackType,
    get_proper_type,
)

from metta.sweep.contracts.signature import Kind, Parameter, Signature, overloaded
from metta_mypy.combining import common, with_bound, without_first
from metta_mypy.definitions import class_of, definition_of, function_of
from metta_mypy.wording import Argument, argument_of, describe, function_name, qualified_class_name

PARTIAL = "functools.partial"
MODULE = "torch.nn.modules.module.Module"
_CACHED = "functools._lru_cache_wrapper"

_KINDS = {
    ARG_POS: Kind.POSITIONAL_OR_KEYWORD,
    ARG_OPT: Kind.POSITIONAL_OR_KEYWORD,
    ARG_STAR: Kind.VAR_POSITIONAL,
    ARG_NAMED: Kind.KEYWORD_ONLY,
    ARG_NAMED_OPT: Kind.KEYWORD_ONLY,
    ARG_STAR2: Kind.VAR_KEYWORD,
}


def signature_of(tp: Type, checker: TypeChecker, expr: Expression | None = None) -> Signature[Type] | None:
    """The signature of a value of type `tp`, or None where it cannot be known (Any) or called.

    Args:
        expr: the expression of that type: it leads to the definition, and shows what a partial has bound.

    The types keep the type variables of a generic callable. A lambda has no annotations, as at run time. An overloaded
    function takes what its implementation takes, as at run time, and without one (in a stub) what its overloads have in
    common.
    """
    if isinstance(expr, LambdaExpr):
        return _of_lambda(expr, checker)
    proper = get_proper_type(tp)
    match proper:
        case TypeVarType():
            return signature_of(proper.upper_bound, checker, expr)
        case CallableType() | Overloaded():
            return _of_constructor(proper) if proper.is_type_obj() else _of_function(proper, checker, expr)
        case TypeType():
            return _of_class(proper, checker)
        case UnionType():
            found = [signature_of(item, checker) for item in proper.items]
            known = [it for it in found if it is not None]
            return common(known) if len(known) == len(found) else None
        case Instance():
            return _of_instance(proper, checker, expr)
        case TupleType():
            return _of_instance(tuple_fallback(proper), checker, expr)
    return None


def is_callable(tp: Type) -> bool | None:
    """Whether values of the type can be called; None where it cannot be known (Any, object, a union of both)."""
    proper = get_proper_type(tp)
    if isinstance(proper, UnionType):
        verdicts = {is_callable(item) for item in proper.items}
        return verdicts.pop() if len(verdicts) == 1 else None
    if isinstance(proper, TypeVarType):
        return is_callable(proper.upper_bound)
    if isinstance(proper, (CallableType, Overloaded, TypeType)):
        return True
    if isinstance(proper, TupleType):
        proper = tuple_fallback(proper)
    if not isinstance(proper, Instance):
        return None if isinstance(proper, AnyType) else False
    info = proper.type
    if info.fullname == "builtins.object" or info.fallback_to_any:
        return None
    return info.fullname == "builtins.function" or info.get("__call__") is not None


def awaited(tp: Type) -> tuple[Type, bool]:
    """What awaiting a result gives, and whether there is anything to await."""
    proper = get_proper_type(tp)
    if not isinstance(proper, Instance) or proper.type.get("__await__") is None:
        return tp, False
    method = get_proper_type(find_member("__await__", proper, proper))
    waiting = get_proper_type(method.ret_type) if isinstance(method, CallableType) else None
    if isinstance(waiting, Instance):
        generator = next((base for base in waiting.type.mro if base.fullname == "typing.Generator"), None)
        if generator is not None:
            return map_instance_to_supertype(waiting, generator).args[2], True
    return AnyType(TypeOfAny.special_form), True


# -- functions --------------------------------------------------------------------------------------------------------


def _of_function(tp: CallableType | Overloaded, checker: TypeChecker, expr: Expression | None) -> Signature[Type]:
    definition = definition_of(tp, checker, expr)
    function = function_of(definition)
    name = function_name(function) or _name_of(tp, expr)
    if isinstance(tp, CallableType):
        return _read(tp, function, name)
    if function is None or not isinstance(definition, OverloadedFuncDef):  # in a stub, say
        return common([_read(_erased(item), None, name) for item in tp.items])
    whole = _read(_declared(function, checker), function, name)
    written = [function_of(item) for item in definition.items]
    is_bound = written[0] is not None and len(written[0].arg_names) > len(tp.items[0].arg_names)
    each = [_read(item, own, name) for item, own in zip(tp.items, written, strict=False)]
    return overloaded(without_first(whole) if is_bound else whole, each, AnyType(TypeOfAny.special_form))


def _read(tp: CallableType, function: FuncDef | None, name: str) -> Signature[Type]:
    """The signature as the type has it, with what only the definition knows."""
    returns, is_async = awaited(tp.ret_type)
    if function is not None and function.is_coroutine and not function.is_async_generator:
        is_async = True
    known = None if tp.implicit or _is_unannotated(returns) else returns
    return Signature(name, _parameters(tp, function), known, is_async)


def _parameters(tp: CallableType, function: FuncDef | None) -> tuple[Parameter[Type], ...]:
    names = _names_in(function, len(tp.arg_names))
    found: list[Parameter[Type]] = []
    for index, (kind, name, declared) in enumerate(zip(tp.arg_kinds, tp.arg_names, tp.arg_types, strict=True)):
        is_unknown = tp.implicit or _is_untyped(declared, kind, tp)
        found.append(
            Parameter(
                name or names[index] or ("args" if kind is ARG_STAR else f".{index}"),
                Kind.POSITIONAL_ONLY if name is None and kind.is_positional() else _KINDS[kind],
                None if is_unknown else declared,
                kind.is_required(),
            )
        )
    return tuple(found)


def _names_in(function: FuncDef | None, count: int) -> Sequence[str | None]:
    """The last `count` names in the definition, positional-only ones too, which types forget, and a warm cache."""
    if function is not None:
        arguments = getattr(function, "arguments", None)
        names = function.arg_names if arguments is None else [it.variable.name for it in arguments]
        if len(names) - count in (0, 1):
            return names[len(names) - count :]
    return [None] * count


def _is_untyped(tp: Type, kind: ArgKind, function: CallableType) -> bool:
    """Whether there is no annotation, or one that stands for no single type: `*args: *Ts`, `**options: Unpack[D]`."""
    is_packed = kind.is_star() and (function.unpack_kwargs or isinstance(get_proper_type(tp), UnpackType))
    return is_packed or _is_unannotated(tp)


def _is_unannotated(tp: Type) -> bool:
    proper = get_proper_type(tp)
    return isinstance(proper, AnyType) and proper.type_of_any == TypeOfAny.unannotated


def _name_of(tp: CallableType | Overloaded, expr: Expression | None) -> str:
    """A name for a function whose definition is not known. mypy's own is "train" or "train of Trainer"."""
    item = tp if isinstance(tp, CallableType) else tp.items[0]
    name, _, owner = (item.name or "").partition(" of ")
    if name:
        return f"{owner}.{name}" if owner else name
    return expr.name if isinstance(expr, (NameExpr, MemberExpr)) else describe(item)


def _declared(function: FuncDef, checker: TypeChecker) -> CallableType:
    declared = function.type
    if isinstance(declared, CallableType):
        return declared
    nothing: list[Type] = [AnyType(TypeOfAny.unannotated) for _ in function.arg_names]
    kinds, names = list(function.arg_kinds), list(function.arg_names)
    fallback = checker.named_type("builtins.function")
    return CallableType(nothing, kinds, names, AnyType(TypeOfAny.unannotated), fallback, implicit=True)


def _erased(tp: CallableType) -> CallableType:
    """Overloads number their type variables alike: those of two cannot stand side by side."""
    if not tp.variables:
        return tp
    ids = {variable.id for variable in tp.variables}
    types = [erase_typevars(it, ids) for it in tp.arg_types]
    return tp.copy_modified(arg_types=types, ret_type=erase_typevars(tp.ret_type, ids), variables=[])


def _of_lambda(expr: LambdaExpr, checker: TypeChecker) -> Signature[Type]:
    parameters: list[Parameter[Type]] = []
    for it in expr.arguments:
        kind = Kind.POSITIONAL_ONLY if it.pos_only else _KINDS[it.kind]
        parameters.append(Parameter(it.variable.name, kind, None, it.kind.is_required()))
    name = f"lambda at {os.path.basename(checker.path)}:{expr.line}"
    return Signature(name, tuple(parameters), None, False)


# -- classes and instances --------------------------------------------------------------------------------------------


def _of_class(tp: TypeType, checker: TypeChecker) -> Signature[Type] | None:
    item: ProperType = tp.item
    if isinstance(item, TypeVarType):
        item = get_proper_type(item.upper_bound)
    if not isinstance(item, (Instance, TupleType, TypedDictType)):
        return None
    return signature_of(checker.expr_checker.analyze_type_type_callee(item, TempNode(item)), checker)


def _of_constructor(tp: CallableType | Overloaded) -> Signature[Type]:
    """A class: its type is that of its constructor."""
    item = tp if isinstance(tp, CallableType) else tp.items[0]
    made = get_proper_type(item.ret_type)
    info = class_of(made)
    name = describe(made) if info is None else qualified_class_name(info)
    if isinstance(made, TypedDictType):  # older versions call all of its keys required
        keys = made.items.items()
        keywords = tuple(Parameter(it, Kind.KEYWORD_ONLY, declared, it in made.required_keys) for it, declared in keys)
        return Signature(name, keywords, item.ret_type, False)
    if isinstance(tp, Overloaded):
        return common([_read(_erased(it), None, name) for it in tp.items])
    returns, is_async = awaited(tp.ret_type)
    return Signature(name, _parameters(tp, function_of(tp.definition)), returns, is_async)


def _of_instance(tp: Instance, checker: TypeChecker, expr: Expression | None) -> Signature[Type] | None:
    if tp.type.fullname == PARTIAL:
        return _of_partial(tp, checker, expr)
    if tp.type.fullname == _CACHED:
        node = expr.node if isinstance(expr, RefExpr) else None
        function = node.func if isinstance(node, Decorator) else None
        if function is None:
            return None
        return _read(_declared(function, checker), function, function_name(function) or function.name)
    method = "forward" if tp.type.has_base(MODULE) else "__call__"
    if tp.type.has_base("builtins.type") or tp.type.get(method) is None:
        return None
    member = find_member(method, tp, tp)
    inside = None if member is None else signature_of(member, checker)
    return inside and replace(inside, name=qualified_class_name(tp.type))


# -- partial ----------------------------------------------------------------------------------------------------------


def _of_partial(tp: Instance, checker: TypeChecker, expr: Expression | None) -> Signature[Type] | None:
    if isinstance(expr, CallExpr) and isinstance(expr.callee, RefExpr) and expr.callee.fullname == PARTIAL:
        if expr.args and all(kind in (ARG_POS, ARG_NAMED) for kind in expr.arg_kinds):
            return _of_partial_call(expr, checker)
    known = tp.extra_attrs.attrs.get("__mypy_partial") if tp.extra_attrs is not None else None
    left = None if known is None else get_proper_type(known)
    if not isinstance(left, CallableType):
        return None
    inside = signature_of(left, checker)
    if inside is None:
        return None
    # mypy keeps what a keyword has bound as an optional keyword; one that was required or positional gives itself away.
    function = function_of(left.definition)
    kinds = {} if function is None else dict(zip(function.arg_names, function.arg_kinds, strict=True))
    bound = {
        name: Argument(declared, f"a value of type {describe(declared)}")
        for name, kind, declared in zip(left.arg_names, left.arg_kinds, left.arg_types, strict=True)
        if name is not None and kind is ARG_NAMED_OPT and kinds.get(name, kind) is not kind
    }
    found = with_bound(inside, bound)
    # The others may be bound, too, and take no field then: their types are not to be checked.
    parameters = [
        replace(it, type=None) if it.kind is Kind.KEYWORD_ONLY and not it.required else it for it in found.parameters
    ]
    return replace(found, parameters=tuple(parameters))


def _of_partial_call(call: CallExpr, checker: TypeChecker) -> Signature[Type] | None:
    first, *rest = zip(call.args, call.arg_names, strict=True)
    declared = checker.lookup_type_or_none(first[0])
    inside = None if declared is None else signature_of(declared, checker, first[0])
    if inside is None:
        return None
    for _, name in rest:
        if name is None:
            inside = without_first(inside)
    return with_bound(inside, {name: argument_of(arg, checker) for arg, name in rest if name is not None})
