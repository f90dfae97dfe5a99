"""Arrays and tensors through the codec: every type, every layout, and readable by other tools."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metta.sweep.store.codec import Unstorable, dumps, loads
from metta.sweep.store.container import ELEMENT_SIZES


def round_trip(value: object, tp: Any = None) -> Any:
    return loads(bytes(dumps(value)), tp)


def assert_same(back: Any, array: np.ndarray[Any, Any]) -> None:
    assert type(back) is np.ndarray
    assert back.dtype == array.dtype
    assert back.dtype.byteorder == array.dtype.byteorder
    assert back.shape == array.shape
    assert elements(back) == elements(array)
    assert back.flags.f_contiguous == array.flags.f_contiguous or not array.flags.forc
    assert back.flags.writeable
    assert back.base is None or back.base.flags.owndata


def elements(array: np.ndarray[Any, Any]) -> list[bytes]:
    """The bytes of the elements, without those between the fields or behind the digits of a long double."""
    if array.dtype.names is not None:
        return [it for name in array.dtype.names for it in elements(array[name])]
    if array.dtype.char in "gG":
        return [repr(array.tolist()).encode()]
    return [array.tobytes()]


PADDED = np.dtype({"names": ["a", "b"], "formats": ["i1", ">f8"], "offsets": [1, 8], "itemsize": 24})
DTYPES: list[Any] = [
    "?", "i1", "u1", "<i2", ">i2", "<u2", "<i4", ">u4", "<i8", ">i8", "<u8", "<f2", ">f2", "<f4", ">f4", "<f8", ">f8",
    "g", "<c8", ">c8", "<c16", ">c16", "G", "S3", "<U2", ">U2", "V5", "<M8[ns]", ">M8[s]", "<M8[25us]", "<m8[D]", "m8",
    [("a", "<i4"), ("b", ">f8", (2, 2)), ("c", [("d", "S1")])], PADDED, np.dtype("i1,f8", align=True),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4)], ids=str)
def test_arrays(dtype: Any, shape: tuple[int, ...]) -> None:
    kind = np.dtype(dtype)
    raw = np.random.default_rng(3).integers(0, 2, (*shape, kind.itemsize), np.uint8)
    array = np.ndarray(shape, kind, raw.tobytes()).copy() if raw.size else np.zeros(shape, kind)
    assert_same(round_trip({"a": array})["a"], array)
    assert_same(round_trip(np.asfortranarray(array)), np.asfortranarray(array))
    if array.ndim:
        assert_same(round_trip(array[::-1]), array[::-1])


def test_memory_layouts() -> None:
    array = np.arange(24.0).reshape(2, 3, 4)
    assert round_trip(array.T).flags.f_contiguous
    assert np.array_equal(round_trip(array[:, ::-1, 1]), array[:, ::-1, 1])
    assert np.array_equal(round_trip(np.broadcast_to(array[0, 0], (5, 4))), np.broadcast_to(array[0, 0], (5, 4)))


def test_mapped_arrays_come_back_as_arrays(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "file", dtype="f4", mode="w+", shape=(3,))
    mapped[:] = [1, 2, 3]
    assert_same(round_trip(mapped), np.array([1, 2, 3], "f4"))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_scalars(dtype: Any) -> None:
    value = np.zeros(2, dtype)[0]
    if isinstance(value, np.generic):
        back = round_trip([value])[0]
        assert type(back) is type(value)
        assert elements(np.asarray(back)) == elements(np.asarray(value))
        assert back.dtype == value.dtype


def test_scalars_of_text_keep_their_end() -> None:
    for value in (np.str_("a\0"), np.str_(""), np.str_("half \udc80"), np.bytes_(b"a\0"), np.bytes_(b"")):
        back = round_trip({"a": value})["a"]
        assert type(back) is type(value)
        assert list(back) == list(value)  # numpy's own comparison takes no notice of NULs


def test_records_of_numpy() -> None:
    array = np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])
    back = round_trip(np.asarray(array))
    assert back.dtype == array.dtype
    scalar: Any = round_trip(array[0])
    assert type(scalar) is np.record
    assert scalar.b == 2.0


TORCH_DTYPES = [
    "float64", "float32", "float16", "bfloat16", "complex128", "complex64", "complex32", "float8_e4m3fn", "float8_e5m2",
    "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "int64", "int32", "int16", "int8", "uint64", "uint32",
    "uint16", "uint8", "bool",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize("dtype", TORCH_DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4)], ids=str)
def test_tensors(dtype: str, shape: tuple[int, ...]) -> None:
    if not hasattr(torch, dtype):
        pytest.skip(f"this torch has no {dtype}")
    kind = getattr(torch, dtype)
    size = torch.empty(0, dtype=kind).element_size()
    raw = torch.randint(0, 2, (*shape, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    tensor = raw.view(kind).reshape(shape) if raw.numel() else torch.empty(shape, dtype=kind)
    back = round_trip({"a": [tensor]})["a"][0]
    assert type(back) is torch.Tensor
    assert back.dtype is kind
    assert back.shape == tensor.shape
    assert bytes_of(back) == bytes_of(tensor)


def bytes_of(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def test_flags_of_tensors() -> None:
    values = [torch.ones(2, requires_grad=True), torch.nn.Parameter(torch.ones(2)),
              torch.nn.Parameter(torch.arange(2), requires_grad=False)]  # fmt: skip
    back = round_trip(values)
    assert [type(it) for it in back] == [torch.Tensor, torch.nn.Parameter, torch.nn.Parameter]
    assert [it.requires_grad for it in back] == [True, True, False]
    assert [it.is_leaf for it in back] == [True, True, True]


def test_lazy_views_of_tensors() -> None:
    numbers = torch.tensor([1 + 2j, 3 - 1j])
    for tensor in (
        numbers.conj(),
        numbers.conj().imag,
        torch.arange(12).reshape(3, 4).T[1:, ::2],
        numbers.expand(2, 2),
    ):
        assert torch.equal(round_trip(tensor), tensor)


def test_tied_tensors_are_stored_once_and_come_back_tied() -> None:
    weight = torch.arange(60_000.0).reshape(200, 300)
    value = {"a": weight, "b": weight.detach(), "c": torch.nn.Parameter(weight), "row": weight[1], "turned": weight.T}
    encoded = dumps(value)
    assert 2 * weight.nbytes < encoded.nbytes < 2.1 * weight.nbytes
    back = loads(bytes(encoded))
    assert torch.equal(back["turned"], weight.T)
    assert torch.equal(back["row"], weight[1])
    back["a"][1] = 0
    assert torch.equal(back["b"], back["a"])
    assert torch.equal(back["c"], back["a"])
    assert torch.equal(back["row"], weight[1])

    array = np.zeros(3)
    pair = round_trip([array, array])
    assert pair[0] is pair[1]


def test_nothing_is_copied_on_the_way_to_the_file() -> None:
    array, tensor = np.zeros(1000), torch.zeros(1000)
    pieces = dumps([array, tensor, np.asfortranarray(np.zeros((3, 3)))]).pieces
    assert any(np.shares_memory(np.frombuffer(piece, np.uint8), array) for piece in pieces[1:])
    tensor.fill_(1.0)
    assert any(bytes(piece) == bytes_of(torch.ones(1000)) for piece in pieces[1:])


def test_other_tools_read_every_tensor(tmp_path: Path) -> None:
    from safetensors import safe_open

    value = {
        "byte": torch.ones(3, dtype=torch.uint8), "half": torch.ones(3).half(), "double": torch.ones(3).double(),
        "complex": torch.ones(3, dtype=torch.complex64), "bytes": b"x" * 5001, "raw": np.array(["a", "bc"]),
        "big": np.arange(3, dtype=">i8"), "a": {"b": np.arange(2)}, "a.b": np.arange(3), "__metadata__": np.arange(4),
        "list": [np.float64(3), np.arange(5)], "half \udc80": np.arange(6),
    }  # fmt: skip
    path = tmp_path / "value.safetensors"
    path.write_bytes(bytes(dumps(value)))
    (length,) = struct.unpack_from("<Q", path.read_bytes())
    header = json.loads(path.read_bytes()[8 : 8 + length])
    del header["__metadata__"]
    assert {entry["data_offsets"][0] % ELEMENT_SIZES[entry["dtype"]] for entry in header.values()} == {0}
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert tensors["half"].dtype is torch.float16
    assert torch.equal(tensors["big"], torch.arange(3))
    assert torch.equal(tensors["double"], torch.ones(3, dtype=torch.float64))
    assert tensors["complex"].dtype is torch.complex64
    assert sorted(len(it) for name, it in tensors.items() if name.startswith("a.b")) == [2, 3]
    assert torch.equal(tensors["list.1"], torch.arange(5))
    assert round_trip(value)["a"]["b"].tolist() == [0, 1]


@dataclass
class Weights:
    values: np.ndarray[Any, Any]
    tensor: torch.Tensor


def test_in_records() -> None:
    value = Weights(np.arange(3), torch.ones(2))
    back = round_trip(value, Weights)
    assert back.values.tolist() == [0, 1, 2]
    assert torch.equal(back.tensor, value.tensor)


class OwnArray(np.ndarray[Any, Any]):
    pass


class OwnTensor(torch.Tensor):
    pass


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.array([object()]), "has the dtype object, which cannot be stored"),
        (np.zeros(2, [("a", object)]), "has the dtype .*, which cannot be stored"),
        (np.zeros(2).view(OwnArray), "is a .*OwnArray, a subclass of ndarray"),
        (np.ma.masked_array([1]), "is a numpy.*MaskedArray, a subclass of ndarray"),
        (torch.eye(2).to_sparse(), "is a sparse, nested or quantized tensor"),
        (torch.empty(2, device="meta"), 'is a tensor on the device "meta"'),
        (torch.ones(2).as_subclass(OwnTensor), "is a .*OwnTensor, a subclass of Tensor"),
        (np.dtype("i4"), "store its str"),
        (torch.float32, "store its name"),
        (np.random.default_rng(1), r"store its bit_generator\.state"),
    ],
)  # fmt: skip
def test_what_cannot_be_stored(value: object, message: str) -> None:
    with pytest.raises(Unstorable, match=r'results\["a"\] ' + ".*" + message):
        dumps({"a": value}, "results")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_devices_come_back_on_the_cpu() -> None:
    back = round_trip({"a": torch.ones(3, device="cuda")})["a"]
    assert back.device.type == "cpu"
    assert torch.equal(back, torch.ones(3))
