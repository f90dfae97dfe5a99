"""States on disk: what goes in comes out, whatever happens in between."""

from __future__ import annotations

import errno
import math
import os
import random
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.errors import RunError, UsageError
from metta.sweep.executors.checkpoint import read_state, write_state


def round_trip(path: Path, state: object) -> Any:
    write_state(path, state)
    return read_state(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.safetensors"


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(max_size=20)
)
keys = st.one_of(st.text(max_size=5), st.integers(), st.sampled_from(["$", "__metadata__", "a.b"]))
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.frozensets(st.integers(), max_size=3),
    ),
    max_leaves=20,
)


@given(trees)
@settings(max_examples=150, derandomize=True, deadline=None)
def test_trees_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, tree: object) -> None:
    back = round_trip(tmp_path_factory.getbasetemp() / "tree.safetensors", tree)
    assert back == tree
    assert shape(back) == shape(tree)


def shape(tree: object) -> str:
    """The tree with its types spelled out (1 == 1.0 == True), independent of the order of sets."""
    if isinstance(tree, frozenset):
        return f"frozenset({sorted(map(shape, tree))})"
    if isinstance(tree, (list, tuple)):
        return f"{type(tree).__name__}({[shape(item) for item in tree]})"
    if isinstance(tree, dict):
        return f"dict({[(shape(key), shape(value)) for key, value in tree.items()]})"
    return repr(tree)


@pytest.mark.parametrize(
    "dtype",
    ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"],
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4)])
def test_tensors(path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    tensor = torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(1)).to(getattr(torch, dtype))
    back = round_trip(path, tensor)
    assert back.dtype is tensor.dtype
    assert torch.equal(back, tensor)
    assert back.shape == tensor.shape


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", "f2", "<i8", ">u2", "u1", "?", "<u8"])
def test_arrays(path: Path, dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)[:, ::-1]  # neither contiguous nor little-endian
    back = round_trip(path, {"a": array})["a"]
    assert isinstance(back, np.ndarray)
    assert back.dtype == array.dtype.newbyteorder("=")
    assert np.array_equal(back, array)
    back[...] = 0  # it is ours to write to


def test_scalars(path: Path) -> None:
    back = round_trip(path, [np.float32(1.5), np.int64(3), np.bool_(True), math.nan, -math.inf])
    assert [type(value) for value in back[:3]] == [np.float32, np.int64, np.bool_]
    assert math.isnan(back[3])
    assert back[4] == -math.inf


def test_training_goes_on_exactly(path: Path) -> None:
    def build() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1))
        return model, torch.optim.AdamW(model.parameters(), lr=0.01)

    def train(model: torch.nn.Module, optimizer: torch.optim.Optimizer, rng: torch.Generator) -> None:
        for _ in range(5):
            loss = model(torch.randn(16, 4, generator=rng)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    model, optimizer = build()
    rng = torch.Generator().manual_seed(7)
    train(model, optimizer, rng)
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": rng.get_state(), "epoch": 5}
    write_state(path, state)
    train(model, optimizer, rng)

    state = read_state(path)
    again, its_optimizer = build()
    again.load_state_dict(state["model"])
    its_optimizer.load_state_dict(state["optimizer"])
    its_rng = torch.Generator()
    its_rng.set_state(state["rng"])
    train(again, its_optimizer, its_rng)
    assert state["epoch"] == 5
    assert all(map(torch.equal, model.state_dict().values(), again.state_dict().values()))


def test_random_generators(path: Path) -> None:
    state = {"python": random.Random(3).getstate(), "numpy": np.random.default_rng(3).bit_generator.state}
    back = round_trip(path, state)
    assert back == state
    random.Random().setstate(back["python"])


def test_tied_and_overlapping_tensors(path: Path) -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    back = round_trip(path, {"a": weight, "b": weight, "row": weight[1], "turned": weight.T})
    assert torch.equal(back["b"], weight)
    assert torch.equal(back["row"], weight[1])
    assert torch.equal(back["turned"], weight.T)
    back["row"][...] = 0
    assert torch.equal(back["a"], weight)
    assert path.stat().st_size < 2000


def test_other_tools_can_read_the_tensors(path: Path) -> None:
    from safetensors.torch import load_file

    state = OrderedDict(model=OrderedDict(weight=torch.eye(2), bias=torch.ones(2).bfloat16()), lr=0.1)
    write_state(path, state | {"array": np.arange(3)})
    tensors = load_file(path)
    assert sorted(tensors) == ["array", "model.bias", "model.weight"]
    assert torch.equal(tensors["model.weight"], torch.eye(2))
    assert tensors["model.bias"].dtype is torch.bfloat16


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": [1, object()]}, r"save\(state\): a\.1 is a builtins\.object, which cannot be stored"),
        (torch.nn.Linear(1, 1), r"the state is a torch\.nn\.modules\.linear\.Linear, which .* state_dict\(\)"),
        ({"z": torch.zeros(1, dtype=torch.complex64)}, r"z has the dtype torch\.complex64"),
        ({"z": np.array(["text"])}, r"z has the dtype <U4"),
        ({"z": np.array([object()])}, r"z has the dtype object"),
        ({"s": torch.eye(2).to_sparse()}, r"s is a sparse or quantized tensor"),
        ({(1, object()): 1}, r"a key of the state\.1 is a builtins\.object"),
    ],
)
def test_what_cannot_be_stored(path: Path, state: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        write_state(path, state)
    assert list(path.parent.iterdir()) == []


def test_failed_write_leaves_the_old_state(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_state(path, {"epoch": 1})

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_state(path, {"epoch": 2})
    assert read_state(path) == {"epoch": 1}
    assert list(path.parent.iterdir()) == [path]


def test_every_damage_is_noticed(path: Path) -> None:
    write_state(path, {"weight": torch.arange(4.0), "epoch": 3})
    good = path.read_bytes()
    damaged = [good[:length] for length in range(0, len(good), 7)]
    damaged += [
        good[:position] + bytes([good[position] ^ flipped]) + good[position + 1 :]
        for position in range(len(good))
        for flipped in (0x01, 0xFF)
    ]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(RunError, match="is damaged, or no saved state"):
            read_state(path)
