"""What the plugin knows about a pipeline, kept inside mypy's own types.

A pipeline's type has to carry more than `Pipeline[In, Out]` says: which fields are set, why one may be unset, which
loops are open. It must survive assignments, function boundaries, deferred passes and mypy's cache, so it is written
into the type itself: as the argument of the scope marker `Top`. A plain value is written as JSON into the `name` of a
callable type, and the mypy types in it become that callable's argument types; the callable stands where mypy keeps,
but never prints, a type: as the item of a tuple type's fallback. So `reveal_type` shows `Top[tuple[object]]`.

The daemon does not look there when it asks whether a name's type has changed. So that object carries a digest of the
rest, as an attribute that has been found to be immutable: there the daemon looks, and nobody else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Final

from mypy.nodes import ARG_POS, Expression
from mypy.types import (
    CallableType,
    ExtraAttrs,
    Instance,
    LiteralType,
    NoneType,
    ProperType,
    TupleType,
    Type,
    get_proper_type,
)

from metta.sweep.contracts.flow import Field, PersistentMap


class FieldBook:
    """Keeps the identity of fields: in the rule book the same object means "not set again since".

    Each field that is written into a type gets a stamp, higher than all before; a field that is read back is the
    object with that stamp if it is still known.
    """

    def __init__(self) -> None:
        self._stamps: dict[int, tuple[Field[Type], int]] = {}
        self._fields: dict[int, list[Field[Type]]] = {}
        self._latest = 0

    def stamp(self, field: Field[Type]) -> int:
        """The stamp of a field, a new one if it has none yet."""
        known = self._stamps.get(id(field))
        return self._enter(field, self._latest + 1) if known is None else known[1]

    def _enter(self, field: Field[Type], stamp: int) -> int:
        self._stamps[id(field)] = (field, stamp)
        self._fields.setdefault(stamp, []).append(field)
        self._latest = max(self._latest, stamp)
        return stamp

    def field(self, read: Field[Type], stamp: int) -> Field[Type]:
        """The field that was written with this stamp, or the one just read."""
        for known in self._fields.get(stamp, ()):
            if known == read:
                return known
        self._enter(read, stamp)
        return read


_REMEMBERED: Final = 2048
"""How many values are remembered, the newest: of a longer list the garbage collector would have most of the work.

What only stands in this process is read by the next call of its chain; between the two lie the calls of its arms.
"""


class Facts:
    """Writes values into types and reads them back.

    Args:
        classes: the dataclasses, NamedTuples and enums that may occur in the values.
    """

    def __init__(self, classes: tuple[type, ...]) -> None:
        self._classes = {cls.__name__: cls for cls in classes}
        self._book = FieldBook()
        # Type object -> what it holds; the type is kept alive, so that its id is not used again.
        self._read: dict[int, tuple[TupleType, Any]] = {}
        self._nothing: Instance | None = None

    def clear(self) -> None:
        """Forget what only speeds things up, and the identity of fields: nothing of one file concerns another."""
        self._book = FieldBook()
        self._read.clear()
        self._nothing = None

    def _remember(self, holder: TupleType, value: Any) -> None:
        if len(self._read) >= _REMEMBERED:
            del self._read[next(iter(self._read))]
        self._read[id(holder)] = (holder, value)

    def hold(self, value: Any, named: Callable[[str, list[Type]], Instance]) -> TupleType:
        """A type that stands for the value in this process, while nothing but this object is passed on."""
        if self._nothing is None:
            self._nothing = named("builtins.tuple", [NoneType()])
        holder = TupleType([], self._nothing)
        self._remember(holder, value)
        return holder

    def write(
        self, value: Any, named: Callable[[str, list[Type]], Instance], *, is_distinct: bool = False
    ) -> TupleType:
        """A type that holds the value.

        Args:
            named: the checker's `named_generic_type`.
            is_distinct: for mypy, too, the type is another one than that of any other value: where the types of
                two branches come together it keeps both.
        """
        writer = _Writer(self._book)
        shape = json.dumps(writer.value(value), separators=(",", ":"))
        text = json.dumps([shape, list(writer.stamps)], separators=(",", ":"))
        types = writer.types
        inside = CallableType(
            types, [ARG_POS] * len(types), [None] * len(types), NoneType(), named("builtins.function", []), name=text
        )
        digest = hashlib.sha256("\n".join([shape, *map(str, types)]).encode()).hexdigest()[:16]
        mark = Instance(named("builtins.object", []).type, [], extra_attrs=ExtraAttrs({}, {digest}, None))
        shown: Type = LiteralType(digest, named("builtins.str", [])) if is_distinct else mark
        holder = TupleType([shown], named("builtins.tuple", [inside]))
        self._remember(holder, value)
        return holder

    def read(self, holder: ProperType) -> Any:
        """What `write` wrote; None where the type holds nothing."""
        if not isinstance(holder, TupleType) or len(holder.items) > 1 or not holder.partial_fallback.args:
            return None
        known = self._read.get(id(holder))
        if known is not None:
            return known[1]
        inside = get_proper_type(holder.partial_fallback.args[0])
        if not isinstance(inside, CallableType) or not inside.name:
            return None
        shape, stamps = json.loads(inside.name)
        value = _Reader(self._classes, inside.arg_types, stamps, self._book).value(json.loads(shape))
        self._remember(holder, value)
        return value


class _Writer:
    """Plain values as they are, the rest as [tag, ...]."""

    def __init__(self, book: FieldBook) -> None:
        self.types: list[Type] = []
        self.stamps: dict[int, int] = {}
        self._book = book
        self._indices: dict[int, int] = {}

    def value(self, value: Any) -> Any:
        if value is None or (isinstance(value, (bool, int, str)) and not isinstance(value, Enum)):
            return value
        if isinstance(value, Expression):
            return None  # it belongs to this file, and this pass
        if isinstance(value, Type):
            return ["t", self._type(value)]
        if isinstance(value, Field):
            return ["f", self.value(value.type), value.definite, value.origin, self._stamp(value)]
        if isinstance(value, Enum):
            return ["e", type(value).__name__, value.value]
        if isinstance(value, PersistentMap):
            return ["m", *([name, self.value(item)] for name, item in value.items())]
        if isinstance(value, Mapping):
            return ["d", *([name, self.value(item)] for name, item in value.items())]
        if isinstance(value, frozenset):
            return ["s", *sorted(value)]
        if is_dataclass(value):
            return ["c", type(value).__name__, *(self.value(getattr(value, f.name)) for f in fields(value))]
        if isinstance(value, tuple):
            name = type(value).__name__ if hasattr(value, "_fields") else ""
            return ["l", name, *map(self.value, value)]
        raise TypeError(f"{type(value).__name__} cannot be kept in a type")

    def _stamp(self, field: Field[Type]) -> int:
        """An index: stamps differ where nothing else does, from one run of the daemon to the next."""
        return self.stamps.setdefault(self._book.stamp(field), len(self.stamps))

    def _type(self, tp: Type) -> int:
        index = self._indices.get(id(tp))
        if index is None:
            index = self._indices[id(tp)] = len(self.types)
            self.types.append(tp)
        return index


class _Reader:
    def __init__(self, classes: Mapping[str, type], types: list[Type], stamps: list[int], book: FieldBook) -> None:
        self._classes = classes
        self._types = types
        self._stamps = stamps
        self._book = book

    def value(self, read: Any) -> Any:
        if not isinstance(read, list):
            return read
        tag, *rest = read
        match tag:
            case "t":
                return self._types[rest[0]]
            case "f":
                return self._book.field(Field(self.value(rest[0]), rest[1], rest[2]), self._stamps[rest[3]])
            case "e":
                return self._classes[rest[0]](rest[1])
            case "m":
                return PersistentMap.of({name: self.value(item) for name, item in rest})
            case "d":
                return {name: self.value(item) for name, item in rest}
            case "s":
                return frozenset(rest)
            case "c":
                return self._classes[rest[0]](*map(self.value, rest[1:]))
        items = tuple(map(self.value, rest[1:]))
        return self._classes[rest[0]](*items) if rest[0] else items
