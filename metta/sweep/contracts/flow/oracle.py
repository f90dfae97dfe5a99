"""What the rule book asks of a type system.

Two oracles exist: one over run-time annotations (contracts/runtime_oracle.py) and one over mypy's types (in the
mypy plugin). The rules themselves know no type system, so both give the same verdict by construction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from metta.sweep.contracts.flow.state import State

T = TypeVar("T")


class TypeOracle(Protocol[T]):
    """Answers about types `T`. Verdicts are three-valued: None is "cannot be known" and never an error."""

    def is_assignable(self, source: T, target: T, /) -> bool | None: ...

    def join(self, types: Sequence[T], /) -> T:
        """The union of the types."""
        ...

    def describe(self, tp: T, /) -> str:
        """The type as its author wrote it."""
        ...

    def fields_of(self, tp: T, /) -> Mapping[str, tuple[T, bool]] | None:
        """The fields of a record-like type, name -> (type, required); None where it is no record."""
        ...

    def constructor_of(self, tp: T, /) -> Mapping[str, tuple[T | None, bool]] | None:
        """What building a record-like type takes, name -> (type, has no default); None where it is no record."""
        ...

    def protocol_of(self, tp: T, /) -> Mapping[str, T] | None:
        """The attributes of a Protocol class; None where it is none."""
        ...

    def unreplaceable(self, tp: T, name: str, /) -> str | None:
        """Why the field of the record (or of those in a union that have it) cannot be rebound; None where it can."""
        ...

    def element_of(self, tp: T, /) -> T | None:
        """E for an Iterable[E]; None where it is not iterable."""
        ...

    def list_of(self, tp: T | None, /) -> T:
        """list[T]; list[Any] where the type is not known."""
        ...

    def mapping_value(self, tp: T, /) -> T | None:
        """V for a Mapping[str, V]; None otherwise."""
        ...

    def plain_tuple(self, tp: T, /) -> Sequence[T] | None:
        """The items of a plain tuple of fixed length; None otherwise, for a NamedTuple too."""
        ...

    def is_any(self, tp: T, /) -> bool: ...

    def any_type(self) -> T:
        """Any: the type of what is not annotated."""
        ...

    def is_gradual(self, tp: T, /) -> bool:
        """Whether Any occurs in the type, so that being assignable proves nothing about a value."""
        ...

    def is_object(self, tp: T, /) -> bool: ...

    def is_none(self, tp: T, /) -> bool: ...

    def members_of(self, tp: T, /) -> Sequence[T]:
        """The members of a union; of any other type, the type alone."""
        ...

    def builtin(self, cls: type, /) -> T:
        """A class of `builtins` without type parameters: str, BaseException."""
        ...

    def is_context(self, tp: T, /) -> bool: ...

    def is_function(self, tp: T, /) -> bool:
        """Whether values of the type are functions (as the result of a condition they would always be true)."""
        ...

    def view(self, state: State[T], /) -> T:
        """The type of the Context view at this point."""
        ...

    def accepts(self, value: object, tp: T, /) -> bool | None:
        """Whether the value of a setting fits a parameter of type `tp`; `value` is whatever the caller recorded."""
        ...

    def describe_value(self, value: object, /) -> str:
        """The value of a setting, for a message."""
        ...

    def is_generic(self, tp: T, /) -> bool:
        """Whether free type variables occur in the type, so that `resolve` has to solve it."""
        ...

    def resolve(self, returns: T, arguments: Sequence[tuple[T, T]], /) -> T:
        """The return type of a generic callable, given (parameter type, argument type) pairs."""
        ...
