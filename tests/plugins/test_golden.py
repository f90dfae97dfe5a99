"""The plugin over all case files, in one run of mypy: every finding on its line, and nothing anywhere else.

The case files say what is expected (tests/marks.py); what the plugin says is in golden/, one text per file.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.contracts.diagnostics import CODES
from tests.golden import check_golden
from tests.marks import FOLDERS, STATIC, Finding, case_files, marks, name_of, revealed

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
CASES = case_files()

ONLY_DEFINITION = {"unstorable", "timeout-isolates", "empty-loop", "recursive-pipeline", "no-pipeline", "not-loaded"}
"""Codes that the plugin never reports."""

_CONFIG = """\
[mypy]
strict = true
warn_unreachable = true
plugins = metta_mypy
mypy_path = {stubs}:{root}:{root}/plugins:{root}/stubs
namespace_packages = true
explicit_package_bases = true
"""

# What the cases need of torch: reading all of it takes mypy a minute.
_TORCH = {
    "__init__.pyi": "from torch import nn as nn\nclass Tensor: ...\n",
    "nn/__init__.pyi": "from torch.nn.modules.linear import Linear as Linear\n"
    "from torch.nn.modules.module import Module as Module\n",
    "nn/modules/__init__.pyi": "",
    "nn/modules/module.pyi": "from typing import Any, Callable\n"
    "class Module:\n"
    "    forward: Callable[..., Any]\n"
    "    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...\n",
    "nn/modules/linear.pyi": "from torch import Tensor\n"
    "from torch.nn.modules.module import Module\n"
    "class Linear(Module):\n"
    "    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None: ...\n"
    "    def forward(self, input: Tensor) -> Tensor: ...\n",
}

_MODULE = re.compile(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z])")

Report = dict[str, Any]
"""One line of `mypy -O json`."""


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, list[Report]]:
    """What mypy says of each case file, in one run that all workers of pytest-xdist share."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    result = folder / "golden.json"
    with (folder / "golden.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not result.exists():
            result.write_text(_run(folder / "golden"))
    found: dict[Path, list[Report]] = {path: [] for path in CASES}
    for line in result.read_text().splitlines():
        report = json.loads(line)
        found.setdefault((ROOT / report["file"]).resolve(), []).append(report)
    return found


def _run(folder: Path) -> str:
    stubs = folder / "stubs"
    for name, text in _TORCH.items():
        path = stubs / "torch" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    config = folder / "mypy.ini"
    config.write_text(_CONFIG.format(stubs=stubs, root=ROOT))
    command = [sys.executable, "-m", "mypy", f"--config-file={config}", f"--cache-dir={folder / 'cache'}"]
    files = [str(path.relative_to(ROOT)) for path in CASES]
    done = subprocess.run([*command, "--output=json", *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def findings(found: list[Report]) -> Iterator[tuple[Finding, Report]]:
    """What has to be marked: all but revealed types, and the notes with which mypy explains an error of its own."""
    for report in found:
        finding = Finding(report["line"], report["severity"], report["code"] or "-")
        if finding.severity == "error" or finding.code in CODES or "metta_mypy" in report["message"]:
            yield finding, report


def _reveals(report: Report) -> bool:
    return bool(report["message"].startswith("Revealed type is "))


def is_ours(report: Report) -> bool:
    """Whether the sentence is the plugin's; those of mypy itself differ from version to version."""
    return report["code"] in CODES or report["message"].startswith("the context has no field")


@pytest.mark.parametrize("path", CASES, ids=name_of)
def test_every_finding_stands_where_the_comment_says(path: Path, reports: dict[Path, list[Report]]) -> None:
    found = list(findings(reports[path]))
    assert sorted({finding for finding, _ in found}) == sorted(marks(path, STATIC))
    check_golden(
        GOLDEN / f"{name_of(path)}.txt", "".join(_text(finding, report) for finding, report in sorted_by_line(found))
    )


def sorted_by_line(found: list[tuple[Finding, Report]]) -> list[tuple[Finding, Report]]:
    return sorted(found, key=lambda it: (it[0], it[1]["message"]))


def _text(finding: Finding, report: Report) -> str:
    if not is_ours(report):
        return f"{finding.line} {finding.severity}: [{finding.code}], by mypy itself\n"
    hint = "".join(f"    {line}\n" for line in (report["hint"] or "").splitlines())
    return f"{finding.line} {finding.severity}: {report['message']}  [{finding.code}]\n{hint}"


@pytest.mark.parametrize("path", [path for path in CASES if revealed(path)], ids=name_of)
def test_revealed_types_read_well(path: Path, reports: dict[Path, list[Report]]) -> None:
    found = {report["line"]: report["message"] for report in reports[path] if _reveals(report)}
    expected = revealed(path)
    assert found.keys() == expected.keys()
    for line, text in expected.items():
        assert text in _shortened(found[line]), f"line {line}"


def _shortened(text: str) -> str:
    """Without the modules of the names, which some versions of mypy leave out."""
    return _MODULE.sub("", text)


@pytest.mark.parametrize("path", CASES, ids=name_of)
def test_messages_are_one_short_sentence(path: Path, reports: dict[Path, list[Report]]) -> None:
    for _, report in findings(reports[path]):
        if is_ours(report):
            assert len(report["message"]) <= 200
            assert "\n" not in report["message"]
            if report["severity"] == "error":
                assert report["hint"] or report["code"] not in CODES, report


def test_nothing_else_was_reported(reports: dict[Path, list[Report]]) -> None:
    assert [report for path, found in reports.items() if path not in CASES for report in found] == []


def test_there_are_enough_cases() -> None:
    counts = Counter(finding.code for path in CASES for finding in marks(path, STATIC))
    assert counts.total() >= 150
    assert {code: counts[code] for code in CODES.keys() - ONLY_DEFINITION if counts[code] < 3} == {}
    assert not ONLY_DEFINITION & counts.keys()
    for code in ("attr-defined", "call-arg", "arg-type"):
        assert counts[code] >= 3, code
    assert all(any(path.is_relative_to(folder) for path in CASES) for folder in FOLDERS)
