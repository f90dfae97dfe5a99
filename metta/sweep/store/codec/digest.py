"""One name for equal values: the keys of the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from metta.sweep.store.codec.encode import Encoder
from metta.sweep.store.codec.names import class_name
from metta.sweep.store.codec.place import Place
from metta.sweep.store.container import Part


def digest(value: object, what: str = "the value") -> str:
    """64 hexadecimal digits that are the same for equal values, in every process and on every machine.

    The order of a dict or a set does not matter, that of an OrderedDict does. Values that differ in their type, sign of
    zero, precision or time zone are different: 1, 1.0 and True; 0.0 and -0.0; Decimal("1") and Decimal("1.0");
    float32 and float64 arrays. The memory layout of an array, and the device of a tensor, do not matter.

    Args:
        value: what `dumps` takes.
        what: what it is called in messages.

    Raises:
        Unstorable: something in it cannot be stored.
    """
    return hashlib.blake2b(_Canonical(what).content(value), digest_size=32).hexdigest()


class _Canonical(Encoder):
    """Nodes that do not depend on the order in which the value is walked: classes and parts stand in their place."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.be_careful()

    def to_json(self, node: object) -> bytes:
        return _JSON.encode(node).encode()

    def encode(self, value: object, place: Place) -> object:
        node = super().encode(value, place)
        if type(node) is dict and node.get("$") in _UNEQUAL:
            node.pop(_UNEQUAL[node["$"]], None)
        return node

    def mapping(self, value: Mapping[Any, object], place: Place) -> object:
        node = super().mapping(value, place)
        if type(node) is dict and "$" in node:
            node["items"].sort(key=self.to_json)
        return node

    def reference(self, cls: type, names: tuple[str, ...] | None) -> object:
        return [class_name(cls), names]

    def make_name(self, place: Place, part: Part) -> str:
        return hashlib.blake2b(part.raw, digest_size=32).hexdigest() + f" {part.code} {part.shape}"


_JSON: Final = json.JSONEncoder(sort_keys=True, allow_nan=False, check_circular=False, separators=(",", ":"))

# Tag -> what equal values may differ in: an array's memory order, an OrderedDict's attributes.
_UNEQUAL: Final[Mapping[str, str]] = {"array": "order", "ordered": "attributes"}
