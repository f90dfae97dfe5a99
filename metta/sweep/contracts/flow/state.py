"""What is known about the context at one point of a pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")
V = TypeVar("V")

_SMALL = 8


class Field(NamedTuple, Generic[T]):
    """One field of the context.

    `type` is None where nothing is known about it (an un-annotated input). `origin` says in words what may leave
    a maybe-set field unset ('the loop at "train" may run zero times'), or where a definite one got a joined type.
    """

    type: T | None
    definite: bool = True
    origin: str = ""


ASSUMED: Field[Any] = Field(None, True, "assumed")
"""A field that was missing, or did not fit, where it was read first: that has been told."""


class PersistentMap(Generic[V]):
    """A persistent mapping from names, in the order in which they were first set.

    `set` returns a new map and shares the rest: a map is a layer of its newest items on the map that it covers.
    Layers of geometrically falling size make n insertions cost O(n log n) in all, so that a chain of n keyword
    contracts is built in (nearly) linear time; a plain copy of a dict at each step would be quadratic.
    """

    __slots__ = ("_covered", "_layer")

    def __init__(self, layer: dict[str, V] | None = None, covered: PersistentMap[V] | None = None) -> None:
        self._layer = {} if layer is None else layer
        self._covered = covered

    @classmethod
    def of(cls, items: Mapping[str, V]) -> PersistentMap[V]:
        return cls(dict(items))

    def get(self, name: str) -> V | None:
        node: PersistentMap[V] | None = self
        while node is not None:
            found = node._layer.get(name)
            if found is not None:
                return found
            node = node._covered
        return None

    def set(self, name: str, value: V) -> PersistentMap[V]:
        layer = {name: value}
        covered: PersistentMap[V] | None = self
        while covered is not None and len(covered._layer) <= max(2 * len(layer), _SMALL):
            layer = covered._layer | layer
            covered = covered._covered
        return PersistentMap(layer, covered)

    def as_dict(self) -> Mapping[str, V]:
        """All items; not to be changed."""
        if self._covered is None:
            return self._layer
        layers = []
        node: PersistentMap[V] | None = self
        while node is not None:
            layers.append(node._layer)
            node = node._covered
        merged: dict[str, V] = {}
        for layer in reversed(layers):
            merged.update(layer)
        return merged

    def items(self) -> Iterator[tuple[str, V]]:
        return iter(self.as_dict().items())

    def __contains__(self, name: object) -> bool:
        node: PersistentMap[V] | None = self
        while node is not None:
            if name in node._layer:
                return True
            node = node._covered
        return False

    def __iter__(self) -> Iterator[str]:
        return iter(self.as_dict())

    def __len__(self) -> int:
        return len(self.as_dict())


EMPTY: PersistentMap[Any] = PersistentMap()

FieldMap = PersistentMap[Field[T]]


# One for all: in a pipeline of 10,000 stages the collector counts 10,000 empty dicts, too.
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class State(Generic[T]):
    """The context at one point: its fields, its value, and how much is known.

    Attributes:
        fields: every field that is set, definitely or maybe.
        value: the type of the last payload as a whole; meaningless without `has_value`.
        own: the names of the value's own fields.
        pure: the fields are exactly the value's own, so that the *whole* is the value itself.
        open: the pipeline's inputs are not known yet; what is missing may still come.
        unknown: an un-annotated stage has replaced the context; reads are not verified.
        replaced_by: the stage that last replaced the context, for messages.
        replacements: how many positional contracts were passed; nested pipelines compare it.
        optional: optional inputs that only the first step may read.
    """

    fields: FieldMap[T] = EMPTY
    value: T | None = None
    has_value: bool = False
    own: frozenset[str] = frozenset()
    pure: bool = False
    open: bool = False
    unknown: bool = False
    replaced_by: str = ""
    replacements: int = 0
    optional: Mapping[str, T | None] = field(default_factory=lambda: _NOTHING)

    @property
    def whole_is_value(self) -> bool:
        """Whether the whole at this point is the value; otherwise it is the Context view."""
        return self.has_value and self.pure

    def assuming(self, names: Iterable[str]) -> State[T]:
        """The same context, in which these fields are whatever their readers want."""
        fields = self.fields
        for name in names:
            fields = fields.set(name, ASSUMED)
        return self if fields is self.fields else replace(self, fields=fields)

    def with_fields(self, fields: FieldMap[T], *, pure: bool) -> State[T]:
        """The same context with other fields: what a keyword contract does."""
        return State(
            fields,
            self.value,
            self.has_value,
            self.own,
            pure,
            self.open,
            self.unknown,
            self.replaced_by,
            self.replacements,
        )
