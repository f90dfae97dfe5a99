"""When conditional parameters are active: the rule of prefixes, and whether conditions can be met at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metta.sweep.errors import UsageError
from metta.sweep.space.distributions import Choice, Condition, Distribution, same_value


def implicit_conditions(path: str, parameters: Mapping[str, Distribution[Any]]) -> tuple[Condition, ...]:
    """The condition of a path that starts with a value of a `Choice`, if it does; the longest such value counts.

    Raises:
        UsageError: it starts with values of several choices.
    """
    if "." not in path:
        return ()
    segments = path.split(".")
    prefixes = {".".join(segments[:end]) for end in range(1, len(segments))}
    found = {
        parent: max(values, key=len)
        for parent, distribution in parameters.items()
        if parent != path and isinstance(distribution, Choice)
        if (values := [value for value in distribution.values if isinstance(value, str) and value in prefixes])
    }
    if len(found) > 1:
        parents = " and ".join(map(repr, found))
        parent, value = next(iter(found.items()))
        raise UsageError(f"{path!r} may be conditional on {parents}: say which, as in .when({parent!r}, {value!r})")
    return tuple(Condition(parameter=parent, values=(value,)) for parent, value in found.items())


def check_reachable(order: Sequence[str], conditions: Mapping[str, tuple[Condition, ...]]) -> None:
    """Make sure that every parameter can be active.

    Args:
        order: all paths, parents before children.
        conditions: path -> what has to hold besides the parents being active.

    Raises:
        UsageError: the conditions of one, with those of its parents, allow a parameter no value.
    """
    allowed: dict[str, dict[str, tuple[Any, ...]]] = {}
    """Path -> what its being active asks of other parameters, directly and through its parents."""
    for path in order:
        wanted: dict[str, tuple[Any, ...]] = {}
        for condition in conditions[path]:
            asked = {**allowed[condition.parameter], condition.parameter: condition.values}
            for parameter, values in asked.items():
                both = tuple(value for value in values if _holds(value, wanted.get(parameter, values)))
                if not both:
                    raise UsageError(
                        f"{path!r} can never be active: its conditions ask that {parameter!r} is one of "
                        f"{list(wanted[parameter])!r} and one of {list(values)!r}"
                    )
                wanted[parameter] = both
        allowed[path] = wanted


def _holds(value: object, values: Sequence[object]) -> bool:
    return any(same_value(value, other) for other in values)
