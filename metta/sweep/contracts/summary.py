"""A value in one line, for messages: enough to recognise it, never its megabytes."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sized
from itertools import islice
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from metta.sweep.contracts.records import record_fields_of_value

_ITEMS = 3
_PIECE = 40


def summarize(value: object, limit: int = 200) -> str:
    """Type, size or shape, and the first items: `list of 1,000 (1, 2, 3, ...)`, `ndarray of shape (3, 4), float32`.

    Args:
        limit: the most characters to return.

    Never raises: a value whose own methods are broken is shown by its type.
    """
    try:
        text = _summary(value)
    except Exception:
        text = type(value).__name__
    return _cut(" ".join(text.split()), limit)


def _summary(value: object) -> str:
    name = type(value).__name__
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"class {value.__qualname__}"
    if (shape := _shape(value)) is not None:
        # A scalar with a type of its own: numpy's, or a tensor of one element.
        return f"{name} of shape {shape}" if shape != "()" else f"{name} ({_literal(_item(value))})"
    if isinstance(value, (str, bytes, bytearray)):
        size = f" of {len(value):,}" if len(value) > _PIECE else ""
        return f"{name}{size} ({_literal(value)})"
    if isinstance(value, (bool, int, float, complex, enum.Enum)):
        return f"{name} ({_literal(value)})"
    if (fields := record_fields_of_value(value)) is not None:
        return f"{name}({_joined(f'{key}={brief(it)}' for key, it in fields.items())})"
    if isinstance(value, Mapping):
        items = _joined(f"{brief(key)}: {brief(it)}" for key, it in value.items())
        return f"{name} of {len(value):,} ({items})" if items else f"empty {name}"
    if isinstance(value, (list, tuple, set, frozenset)):
        items = _joined(brief(it) for it in value)
        return f"{name} of {len(value):,} ({items})" if items else f"empty {name}"
    if isinstance(value, BaseException):
        return f"{name} ({_literal(str(value))})"
    if isinstance(value, (FunctionType, MethodType, BuiltinFunctionType)):
        return f"{name} {value.__qualname__}"
    return _other(value)


def _other(value: object) -> str:
    """An object nothing is known about: its own repr where it has one, else its type and size."""
    name = type(value).__name__
    if type(value).__repr__ is object.__repr__:
        return f"{name} of {len(value):,}" if isinstance(value, Sized) else name
    text = _cut(repr(value), 2 * _PIECE)
    return text if name in text else f"{name} ({text})"


def brief(value: object) -> str:
    """One item inside another value, in a few characters: scalars as they are written, the rest by type and size."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        return _literal(value)
    name = type(value).__name__
    if (shape := _shape(value)) is not None:
        return f"{name} of shape {shape}"
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        return f"{name} of {len(value):,}"
    return name


def _literal(value: Any) -> str:
    """A scalar as it is written in Python, strings in double quotes."""
    if isinstance(value, str):
        import json

        return json.dumps(_cut(value, _PIECE), ensure_ascii=False)
    if isinstance(value, (bytes, bytearray)):
        return repr(bytes(value[:_PIECE])) + ("..." if len(value) > _PIECE else "")
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 4 * _PIECE:
        return f"of {value.bit_length():,} bits"
    return _cut(repr(value), _PIECE)


def _shape(value: object) -> str | None:
    """Shape and element type of an array, tensor or data frame, read without touching its elements."""
    # Asked of the class first: an object may forward unknown attributes to something slow or unfinished.
    shape = getattr(value, "shape", None) if hasattr(type(value), "shape") else None
    # A tuple of ints (torch.Size is one); anything else only has an attribute of that name.
    if not isinstance(shape, tuple) or not all(isinstance(size, int) for size in shape):
        return None
    dtype = getattr(value, "dtype", None)
    text = f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
    return text if dtype is None or not shape else f"{text}, {str(dtype).rpartition('.')[2]}"


def _item(value: Any) -> object:
    return value.item() if hasattr(value, "item") else value


def _joined(parts: Any) -> str:
    """The first few, and dots where there are more; lazily, because there may be millions."""
    first = list(islice(parts, _ITEMS + 1))
    return ", ".join([*first[:_ITEMS], "..."] if len(first) > _ITEMS else first)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: max(limit - 3, 0)] + "..."
