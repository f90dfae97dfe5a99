"""What pyright says about pipelines without any plugin: each positional mistake at its line, and nothing else.

pyright is the one that runs here. How the other plain checkers do on the same files, measured with ty 0.0.105 and
pyrefly 1.4.1 (kinds of mistake as in positional_bad.py; a kind counts if every line of it is reported, a * says that
some of its lines are warnings, because they are `@deprecated` overloads):

    checker                            kinds   not, or not always             errors on right lines
    pyright, reportDeprecated on       19                                     0
    pyright, standard                  12      1 2 4 6 7 10 14                0
    pyrefly                            19*                                    0
    ty                                 12*     1 2 4 5 7 10 13                1, a setting in a keyword through

ty names the first line of a chain instead of the method's in 1, 4, 5 and 7. On right lines it warns of some
deprecated overloads that are not the one called: where an argument's type contains Any, or a hook is a lambda.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_overloads

import pytest

from metta.sweep import Hooks
from metta.sweep.contracts.flow import HOOK_NAMES
from metta.sweep.pipeline.builder import Staged
from metta.sweep.pipeline.hooks import DataHooks

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BAD = HERE / "positional_bad.py"
EXAMPLES = [path for path in sorted((ROOT / "examples").glob("*.py")) if path.stem != "catching_mistakes"]
CASES = sorted((ROOT / "tests" / "pipeline" / "cases").glob("*.py"))

# Right, and still a deprecated overload: settings in a through, where a misspelt hook looks the same, and hooks in
# dictionaries without annotation.
ADVICE = {
    ("settings.py", "good"),
    ("settings.py", "good_open_keywords"),
    ("hybrid_experiment.py", "HybridExperiment"),
}

# D: found at definition time only; S: statically only.
_MARK = re.compile(r"#\s*[EDS]\b:?\s*(\d*)")


class Report(NamedTuple):
    path: Path
    first: int
    last: int
    rule: str
    message: str


@pytest.fixture(scope="module")
def reports() -> list[Report]:
    files = [BAD, HERE / "positional_good.py", *EXAMPLES, *CASES]
    command = [sys.executable, "-m", "pyright", "--project", str(HERE), "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, cwd=ROOT, check=False)
    found = [
        Report(
            Path(entry["file"]),
            entry["range"]["start"]["line"] + 1,
            entry["range"]["end"]["line"] + 1,
            entry.get("rule", ""),
            entry["message"],
        )
        for entry in json.loads(done.stdout)["generalDiagnostics"]
        if entry["severity"] == "error"
    ]
    assert {report.path for report in found} <= set(files)
    return found


def marked(path: Path) -> dict[int, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return {number: mark[1] for number, line in enumerate(lines, 1) if (mark := _MARK.search(line))}


def exact(reports: list[Report], path: Path) -> Iterator[Report]:
    """Without pyright's second report of a call that no overload fits: its range is the whole chain."""
    own = [report for report in reports if report.path == path]
    for report in own:
        whole = report.rule == "reportCallIssue" and report.message.startswith("No overloads for")
        if not whole or not any(report.first < other.first <= report.last for other in own):
            yield report


def test_every_mistake_is_reported_at_its_line_and_nothing_else(reports: list[Report]) -> None:
    assert sorted({report.first for report in exact(reports, BAD)}) == sorted(marked(BAD))
    assert {int(kind) for kind in marked(BAD).values()} == set(range(1, 20))


def test_the_recognized_mistakes_are_told_in_our_words(reports: list[Report]) -> None:
    told: dict[int, set[str]] = {}
    for report in exact(reports, BAD):
        if report.rule == "reportDeprecated":
            told.setdefault(int(marked(BAD)[report.first]), set()).add(report.message.splitlines()[-1].strip())
    assert {kind: len(sentences) for kind, sentences in told.items()} == {
        1: 1,
        2: 2,
        4: 1,
        6: 1,
        7: 1,
        9: 1,
        10: 1,
        14: 1,
    }
    assert told[2] - told[9] == {"the stage before returns something else than this contract"}
    assert told[9] == {"the stage before returns, or one of these hooks gives, something else than this contract"}


def test_right_pipelines_are_silent(reports: list[Report]) -> None:
    assert [report for report in reports if report.path == HERE / "positional_good.py"] == []
    importlib.import_module("tests.typing.positional_good")


@pytest.mark.parametrize("path", [*EXAMPLES, *CASES], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_examples_and_right_lines_of_the_cases_are_silent(reports: list[Report], path: Path) -> None:
    bad = marked(path)
    wrong = [report for report in exact(reports, path) if not is_expected(report, path, bad)]
    assert wrong == []


def is_expected(report: Report, path: Path, bad: dict[int, str]) -> bool:
    """Whether the statement that is reported has a marked line, or is one of the two that only get advice."""
    first, last, name = statement(path, report.first)
    if any(first <= line <= last for line in bad):
        return True
    return report.rule == "reportDeprecated" and (path.name, name) in ADVICE


def statement(path: Path, line: int) -> tuple[int, int, str]:
    """The lines and the name of the statement around a line: of a pipeline, or of a function that builds one."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        assert node.end_lineno is not None
        if node.lineno <= line <= node.end_lineno:
            target: Any = node.targets[0] if isinstance(node, ast.Assign) else node
            return node.lineno, node.end_lineno, getattr(target, "id", getattr(target, "name", ""))
    raise AssertionError(f"{path}:{line} is in no statement")


def test_the_overloads_know_every_hook() -> None:
    assert Hooks.__annotations__.keys() == HOOK_NAMES
    assert DataHooks.__annotations__.keys() == HOOK_NAMES
    listed = [
        overload.__annotations__.keys() - {"self", "contract", "return", "hooks", "_bag"}
        for overload in get_overloads(Staged.through)
    ]
    assert {frozenset(names & HOOK_NAMES) for names in listed if names} == {HOOK_NAMES}
    assert {name for names in listed for name in names - HOOK_NAMES} == {"unknown", "fields", "settings"}
