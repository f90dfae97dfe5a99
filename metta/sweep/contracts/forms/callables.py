"""Whether one parameter list can take every call that another one takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from metta.sweep.contracts.forms.model import (
    ANY,
    ANYTHING,
    EITHER,
    KEYWORD,
    POSITIONAL,
    STAR,
    STAR_STAR,
    Form,
    Parameter,
    Verdict,
)
from metta.sweep.contracts.forms.verdicts import all_of


class Slot(NamedTuple):
    """A place an argument can go: by name, by position, or both."""

    name: str
    position: int | None
    form: Form
    required: bool


class Parameters:
    """A parameter list that can be asked where an argument goes."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        positional = [each for each in parameters if each.kind in (POSITIONAL, EITHER)]
        keywords = [each for each in parameters if each.kind == KEYWORD]
        self.slots: list[Slot] = [
            Slot(each.name, position, each.form, each.required) for position, each in enumerate(positional)
        ]
        self.slots += [Slot(each.name, None, each.form, each.required) for each in keywords]
        self.positional_count: int = len(positional)
        self.star: Form | None = next((each.form for each in parameters if each.kind == STAR), None)
        self.star_star: Form | None = next((each.form for each in parameters if each.kind == STAR_STAR), None)

    def by_name(self, name: str) -> Slot | None:
        """Where a keyword argument `name` goes."""
        if not name:
            return None
        found = next((slot for slot in self.slots if slot.name == name), None)
        if found is None and self.star_star is not None:
            return Slot(name, None, self.star_star, False)
        return found

    def by_position(self, position: int | None) -> Slot | None:
        """Where the positional argument number `position` goes."""
        if position is None:
            return None
        if position < self.positional_count:
            return self.slots[position]
        return None if self.star is None else Slot("", position, self.star, False)


def accepts_calls(
    source: Sequence[Parameter],
    target: Sequence[Parameter],
    is_subtype: Callable[[Form, Form], Verdict],
    *,
    names_matter: bool = True,
) -> Verdict:
    """Whether a callable with the parameters `source` can be called wherever one with `target` is expected.

    Args:
        is_subtype: the relation, asked contravariantly (target's type, source's type).
        names_matter: False to let positional parameters have different names, as in an overriding method.
    """
    if tuple(target) == ANYTHING:
        return True
    left, right = Parameters(source), Parameters(target)
    return all_of(_checks(left, right, is_subtype, names_matter))


def _checks(
    left: Parameters, right: Parameters, is_subtype: Callable[[Form, Form], Verdict], names_matter: bool
) -> Iterator[Verdict]:
    # `Concatenate[int, ...]`: what follows the first parameters is up to the other side.
    open_ended = right.star == ANY and right.star_star == ANY
    for mine, theirs in ((left.star, right.star), (left.star_star, right.star_star)):
        if theirs is not None and mine is not None:
            yield is_subtype(theirs, mine)
        elif theirs is not None and not open_ended:
            yield False
    for slot in right.slots:
        yield _takes(left, slot, is_subtype, names_matter)
    if open_ended:
        return
    if right.star is not None:  # it may pass any number of further positional arguments
        for slot in left.slots[right.positional_count : left.positional_count]:
            yield is_subtype(right.star, slot.form)
    if right.star_star is not None:  # and any further names
        known = {slot.name for slot in right.slots}
        for slot in left.slots:
            if slot.name and slot.name not in known:
                yield is_subtype(right.star_star, slot.form)
    for slot in left.slots:
        yield _is_filled(slot, right)


def _takes(left: Parameters, wanted: Slot, is_subtype: Callable[[Form, Form], Verdict], names_matter: bool) -> Verdict:
    """Whether an argument that fits `wanted` has a place in `left`."""
    named, positioned = left.by_name(wanted.name), left.by_position(wanted.position)
    slot = named if named is not None else positioned
    if slot is None:
        return False
    if named is not None and positioned is not None and named != positioned:
        # `*args` and `**kwargs` together: the argument may come either way.
        if not named.required and not positioned.required and not positioned.name and named.position is None:
            return all_of((is_subtype(wanted.form, named.form), is_subtype(wanted.form, positioned.form)))
    if wanted.name and slot.name != wanted.name and (names_matter or wanted.position is None):
        return False
    if wanted.position is not None and slot.position != wanted.position:
        return False
    if slot.required and not wanted.required:
        return False
    return is_subtype(wanted.form, slot.form)


def _is_filled(slot: Slot, right: Parameters) -> bool:
    """Whether the calls that `right` describes leave `slot` neither empty nor filled twice."""
    named, positioned = right.by_name(slot.name), right.by_position(slot.position)
    if named is not None and positioned is not None and named != positioned:
        return not (named.required or positioned.required)
    return named is not None or positioned is not None or not slot.required
