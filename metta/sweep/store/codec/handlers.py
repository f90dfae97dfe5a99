"""How a value of each class becomes a node, see encode.py."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from enum import Enum
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

from metta.sweep.store.codec import arrays, instances, leaves, tensors
from metta.sweep.store.codec.place import CannotStore, Place, advice
from metta.sweep.store.container import Part

if TYPE_CHECKING:
    from metta.sweep.store.codec.encode import Encoder

Handler = Callable[["Encoder", Any, Place], object]

REGISTERED: Final[dict[type, tuple[str, Callable[[Any], object]]]] = {}
"""Class -> the name and the writer it was registered with."""

_LONGEST_INLINE: Final = 4096
"""Bytes; longer ones become a part instead of text."""


def _simple(encoder: Encoder, value: object, place: Place) -> object:
    return value


def _float(encoder: Encoder, value: float, place: Place) -> object:
    if not encoder.careful or leaves.is_plain_float(value):
        return value
    return {"$": "float", "value": repr(value)}


def _int(encoder: Encoder, value: int, place: Place) -> object:
    return value if leaves.is_plain_int(value) else {"$": "int", "value": hex(value)}


def _str(encoder: Encoder, value: str, place: Place) -> object:
    return leaves.text_node(value) if encoder.careful else value


def _bytes(encoder: Encoder, value: bytes, place: Place) -> object:
    if len(value) <= _LONGEST_INLINE:
        return _leaf(encoder, value, place)
    key = ("bytes", id(value))
    name = encoder.known(key)
    if name is None:
        name = encoder.add(place, value, key, Part("U8", (len(value),), value))
    return {"$": "bytes", "part": name}


def _leaf(encoder: Encoder, value: object, place: Place) -> object:
    tag, write = leaves.WRITERS[type(value)]
    return {"$": tag, "value": write(value)}


def _dict(encoder: Encoder, value: dict[Any, object], place: Place) -> object:
    return encoder.mapping(value, place)


def _ordered(encoder: Encoder, value: OrderedDict[Any, object], place: Place) -> object:
    node: dict[str, object] = {"$": "ordered", "items": encoder.pairs(value, place)}
    if attributes := vars(value):  # `Module.state_dict()` keeps versions there
        node["attributes"] = encoder.mapping(attributes, Place(place, "attributes", True))
    return node


def _list(encoder: Encoder, value: list[object], place: Place) -> object:
    return encoder.items(value, place)


def _tuple(encoder: Encoder, value: tuple[object, ...], place: Place) -> object:
    return {"$": "tuple", "items": encoder.items(value, place)}


def _set(encoder: Encoder, value: set[object] | frozenset[object], place: Place) -> object:
    items = encoder.items(value, place)
    # Always in one order: equal sets are equal files. A node with what JSON has not makes the whole careful.
    return {"$": type(value).__name__, "items": sorted(items, key=encoder.to_json)}


def _deque(encoder: Encoder, value: deque[object], place: Place) -> object:
    return {"$": "deque", "items": encoder.items(value, place), "maxlen": value.maxlen}


def _enum(encoder: Encoder, value: Enum, place: Place) -> object:
    return {"$": "enum", "class": encoder.reference(type(value), None), **instances.member_node(value)}


def _record(encoder: Encoder, value: object, place: Place) -> object:
    cls = type(value)
    layout = instances.layout_of(cls)
    assert layout is not None
    encoder.check_depth(place)
    values, rest = instances.take_apart(value, layout)
    simple = encoder.simple
    nodes = [
        it if type(it) in simple else _UNSET if it is instances.UNSET else encoder.encode(it, Place(place, name, True))
        for name, it in zip(layout.names, values, strict=True)
    ]
    node: dict[str, object] = {"$": "record", "class": encoder.reference(cls, layout.names), "values": nodes}
    if rest:
        node["rest"] = {name: encoder.encode(it, Place(place, name, True)) for name, it in rest.items()}
    return node


_UNSET: Final = {"$": "unset"}


def _registered(encoder: Encoder, value: object, place: Place) -> object:
    name, write = REGISTERED[type(value)]
    return {"$": "registered", "name": name, "value": encoder.encode(write(value), place)}


def _array(encoder: Encoder, value: Any, place: Place) -> object:
    return arrays.encode_array(value, encoder, place)


def _tensor(encoder: Encoder, value: Any, place: Place) -> object:
    return tensors.encode_tensor(value, encoder, place)


def _scalar(encoder: Encoder, value: Any, place: Place) -> object:
    return arrays.encode_scalar(value)


def _unstorable(encoder: Encoder, value: object, place: Place) -> object:
    raise CannotStore(advice(value))


HANDLERS: Final[Mapping[type, Handler]] = {
    NoneType: _simple,
    bool: _simple,
    int: _int,
    float: _float,
    str: _str,
    bytes: _bytes,
    dict: _dict,
    OrderedDict: _ordered,
    list: _list,
    tuple: _tuple,
    set: _set,
    frozenset: _set,
    deque: _deque,
    **{kind: _leaf for kind in leaves.WRITERS if kind is not bytes},
}


def find_handler(value: object) -> Handler:
    """The handler for a class that is in no table."""
    cls = type(value)
    if cls in REGISTERED:
        return _registered
    if tensors.is_tensor(value):
        return _tensor
    if arrays.is_array(value):
        return _array
    if arrays.is_scalar(value):
        return _scalar
    if isinstance(value, Enum):
        return _enum
    return _unstorable if instances.layout_of(cls) is None else _record
