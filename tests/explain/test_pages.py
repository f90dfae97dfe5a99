"""Every code has a page, and every program on it does what the page says."""

from __future__ import annotations

import os
import re
import runpy
import sys
import warnings
from pathlib import Path

import pytest

from metta.sweep.compiler.check import check_paths
from metta.sweep.contracts.diagnostics import CODES, ContractError, Diagnostic
from metta.sweep.errors import ContractViolation, UsageError
from metta.sweep.explain import BEYOND, FOLDER, codes, page
from tests.explain.programs import FILE, Programs, found_by, marked, programs, with_message
from tests.marks import Finding

# Of the pages that are there: one that is missing is one failure, not all of them.
PROGRAMS = {code: programs(page(code).text) for code in codes() if (FOLDER / f"{code}.md").exists()}
OURS = sorted(PROGRAMS.keys() & CODES.keys())
RIGHT = [pytest.param(text, id=f"{code}-{n}") for code, of in PROGRAMS.items() for n, text in enumerate(of.right)]

LINES = range(25, 90)
WIDTH = 78
"""Of a program: as much as a terminal of 80 columns shows in one line."""

CHECKERS = {"definition time", "mypy", "pyright", "run time", "`metta-sweep check`"}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def checked(program: str) -> list[Diagnostic]:
    Path(FILE).write_text(program)
    return check_paths([FILE])


def findings(found: list[Diagnostic]) -> set[Finding]:
    return {Finding(d.line, d.severity.value, d.code) for d in found}


def run() -> None:
    """As `python train.py`, in this process, and with warnings as errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runpy.run_path(FILE, run_name="__main__")


def _all(of: Programs) -> list[str]:
    return [of.wrong, *of.right]


def shown(code: str, message: str) -> None:
    """The message of a page is this one."""
    if os.environ.get("UPDATE_GOLDEN") == "1":
        with_message(code, message)
        return
    assert PROGRAMS[code].message == message


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{code}.md" for code in codes()}
    assert set(codes()) == CODES.keys() | BEYOND.keys()
    assert not CODES.keys() & BEYOND.keys()


@pytest.mark.parametrize("code", OURS)
def test_the_wrong_program_gets_the_code_on_its_line_and_the_message(code: str) -> None:
    found = checked(PROGRAMS[code].wrong)
    assert {d.code for d in found} == {code}
    assert len(found) == 1
    if code != "no-pipeline":  # which is about no line
        assert findings(found) == marked(PROGRAMS[code].wrong)
    shown(code, f"{ContractError(found)}\n")


@pytest.mark.parametrize("code", OURS)
def test_python_tells_the_same_where_definition_time_finds_an_error(code: str) -> None:
    wrong = PROGRAMS[code].wrong
    errors = [d for d in checked(wrong) if d.severity == "error"]
    if not errors or "definition time" not in found_by(page(code).text):
        run()  # a note stops nothing
        return
    with pytest.raises(ContractError) as caught:
        # What is told when a pipeline is compiled or used, and is in no variable that is, waits for that.
        exec(compile(wrong + _USES.get(code, ""), FILE, "exec"), {"__name__": "__main__"})
    assert list(caught.value.diagnostics) == errors


_USES = {"recursive-pipeline": "\nRefine().pipeline().compile()\n"}


def test_a_run_tells_the_violation() -> None:
    wrong = PROGRAMS["contract-violation"].wrong
    assert [d for d in checked(wrong) if d.severity == "error"] == []
    with pytest.raises(ContractViolation) as caught:
        run()
    lines = [entry.lineno + 1 for entry in caught.traceback if str(entry.path).endswith(FILE)]
    assert lines == [mark.line for mark in marked(wrong)]
    shown("contract-violation", f"ContractViolation: {caught.value}\n")


@pytest.mark.parametrize("program", RIGHT)
def test_the_right_programs_are_fine_and_run(program: str) -> None:
    assert marked(program) == set()
    assert [d for d in checked(program) if d.code not in ("not-loaded", "no-pipeline")] == []
    run()


@pytest.mark.parametrize("code", PROGRAMS)
def test_a_page_has_its_parts(code: str) -> None:
    found = page(code)
    lines = found.text.splitlines()
    assert lines[0] == f"# {code}"
    assert lines[2] in (f"{found.title}.", f"{found.title[0].upper()}{found.title[1:]}.")
    assert len(lines) in LINES
    assert max(map(len, lines)) <= 200
    assert max(len(line) for program in _all(PROGRAMS[code]) for line in program.splitlines()) <= WIDTH
    assert [line for line in lines if line.startswith("## ")] == ["## Why", "## How to mend it", "## Where it is found"]
    assert 2 <= len(PROGRAMS[code].right) <= 3
    assert found_by(found.text) <= CHECKERS
    linked = re.findall(r"\[([a-z-]+)\]\(([a-z-]+)\.md\)", found.text)
    assert linked
    assert all(name == target in codes() and name != code for name, target in linked)
    ignored = re.findall(r"# type: ignore\[([a-z-]+)\]", found.text)
    assert set(ignored) <= {code}
    assert bool(ignored) == ("mypy" in found_by(found.text) or code == "untyped-stage")


def test_the_programs_of_a_page_are_read() -> None:
    text = '```python\na = 1\n```\n```python title="Wrong"\nb\n```\n```text title="Message"\nno\n```\n'
    right = '```python title="Right"\ndef f(): ...\n```\n'
    assert programs(text + right) == Programs("a = 1\nb\n", "no\n", ("a = 1\n\n\ndef f(): ...\n",))
    with pytest.raises(ValueError, match='a block of python has the title "Wright"'):
        programs(text + right + right.replace("Right", "Wright"))
    with pytest.raises(KeyError):
        programs(text)


@pytest.mark.parametrize(
    "given", ["missing-field", "[missing-field]", "Missing-Field", "missing_field", "missing field", "MissingField"]
)
def test_a_code_is_understood_as_people_write_it(given: str) -> None:
    assert page(given).code == "missing-field"


def test_an_unknown_code_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match=r'there is no code "mising-field" \(did you mean "missing-field"\?\)'):
        page("mising-field")
    for given in ("zzzz", "", "../pages/missing-field", "UPPER", "missing-field.md/../stage-input"):
        with pytest.raises(UsageError, match="metta-sweep explain lists all of them"):
            page(given)


def test_the_pages_are_found_without_the_heavy_parts() -> None:
    import subprocess

    program = "import sys, metta.sweep.explain as e; e.page('no-pipeline'); print(*(m for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"numpy", "rich", "mypy", "networkx", "pydantic"} & set(done.stdout.split())
