"""The package as users get it: built as a wheel and installed where nothing else of this project can be found."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def install(folder: Path) -> Path:
    """Build the wheel and install it into a new virtual environment, which borrows the other packages from this one.

    Returns:
        The interpreter of the environment.
    """
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder / "wheel", ROOT], check=True)
    (wheel,) = (folder / "wheel").glob("*.whl")
    place = folder / "venv"
    venv.create(place, symlinks=True)
    here = {"base": str(place), "platbase": str(place)}
    site = Path(sysconfig.get_path("purelib", vars=here))
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)
    # Folders that a .pth file names are searched, but their own .pth files are not read: what is installed in place
    # there cannot be seen.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return place / "bin" / "python"
