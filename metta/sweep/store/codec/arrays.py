"""numpy arrays and scalars as parts of a file, and back.

What the safetensors format has a type for becomes a tensor of that type, which other tools can read; every other
array becomes a tensor of bytes, with its own type beside it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from metta.sweep.store.codec.place import CannotStore, Place
from metta.sweep.store.container import Part

if TYPE_CHECKING:
    import numpy as np

NUMPY_CODES: Final[Mapping[str, str]] = {
    "float64": "F64", "float32": "F32", "float16": "F16", "complex64": "C64",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
_NUMPY_NAMES: Final = {code: name for name, code in NUMPY_CODES.items()}
_DTYPE_TEXT: Final = re.compile(r"[<>|=][a-zA-Z][0-9]*(\[[0-9a-zA-Z/]*\])?")


class Parts(Protocol):
    """Where the parts of a value go."""

    def add(self, place: Place, owner: object, key: object, part: Part) -> str:
        """Add a part and return the name it got. `key` tells what is in it; `owner` must live as long as the key."""
        ...

    def known(self, key: object) -> str | None:
        """The name of the part that was added with this key."""
        ...


def encode_array(array: np.ndarray[Any, Any], parts: Parts, place: Place) -> dict[str, object]:
    """The node of an array; its elements become a part.

    Raises:
        CannotStore: it is of a subclass, or holds Python objects.
    """
    import numpy as np

    if type(array) is not np.ndarray and type(array) is not np.memmap:
        raise CannotStore(
            f"is a {full_name(array)}, a subclass of ndarray; store numpy.asarray(...) of it, or its parts"
        )
    dtype = array.dtype
    described = _describe(dtype)
    code = NUMPY_CODES.get(dtype.name) if dtype.names is None else None
    key = ("array", id(array))
    name = parts.known(key)
    if name is None:
        if dtype.names is None:
            plain = np.asarray(array, dtype=dtype.newbyteorder("<") if code is not None else dtype, order="C")
        else:
            plain = np.zeros(array.shape, dtype)  # what stands between the fields must not tell equal arrays apart
            plain[...] = array
        raw = plain.reshape(-1).view(np.uint8) if plain.nbytes else np.empty(0, np.uint8)
        name = parts.add(place, array, key, Part(code or "U8", array.shape if code else (raw.nbytes,), raw.data))
    node: dict[str, object] = {"$": "array", "part": name}
    if code is None:
        node["dtype"] = described
        node["shape"] = list(array.shape)
    elif not dtype.isnative:
        node["dtype"] = described
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        node["order"] = "F"
    return node


def decode_array(node: Mapping[str, Any], part: Part) -> np.ndarray[Any, Any]:
    """The array of a node and its part, in memory of its own. ValueError or TypeError where they do not fit."""
    import numpy as np

    dtype = _dtype(node["dtype"]) if "dtype" in node else np.dtype(_NUMPY_NAMES[part.code])
    stored = dtype if "shape" in node else np.dtype(_NUMPY_NAMES[part.code]).newbyteorder("<")
    shape = shape_of(node["shape"]) if "shape" in node else part.shape
    order: Literal["C", "F"] = "F" if node.get("order") == "F" else "C"
    if not dtype.itemsize and not memoryview(part.raw).nbytes:
        return np.zeros(shape, dtype)
    array: np.ndarray[Any, Any] = np.frombuffer(part.raw, dtype=stored).reshape(shape).astype(dtype, order=order)
    return array


def encode_scalar(value: np.generic[Any]) -> dict[str, object]:
    """The node of a numpy scalar: its bytes, with its type. Raises CannotStore for what holds Python objects."""
    import numpy as np

    if isinstance(value, np.str_):
        from metta.sweep.store.codec.leaves import text_node

        return {"$": "scalar", "text": text_node(str.__str__(value))}  # its own drops NULs
    if isinstance(value, np.bytes_):
        return {"$": "scalar", "bytes": value.hex()}
    return {"$": "scalar", "dtype": _describe(value.dtype), "value": np.asarray(value).tobytes().hex()}


def decode_scalar(node: Mapping[str, Any], text: str | None) -> Any:
    """The scalar of a node. `text` is that of a string, decoded."""
    import numpy as np

    if text is not None:
        return np.str_(text)
    if "bytes" in node:
        return np.bytes_(bytes.fromhex(node["bytes"]))
    dtype = _dtype(node["dtype"])
    raw = bytes.fromhex(node["value"])
    if len(raw) != dtype.itemsize:
        raise ValueError("a numpy scalar has the wrong length")
    return np.ndarray((), dtype, bytearray(raw))[()] if raw else np.zeros((), dtype)[()]


def _describe(dtype: np.dtype[Any]) -> object:
    """A dtype as JSON, byte order and padding included."""
    import numpy as np

    if dtype.hasobject or dtype.kind == "T" or dtype.isbuiltin == 2:
        raise CannotStore(f"has the dtype {dtype}, which cannot be stored; convert it with astype(...)")
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return {"base": _describe(base), "shape": list(shape)}
    if dtype.names is None:
        return dtype.str
    fields = [dtype.fields[name] for name in dtype.names] if dtype.fields is not None else []
    return {
        "names": list(dtype.names),
        "formats": [_describe(field[0]) for field in fields],
        "offsets": [field[1] for field in fields],
        "itemsize": dtype.itemsize,
        "aligned": dtype.isalignedstruct,
        "record": issubclass(dtype.type, np.record),
    }


def _dtype(node: Any) -> np.dtype[Any]:
    import numpy as np

    if isinstance(node, str):
        if not _DTYPE_TEXT.fullmatch(node):
            raise ValueError(f"{node!r:.40} is no dtype")
        dtype = np.dtype(node)
    elif "base" in node:
        dtype = np.dtype((_dtype(node["base"]), shape_of(node["shape"])))
    else:
        formats = [_dtype(it) for it in node["formats"]]
        spec: Any = {"formats": formats, **{name: node[name] for name in ("names", "offsets", "itemsize")}}
        dtype = np.dtype(spec, align=node["aligned"] is True)
        if node["record"] is True:
            dtype = np.dtype((np.record, dtype))
    if dtype.hasobject:
        raise ValueError("a dtype holds Python objects")
    return dtype


def shape_of(node: Any) -> tuple[int, ...]:
    """A shape in a node. ValueError where it is none."""
    shape = tuple(node)
    if any(type(size) is not int or size < 0 for size in shape):
        raise ValueError("a shape is impossible")
    return shape


def is_array(value: object) -> bool:
    """Whether a value is a numpy array; numpy is not imported for the answer."""
    return isinstance(value, _loaded("ndarray"))


def is_scalar(value: object) -> bool:
    """Whether a value is a numpy scalar; numpy is not imported for the answer."""
    return isinstance(value, _loaded("generic"))


def _loaded(name: str) -> Any:
    """A class of numpy; () where it is not loaded, or another thread has loaded it by half."""
    return getattr(sys.modules.get("numpy"), name, ())


def full_name(value: object) -> str:
    """The module and name of a value's class."""
    return f"{type(value).__module__}.{type(value).__qualname__}"
