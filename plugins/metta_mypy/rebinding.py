"""`p = p.stage(...)`: a name that is given one pipeline after the other.

mypy gives a variable the type of its first value, and every later value has to fit it; but each step of a pipeline has
a type of its own. With the annotation `p: Pipeline = ...` mypy accepts them all and follows the type from assignment
to assignment, while what may run at any time (functions, other modules) sees a pipeline of which nothing is known.
So a name that is bound more than once, first to a chain that begins with `Pipeline(...)`, is read as annotated.
"""

from __future__ import annotations

from mypy.nodes import AssignmentStmt, CallExpr, NameExpr, Var
from mypy.plugin import DynamicClassDefContext
from mypy.semanal import SemanticAnalyzer

from metta_mypy import fullnames
from metta_mypy.chains import Chains


def annotate(chains: Chains, ctx: DynamicClassDefContext) -> None:
    """Called by mypy for an assignment of a chain that begins with `Pipeline(...)`."""
    api = ctx.api
    assert isinstance(api, SemanticAnalyzer)
    statement = api.statement
    if not isinstance(statement, AssignmentStmt) or statement.type is not None or len(statement.lvalues) != 1:
        return
    target, value = statement.lvalues[0], statement.rvalue
    if not isinstance(target, NameExpr) or not isinstance(target.node, Var) or target.node.type is not None:
        return
    declared = api.named_type_or_none(fullnames.PIPELINE)
    chains.begin(api.cur_mod_node.path)
    if declared is None or not isinstance(value, CallExpr) or chains.variable(value) is None:
        return
    # Not `statement.type`: behind a written annotation mypy does not look at the first value.
    target.node.type = declared
    target.node.is_ready = True
    target.is_inferred_def = False
