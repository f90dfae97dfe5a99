"""The bytes of one stored value: JSON, and in the safetensors format where arrays or tensors belong to it.

Both hold the same text, the *content*, with the version of the format and a CRC-32. A value without arrays is
`{"metta_value":1,"crc32":"xxxxxxxx","content":CONTENT}`. Otherwise the content stands in the metadata of a
safetensors file, whose tensors other tools can read by name.

The safetensors format (https://huggingface.co/docs/safetensors, "Format") is written here and not by its library,
whose torch part refuses tied weights and views, whose numpy part has no bfloat16, and which a value of plain numbers
should not need.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from metta.sweep.errors import DamagedError, RefusedError
from metta.sweep.store.files import Bytes

FORMAT: Final = 1

_LENGTH: Final = struct.Struct("<Q")
_PREFIX: Final = b'{"metta_value":'
_HEAD: Final = b'{"metta_value":%d,"crc32":"%08x","content":'
_HEAD_LENGTH: Final = len(_HEAD % (FORMAT, 0))

# Bytes per element of the format's types.
ELEMENT_SIZES: Final[Mapping[str, int]] = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "C64": 8,
    "F8_E4M3": 1, "F8_E5M2": 1, "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """One tensor of a file.

    Args:
        code: its element type, a key of ELEMENT_SIZES.
        raw: its elements, little-endian, in C order.
    """

    code: str
    shape: tuple[int, ...]
    raw: Bytes


@dataclass(frozen=True, slots=True)
class Encoded:
    """The bytes of a value, in pieces, so that large arrays are not copied on their way to a file.

    Pieces of arrays are views: write them before the arrays change.
    """

    pieces: tuple[Bytes, ...]

    @property
    def nbytes(self) -> int:
        """The length of the whole in bytes."""
        return sum(memoryview(piece).nbytes for piece in self.pieces)

    def __iter__(self) -> Iterator[Bytes]:
        return iter(self.pieces)

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces)


def pack(content: bytes, parts: Mapping[str, Part]) -> Encoded:
    """The bytes of a value.

    Args:
        content: JSON text in UTF-8.
        parts: the tensors that it refers to, by name.
    """
    if not parts:
        return Encoded((_HEAD % (FORMAT, zlib.crc32(content)) + content + b"}",))
    entries: dict[str, object] = {}
    pieces: list[Bytes] = []
    offset = 0
    # Without gaps, as the format wants it, and each aligned to its element's size, as its readers want it.
    for name, part in sorted(parts.items(), key=lambda item: -ELEMENT_SIZES[item[1].code]):
        end = offset + memoryview(part.raw).nbytes
        entries[name] = {"dtype": part.code, "shape": list(part.shape), "data_offsets": [offset, end]}
        pieces.append(part.raw)
        offset = end
    checksum = _checksum(content, entries, pieces)
    metadata = {"metta_value": str(FORMAT), "crc32": f"{checksum:08x}", "content": content.decode()}
    header = json.dumps({"__metadata__": metadata, **entries}, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the data begin aligned
    return Encoded((_LENGTH.pack(len(header)) + header, *pieces))


def unpack(data: Bytes) -> tuple[Any, dict[str, Part]]:
    """What `pack` was given: the content, parsed, and the parts, which are views of `data`.

    Raises:
        DamagedError: these bytes are not what `pack` wrote.
        RefusedError: a newer release wrote them.
    """
    view = memoryview(data).cast("B")
    try:
        if bytes(view[: len(_PREFIX)]) == _PREFIX:
            return _unpack_plain(view), {}
        return _unpack_parts(view)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error) as error:
        raise DamagedError(_said(error)) from error


def _unpack_plain(view: memoryview) -> Any:
    head = bytes(view[:_HEAD_LENGTH])
    version, _, rest = head[len(_PREFIX) :].partition(b",")
    _check_version(version.decode("ascii"))
    body = view[_HEAD_LENGTH:-1]
    if len(view) <= _HEAD_LENGTH or view[-1] != ord("}") or head != _HEAD % (FORMAT, int(rest[9:17], 16)):
        raise ValueError("it is cut off or changed")
    if head != _HEAD % (FORMAT, zlib.crc32(body)):
        raise ValueError("its checksum does not fit")
    return _parse(bytes(body))


def _unpack_parts(view: memoryview) -> tuple[Any, dict[str, Part]]:
    (length,) = _LENGTH.unpack_from(view)
    if length > len(view) - _LENGTH.size:
        raise ValueError("it is cut off, or no stored value")
    header = _parse(bytes(view[_LENGTH.size : _LENGTH.size + length]))
    data = view[_LENGTH.size + length :]
    metadata = header.pop("__metadata__")
    _check_version(metadata["metta_value"])
    content = metadata["content"].encode()
    if int(metadata["crc32"], 16) != _checksum(content, header, [data]):
        raise ValueError("its checksum does not fit")
    return _parse(content), _parts(header, data)


def _parts(entries: Mapping[str, Any], data: memoryview) -> dict[str, Part]:
    """The tensors; they cover the data exactly, so that a small file cannot become many large arrays."""
    parts = {}
    expected = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        start, end = entry["data_offsets"]
        code, shape = entry["dtype"], tuple(entry["shape"])
        if start != expected or not start <= end <= len(data):
            raise ValueError(f"the tensor {name!r:.100} lies at a wrong place")
        if code not in ELEMENT_SIZES:
            raise ValueError(f"the tensor {name!r:.100} has an unknown type {code!r:.20}")
        if any(type(size) is not int or size < 0 for size in shape) or len(shape) > 64:
            raise ValueError(f"the tensor {name!r:.100} has an impossible shape")
        if math.prod(shape) * ELEMENT_SIZES[code] != end - start:
            raise ValueError(f"the tensor {name!r:.100} has another size than its shape says")
        parts[name] = Part(code, shape, data[start:end])
        expected = end
    if expected != len(data):
        raise ValueError("it has data behind its last tensor")
    return parts


def _check_version(text: str) -> None:
    if text != str(FORMAT):
        if text.isascii() and text.isdigit() and int(text) > FORMAT and len(text) < 6:
            raise RefusedError(
                f"it is written in format {text}, and this release of metta-sweep reads up to {FORMAT}: upgrade it"
            )
        raise ValueError("it has no version of the format")


def _checksum(content: bytes, entries: Mapping[str, object], pieces: Iterable[Bytes]) -> int:
    checksum = zlib.crc32(json.dumps(entries, sort_keys=True).encode(), zlib.crc32(content))
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
    return checksum


def _parse(text: bytes) -> Any:
    return _DECODER.decode(text.decode("utf-8"))


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("it says one thing twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"it has the number {name}, which JSON does not know")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def _said(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return str(error) if type(error) is ValueError else f"it is no stored value ({type(error).__name__}: {error})"
