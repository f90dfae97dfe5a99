"""The stubs in `stubs/` say what the installed libraries do, as far as they say something."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STUBS = ROOT / "stubs"
PACKAGES = sorted(folder.name for folder in STUBS.iterdir() if (folder / "__init__.pyi").exists())


def differences(stubs: Path, packages: list[str]) -> list[str]:
    """One line for each difference that stubtest finds; what a stub leaves out on purpose is none."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "--concise", "--ignore-missing-stub", *packages],
        env={**os.environ, "MYPYPATH": str(stubs)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr, done.stderr
    found = [line for line in done.stdout.splitlines() if not line.startswith("Success: ")]
    assert bool(done.returncode) is bool(found), done.stdout
    return found


def test_the_stubs_agree_with_the_libraries() -> None:
    assert PACKAGES
    assert differences(STUBS, PACKAGES) == []


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("quiet: bool = False", "silent: bool = False", 'stub parameter "silent" differs from runtime'),
        ("def pipe(", "def tube(", "graphviz.tube is not present at runtime"),
        ("quiet: bool = False", "quiet: bool = True", "different from stub parameter default True"),
    ],
)
def test_a_wrong_stub_is_found(right: str, wrong: str, said: str, tmp_path: Path) -> None:
    shutil.copytree(STUBS / "graphviz", tmp_path / "graphviz")
    stub = tmp_path / "graphviz" / "__init__.pyi"
    text = stub.read_text(encoding="utf-8")
    assert text.count(right) == 1
    stub.write_text(text.replace(right, wrong), encoding="utf-8")
    assert any(said in line for line in differences(tmp_path, ["graphviz"]))
