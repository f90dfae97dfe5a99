"""From an expression or a type to the definition of the function behind it.

A type knows its definition while the file it stands in is being checked; with a warm cache, only newer versions of
mypy know it. So the expression is asked first: the names in it are always resolved.
"""

from __future__ import annotations

from mypy.checker import TypeChecker
from mypy.nodes import Decorator, Expression, FuncDef, MemberExpr, OverloadedFuncDef, RefExpr, SymbolNode, TypeInfo
from mypy.types import (
    CallableType,
    Instance,
    Overloaded,
    ProperType,
    TupleType,
    TypedDictType,
    TypeType,
    get_proper_type,
)


def definition_of(tp: CallableType | Overloaded, checker: TypeChecker, expr: Expression | None) -> SymbolNode | None:
    """The function, decorated function or group of overloads that `expr`, of type `tp`, names; None if unknown."""
    if isinstance(expr, RefExpr):
        found = expr.node
        if found is None and isinstance(expr, MemberExpr):
            found = _member(expr, checker)
        if isinstance(found, (FuncDef, Decorator, OverloadedFuncDef)):
            return found
    if isinstance(tp, CallableType):
        return tp.definition
    item = function_of(tp.items[0].definition)
    if item is None:
        return None
    if item.info:
        table = item.info.names
    else:
        module = checker.modules.get(item.fullname.rpartition(".")[0])
        if module is None:
            return None
        table = module.names
    symbol = table.get(item.name)
    return None if symbol is None else symbol.node


def function_of(definition: SymbolNode | None) -> FuncDef | None:
    """The function itself: behind decorators, and what implements overloads."""
    if isinstance(definition, OverloadedFuncDef):
        definition = definition.impl
    if isinstance(definition, Decorator):
        definition = definition.func
    return definition if isinstance(definition, FuncDef) else None


def _member(expr: MemberExpr, checker: TypeChecker) -> SymbolNode | None:
    owner = checker.lookup_type_or_none(expr.expr)
    info = None if owner is None else class_of(get_proper_type(owner))
    symbol = None if info is None else info.get(expr.name)
    return None if symbol is None else symbol.node


def class_of(tp: ProperType) -> TypeInfo | None:
    """The class whose attributes a value of the type has; of a class, the class itself."""
    if isinstance(tp, Overloaded):
        tp = tp.items[0]
    if isinstance(tp, CallableType) and tp.is_type_obj():
        tp = get_proper_type(tp.ret_type)
    if isinstance(tp, TypeType):
        tp = tp.item
    if isinstance(tp, TupleType):
        tp = tp.partial_fallback
    if isinstance(tp, TypedDictType):
        tp = tp.fallback
    return tp.type if isinstance(tp, Instance) else None
