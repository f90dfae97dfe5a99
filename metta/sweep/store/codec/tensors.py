"""torch tensors as parts of a file, and back, as arrays.py has it for numpy."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from metta.sweep.store.codec.arrays import NUMPY_CODES, Parts, full_name, shape_of
from metta.sweep.store.codec.place import CannotStore, Place
from metta.sweep.store.container import Part

if TYPE_CHECKING:
    import torch

TORCH_CODES: Final[Mapping[str, str]] = {
    **NUMPY_CODES,
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
}
_TORCH_NAMES: Final = {code: name for name, code in TORCH_CODES.items()}


def encode_tensor(tensor: torch.Tensor, parts: Parts, place: Place) -> dict[str, object]:
    """The node of a tensor; its elements become a part. Tensors that are one piece of memory become one part.

    Raises:
        CannotStore: it is sparse, quantized, without data or of a subclass.
    """
    import torch

    if type(tensor) is not torch.Tensor and type(tensor) is not torch.nn.Parameter:
        raise CannotStore(
            f"is a {full_name(tensor)}, a subclass of Tensor; store .as_subclass(torch.Tensor) of it, or its parts"
        )
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_nested:
        raise CannotStore("is a sparse, nested or quantized tensor, which cannot be stored; store its parts")
    if tensor.is_meta:
        raise CannotStore('is a tensor on the device "meta": it has no data to store')
    dtype = str(tensor.dtype).removeprefix("torch.")
    code = TORCH_CODES.get(dtype)
    key = (
        "tensor", str(tensor.device), tensor.untyped_storage().data_ptr() if tensor.numel() else id(tensor), dtype,
        tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.is_conj(), tensor.is_neg(),
    )  # fmt: skip
    name = parts.known(key)
    if name is None:
        plain = tensor.detach().to("cpu").resolve_conj().resolve_neg().contiguous()
        try:
            # The bytes, not the numbers: numpy has no bfloat16.
            raw = plain.reshape(-1).view(torch.uint8).numpy()
        except RuntimeError as error:
            raise CannotStore(f"has the dtype {tensor.dtype}, which cannot be stored ({error})") from error
        shape = tuple(tensor.shape) if code is not None else (raw.nbytes,)
        name = parts.add(place, tensor, key, Part(code or "U8", shape, raw.data))
    node: dict[str, object] = {"$": "tensor", "part": name}
    if code is None:
        node["dtype"] = dtype
        node["shape"] = list(tensor.shape)
    if isinstance(tensor, torch.nn.Parameter):
        node["parameter"] = True
    if tensor.requires_grad:
        node["grad"] = True
    return node


def decode_tensor(node: Mapping[str, Any], part: Part) -> torch.Tensor:
    """The elements of a tensor, on the CPU, in memory of its own; without what `finish_tensor` adds.

    ValueError, TypeError, KeyError or RuntimeError where node and part do not fit.
    """
    import numpy as np
    import torch

    name = node["dtype"] if "dtype" in node else _TORCH_NAMES[part.code]
    dtype = getattr(torch, name) if isinstance(name, str) and name.isidentifier() else None
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"torch has no dtype {name!r:.40} here")
    shape = shape_of(node["shape"]) if "shape" in node else part.shape
    # A copy: several tensors of one file must not keep, or share, its whole content.
    raw = torch.from_numpy(np.frombuffer(part.raw, np.uint8).copy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls complex32 experimental
        if not raw.numel():
            return torch.empty(shape, dtype=dtype)
        return raw.view(dtype).reshape(shape)


def finish_tensor(node: Mapping[str, Any], tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, or Parameter, of a node whose elements are in `tensor`; it shares its memory."""
    import torch

    grad = node.get("grad") is True
    if node.get("parameter") is True:
        return torch.nn.Parameter(tensor, requires_grad=grad)
    return tensor.detach().requires_grad_() if grad else tensor


def is_tensor(value: object) -> bool:
    """Whether a value is a tensor; torch is not imported for the answer."""
    # Another thread may have loaded it by half.
    return isinstance(value, getattr(sys.modules.get("torch"), "Tensor", ()))
