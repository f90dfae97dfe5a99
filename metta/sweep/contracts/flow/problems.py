"""What the rules find, without a place in a file: the caller knows where its steps stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from metta.sweep.contracts.diagnostics import nearest
from metta.sweep.contracts.flow.oracle import TypeOracle
from metta.sweep.contracts.flow.state import State

T = TypeVar("T")

# A message's first line is cut to 200 characters; the list of fields takes what the rest leaves.
_LIST_LIMIT = 80
_LINE_LIMIT = 200


Where: TypeAlias = str | int | tuple[int, int]
"""An argument of a builder call: its keyword, its position, or an item of the list or mapping in a position."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding.

    Attributes:
        code: a code of the language, such as "missing-field".
        message: one sentence that names both sides.
        argument: the offending argument in the builder call; None: the call itself.
        at: which builder call: "stage" (the step itself) or "through".
        note: a note does not fail a build (`untyped-stage`, `timeout-isolates`).
        fields: of the context, that are not there or do not fit: behind the step they are taken to be what its readers
            want, so that one mistake is told once.
    """

    code: str
    message: str
    expected: str = ""
    found: str = ""
    remedy: str = ""
    argument: Where | None = None
    at: str = "stage"
    note: bool = False
    fields: tuple[str, ...] = ()

    def on(self, argument: Where | None, at: str = "stage") -> Problem:
        """The same problem at another argument."""
        return replace(self, argument=argument, at=at)


def did_you_mean(name: str, candidates: list[str]) -> str:
    """' (did you mean "trials"?)' where a candidate is near, else ''."""
    near = nearest(name, candidates)
    return "" if near is None else f' (did you mean "{near}"?)'


def is_nameless(name: str) -> bool:
    """Whether a parameter has no name of its own: `Callable[[int], str]` declares ".0", as Python calls such a one."""
    return name.startswith(".")


def typed(name: str, tp: T | None, oracle: TypeOracle[T]) -> str:
    """`name: type`; the bare name where the type is not known, and the type alone where there is no name."""
    if is_nameless(name):
        return describe(tp, oracle)
    return name if tp is None else f"{name}: {oracle.describe(tp)}"


def article(noun: str) -> str:
    """ "a float", "an int"."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def fitted(text: Callable[[int], str]) -> str:
    """A message that fits its line: the list of what the context has gives way, not what stands behind it.

    Args:
        text: the message with a list of at most so many characters.
    """
    found = text(_LIST_LIMIT)
    for limit in (60, 40, 20):
        if len(found) <= _LINE_LIMIT:
            break
        found = text(limit)
    return found


def context_text(state: State[T], oracle: TypeOracle[T], limit: int = _LIST_LIMIT) -> str:
    """The context in words: 'run_name: str, trials: list[Trial]' or 'a value of type list[int]'."""
    parts: list[str] = []
    if state.has_value and not (state.pure and len(state.fields)):
        parts.append(f"the value {describe(state.value, oracle)}")
    for name, known in state.fields.items():
        parts.append(typed(name, known.type, oracle) + ("" if known.definite else " (maybe set)"))
    return listed(parts, limit)


def listed(parts: Sequence[str], limit: int) -> str:
    """The parts side by side, as many as fit into so many characters, but the first at least; of none "nothing"."""
    if not parts:
        return "nothing"
    text = ", ".join(parts)
    shown = len(parts)
    while len(text) > limit and shown > 1:
        shown -= 1
        text = ", ".join(parts[:shown]) + ", ..."
    return text


def describe(tp: T | None, oracle: TypeOracle[T]) -> str:
    return "an unknown type" if tp is None else oracle.describe(tp)
