"""mypy with the plugin agrees with every page, in one run over all programs; pyright does with what pages say of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.contracts.diagnostics import CODES
from metta.sweep.explain import codes, page
from tests.explain.programs import FILE, found_by, marked, programs
from tests.explain.test_pages import shown
from tests.marks import Finding

ROOT = Path(__file__).parents[2]

OF_VALUES = {"not-a-stage", "not-a-type", "setting-type", "hook-type"}
"""Their messages show the value at definition time, and its type in mypy."""

_CONFIG = f"""\
[mypy]
strict = true
plugins = metta_mypy
mypy_path = {ROOT}:{ROOT}/plugins:{ROOT}/stubs
namespace_packages = true
explicit_package_bases = true
"""


def written(folder: Path) -> list[Path]:
    """Every program of every page as a file of its own."""
    files = []
    for code in codes():
        of = programs(page(code).text)
        for name, text in [("wrong", of.wrong), *((f"right_{n}", text) for n, text in enumerate(of.right))]:
            files.append(folder / f"{code.replace('-', '_')}_{name}.py")
            files[-1].write_text(text)
    return files


def ignored(folder: Path) -> list[Path]:
    """The wrong programs with the comment that the pages say quiets mypy."""
    files = []
    for code in codes():
        if "mypy" in found_by(page(code).text):
            wrong = programs(page(code).text).wrong
            files.append(folder / f"{code.replace('-', '_')}_ignored.py")
            files[-1].write_text(wrong.replace(f"# error: {code}", f"# type: ignore[{code}]"))
    return files


@pytest.mark.slow
def test_mypy_agrees_with_every_page(tmp_path: Path) -> None:
    files = [*written(tmp_path), *ignored(tmp_path)]
    (tmp_path / "mypy.ini").write_text(_CONFIG)
    command = [sys.executable, "-m", "mypy", "--config-file=mypy.ini", "--cache-dir=cache", "--output=json"]
    done = subprocess.run([*command, *map(str, files)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in done.stdout.splitlines():
        report = json.loads(line)
        found[Path(report["file"]).stem].append(report)
    told = {stem: {Finding(r["line"], r["severity"], r["code"]) for r in reports} for stem, reports in found.items()}
    told_by_mypy = [code for code in codes() if "mypy" in found_by(page(code).text)]
    expected = {code: marked(programs(page(code).text).wrong) for code in told_by_mypy}
    assert told == {f"{code.replace('-', '_')}_wrong": marks for code, marks in expected.items()}
    for code in expected:
        (report,) = found[f"{code.replace('-', '_')}_wrong"]
        message = programs(page(code).text).message
        if code in OF_VALUES:
            assert message.startswith(f"{FILE}:{report['line']}: ")
        elif code in CODES:
            assert message.startswith(f"{FILE}:{report['line']}: {report['message']}  [{code}]\n")
        else:
            shown(code, f"{FILE}:{report['line']}: error: {report['message']}  [{code}]\n")


@pytest.mark.slow
def test_pyright_finds_what_the_pages_say_and_nothing_in_the_right_programs(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "pyrightconfig.json").write_text(
        json.dumps({"extraPaths": [str(ROOT)], "typeCheckingMode": "standard", "reportDeprecated": "warning"})
    )
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    reports = json.loads(done.stdout)["generalDiagnostics"]
    # At which line depends on how the chain is broken; here it matters that something is said.
    found = {Path(r["file"]).stem for r in reports}
    assert found == {f"{code.replace('-', '_')}_wrong" for code in codes() if "pyright" in found_by(page(code).text)}
