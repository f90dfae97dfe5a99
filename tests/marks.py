"""What the case files expect, in comments at the end of their lines.

    # E: missing-field     an error that definition time and the plugin both report on this line
    # D: unstorable        an error of definition time only
    # S: attr-defined      an error of mypy only, the plugin's or its own
    # N:  DN:  SN:         the same for notes
    # R: list[int]         what `reveal_type` on this line says, in part

A line without a mark must be silent. Codes are separated by commas; several marks may stand on one line.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDERS = (Path(__file__).parent / "pipeline" / "cases", Path(__file__).parent / "plugins" / "cases")

_MARK = re.compile(r"#\s*(E|D|S|N|DN|SN): ([a-z, -]+?)(?=\s*(?:#|$))")
_REVEALED = re.compile(r"#\s*R: (.+?)\s*$")

DEFINITION = {"E": "error", "D": "error", "N": "note", "DN": "note"}
STATIC = {"E": "error", "S": "error", "N": "note", "SN": "note"}
"""Which marks one of the two has to report, and as what."""


class Finding(NamedTuple):
    """One finding, as a mark says it or as it was reported; sorts by line."""

    line: int
    severity: str
    code: str


def case_files() -> list[Path]:
    """All files with marks, but for those in the syntax of a newer Python than this one."""
    found = sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))
    return [path for path in found if sys.version_info >= (3, 12) or path.parent.name != "python_3_12"]


def name_of(path: Path) -> str:
    """A name for a case file: that of a module in a package has the package's in front."""
    return path.stem if path.parent in FOLDERS else f"{path.parent.name}-{path.stem}"


def marks(path: Path, kinds: dict[str, str]) -> set[Finding]:
    """The findings a file expects of definition time or of the plugin."""
    found: set[Finding] = set()
    for number, line in _lines(path):
        for kind, codes in _MARK.findall(line):
            if kind in kinds:
                found.update(Finding(number, kinds[kind], code.strip()) for code in codes.split(","))
    return found


def revealed(path: Path) -> dict[int, str]:
    """Line -> what `reveal_type` has to say there."""
    return {number: found[1] for number, line in _lines(path) if (found := _REVEALED.search(line))}


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    return enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
