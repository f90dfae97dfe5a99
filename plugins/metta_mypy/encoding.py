"""Plain values as text beside a list of types: what the plugin writes into mypy's types. `decoding` reads it.

A context grows by a field with each stage, and may be written after each of them. So the text of a part does not say
where in the whole it stands (its types and its stamps are the next ones of their lists), and what many values have in
common is written once and copied from then on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from json.encoder import encode_basestring_ascii as _quoted
from operator import attrgetter, is_
from typing import Any, NamedTuple, TypeGuard

from mypy.nodes import Expression, TypeInfo
from mypy.types import Instance, Type

from metta.sweep.contracts.flow import Field, PersistentMap
from metta_mypy.field_book import FieldBook


class Encoded(NamedTuple):
    """A value as text.

    Attributes:
        types: their ids, in the order in which the text needs them; `Encoder.types` has the types.
        stamps: of its fields, see `FieldBook`; in the same order.
        is_whole: nothing was left out.
    """

    text: str
    types: list[int]
    stamps: list[str]
    is_whole: bool


class _Map(NamedTuple):
    """A map that was written; its text is that of the items, without an end."""

    names: list[str]
    values: list[Any]
    encoded: Encoded


class Encoder:
    """Encodes the values of one file.

    Attributes:
        types: those that were met, by id; all that are the same class and no more count as one.
        parts: id of an object that stands in many values -> the object, kept alive, and its encoding.
        maps: name and id of the first item -> the latest map that begins with it.
    """

    def __init__(self, book: FieldBook) -> None:
        self.types: dict[int, Type] = {}
        self.parts: dict[int, tuple[object, Encoded]] = {}
        self.maps: dict[tuple[str, int], _Map] = {}
        self._book = book
        self._plain: dict[TypeInfo, int] = {}

    def enter(self, tp: Type) -> int:
        """A type; the id by which it is known. mypy handles each type in a type, so that fewer are better."""
        known = self._plain.setdefault(tp.type, id(tp)) if _is_plain(tp) else id(tp)
        self.types.setdefault(known, tp)
        return known

    def of_field(self, field: Field[Type]) -> Encoded:
        known = self.parts.get(id(field))
        if known is None:
            tag = "f" if field.type is None else "ft"
            types = [] if field.type is None else [self.enter(field.type)]
            text = f'["{tag}",{_text_of_bool(field.definite)},{_quoted(field.origin)}]'
            known = self.parts[id(field)] = (field, Encoded(text, types, [self._book.stamp(field)], True))
        return known[1]

    def encode(self, value: Any) -> Encoded:
        """The text of a value.

        Raises:
            TypeError: something in it is none of: None, bool, int, str, mypy's types and expressions, enums, frozensets
                of str, tuples, mappings with names as keys, dataclasses, NamedTuples.
        """
        writer = _Writer(self)
        return Encoded(writer.text(value), writer.types, writer.stamps, writer.is_whole)


class _Writer:
    """Plain values as they are, the rest as [tag, ...]."""

    def __init__(self, encoder: Encoder) -> None:
        self.types: list[int] = []
        self.stamps: list[str] = []
        self.is_whole = True
        self._encoder = encoder

    def text(self, value: Any) -> str:
        cls = type(value)
        return (_forms.get(cls) or _form(cls))(self, value)

    def field(self, value: Field[Type]) -> str:
        return self._take(self._encoder.of_field(value))

    def mypy_type(self, value: Type) -> str:
        self.types.append(self._encoder.enter(value))
        return '["t"]'

    def expression(self, value: Expression) -> str:
        self.is_whole = False  # it belongs to this file, and this pass
        return "null"

    def map(self, value: PersistentMap[Any]) -> str:
        """Most maps have one item more than one that was written before."""
        items = value.as_dict()
        if not items:
            return '["m"]'
        names, values = list(items), list(items.values())
        maps, key = self._encoder.maps, (names[0], id(values[0]))
        start, text = (len(self.types), len(self.stamps)), '["m"'
        before, new = maps.get(key), names
        if before is not None:
            known = len(before.names)
            # The same objects: fields that are equal are not the same setting.
            if names[:known] == before.names and all(map(is_, values, before.values)):
                text, new = self._take(before.encoded), names[known:]
        for name in new:
            text = f"{text},{_quoted(name)},{self.text(items[name])}"
        maps[key] = _Map(names, values, self._since(start, text))
        return text + "]"

    def _since(self, start: tuple[int, int], text: str) -> Encoded:
        """A part: its text, and what was added to the lists for it."""
        return Encoded(text, self.types[start[0] :], self.stamps[start[1] :], self.is_whole)

    def _take(self, part: Encoded) -> str:
        """The text of a part that was written before."""
        self.types += part.types
        self.stamps += part.stamps
        self.is_whole &= part.is_whole
        return part.text

    def mapping(self, value: Mapping[str, Any]) -> str:
        return _list('["d"', *(f"{_quoted(name)},{self.text(item)}" for name, item in value.items()))

    def names(self, value: frozenset[str]) -> str:
        return _list('["s"', *map(_quoted, sorted(value)))

    def items(self, value: tuple[Any, ...]) -> str:
        return _list('["l"', *map(self.text, value))

    def member(self, value: Enum) -> str:
        return json.dumps(["e", type(value).__name__, value.value])

    def shared(self, value: Any, form: _Form) -> str:
        """What is one object in many values."""
        known = self._encoder.parts.get(id(value))
        if known is not None:
            return self._take(known[1])
        start = len(self.types), len(self.stamps)
        text = form(self, value)
        self._encoder.parts[id(value)] = (value, self._since(start, text))
        return text


_Form = Callable[[_Writer, Any], str]


def _list(*parts: str) -> str:
    return f"{','.join(parts)}]"


def _is_plain(tp: Type) -> TypeGuard[Instance]:
    return type(tp) is Instance and not tp.args and tp.last_known_value is None and tp.extra_attrs is None


def _text_of_bool(value: bool) -> str:
    return "true" if value else "false"


def _form(cls: type) -> _Form:
    """How values of a class are written."""
    for base, form in _BASES:
        if issubclass(cls, base):
            _forms[cls] = form
            return form
    if is_dataclass(cls):
        form = _record(cls, {it.name: it.default for it in fields(cls)})
        # What is compared by identity is built upon, and stands in the values of all that was built on it.
        _forms[cls] = form if "__eq__" in vars(cls) else _shared(form)
    elif issubclass(cls, tuple):
        names: Sequence[str] = getattr(cls, "_fields", ())
        defaults: Mapping[str, Any] = getattr(cls, "_field_defaults", {})
        _forms[cls] = _record(cls, {name: defaults.get(name, MISSING) for name in names})
    else:
        raise TypeError(f"{cls.__name__} cannot be kept in a type")
    return _forms[cls]


def _record(cls: type, defaults: Mapping[str, Any]) -> _Form:
    begin = f'["c","{cls.__name__}"'
    values = attrgetter(*defaults, "__class__")  # two names at least: it gives a tuple
    labels = [(f"{_quoted(name)},", default) for name, default in defaults.items()]

    def form(writer: _Writer, value: Any) -> str:
        parts = [begin]
        for (label, default), item in zip(labels, values(value), strict=False):
            if item is not default:
                parts.append(label + writer.text(item))
        return _list(*parts)

    return form


def _shared(form: _Form) -> _Form:
    return lambda writer, value: writer.shared(value, form)


_forms: dict[type, _Form] = {
    type(None): lambda _, value: "null",
    bool: lambda _, value: _text_of_bool(value),
    int: lambda _, value: str(value),
    str: lambda _, value: _quoted(value),
    Field: _Writer.field,
    PersistentMap: _Writer.map,
    frozenset: _Writer.names,
    tuple: _Writer.items,
}
_BASES: Sequence[tuple[type, _Form]] = (
    (Enum, _Writer.member),
    (Expression, _Writer.expression),
    (Type, _Writer.mypy_type),
    (Mapping, _Writer.mapping),
)
