"""Constraints between the parameters of a space: predicates on a configuration, some with a repair."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from metta.sweep.errors import UsageError
from metta.sweep.trial import Params

Predicate = Callable[[Params], object]
Repair = Callable[[Params], Mapping[str, Any]]
"""A configuration that breaks a constraint -> the parameters to change, with their new values."""

MAX_TRIES = 1_000
"""How many configurations are drawn before constraints are called impossible."""


@dataclass(frozen=True, slots=True, eq=False)
class Constraint:
    """A predicate with a name. Two are equal if they have the same spec, or the same functions.

    Attributes:
        name: what a message calls it.
        predicate: called with the active parameters; a truth value.
        spec: how to build it again from JSON, None for a predicate of the user's.
        repair: mends a configuration that breaks it; None to reject such ones.
    """

    name: str
    predicate: Predicate
    spec: tuple[str, ...] | None = None
    repair: Repair | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constraint) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[object, ...]:
        return self.spec if self.spec is not None else (self.predicate, self.repair)

    def holds(self, params: Params) -> bool:
        """True if `params` are allowed."""
        return bool(self.predicate(params))

    @classmethod
    def of(cls, predicate: Predicate | Constraint) -> Constraint:
        """A constraint from any predicate."""
        if isinstance(predicate, Constraint):
            return predicate
        return cls(getattr(predicate, "__name__", repr(predicate)), predicate)

    def to_json(self) -> list[str]:
        """The constraint as JSON.

        Raises:
            UsageError: it is a predicate of the user's, which JSON cannot hold.
        """
        if self.spec is None:
            raise UsageError(
                f"the constraint {self.name} is a function: only constraints like divides(...) can be stored"
            )
        return list(self.spec)

    @classmethod
    def from_json(cls, data: list[str]) -> Constraint:
        """The constraint that `to_json` wrote."""
        match data:
            case ["divides", str(divisor), str(multiple)]:
                return divides(divisor, multiple)
        raise UsageError(f"unknown constraint {data!r}: expected ['divides', divisor, multiple]")


def divides(divisor: str, multiple: str) -> Constraint:
    """The parameter `multiple` is a multiple of the parameter `divisor`; met where either is inactive."""

    def is_divided(params: Mapping[str, Any]) -> bool:
        if divisor not in params or multiple not in params:
            return True
        return bool(params[divisor] != 0 and params[multiple] % params[divisor] == 0)

    return Constraint(f"divides({divisor!r}, {multiple!r})", is_divided, ("divides", divisor, multiple))
