"""The conditions of loops and conditionals: callables that see the whole and give a truth value at once."""

from __future__ import annotations

from mypy.nodes import Expression, LambdaExpr
from mypy.types import CallableType, Type

from metta.sweep.contracts.flow import Condition, Problem, State, condition_problem, uncallable_condition, whole
from metta_mypy.lambdas import accepts_count, called_with
from metta_mypy.session import Session
from metta_mypy.signatures import is_callable
from metta_mypy.targets import callable_signature
from metta_mypy.wording import argument_of


def typed(
    session: Session, signature: CallableType, expression: Expression | None, index: int, state: State[Type]
) -> CallableType:
    """The signature of the builder call, with the parameter of a condition typed that is written as a lambda.

    Args:
        index: of the condition among the parameters of the call.
    """
    if not isinstance(expression, LambdaExpr) or not accepts_count(expression, 1):
        return signature
    session.watch(expression, state)
    return session.with_argument(signature, index, called_with(expression, [whole(state, session.oracle)], session.api))


def problem_of(
    session: Session, condition: Condition, expression: Expression | None, state: State[Type]
) -> list[Problem]:
    """`loop-condition` or `hook-signature`."""
    if expression is None:
        return []
    tp = session.expression_type(expression)
    if is_callable(tp) is False:
        shown = argument_of(expression, session.api, tp).text
        return [uncallable_condition(condition, shown, session.oracle.describe(tp))]
    found = condition_problem(condition, callable_signature(session, expression, tp), state, session.oracle)
    return [] if found is None else [found]
