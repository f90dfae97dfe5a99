"""The types of the installed package are complete: whoever uses it never meets an unknown or guessed one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
def test_the_types_of_the_wheel_are_complete(tmp_path: Path) -> None:
    # A wheel: pyright does not verify what is installed in place.
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path / "wheel", ROOT], check=True)
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--verifytypes", "metta.sweep", "--ignoreexternal", "--outputjson"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        # pyright asks the interpreter on the path where packages are.
        env={**os.environ, "PYTHONPATH": str(site), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        check=False,
    )
    found = json.loads(done.stdout)["typeCompleteness"]
    assert found["moduleRootDirectory"] == str(site / "metta" / "sweep")
    unclear = [
        (symbol["name"], [each["message"] for each in symbol["diagnostics"]])
        for symbol in found["symbols"]
        if not symbol["isTypeKnown"] and any("docstring" not in each["message"] for each in symbol["diagnostics"])
    ]
    assert unclear == []
    assert found["completenessScore"] == 1
