"""`def pipeline(self):` of an experiment is checked although it has no annotation, and before what uses it."""

from __future__ import annotations

from functools import partial

from mypy.nodes import ARG_POS, FuncDef, TypeInfo
from mypy.plugin import ClassDefContext
from mypy.semanal import SemanticAnalyzer
from mypy.types import AnyType, CallableType, Instance, TypeOfAny
from mypy.typevars import fill_typevars

from metta_mypy import fullnames


def annotate_pipeline(ctx: ClassDefContext) -> None:
    """Give an un-annotated `pipeline` method the type it has in the base class; mypy then checks its body.

    What the method returns says what the class takes as a stage (`returned`). So mypy, which leaves bodies for later,
    has to check this one with the class, like one that defines attributes.
    """
    for statement in ctx.cls.defs.body:
        if isinstance(statement, FuncDef) and statement.name == "pipeline":
            if hasattr(statement, "def_or_infer_vars") and isinstance(ctx.api, SemanticAnalyzer):
                # Once it is analyzed, as mypy does it; older versions check all bodies at once.
                ctx.api.schedule_patch(0, partial(setattr, statement, "def_or_infer_vars", True))
            if statement.type is None and statement.unanalyzed_type is None and len(statement.arguments) == 1:
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
