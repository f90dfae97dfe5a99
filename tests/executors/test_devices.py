"""Which devices there are: from a variable, or from what a program lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from metta.sweep.executors.devices import describe, find_devices

MIG = "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f"
GPU = "GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0,1", ("0", "1")),
        (" 2 , 0 ", ("2", "0")),
        (f"{GPU},{MIG}", (GPU, MIG)),
        ("", ()),
        ("-1", ()),
        ("0,-1,1", ("0",)),  # so does CUDA
        ("0,0,1", ("0", "1")),
        ("NoDevFiles", ()),
    ],
)
def test_variable(value: str, expected: tuple[str, ...]) -> None:
    assert find_devices({"CUDA_VISIBLE_DEVICES": value}) == expected


def pretend(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = f"GPU 0: NVIDIA H200 (UUID: {GPU})\nGPU 1: NVIDIA H200 (UUID: GPU-2)"
    pretend(tmp_path, monkeypatch, f'test "$1" = -L && printf "{listed}\n"')
    assert find_devices({}) == (GPU, "GPU-2")


def test_slices_stand_for_their_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = (
        f"GPU 0: NVIDIA A100 (UUID: {GPU})\n"
        f"  MIG 3g.20gb     Device  0: (UUID: {MIG})\n"
        f"  MIG 3g.20gb     Device  1: (UUID: MIG-2)\n"
        f"GPU 1: NVIDIA A100 (UUID: GPU-2)"
    )
    pretend(tmp_path, monkeypatch, f'printf "{listed}\n"')
    assert find_devices({}) == (MIG, "MIG-2", "GPU-2")


@pytest.mark.parametrize("script", ["exit 9", "echo 'NVIDIA-SMI has failed'; exit 0", "kill -9 $$"])
def test_broken_driver(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(tmp_path, monkeypatch, script)
    assert find_devices({}) == ()


def test_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_devices({}) == ()


def test_described() -> None:
    assert describe(("0", "1"), {"CUDA_VISIBLE_DEVICES": "0,1"}) == "2 (0, 1; from CUDA_VISIBLE_DEVICES='0,1')"
    assert describe((), {}) == "0 (none; from nvidia-smi -L)"
