"""Loops, arms and their conditions: what each of these builder calls decides."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from metta.sweep.contracts.flow.control import after_loop, carried, join, parallel_conflicts, whole
from metta.sweep.contracts.flow.given import whole_given
from metta.sweep.contracts.flow.hooks import check_condition
from metta.sweep.contracts.flow.oracle import TypeOracle
from metta.sweep.contracts.flow.output import Keyword, Output, Positional, Shape, disputed, output
from metta.sweep.contracts.flow.problems import Problem, describe
from metta.sweep.contracts.flow.stages import after_output
from metta.sweep.contracts.flow.state import ASSUMED, State
from metta.sweep.contracts.signature import Signature

T = TypeVar("T")


# -- conditions -----------------------------------------------------------------------------------------------------


class Condition(NamedTuple):
    """Where a condition stands: in words, and as which argument of its builder call."""

    what: str
    argument: str | int


LOOP_CONDITION: Final = Condition("the loop's condition", 0)
BREAK_CONDITION: Final = Condition("the condition of break_if", 0)
UNTIL: Final = Condition("the until= of the loop", "until")
PREDICATE: Final = Condition("the predicate of the conditional", 0)


def condition_problem(
    condition: Condition, signature: Signature[T] | None, state: State[T], oracle: TypeOracle[T]
) -> Problem | None:
    """`loop-condition` or `hook-signature`: a condition takes the whole and returns a truth value at once.

    Args:
        signature: of the callable; None where it cannot be read.
        state: the context at this point.
    """
    if signature is None:
        return None
    if signature.is_async:
        wrong = "is async: it would return a coroutine, which is always true"
        return _no_condition(condition, wrong, "an async function")
    if signature.returns is not None and oracle.is_function(signature.returns):
        wrong = "returns a function, which is always true"
        return _no_condition(condition, wrong, oracle.describe(signature.returns))
    return check_condition(condition.what, signature, whole_given(state, oracle), oracle, condition.argument)


def uncallable_condition(condition: Condition, text: str, kind: str) -> Problem:
    """`loop-condition` for what is no callable.

    Args:
        text: the value in words.
        kind: the name of its type.
    """
    return _no_condition(condition, f"is {text}, which cannot be called", kind)


def _no_condition(condition: Condition, wrong: str, found: str) -> Problem:
    return Problem(
        "loop-condition",
        f"{condition.what} {wrong}",
        expected="a plain function that returns a truth value",
        found=found,
        remedy="write it as lambda ctx: ...; what takes time is computed in a stage before it",
        argument=condition.argument,
    )


# -- loops ----------------------------------------------------------------------------------------------------------


class Loop(NamedTuple, Generic[T]):
    """A loop that is not closed yet: the context it was entered with, and those at its breaks."""

    entry: State[T]
    breaks: tuple[State[T], ...] = ()

    def left_in(self, state: State[T]) -> Loop[T]:
        """The same loop with one more break."""
        return Loop(self.entry, (*self.breaks, state))


def break_problems(loop: Loop[T], state: State[T], oracle: TypeOracle[T]) -> list[Problem]:
    """`loop-carried` at a `break_if`."""
    return carried(loop.entry, state, oracle, "break_if")


def end_of_loop(
    loop: Loop[T], state: State[T], oracle: TypeOracle[T], *, has_condition: bool, first: str
) -> tuple[State[T], list[Problem]]:
    """The context behind `end_loop`, and what the body does not carry.

    Args:
        state: the context at the end of the body.
        has_condition: whether the body may run zero times.
        first: the name of the first stage in the body, for messages.
    """
    where = f'the loop around "{first}"'
    problems = carried(loop.entry, state, oracle, where)
    return after_loop(loop.entry, state, loop.breaks, oracle, has_condition=has_condition, where=where), problems


# -- arms -----------------------------------------------------------------------------------------------------------


def branch(then: State[T], otherwise: State[T], oracle: TypeOracle[T], first: str) -> State[T]:
    """The context behind a conditional.

    Args:
        then: the context at the end of the first arm.
        otherwise: of the second arm; without one, the context before the conditional.
        first: the name of the first stage in the arms, for messages.
    """
    return join(then, otherwise, oracle, ('"then"', '"otherwise"'), f'the conditional around "{first}"')


class ParallelEffect(NamedTuple, Generic[T]):
    """What the results of all arms become, the context `after`, and problems."""

    output: Output[T]
    after: State[T]
    problems: Sequence[Problem]


def parallel_effect(
    stage: str,
    ends: Mapping[str, State[T]],
    opened: Collection[str],
    contract: Positional[T] | Keyword[T] | None,
    state: State[T],
    oracle: TypeOracle[T],
    *,
    keyed: bool,
) -> ParallelEffect[T]:
    """A parallel step: arms on a snapshot, of which only the wholes leave.

    Args:
        ends: the final context of each arm, by its name.
        opened: the names of the arms without inputs of their own, which run on the outer context.
        contract: of its `.through`; None where there is none.
        state: the context before it.
        keyed: the mapping form: one field per arm. Otherwise the result is the list of the wholes.
    """
    problems = parallel_conflicts(state, {name: end for name, end in ends.items() if name in opened}, f'"{stage}"')
    # Where a field was missing, or did not fit, an arm does not end with what it was meant to.
    doubtful = [name for name, end in ends.items() if ASSUMED in end.fields.as_dict().values()]
    wholes = {name: None if name in doubtful else whole(end, oracle) for name, end in ends.items()}
    if keyed:
        out, more = _keyed_output(stage, wholes, contract, oracle)
    else:
        known = [tp for tp in wholes.values() if tp is not None]
        item = oracle.join(known) if len(known) == len(wholes) else None
        out, more = output(stage, oracle.list_of(item), contract, oracle)
    after, last = after_output(stage, out, state, oracle)
    return ParallelEffect(out, after, [*problems, *more, *last])


def _keyed_output(
    stage: str,
    wholes: Mapping[str, T | None],
    contract: Positional[T] | Keyword[T] | None,
    oracle: TypeOracle[T],
) -> tuple[Output[T], list[Problem]]:
    """The mapping form gives one field per key; a contract on it is compared field by field."""
    if contract is None:
        return Output(Shape.MAPPING, Keyword(wholes), True), []
    is_keyword = isinstance(contract, Keyword)
    wanted: Mapping[str, T | None]
    if isinstance(contract, Positional):
        wanted = {name: tp for name, (tp, _) in (oracle.fields_of(contract.type) or {}).items()}
    else:
        wanted = contract.fields
    problems = []
    for name, tp in wanted.items():
        found = wholes.get(name)
        if name in wholes and (tp is None or found is None or oracle.is_assignable(found, tp) is not False):
            continue
        given = describe(found, oracle) if name in wholes else "no such key"
        expected = describe(tp, oracle)
        problems.append(
            Problem(
                "stage-output",
                f'{stage} gives {given} for "{name}"; its contract is {name}: {expected}',
                expected=expected,
                found=given,
                remedy="name the arm after the field and let it end with that type",
                argument=name if is_keyword else 0,
                at="through",
            )
        )
    return disputed(contract, oracle) if problems else Output(Shape.MAPPING, contract, is_keyword), problems
