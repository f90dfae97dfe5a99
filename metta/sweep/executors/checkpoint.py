"""States of trials on disk: one file per state, in the safetensors format, with nothing that could execute.

A state is a tree of dicts, lists and tuples whose leaves are torch tensors, numpy arrays, numbers, text, bytes, bool
or None: `model.state_dict()`, an optimizer's, generators' states, and whatever numbers stand beside them. Tensors
and arrays become tensors of the file, named by their path in the tree ("model.0.weight"), so that other tools can
read them; the tree itself is JSON in the file's metadata.

The format (https://huggingface.co/docs/safetensors, "Format") is written here and not by its library, whose torch
part refuses tied weights and views, whose numpy part has no bfloat16, and which a state of plain numbers should
not need. A CRC-32 tells a damaged file from a good one.
"""

from __future__ import annotations

import base64
import json
import math
import os
import struct
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from metta.sweep.errors import RunError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import torch

_LENGTH: Final = struct.Struct("<Q")
_TAG: Final = "$"
_CODES: Final[Mapping[str, str]] = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip


def write_state(path: Path, state: object) -> None:
    """Write a state so that `path` is, at every instant, what it was before or the whole new state.

    Raises:
        UsageError: something in the state cannot be stored; the message gives its path in the tree.
        OSError: the disk's own errors.
    """
    encoder = _Encoder()
    tree = json.dumps(encoder.encode(state, ""))
    checksum = _checksum(tree, encoder.entries, encoder.pieces)
    header: dict[str, object] = {"__metadata__": {"metta_state": tree, "crc32": f"{checksum:08x}"}}
    text = json.dumps(header | encoder.entries).encode()
    text += b" " * (-len(text) % 8)  # the format wants the data aligned
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(_LENGTH.pack(len(text)))
            file.write(text)
            for piece in encoder.pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        replace_durably(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace_durably(source: Path, target: Path) -> None:
    """Rename within one folder, and have the folder remember it after a power cut."""
    os.replace(source, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_state(path: Path) -> Any:
    """The state in a file that `write_state` wrote. Tensors come back on the CPU.

    Raises:
        RunError: the file is damaged or no state of ours.
        OSError: it cannot be read.
    """
    content = bytearray(path.read_bytes())
    try:
        (length,) = _LENGTH.unpack_from(content)
        header = json.loads(content[_LENGTH.size : _LENGTH.size + length])
        data = memoryview(content)[_LENGTH.size + length :]
        metadata = header.pop("__metadata__")
        tree = metadata["metta_state"]
        if int(metadata["crc32"], 16) != _checksum(tree, header, [data]):
            raise ValueError("its checksum does not fit")
        return _Decoder(header, data).decode(json.loads(tree))
    except (ValueError, KeyError, TypeError, RuntimeError, struct.error) as error:
        raise RunError(f"{path} is damaged, or no saved state: {error}") from error


def _checksum(tree: str, entries: Mapping[str, object], pieces: Sequence[memoryview]) -> int:
    checksum = zlib.crc32((tree + json.dumps(entries, sort_keys=True)).encode())
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
    return checksum


class _Encoder:
    """Turns a tree into JSON values, and collects its tensors on the way."""

    def __init__(self) -> None:
        self.entries: dict[str, object] = {}
        self.pieces: list[memoryview] = []
        self._offset = 0
        self._known: dict[int, tuple[str, object]] = {}

    def encode(self, value: object, path: str) -> object:
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        if kind is float:
            return value if math.isfinite(value) else {_TAG: "float", "value": str(value)}  # type: ignore[arg-type]
        if isinstance(value, Mapping):
            return self._encode_mapping(value, path)
        if kind is list:
            return list(self._encode_items(value, path))
        if kind is tuple or kind is set or kind is frozenset:
            return {_TAG: kind.__name__, "items": list(self._encode_items(value, path))}
        if kind is bytes:
            return {_TAG: "bytes", "value": base64.b64encode(value).decode()}  # type: ignore[arg-type]
        if (torch := sys.modules.get("torch")) is not None and isinstance(value, torch.Tensor):
            return {_TAG: "tensor", "name": self._add_tensor(value, path)}
        if (numpy := sys.modules.get("numpy")) is not None:
            if isinstance(value, numpy.ndarray):
                return {_TAG: "array", "name": self._add_array(value, path)}
            if isinstance(value, numpy.generic):
                return {_TAG: "scalar", "name": self._add_array(numpy.asarray(value), path)}
        if isinstance(value, int | float | str):  # a subclass: an enum's member, a named int
            return self.encode(next(base for base in (int, float, str) if isinstance(value, base))(value), path)
        raise UsageError(
            f"save(state): {path or 'the state'} is a {kind.__module__}.{kind.__qualname__}, which cannot be stored; "
            "save its state_dict(), or tensors, arrays, numbers, text, and lists and dicts of these"
        )

    def _encode_mapping(self, value: Mapping[Any, object], path: str) -> object:
        if all(type(key) is str for key in value) and _TAG not in value:
            return {key: self.encode(item, _join(path, key)) for key, item in value.items()}
        items = [
            [self.encode(key, f"a key of {path or 'the state'}"), self.encode(item, _join(path, str(key)))]
            for key, item in value.items()
        ]
        return {_TAG: "dict", "items": items}

    def _encode_items(self, value: Any, path: str) -> Iterator[object]:
        for index, item in enumerate(value):
            yield self.encode(item, _join(path, str(index)))

    def _add_tensor(self, tensor: torch.Tensor, path: str) -> str:
        import torch

        if id(tensor) in self._known:  # tied weights are stored once
            return self._known[id(tensor)][0]
        if tensor.layout is not torch.strided or tensor.is_quantized:
            raise UsageError(
                f"save(state): {path} is a sparse or quantized tensor, which cannot be stored; save its parts"
            )
        code = _CODES.get(str(tensor.dtype).removeprefix("torch."))
        if code is None:
            raise UsageError(f"save(state): {path} has the dtype {tensor.dtype}, which cannot be stored")
        plain = tensor.detach().to("cpu").resolve_conj().resolve_neg().contiguous()
        # The bytes, not the numbers: numpy has no bfloat16.
        raw: np.ndarray[Any, Any] = plain.reshape(-1).view(torch.uint8).numpy()
        return self._add(path, code, tuple(tensor.shape), raw.data, tensor)

    def _add_array(self, array: np.ndarray[Any, Any], path: str) -> str:
        if id(array) in self._known:
            return self._known[id(array)][0]
        code = _CODES.get(array.dtype.name)
        if code is None:
            raise UsageError(f"save(state): {path} has the dtype {array.dtype}, which cannot be stored")
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        return self._add(path, code, array.shape, memoryview(little.tobytes()), array)

    def _add(self, path: str, code: str, shape: tuple[int, ...], raw: memoryview, owner: object) -> str:
        name = path or "state"
        while name in self.entries or name == "__metadata__":  # {"a.b": x, "a": {"b": y}}
            name += "_"
        end = self._offset + raw.nbytes
        self.entries[name] = {"dtype": code, "shape": list(shape), "data_offsets": [self._offset, end]}
        self.pieces.append(raw)
        self._offset = end
        self._known[id(owner)] = (name, owner)  # the owner is kept so that its id stays its own
        return name


class _Decoder:
    """The way back."""

    def __init__(self, entries: Mapping[str, Any], data: memoryview) -> None:
        self._entries = entries
        self._data = data

    def decode(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        if _TAG not in value:
            return {key: self.decode(item) for key, item in value.items()}
        match value[_TAG]:
            case "dict":
                return {self.decode(key): self.decode(item) for key, item in value["items"]}
            case "tuple":
                return tuple(map(self.decode, value["items"]))
            case "set":
                return set(map(self.decode, value["items"]))
            case "frozenset":
                return frozenset(map(self.decode, value["items"]))
            case "float":
                return float(value["value"])
            case "bytes":
                return base64.b64decode(value["value"])
            case "tensor":
                return self._tensor(value["name"])
            case "array":
                return self._array(value["name"])
            case "scalar":
                return self._array(value["name"])[()]
            case tag:
                raise ValueError(f"it has an unknown part {tag!r}")

    def _part(self, name: str) -> tuple[str, list[int], memoryview]:
        entry = self._entries[name]
        start, end = entry["data_offsets"]
        if not 0 <= start <= end <= len(self._data):
            raise ValueError(f"the tensor {name!r} lies outside of the file")
        dtype = next(known for known, code in _CODES.items() if code == entry["dtype"])
        return dtype, entry["shape"], self._data[start:end]

    def _tensor(self, name: str) -> torch.Tensor:
        import torch

        dtype, shape, raw = self._part(name)
        if not raw.nbytes:
            return torch.empty(shape, dtype=getattr(torch, dtype))
        # A copy: several tensors of one file must not keep, or share, its whole content.
        return torch.frombuffer(raw, dtype=getattr(torch, dtype)).reshape(shape).clone()

    def _array(self, name: str) -> np.ndarray[Any, Any]:
        import numpy as np

        dtype, shape, raw = self._part(name)
        return np.frombuffer(raw, dtype=np.dtype(dtype).newbyteorder("<")).reshape(shape).astype(dtype)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
