"""A digest of everything that decides about a verdict: the plugin and the rule book."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final


def digest() -> str:
    """Changes with any file of the plugin or of `metta.sweep.contracts`."""
    from metta.sweep import contracts

    found = hashlib.sha256()
    for folder in (Path(__file__).parent, Path(str(contracts.__file__)).parent):
        for path in sorted(folder.rglob("*.py")):
            found.update(path.relative_to(folder).as_posix().encode())
            found.update(path.read_bytes())
    return found.hexdigest()[:16]


VERSION: Final = digest()
