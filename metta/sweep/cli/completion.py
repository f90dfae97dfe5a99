"""What the shell completes RUN with. The shell waits for it, so nothing heavy is imported and no run is read."""

from __future__ import annotations

from itertools import islice
from typing import Final

from metta.sweep.store.runs import Store

MOST: Final = 200


def run_ids(start: str) -> list[str]:
    """The ids in the default store that begin so, at most 200."""
    try:
        names = (entry.name for entry in Store.at().runs_folder.iterdir() if entry.name.startswith(start))
        return sorted(islice((name for name in names if not name.startswith(".")), MOST))
    except OSError:
        return []
