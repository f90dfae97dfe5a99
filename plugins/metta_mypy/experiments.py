"""`def pipeline(self):` of an experiment is checked, although it has no annotation."""

from __future__ import annotations

from mypy.nodes import ARG_POS, FuncDef, TypeInfo
from mypy.plugin import ClassDefContext
from mypy.types import AnyType, CallableType, Instance, TypeOfAny
from mypy.typevars import fill_typevars

from metta_mypy import fullnames


def annotate_pipeline(ctx: ClassDefContext) -> None:
    """Give an un-annotated `pipeline` method the type it has in the base class; mypy then checks its body."""
    for statement in ctx.cls.defs.body:
        if isinstance(statement, FuncDef) and statement.name == "pipeline" and statement.type is None:
            if statement.unanalyzed_type is None and len(statement.arguments) == 1:
                _annotate(ctx, statement)


def _annotate(ctx: ClassDefContext, method: FuncDef) -> None:
    symbol = ctx.api.lookup_fully_qualified_or_none(fullnames.PIPELINE)
    if symbol is None or not isinstance(symbol.node, TypeInfo):
        return
    any_type = AnyType(TypeOfAny.explicit)
    result = Instance(symbol.node, [any_type] * len(symbol.node.type_vars))
    function = ctx.api.named_type("builtins.function")
    owner = fill_typevars(ctx.cls.info)
    method.type = CallableType([owner], [ARG_POS], [method.arguments[0].variable.name], result, function, method.name)
