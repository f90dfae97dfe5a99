"""Folders in folders, deeper than Python can follow or a path can say."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEPTH = 1_200


@contextmanager
def deep_folders(parent: Path) -> Iterator[None]:
    """`DEPTH` folders, each in the one before, the first in `parent`. They are always removed again: pytest cannot
    remove them, and its next run, which clears up after this one, would end with an error."""
    first = parent / "d"
    try:
        first.mkdir(parents=True)
        here = os.open(first, os.O_RDONLY)
        for _ in range(DEPTH):  # step by step: the whole path is longer than a system call takes
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(here)
        yield
    finally:
        subprocess.run(["rm", "-rf", first], check=True)
