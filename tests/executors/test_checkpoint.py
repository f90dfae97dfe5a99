"""States of trials on disk: what goes in comes out, whatever happens in between. The codec has its own tests."""

from __future__ import annotations

import errno
import os
import random
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metta.sweep.errors import DamagedError, StorageError, UsageError
from metta.sweep.executors.checkpoint import read_state, write_state


def round_trip(path: Path, state: object) -> Any:
    write_state(path, state)
    return read_state(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.safetensors"


@dataclass
class State:
    epoch: int
    weights: dict[str, torch.Tensor]


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


def test_a_state_may_be_a_record(path: Path) -> None:
    back = round_trip(path, State(3, {"weight": torch.eye(2)}))
    assert type(back) is State
    assert back.epoch == 3
    assert torch.equal(back.weights["weight"], torch.eye(2))


def test_other_tools_can_read_the_tensors(path: Path) -> None:
    from safetensors.torch import load_file

    state = OrderedDict(model=OrderedDict(weight=torch.eye(2), bias=torch.ones(2).bfloat16()), lr=0.1)
    write_state(path, {**state, "array": np.arange(3)})
    tensors = load_file(path)
    assert sorted(tensors) == ["array", "model.bias", "model.weight"]
    assert torch.equal(tensors["model.weight"], torch.eye(2))
    assert tensors["model.bias"].dtype is torch.bfloat16


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": [1, object()]}, r'save\(state\): state\["a"\]\[1\] is an object, which cannot be stored'),
        (torch.nn.Linear(1, 1), r"save\(state\): state is a .*Linear, .*; store its state_dict\(\)"),
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
    with pytest.raises(StorageError, match=r"cannot write .*state\.safetensors: No space left .*make room"):
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
        with pytest.raises(DamagedError, match=r"state\.safetensors is damaged: "):
            read_state(path)


def test_a_missing_state_is_named(path: Path) -> None:
    with pytest.raises(StorageError, match=r"the saved state .*state\.safetensors is missing"):
        read_state(path)
