"""The overloads of the builder are for checkers without a plugin: here they only stand in the way.

Inside an overloaded call mypy filters what a plugin reports and puts it on the first line of a chain. So each
overloaded method of a marked class is replaced by its implementation.
"""

from __future__ import annotations

from mypy.nodes import ARG_OPT, ARG_STAR2, Argument, Decorator, OverloadedFuncDef, SymbolTableNode, Var
from mypy.plugin import ClassDefContext
from mypy.plugins.common import add_attribute_to_class, add_method_to_class
from mypy.types import AnyType, TypeOfAny

from metta_mypy import fullnames
from metta_mypy.graphs import OF_GRAPHS


def plain_methods(ctx: ClassDefContext) -> None:
    """The class's overloaded methods become their implementations."""
    symbols = ctx.cls.info.names
    for name, symbol in list(symbols.items()):
        if isinstance(symbol.node, OverloadedFuncDef) and symbol.node.impl is not None:
            implementation = symbol.node.impl
            plain = implementation.func if isinstance(implementation, Decorator) else implementation
            symbols[name] = SymbolTableNode(symbol.kind, plain)
    if ctx.cls.info.fullname == fullnames.PIPELINE and "through" not in symbols:
        _add_through(ctx)
        for name in OF_GRAPHS:
            add_attribute_to_class(ctx.api, ctx.cls, name, AnyType(TypeOfAny.special_form))


def _add_through(ctx: ClassDefContext) -> None:
    """For other checkers only what a stage gives has `.through`; here our own error says what is missing."""
    any_type = AnyType(TypeOfAny.special_form)
    contract = Argument(Var("contract", any_type), any_type, None, ARG_OPT, pos_only=True)
    keywords = Argument(Var("keywords", any_type), any_type, None, ARG_STAR2)
    add_method_to_class(ctx.api, ctx.cls, "through", [contract, keywords], any_type)
