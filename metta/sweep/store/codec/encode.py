"""From a value to JSON nodes and parts.

A node is a JSON value. What JSON has (None, bool, numbers, text, lists, dicts with text as keys) stands for itself; the
rest is an object with a tag under "$". Records and enum members name their class by its number in the `classes`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import NoneType
from typing import Any, Final

from metta.sweep.store.codec.handlers import HANDLERS, Handler, find_handler
from metta.sweep.store.codec.leaves import is_plain_text
from metta.sweep.store.codec.names import class_name
from metta.sweep.store.codec.place import MAX_DEPTH, CannotStore, Place, Unstorable
from metta.sweep.store.container import Part

_SIMPLE: Final = frozenset({NoneType, bool, int, float, str})
_SAFE: Final = frozenset({NoneType, bool})

_JSON: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))


class NotJson(ValueError):
    """Text or numbers are not JSON's: the value has to be encoded with more care."""


_TOO_DEEP: Final = f"contains itself, or is nested more than {MAX_DEPTH} levels deep; store it as a flat list"


class Encoder:
    """Turns one value into nodes, and collects its parts and classes on the way.

    Numbers and text are first taken as JSON takes them, without a look at each. Where that fails (NaN, half a
    surrogate pair) the value is encoded once more, `careful`.

    Args:
        what: what the value is called in messages.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.careful: bool = False
        self.parts: dict[str, Part] = {}
        self.classes: list[object] = []
        self.simple: frozenset[type[Any]] = _SIMPLE
        self._numbers: dict[type, int] = {}
        self._names: dict[object, str] = {}
        self._owners: list[object] = []
        self._handlers: dict[type, Handler] = dict(HANDLERS)

    def content(self, value: object) -> bytes:
        """The value's content, see container.py. Raises Unstorable."""
        try:
            try:
                return self._content(value)
            except NotJson:
                self.be_careful()
                return self._content(value)
        except RecursionError:
            raise Unstorable(self.what, _TOO_DEEP) from None

    def be_careful(self) -> None:
        """Look at every number and text from here on."""
        self.careful = True
        self.simple = _SAFE

    def to_json(self, node: object) -> bytes:
        """A node as text. NotJson where it has a number or a text that JSON has not."""
        try:
            return _JSON.encode(node).encode()
        except ValueError as error:
            raise NotJson from error

    def _content(self, value: object) -> bytes:
        tree = self.encode(value, Place(None, None))
        return self.to_json({"tree": tree, "classes": self.classes} if self.classes else {"tree": tree})

    def encode(self, value: object, place: Place) -> object:
        """The node of a value. Raises Unstorable."""
        kind = type(value)
        handler = self._handlers.get(kind)
        if handler is None:
            handler = self._handlers[kind] = find_handler(value)
        try:
            return handler(self, value, place)
        except CannotStore as error:
            raise Unstorable(place.path(self.what), str(error)) from error.__cause__

    def items(self, values: Iterable[object], place: Place) -> list[object]:
        """The nodes of the items of a list or the like."""
        self.check_depth(place)
        simple = self.simple
        return [
            item if type(item) in simple else self.encode(item, Place(place, index))
            for index, item in enumerate(values)
        ]

    def mapping(self, value: Mapping[Any, object], place: Place) -> object:
        """The node of a dict."""
        simple = self.simple
        if simple.issuperset(map(type, value.values())) and self._is_object(value):
            return value
        self.check_depth(place)
        if self._is_object(value):
            return {
                key: item if type(item) in simple else self.encode(item, Place(place, key))
                for key, item in value.items()
            }
        return {"$": "dict", "items": self.pairs(value, place)}

    def pairs(self, value: Mapping[Any, object], place: Place) -> list[object]:
        """The nodes of a dict's items, for keys that JSON has not, or whose order matters."""
        self.check_depth(place)
        return [[self.encode(key, Place(place, key)), self.encode(it, Place(place, key))] for key, it in value.items()]

    def reference(self, cls: type, names: tuple[str, ...] | None) -> object:
        """What a node says of its class; for a record with the names of its fields."""
        number = self._numbers.get(cls)
        if number is None:
            number = self._numbers[cls] = len(self.classes)
            entry: dict[str, object] = {"name": class_name(cls)}
            if names is not None:
                entry["fields"] = names
            self.classes.append(entry)
        return number

    def add(self, place: Place, owner: object, key: object, part: Part) -> str:
        """Add a part and return its name, see arrays.Parts."""
        name = self.make_name(place, part)
        self.parts[name] = part
        self._names[key] = name
        self._owners.append(owner)  # kept, so that its id, or the address of its memory, stays its own
        return name

    def make_name(self, place: Place, part: Part) -> str:
        """A name for a part that no other has."""
        name = place.name()
        while name in self.parts or name == "__metadata__":  # {"a.b": x, "a": {"b": y}}
            name += "_"
        return name

    def known(self, key: object) -> str | None:
        """The name of the part that was added with this key."""
        return self._names.get(key)

    def _is_object(self, value: Mapping[Any, object]) -> bool:
        """Whether a dict is one to JSON too."""
        return (
            all(type(key) is str for key in value)
            and "$" not in value
            and (not self.careful or all(map(is_plain_text, value)))
        )

    def check_depth(self, place: Place) -> None:
        """Raise Unstorable where a value is nested too deep, or for ever."""
        if place.depth > MAX_DEPTH:
            steps = place
            while steps.depth > 3 and steps.parent is not None:
                steps = steps.parent
            raise Unstorable(steps.path(self.what), _TOO_DEEP)
