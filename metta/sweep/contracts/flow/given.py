"""What conditions and hooks are called with, and whether a parameter can take it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

from metta.sweep.contracts.flow.control import whole
from metta.sweep.contracts.flow.oracle import TypeOracle
from metta.sweep.contracts.flow.problems import context_text, did_you_mean
from metta.sweep.contracts.flow.state import FieldMap, State

T = TypeVar("T")


class Given(NamedTuple, Generic[T]):
    """An argument.

    Attributes:
        type: None where it is not known.
        fields: those of a Context view; None for any other argument.
    """

    type: T | None
    fields: FieldMap[T] | None = None


def whole_given(state: State[T], oracle: TypeOracle[T]) -> Given[T]:
    """The whole at a point, as an argument."""
    tp = whole(state, oracle)
    return Given(tp, None if tp is None or state.whole_is_value else state.fields)


def misfit(given: Given[T], target: T, oracle: TypeOracle[T]) -> str | None:
    """What is wrong with an argument for a parameter of type `target`; None: nothing, or nothing that is known.

    A view has the attributes that the context has at this point, whatever its class says: a Protocol asks for fields.

    Returns:
        The argument in words, such as 'Output' or 'a context that has no field "loss"; it has step: int'.
    """
    if given.type is None:
        return None
    if given.fields is None:
        return oracle.describe(given.type) if oracle.is_assignable(given.type, target) is False else None
    found: str | None = None
    for member in oracle.members_of(target):
        attributes = oracle.protocol_of(member)
        if attributes is None:
            reason = oracle.describe(given.type) if oracle.is_assignable(given.type, member) is False else None
        else:
            reason = _unlike(given.fields, attributes, oracle)
        if reason is None:
            return None
        if found is None or attributes is not None:
            found = reason
    return found


_SHORT = 40
"""The fields that there are give way to the sentence around them."""


def _unlike(fields: FieldMap[T], attributes: Mapping[str, T], oracle: TypeOracle[T]) -> str | None:
    """The same for a view, against the attributes of a Protocol."""
    for name, wanted in attributes.items():
        known = fields.get(name)
        if known is None:
            has = context_text(State(fields), oracle, _SHORT)
            return f'a context that has no field "{name}"; it has {has}' + did_you_mean(name, list(fields))
        if not known.definite:
            return f'a context in which "{name}" may not be set: {known.origin}'
        if known.type is not None and oracle.is_assignable(known.type, wanted) is False:
            return f"a context whose {name} is {oracle.describe(known.type)}, not {oracle.describe(wanted)}"
    return None
