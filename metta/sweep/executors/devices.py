"""The GPUs of this machine that this process may use."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import Final

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"

_TIMEOUT: Final = 30.0  # seconds: a driver that has to wake up its devices takes its time


def find_devices(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The names of the devices, as `CUDA_VISIBLE_DEVICES` takes them: indices, or UUIDs of GPUs or of MIG slices.

    Those of an existing `CUDA_VISIBLE_DEVICES`, else what `nvidia-smi -L` lists (it asks NVML), else none. Without
    that variable it starts a process, which can take seconds.
    """
    visible = environment.get(VISIBLE)
    return _listed(_list_devices()) if visible is None else _visible(visible)


def describe(devices: tuple[str, ...], environment: Mapping[str, str] = os.environ) -> str:
    """What there is, for a message: `2 (0, 1; from CUDA_VISIBLE_DEVICES)`."""
    source = f"{VISIBLE}={environment[VISIBLE]!r}" if VISIBLE in environment else "nvidia-smi -L"
    return f"{len(devices)} ({', '.join(devices) or 'none'}; from {source})"


def _visible(value: str) -> tuple[str, ...]:
    """The devices in a value of `CUDA_VISIBLE_DEVICES`; like CUDA, it ends at the first entry that is none."""
    found: list[str] = []
    for entry in value.split(","):
        name = entry.strip()
        if not re.fullmatch(r"\d+|(GPU|MIG)-[\w/-]+", name):
            break
        if name not in found:
            found.append(name)
    return tuple(found)


def _list_devices() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        done = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):  # a broken driver: as good as none
        return ""
    return done.stdout if done.returncode == 0 else ""


def _listed(text: str) -> tuple[str, ...]:
    """The devices in the output of `nvidia-smi -L`; of a GPU that is cut into MIG slices, the slices."""
    found: list[str] = []
    whole = False  # whether the last entry is a GPU of which no slice was seen
    for line in text.splitlines():
        match = re.match(r"\s*(GPU|MIG) .*\(UUID: ([\w/-]+)\)", line)
        if match is None:
            continue
        if match[1] == "MIG" and whole:
            found.pop()
        found.append(match[2])
        whole = match[1] == "GPU"
    return tuple(found)
