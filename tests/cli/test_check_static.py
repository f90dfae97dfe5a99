"""`metta-sweep check` with mypy: the whole command, in a folder with a configuration of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from metta.sweep.cli.main import main
from metta.sweep.compiler import static_check

ROOT = Path(__file__).parents[2]
# The first mistake is found by both, in two wordings; the second one only by the plugin of the test.
USER = """\
from metta.sweep import Pipeline


def load(path: str) -> int:
    return len(path)


def report_missing(x: object) -> str:
    return "path"


first = Pipeline(name=str).stage("load", load if report_missing(0) else load)


def later() -> None:
    report_missing(1)
"""
# The plugin of the test looks at names alone: without the types of the package mypy takes a second, not ten.
CONFIG = """\
[tool.mypy]
plugins = ["fake.py"]

[[tool.mypy.overrides]]
module = "metta.*"
follow_imports = "skip"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "tests/compiler/mypy_plugin_of_test.py", "fake.py")
    Path("pyproject.toml").write_text(CONFIG)
    return tmp_path


def test_one_list_of_both_checkers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("user.py").write_text(USER)
    assert main(["check", "user.py", "--format", "json"]) == 2
    shown = capsys.readouterr()
    assert shown.err == ""
    found = [(d["line"], d["code"], d["expected"], d["remedy"].splitlines()[-1]) for d in json.loads(shown.out)]
    assert found == [
        (12, "missing-field", "path: str", "declare it: Pipeline(path=str)"),
        (16, "missing-field", "", "or rename it"),
    ]
    assert main(["check", "user.py", "--format", "github", "--no-static"]) == 2
    assert capsys.readouterr().out.count("::error ") == 1


def test_static_alone_fails_the_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("user.py").write_text(USER.replace("Pipeline(name=str)", "Pipeline(path=str)"))
    assert main(["check", "user.py", "--no-static"]) == 0
    assert main(["check", "user.py"]) == 2
    assert capsys.readouterr().out.endswith("\n2 errors in 1 file\n")


def test_lambdas_are_left_to_mypy(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("user.py").write_text(
        "from metta.sweep import Pipeline\n"
        "def untyped(x):\n"
        "    return x\n"
        "p = Pipeline(x=int).stage('a', lambda x: x).through(y=int).stage('b', untyped).through(z=int)\n"
    )
    assert main(["check", "user.py", "--no-static", "--format", "json"]) == 0
    assert [d["stage"] for d in json.loads(capsys.readouterr().out)] == ["a", "b"]
    assert main(["check", "user.py", "--format", "json"]) == 0
    assert [d["stage"] for d in json.loads(capsys.readouterr().out)] == ["b"]


def test_warnings_and_failures_are_told_behind_the_findings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("user.py").write_text("from metta.sweep import Pipeline\np = Pipeline(x=int).stage('a', 3)\n")
    Path("pyproject.toml").write_text('[tool.mypy]\nstrickt = true\nplugins = ["absent_plugin"]\n')
    assert main(["check", "user.py"]) == 2
    shown = capsys.readouterr()
    assert "[not-a-stage]" in shown.out
    warning, failure = shown.err.splitlines()
    assert warning == "mypy: pyproject.toml: [mypy]: Unrecognized option: strickt = True"
    assert failure.startswith("error: mypy cannot check this: pyproject.toml:1: Error importing plugin")
    assert main(["check", "user.py", "--no-static"]) == 2
    assert capsys.readouterr().err == "what it means: metta-sweep explain not-a-stage\n"


def test_a_crash_is_exit_3(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("user.py").write_text("def report_crash() -> None: ...\nreport_crash()\n")
    assert main(["check", "user.py"]) == 3
    shown = capsys.readouterr()
    assert "[no-pipeline]" in shown.out
    assert shown.err.startswith("error: mypy crashed: user.py:2: error: INTERNAL ERROR -- ")
    assert "Traceback" not in shown.err


def test_static_needs_mypy(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("user.py").write_text(USER)
    monkeypatch.setattr(static_check, "has_mypy", lambda: False)
    assert main(["check", "user.py", "--static"]) == 2
    sentence = "error: the static check needs an optional dependency: pip install 'metta-sweep[mypy]'\n"
    assert capsys.readouterr() == ("", sentence)


def test_a_check_without_mypy_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("user.py").write_text(USER.replace("Pipeline(name=str)", "Pipeline(path=str)"))
    monkeypatch.setattr(static_check, "has_mypy", lambda: False)
    assert main(["check", "user.py"]) == 0
    assert capsys.readouterr().err == "mypy has not looked at them: pip install 'metta-sweep[mypy]'\n"
    assert main(["check", "user.py", "--no-static"]) == 0
    assert capsys.readouterr().err == ""


def test_junit_names_the_files_that_are_fine(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.py", "b.py"):
        Path(name).write_text(USER.replace("Pipeline(name=str)", "Pipeline(path=str)"))
    assert main(["check", ".", "--no-static", "--format", "junit"]) == 0
    shown = capsys.readouterr().out
    assert [line.strip() for line in shown.splitlines() if "<testcase" in line] == [
        f'<testcase classname="{name}" name="no error" file="{name}" />' for name in ("a.py", "b.py")
    ]
