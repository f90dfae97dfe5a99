"""From JSON nodes and parts to a value, guided by its declared type."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final

from metta.sweep.errors import RefusedError, UsageError
from metta.sweep.store.codec import arrays, instances, leaves, tensors
from metta.sweep.store.codec.expected import Forms, fields_of, find_class, items_of, keys_of, origin_of, values_of
from metta.sweep.store.container import Part

REGISTERED: Final[dict[str, tuple[type, Callable[[Any], object]]]] = {}
"""Name -> the class and the reader that were registered with it."""


class Decoder:
    """Turns the nodes of one file back into a value.

    Where nodes and parts do not fit, the file is damaged: its methods raise ValueError, TypeError, KeyError and such.

    Args:
        classes: as the encoder listed them.
        parts: by name.
    """

    def __init__(self, classes: Sequence[Mapping[str, Any]], parts: Mapping[str, Part]) -> None:
        self._classes = classes
        self._parts = parts
        self._made: dict[str, tuple[object, Any]] = {}
        self._found: dict[str, tuple[Forms, Any]] = {}

    def decode(self, node: Any, forms: Forms) -> Any:
        """The value of a node, declared as `forms`."""
        if type(node) is list:
            if _PLAIN.issuperset(map(type, node)):
                return node
            return [
                it if type(it) in _PLAIN else self.decode(it, expected)
                for it, expected in zip(node, items_of(forms, len(node)), strict=True)
            ]
        if type(node) is not dict:
            return node
        if "$" in node:
            return _HANDLERS[node["$"]](self, node, forms)
        return {
            key: item if type(item) in _PLAIN else self.decode(item, values_of(forms, key))
            for key, item in node.items()
        }

    def items(self, node: Mapping[str, Any], forms: Forms) -> list[Any]:
        """The items of a tuple, set or deque."""
        items = node["items"]
        if type(items) is not list:
            raise ValueError("the items of a container are no list")
        value: list[Any] = self.decode(items, forms)
        return value

    def pairs(self, node: Mapping[str, Any], forms: Forms) -> list[tuple[Any, Any]]:
        """The items of a dict that is no JSON object."""
        keys = keys_of(forms)
        found = []
        for key_node, item in node["items"]:
            key = self.decode(key_node, keys)
            found.append((key, self.decode(item, values_of(forms, key))))
        return found

    def class_entry(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the file says of a node's class."""
        number = node["class"]
        if type(number) is not int or number < 0:
            raise ValueError("a class has an impossible number")
        return self._classes[number]

    def find(self, name: str, forms: Forms) -> Any:
        """The class of a name, see `find_class`; a list of records looks for it once."""
        known = self._found.get(name)
        if known is None or known[0] is not forms:
            known = self._found[name] = forms, find_class(name, forms)
        return known[1]

    def record(self, node: Mapping[str, Any], forms: Forms) -> Any:
        """The record of a node."""
        entry = self.class_entry(node)
        form = self.find(entry["name"], forms)
        cls = origin_of(form)
        layout = instances.layout_of(cls)
        if layout is None:
            raise ValueError(f"{entry['name']!r:.100} is no record")
        known, stored = fields_of(form), entry["fields"]
        values = [
            it if type(it) in _PLAIN else instances.UNSET if it == _UNSET else self.decode(it, known.get(name))
            for name, it in zip(stored, node["values"], strict=True)
        ]
        rest = {name: self.decode(it, None) for name, it in node.get("rest", {}).items()}
        return instances.put_together(cls, layout, stored, values, rest)

    def part(self, name: str, node: Mapping[str, Any], make: Callable[[Mapping[str, Any], Part], Any]) -> Any:
        """What is made of a part, once: a node that refers to it again gets the same object."""
        said = tuple(repr(node.get(key)) for key in ("$", "dtype", "shape", "order"))
        if name not in self._made:
            self._made[name] = said, make(node, self._parts[name])
        known, value = self._made[name]
        if known != said:
            raise ValueError(f"the part {name!r:.100} is said to be two things")
        return value


_PLAIN: Final = frozenset({type(None), bool, int, float, str})
_UNSET: Final = {"$": "unset"}

_Handler = Callable[[Decoder, Mapping[str, Any], Forms], Any]


def _leaf(read: Callable[[Any], Any]) -> _Handler:
    return lambda decoder, node, forms: read(node["value"])


def _bytes(decoder: Decoder, node: Mapping[str, Any], forms: Forms) -> bytes:
    if "part" not in node:
        inline: bytes = leaves.READERS["bytes"](node["value"])
        return inline
    whole: bytes = decoder.part(node["part"], node, lambda _, part: bytes(part.raw))
    return whole


def _dict(decoder: Decoder, node: Mapping[str, Any], forms: Forms) -> dict[Any, Any]:
    pairs = decoder.pairs(node, forms)
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a dict has a key twice")
    return found


def _ordered(decoder: Decoder, node: Mapping[str, Any], forms: Forms) -> OrderedDict[Any, Any]:
    found = OrderedDict(decoder.pairs(node, forms))
    vars(found).update({name: decoder.decode(it, None) for name, it in node.get("attributes", {}).items()})
    return found


def _deque(decoder: Decoder, node: Mapping[str, Any], forms: Forms) -> deque[Any]:
    return deque(decoder.items(node, forms), node["maxlen"])


def _enum(decoder: Decoder, node: Mapping[str, Any], forms: Forms) -> Enum:
    cls = decoder.find(decoder.class_entry(node)["name"], forms)
    if not (isinstance(cls, type) and issubclass(cls, Enum)):
        raise ValueError("a member's class is no enum")
    return instances.member_of(cls, node)


def _registered(decoder: Decoder, node: Mapping[str, Any], forms: Forms) -> Any:
    name = node["name"]
    known = REGISTERED.get(name)
    if known is None:
        raise UsageError(
            f"the stored value is a {name!r:.100}, which nothing here has registered: import the module that does"
        )
    cls, read = known
    if forms is not None and not any(issubclass(cls, origin_of(form)) for form in forms):
        raise RefusedError(f"the stored value is a {name}, which its declared type does not allow")
    return read(decoder.decode(node["value"], None))


def _array(decoder: Decoder, node: Mapping[str, Any], forms: Forms) -> Any:
    return decoder.part(node["part"], node, arrays.decode_array)


def _tensor(decoder: Decoder, node: Mapping[str, Any], forms: Forms) -> Any:
    plain = decoder.part(node["part"], node, tensors.decode_tensor)
    return tensors.finish_tensor(node, plain)


def _scalar(decoder: Decoder, node: Mapping[str, Any], forms: Forms) -> Any:
    return arrays.decode_scalar(node, decoder.decode(node["text"], None) if "text" in node else None)


_HANDLERS: Final[Mapping[str, _Handler]] = {
    **{tag: _leaf(read) for tag, read in leaves.READERS.items()},
    "bytes": _bytes,
    "dict": _dict,
    "ordered": _ordered,
    "tuple": lambda decoder, node, forms: tuple(decoder.items(node, forms)),
    "set": lambda decoder, node, forms: set(decoder.items(node, forms)),
    "frozenset": lambda decoder, node, forms: frozenset(decoder.items(node, forms)),
    "deque": _deque,
    "enum": _enum,
    "record": Decoder.record,
    "registered": _registered,
    "array": _array,
    "tensor": _tensor,
    "scalar": _scalar,
}
