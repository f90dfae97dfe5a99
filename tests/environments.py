"""Virtual environments for checkers: this package, in place or as users get it, and few others."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).parents[1]

LIBRARIES = (
    *("mypy", "mypy_extensions", "librt", "pathspec", "ast-serialize", "typing_extensions"),
    *("attrs", "pydantic", "pydantic_core", "annotated-types", "typing-inspection"),
)
"""mypy, and what records are made of. A checker spends most of its time on the other libraries, where it sees them."""


def create(folder: Path, sources: Iterable[Path] = (ROOT, ROOT / "plugins")) -> Path:
    """Create an environment with `LIBRARIES`, borrowed from this one, and this package in place.

    Args:
        folder: of the new environment.
        sources: where this package is found.

    Returns:
        The interpreter.
    """
    venv.create(folder, symlinks=True)
    site = _site(folder)
    for library in map(distribution, LIBRARIES):
        for name in {file.parts[0] for file in library.files or ()} - {"..", "__pycache__"}:
            (site / name).symlink_to(Path(str(library.locate_file(name))))
    (site / "sources.pth").write_text("".join(f"{source}\n" for source in sources), encoding="utf-8")
    return folder / "bin" / "python"


def create_with_wheel(folder: Path) -> Path:
    """The same with this package built as a wheel and installed; nothing else of the project can be found."""
    python = create(folder, ())
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder / "wheel", ROOT], check=True)
    (wheel,) = (folder / "wheel").glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", _site(folder), wheel], check=True)
    return python


def _site(folder: Path) -> Path:
    return Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
