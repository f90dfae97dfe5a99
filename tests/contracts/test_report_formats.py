"""SARIF and JUnit: what code scanning and CI servers read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.contracts.diagnostics import CODES, FORMATS, Diagnostic, Severity, format_diagnostics
from tests.contracts.test_diagnostics import ALL, EARLIER, MISSING, REMOTE
from tests.golden import check_golden

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("fmt", ["sarif", "junit"])
@pytest.mark.parametrize(("name", "found"), [("diagnostics", ALL), ("nothing", [])])
def test_golden(fmt: str, name: str, found: list[Diagnostic]) -> None:
    check_golden(GOLDEN / f"{name}.{fmt}", format_diagnostics(found, fmt, ["fine.py", "train.py"]) + "\n")


def sarif(*found: Diagnostic) -> dict[str, Any]:
    log: dict[str, Any] = json.loads(format_diagnostics(found, "sarif"))
    return log


def test_sarif_has_what_the_standard_requires() -> None:
    log = sarif(*ALL)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert {rule["id"]: rule["shortDescription"]["text"] for rule in rules} == CODES
    assert [(r["ruleId"], r["level"]) for r in run["results"]] == [
        ("timeout-isolates", "note"),
        ("stage-input", "error"),
        ("missing-field", "error"),
    ]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        (location,) = result["locations"]
        assert location["physicalLocation"]["region"]["startLine"] >= 1
    # Nobody is to miss the remedy, and the sentence is not cut.
    assert run["results"][2]["message"]["text"] == f"{MISSING.message}\n{MISSING.remedy}"
    assert run["results"][1]["message"]["text"].startswith(EARLIER.message)


@pytest.mark.parametrize(
    ("file", "uri"),
    [
        ("jobs/train.py", "jobs/train.py"),
        ("jobs/ü 100%#a?.py", "jobs/%C3%BC%20100%25%23a%3F.py"),
        ("/data/a b/train.py", "file:///data/a%20b/train.py"),
    ],
)
def test_sarif_names_files_by_uri(file: str, uri: str) -> None:
    (result,) = sarif(dataclasses.replace(MISSING, file=file))["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


def junit(*found: Diagnostic, files: tuple[str, ...] = ()) -> Xml.Element:
    (suite,) = Xml.fromstring(format_diagnostics(found, "junit", files))
    return suite


def test_junit_counts_errors_as_failed_tests_and_files_without_one_as_passed() -> None:
    suite = junit(*ALL, files=("train.py", "fine.py"))
    cases = suite.findall("testcase")
    told = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert told == {"tests": "4", "failures": "2", "errors": "0", "skipped": "0"}
    assert [(case.get("classname"), case.find("failure") is not None) for case in cases] == [
        ("train.py", True),
        ("train.py", True),
        ("fine.py", False),
        ("jobs/a,b.py", False),
    ]
    assert len(cases) == 4
    failure = cases[1].find("failure")
    assert failure is not None
    assert (failure.get("type"), failure.get("message")) == (MISSING.code, MISSING.message)
    assert (failure.text or "").splitlines()[1:] == MISSING.remedy.splitlines()
    assert suite.findtext("system-out") == f"jobs/a,b.py:3: {REMOTE.message}  [timeout-isolates]"


def test_junit_names_no_two_tests_alike_that_differ() -> None:
    other = dataclasses.replace(MISSING, stage="evaluate")
    names = [case.get("name") for case in junit(MISSING, other)]
    assert names == ['line 12: missing-field in stage "evaluate"', 'line 12: missing-field in stage "train"']


@settings(derandomize=True, max_examples=200)
@given(text=st.text(st.characters(exclude_categories=[])), severity=st.sampled_from(Severity))
def test_any_text_makes_well_formed_files(text: str, severity: Severity) -> None:
    found = dataclasses.replace(MISSING, message=text, remedy=text, stage=text, file="a.py", severity=severity)
    suite = junit(found)
    if severity is Severity.ERROR and text.isprintable():
        failure = suite.find("testcase/failure")
        assert failure is not None
        assert failure.get("message") == text
    (result,) = sarif(found)["runs"][0]["results"]
    assert text in result["message"]["text"]


@pytest.mark.parametrize("fmt", FORMATS)
def test_every_format_writes_nothing_found(fmt: str) -> None:
    assert "train.py" not in format_diagnostics([], fmt)
    assert "train.py" in format_diagnostics([MISSING], fmt)
