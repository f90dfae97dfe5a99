"""What the plugin knows about a pipeline, kept inside mypy's own types.

A pipeline's type has to carry more than `Pipeline[In, Out]` says: which fields are set, why one may be unset, which
loops are open. It must survive assignments, function boundaries, deferred passes and mypy's cache, so it is written
into the type itself: as the argument of the scope marker `Top`. A plain value is written as text into the `name` of a
callable type, and the mypy types in it become that callable's argument types; the callable stands where mypy keeps,
but never prints, a type: as the item of a tuple type's fallback. So `reveal_type` shows `Top[tuple[object]]`.

The daemon does not look there when it asks whether a name's type has changed. So that object carries a digest of the
rest, as an attribute that has been found to be immutable: there the daemon looks, and nobody else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from itertools import chain, count
from typing import Any, Final, TypeVar

from mypy.nodes import ARG_POS
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

from metta_mypy.decoding import decode
from metta_mypy.encoding import Encoder
from metta_mypy.field_book import FieldBook

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

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
        self.clear()

    def clear(self) -> None:
        """Forget what only speeds things up, and the identity of fields: nothing of one file concerns another."""
        self._book = FieldBook()
        self._encoder = Encoder(self._book)
        # Type object -> what it holds; the type is kept alive, so that its id is not used again.
        self._held: dict[int, tuple[TupleType, Any]] = {}
        # Text -> the types beside it, and what both say: mypy copies the type of a variable.
        self._written: dict[str, tuple[list[Type], Any]] = {}
        self._shown: dict[int, tuple[Type, str]] = {}
        self._nothing: Instance | None = None

    def hold(self, value: Any, named: Callable[[str, list[Type]], Instance]) -> TupleType:
        """A type that stands for the value in this process, while nothing but this object is passed on."""
        if self._nothing is None:
            self._nothing = named("builtins.tuple", [NoneType()])
        holder = TupleType([], self._nothing)
        _remember(self._held, id(holder), (holder, value))
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
        encoded = self._encoder.encode(value)
        order = _numbered(encoded.types)
        types = [self._encoder.types[known] for known in dict.fromkeys(encoded.types)]
        text = f"{encoded.text}\n{order}\n{','.join(encoded.stamps)}"
        inside = CallableType(
            types, [ARG_POS] * len(types), [None] * len(types), NoneType(), named("builtins.function", []), name=text
        )
        # Numbers in place of stamps: those differ where nothing else does, from one run of the daemon to the next.
        parts = [encoded.text, order, _numbered(encoded.stamps), *map(self._show, types)]
        digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
        if is_distinct:
            shown: Type = LiteralType(digest, named("builtins.str", []))
        else:
            shown = Instance(named("builtins.object", []).type, [], extra_attrs=ExtraAttrs({}, {digest}, None))
        if encoded.is_whole:
            _remember(self._written, text, (types, value))
        return TupleType([shown], named("builtins.tuple", [inside]))

    def _show(self, tp: Type) -> str:
        known = self._shown.get(id(tp))
        if known is None:
            known = self._shown[id(tp)] = (tp, str(tp))
        return known[1]

    def read(self, holder: ProperType) -> Any:
        """What was written or is held; None where the type holds nothing."""
        if not isinstance(holder, TupleType) or len(holder.items) > 1 or not holder.partial_fallback.args:
            return None
        held = self._held.get(id(holder))
        if held is not None:
            return held[1]
        inside = get_proper_type(holder.partial_fallback.args[0])
        if not isinstance(inside, CallableType) or not inside.name:
            return None
        known = self._written.get(inside.name)
        if known is not None and known[0] == inside.arg_types:
            return known[1]
        text, *numbers = inside.name.split("\n")
        order, stamps = (line.split(",") if line else [] for line in numbers)
        types = [inside.arg_types[int(number)] for number in order]
        value = decode(text, types, stamps, self._book, self._classes)
        _remember(self._written, inside.name, (inside.arg_types, value))
        return value


def _remember(memory: dict[K, V], key: K, value: V) -> None:
    if len(memory) >= _REMEMBERED:
        del memory[next(iter(memory))]
    memory[key] = value


_NUMERALS: Final = tuple(map(str, range(100)))


def _numbered(keys: Sequence[Hashable]) -> str:
    """The number of each key: equal ones share it, and they count up in the order in which they come."""
    numerals = chain(_NUMERALS, map(str, count(len(_NUMERALS))))
    numbers = dict(zip(dict.fromkeys(keys), numerals, strict=False))
    return ",".join(map(numbers.__getitem__, keys))
