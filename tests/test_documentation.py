"""The code in the documentation is run and type-checked, and what it prints is what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, *, runnable: bool) -> str:
    """The Python blocks of a page as one script; those marked `no-run` are only type-checked."""
    found = re.findall(r"```python([^\n]*)\n(.*?)```", page.read_text(), re.DOTALL)
    return "\n\n".join(code for mark, code in found if not (runnable and "no-run" in mark))


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "train.py").write_text(code)
    return subprocess.run([sys.executable, "train.py"], capture_output=True, text=True, timeout=120, cwd=folder)


def shown(after: str) -> str:
    """The first text block of the README behind a sentence."""
    return README.split(after)[1].split("```text\n")[1].split("```")[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    done = run(blocks(page, runnable=True), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_readme_example_prints_what_it_says(tmp_path: Path) -> None:
    assert run(blocks(PAGES[0], runnable=True), tmp_path).stdout == shown("graph.run(run_id=7).score")


def test_the_mistake_of_the_readme_gives_its_message(tmp_path: Path) -> None:
    broken = blocks(PAGES[0], runnable=True)
    for old, new in (
        ("rates: list[float]) -> Training", "rate: list[float]) -> Training"),
        ("for rate in rates]", "for _ in rate]"),
    ):
        assert old in broken
        broken = broken.replace(old, new)
    done = run(broken, tmp_path)
    assert done.stderr.split("ContractError: ")[1] == shown("Rename a parameter")


def test_the_code_of_all_pages_passes_mypy(tmp_path: Path) -> None:
    scripts = []
    for page in PAGES:
        script = tmp_path / f"page_{page.stem.lower()}.py"
        script.write_text(blocks(page, runnable=False))
        scripts.append(str(script))
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml")]
    done = subprocess.run(
        [*command, "--cache-dir", str(tmp_path), *scripts], capture_output=True, text=True, cwd=ROOT, timeout=300
    )
    assert done.returncode == 0, done.stdout
