"""Two checkers, one list: how the findings of mypy become ours."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from metta.sweep.compiler import static_check
from metta.sweep.compiler.static_check import StaticCheckFailed, check_all, merged, static_findings
from metta.sweep.contracts.diagnostics import Diagnostic, Severity
from metta.sweep.errors import MissingExtraError, UsageError

WRONG = "from metta.sweep import Pipeline\np = Pipeline(x=int).stage('a', 3)\n"
TOLD = Diagnostic(
    "missing-field",
    "train.py",
    12,
    "pipeline",
    "train",
    "x: int",
    "y: int",
    "rename it",
    'stage "train" needs field "x"',
)


def error(
    line: int = 12,
    code: str | None = "missing-field",
    severity: str = "error",
    hint: str | None = None,
    text: str = "text",
) -> dict[str, object]:
    return {"file": "train.py", "line": line, "message": text, "code": code, "severity": severity, "hint": hint}


def test_an_error_of_mypy_becomes_a_finding() -> None:
    (found,) = static_findings([error(text='stage "train" needs field "x"', hint="declare it\nor rename it")])
    assert (found.code, found.file, found.line, found.severity) == ("missing-field", "train.py", 12, Severity.ERROR)
    assert (found.message, found.stage) == ('stage "train" needs field "x"', "train")
    assert found.remedy == "declare it\nor rename it"


def test_only_our_codes_are_taken_over() -> None:
    others = ["attr-defined", "arg-type", "misc", None]
    assert static_findings([error(code=code) for code in others]) == []
    assert static_findings([error(severity="note", code=code) for code in others]) == []


def test_notes_right_behind_an_error_are_its_remedy() -> None:
    found = static_findings(
        [
            error(hint="one"),
            error(severity="note", code="missing-field", text="two"),
            error(severity="note", code=None, text="three"),
            error(severity="note", code="untyped-stage", text="its own"),
            error(severity="note", code=None, text="of the note before"),
            error(line=13),
            error(line=13, code="arg-type"),
            error(line=13, severity="note", code=None, text="of mypy's own error"),
        ]
    )
    assert [(d.line, d.code, d.severity, d.remedy) for d in found] == [
        (12, "missing-field", Severity.ERROR, "one\ntwo\nthree"),
        (12, "untyped-stage", Severity.NOTE, ""),
        (13, "missing-field", Severity.ERROR, ""),
    ]


def test_where_the_plugin_fails_something_is_not_checked() -> None:
    failed = "metta_mypy failed here, and this call is not checked (KeyError: 1); please report it"
    for line in (
        error(severity="note", code=None, text=failed),
        error(code="arg-type", hint=f"of mypy's own\n{failed}"),
    ):
        (found,) = static_findings([line])
        assert (found.code, found.line, found.message, found.severity) == ("not-loaded", 12, failed, Severity.NOTE)


def test_a_place_without_a_line_is_the_first() -> None:
    assert [d.line for d in static_findings([error(line=-1)])] == [1]


def test_files_are_named_as_at_definition_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inside, outside = str(tmp_path / "a.py"), str(tmp_path.parent / "b.py")
    assert [d.file for d in static_findings([{**error(), "file": inside}, {**error(), "file": outside}])] == [
        "a.py",
        outside,
    ]


def test_what_both_found_is_told_once_in_the_words_of_definition_time() -> None:
    elsewhere = dataclasses.replace(TOLD, line=3, message="static")
    other_code = dataclasses.replace(TOLD, code="stage-input", message="static")
    same = dataclasses.replace(TOLD, message="static")
    assert merged([TOLD], [same, other_code, elsewhere, elsewhere]) == [elsewhere, TOLD, other_code]
    # Two fields missing in one line are two findings, whoever finds them.
    second = dataclasses.replace(TOLD, message="static, another field")
    assert merged([TOLD, second], []) == [TOLD, second]
    assert merged([], [same, second]) == [same, second]


def test_without_mypy_only_definition_time_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("user.py").write_text(WRONG)
    monkeypatch.setattr(static_check, "has_mypy", lambda: False)
    checked = check_all(["user.py", "./user.py"])
    assert [(d.line, d.code) for d in checked.found] == [(2, "not-a-stage")]
    assert (checked.files, checked.warnings, checked.failure) == (("user.py",), (), None)
    with pytest.raises(MissingExtraError, match=r"pip install 'metta-sweep\[mypy\]'"):
        check_all(["user.py"], static=True)


def test_a_folder_named_mypy_is_not_mypy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert static_check.has_mypy()
    (tmp_path / "mypy").mkdir()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    monkeypatch.delitem(__import__("sys").modules, "mypy", raising=False)
    assert not static_check.has_mypy()


@pytest.mark.parametrize(
    ("child", "reason"),
    [
        ("raise SystemExit('no memory')", "no memory (exit code 1)"),
        ("import os; os.kill(os.getpid(), 9)", "exit code -9"),
        ("raise ZeroDivisionError('oops')", "ZeroDivisionError: oops (exit code 1)"),
    ],
)
def test_the_other_findings_stay_where_mypy_dies(
    child: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("user.py").write_text(WRONG)
    Path("child.py").write_text(child)
    monkeypatch.setattr(static_check, "_CHILD", str(tmp_path / "child.py"))
    checked = check_all(["."], static=True)
    assert [(d.file, d.code) for d in checked.found] == [("user.py", "not-a-stage")]
    assert isinstance(checked.failure, StaticCheckFailed)
    assert checked.failure.exit_code == 3
    assert str(checked.failure) == f"mypy crashed: {reason} (metta-sweep check --no-static leaves mypy out)"


def test_what_lies_beside_the_program_is_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("user.py").write_text(WRONG)
    Path("json.py").write_text("raise ZeroDivisionError")
    Path("child.py").write_text("import json\nraise SystemExit('imported')")
    monkeypatch.setattr(static_check, "_CHILD", str(tmp_path / "child.py"))
    assert "mypy crashed: imported" in str(check_all(["user.py"], static=True).failure)


def test_a_wrong_configuration_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("user.py").write_text(WRONG)
    Path("mypy.ini").write_text("[mypy]\nplugins = absent_plugin\n")
    checked = check_all(["user.py"], static=True)
    assert [d.code for d in checked.found] == ["not-a-stage"]
    assert isinstance(checked.failure, UsageError)
    assert str(checked.failure) == (
        "mypy cannot check this: mypy.ini:2: Error importing plugin \"absent_plugin\": No module named 'absent_plugin' "
        "(metta-sweep check --no-static leaves mypy out)"
    )


def test_an_interrupt_stops_mypy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("user.py").write_text("import metta.sweep\nraise KeyboardInterrupt\n")
    Path("child.py").write_text("import threading\nthreading.Event().wait()\n")
    monkeypatch.setattr(static_check, "_CHILD", str(tmp_path / "child.py"))
    with pytest.raises(KeyboardInterrupt):
        check_all(["user.py"], static=True)  # and does not wait for a process that never ends
