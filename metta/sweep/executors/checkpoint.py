"""States of trials on disk: one file per state, with nothing in it that could execute.

A state is what the store's codec takes: tensors, arrays, numbers, text, and lists, dicts and records of these:
`model.state_dict()`, an optimizer's, generators' states. Its tensors can be read by other tools, named by their path in
it ("model.0.weight").
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metta.sweep.errors import StorageError, UsageError
from metta.sweep.store.codec import Unstorable, dumps, loads
from metta.sweep.store.files import read_file, write_file


def write_state(path: Path, state: object) -> None:
    """Write a state so that `path` is, at every instant, what it was before or the whole new state.

    Raises:
        UsageError: something in the state cannot be stored; the message gives its path in the state.
        StorageError: the disk is full, for instance.
    """
    try:
        encoded = dumps(state, "state")
    except Unstorable as error:
        raise UsageError(f"save(state): {error}") from None
    write_file(path, encoded)


def read_state(path: Path) -> Any:
    """The state in a file that `write_state` wrote. Tensors come back on the CPU.

    Raises:
        DamagedError: the file is damaged, or no state of ours.
        StorageError: it is missing or cannot be read.
    """
    try:
        content = read_file(path)
    except FileNotFoundError:
        raise StorageError(f"the saved state {path} is missing", path=str(path)) from None
    return loads(content, path=path)
