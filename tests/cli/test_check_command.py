"""`metta-sweep check`: every mistake of every pipeline, on its exact line."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from metta.sweep.cli.main import main
from metta.sweep.compiler.check import check_paths
from metta.sweep.contracts.diagnostics import Severity
from tests.golden import check_golden

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parents[2]
MISTAKES = "tests/cli/mistakes.py"
EXPECTED = [
    (27, "unknown-setting", "first"),
    (29, "stage-output", "first"),
    (37, "unknown-hook", "second"),
    (39, "missing-field", "second"),
    (49, "unclosed-loop", "Training.pipeline"),
]
FINE = "from metta.sweep import Pipeline\np = Pipeline(x=int).stage('a', lambda x: x)\n"
WRONG = "from metta.sweep import Pipeline\np = Pipeline(x=int).stage('a', 3)\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_five_mistakes_in_three_pipelines() -> None:
    found = check_paths([str(ROOT / MISTAKES)])
    assert [(d.line, d.code, d.pipeline) for d in found] == EXPECTED


HINT = (
    "what they mean: metta-sweep explain unknown-setting "
    "(or stage-output, unknown-hook, missing-field, unclosed-loop)\n"
)


@pytest.mark.parametrize(
    ("format", "suffix"),
    [("text", "txt"), ("json", "json"), ("github", "github"), ("sarif", "sarif"), ("junit", "xml")],
)
def test_the_formats(
    format: str, suffix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["check", MISTAKES, "--format", format, "--no-static"]) == 2
    shown = capsys.readouterr()
    assert shown.err == (HINT if format == "text" else "")
    check_golden(GOLDEN / f"mistakes.{suffix}", shown.out)
    if format == "json":
        assert [(d["line"], d["code"], d["pipeline"]) for d in json.loads(shown.out)] == EXPECTED
    if format == "github":
        assert [line.split(",")[1] for line in shown.out.splitlines()] == [f"line={line}" for line, _, _ in EXPECTED]


def test_nothing_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(ROOT / "tests/compiler/drawn.py", folder)
    Path("drawn.py").write_text(Path("drawn.py").read_text().replace(", timeout=90", ""))
    assert main(["check", "drawn.py", "--no-static"]) == 0
    assert capsys.readouterr() == ("no problems found in 1 file\n", "")
    assert main(["check", "drawn.py", "--format", "json", "--no-static"]) == 0
    assert capsys.readouterr() == ("[]\n", "")
    assert main(["check", "drawn.py", "--format", "github", "--no-static"]) == 0
    assert capsys.readouterr() == ("", "")


def test_notes_do_not_fail(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("user.py").write_text(FINE)
    assert main(["check", "user.py", "--no-static"]) == 0
    assert "note: " in capsys.readouterr().out


def test_a_file_that_does_not_import_is_a_finding_and_the_others_are_checked(folder: Path) -> None:
    Path("a.py").write_text("import metta\nimport no_such\n")
    Path("b.py").write_text(WRONG)
    Path("c.py").write_bytes(b"metta\0")
    found = [(d.file, d.line, d.code) for d in check_paths(["."])]
    assert found == [("a.py", 2, "not-loaded"), ("b.py", 2, "not-a-stage"), ("c.py", 1, "not-loaded")]


def test_a_named_file_without_a_pipeline_is_an_error(folder: Path) -> None:
    Path("user.py").write_text("number = 3\n")
    (found,) = check_paths(["user.py"])
    assert (found.code, found.severity) == ("no-pipeline", Severity.ERROR)
    assert check_paths(["."]) == []


def notes(*paths: str) -> list[tuple[str, int, str]]:
    found = check_paths(paths)
    return [(d.file, d.line, d.message) for d in found if (d.code, d.severity) == ("not-loaded", Severity.NOTE)]


STOPPED = "read up to line 4, where a run starts; what follows is not checked"
RUNS = (
    "from metta.sweep import Pipeline\n"
    "def f(x: int) -> int: return x\n"
    "p = Pipeline(x=int).stage('f', f)\n"
    "p.compile().run(x=1)\n"
)


def test_a_file_that_is_not_read_to_its_end_says_so(folder: Path) -> None:
    Path("user.py").write_text(RUNS)
    assert check_paths(["user.py"]) == []  # nothing follows
    Path("user.py").write_text(RUNS + "second = Pipeline(x=int).stage('b', 3)\n")
    assert notes("user.py") == [("user.py", 4, STOPPED)]
    block = RUNS.replace("p.compile().run(x=1)", "if p:\n    p.compile().run(x=1)\n    Pipeline(x=int).stage('b', 3)")
    Path("user.py").write_text(block)
    assert notes("user.py") == [("user.py", 5, STOPPED.replace("4", "5"))]
    inside = RUNS.replace("p.compile", "def run():\n    p.compile") + "    Pipeline(x=int).stage('b', 3)\nrun()\n"
    Path("user.py").write_text(inside)
    assert notes("user.py") == [("user.py", 7, STOPPED.replace("4", "7"))]


@pytest.mark.parametrize("package", ["", "package_of_test_check"])
def test_a_run_in_a_neighbour_stops_the_neighbour_only(package: str, folder: Path) -> None:
    inside = Path(package)
    inside.mkdir(exist_ok=True)
    if package:
        (inside / "__init__.py").touch()
    dot = "." if package else ""
    (inside / "beside_of_test_check.py").write_text(RUNS + "late = 3\n")
    (inside / "user.py").write_text(
        f"from {dot}beside_of_test_check import f\nfrom metta.sweep import Pipeline\n"
        "second = Pipeline(x=int).stage('f', f).through(y=str)\n"
    )
    search, finders = list(sys.path), list(sys.meta_path)
    found = [(d.file, d.line, d.code) for d in check_paths([str(inside / "user.py")])]
    assert found == [
        (str(inside / "beside_of_test_check.py"), 4, "not-loaded"),
        (str(inside / "user.py"), 3, "stage-output"),
    ]
    assert (sys.path, sys.meta_path) == (search, finders)
    assert not [name for name in sys.modules if "of_test_check" in name]


NEEDS = (
    "from metta.sweep import Experiment, Pipeline\n"
    "class Needs(Experiment[int]):\n"
    "    def __init__(self, n: int) -> None: ...\n"
    "    def pipeline(self) -> Pipeline:\n"
    "        return Pipeline(x=int).stage('a', abs)\n"
    "def make(k: int) -> Pipeline:\n"
    "    return Pipeline(x=int).stage('b', abs)\n"
)


def test_what_needs_arguments_is_named(folder: Path) -> None:
    hint = "needs arguments ({}): make it in a global variable and name that"
    needs, make = (f'"{name}" in user.py {hint.format(given)}' for name, given in (("Needs", "n"), ("make", "k")))
    Path("user.py").write_text(NEEDS)
    (error,) = check_paths(["user.py"])
    assert (error.code, error.line, error.message) == ("no-pipeline", 2, needs)
    Path("user.py").write_text(NEEDS + "p = Pipeline(x=int).stage('c', abs)\n")
    assert notes("user.py") == [
        ("user.py", 2, f"not checked: {needs}"),
        ("user.py", 6, f"not checked: {make}"),
    ]


def test_what_needs_arguments_and_is_made_somewhere_is_checked_there(folder: Path) -> None:
    Path("user.py").write_text(NEEDS + "p = Pipeline(x=int).stage('c', Needs(3))\n")
    assert [line for _, line, _ in notes("user.py")] == [6]
    Path("z.py").write_text("from metta.sweep import Pipeline\nfrom user import make\np = make(3)\n")
    assert notes("user.py", "z.py") == []


def test_a_protocol_is_no_experiment(folder: Path) -> None:
    Path("user.py").write_text(
        "from typing import Protocol\n"
        "from metta.sweep import Pipeline\n"
        "class Plan(Protocol):\n"
        "    def __metta_stage__(self) -> object: ...\n"
        "p = Pipeline(x=int).stage('a', abs)\n"
    )
    assert [d for d in check_paths(["user.py"]) if d.code == "not-loaded"] == []


def test_directories_are_searched_for_files_that_import_us(folder: Path) -> None:
    for name in ("a/deep/user.py", "b/user.py", ".hidden/user.py", "__pycache__/user.py", "env/lib/user.py"):
        path = Path(name)
        path.parent.mkdir(parents=True)
        path.write_text(WRONG)
    Path("env/pyvenv.cfg").touch()
    Path("script.py").write_text("raise SystemExit('this imports nothing of metta')\n")
    Path("lazily.py").write_text("def f():\n    import metta.sweep\n")
    assert [d.file for d in check_paths(["."])] == ["a/deep/user.py", "b/user.py"]


def test_and_for_those_that_have_us_from_a_module_of_the_project(folder: Path) -> None:
    wrong = "p = Pipeline(x=int).stage('a', 3)\n"
    files = {
        "base.py": "from metta.sweep import Pipeline, Experiment\n",
        "star.py": f"from base import *\n{wrong}",
        "lib/__init__.py": "",
        "lib/prelude.py": "from metta.sweep import Pipeline as Pipeline\n",
        "lib/more.py": f"from .prelude import Pipeline\n{wrong}",
        "second.py": f"from lib.prelude import Pipeline\n{wrong}",
        "third.py": f"from second import Pipeline\n{wrong}",
        "whole.py": f"import lib.prelude\nPipeline = lib.prelude.Pipeline\n{wrong}",
        "goes_on.py": "import third\nq = third.p.stage('b', 4)\n",
        # What makes no pipeline is not run; nor is what only looks as if it did.
        "plots.py": "import base\nraise AssertionError\n",
        "other.py": "class Pipeline: ...\nraise AssertionError\n",
        "circle_a.py": "import circle_b, json\n# Pipeline(\nraise AssertionError\n",
        "circle_b.py": "import circle_a\nraise AssertionError\n",
    }
    for name, text in files.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    found = check_paths(["."])
    assert {d.code for d in found} == {"not-a-stage"}
    assert {d.file for d in found} == {
        "star.py",
        "lib/more.py",
        "second.py",
        "third.py",
        "whole.py",
        "goes_on.py",
    }


def test_the_count_says_how_many_files_were_checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    right = "from metta.sweep import Pipeline\np = Pipeline(x=int)\n"
    Path("a.py").write_text(right)
    Path("b.py").write_text(right)
    Path("notebook.ipynb").write_text("{}")
    assert main(["check", ".", "--no-static"]) == 0
    assert capsys.readouterr().out == "no problems found in 2 files\n"
    Path("b.py").write_text(WRONG)
    assert main(["check", ".", "--no-static"]) == 2
    assert capsys.readouterr().out.endswith("\n1 error in 1 file (2 checked)\n")
    Path("a.py").unlink()
    Path("b.py").unlink()
    assert main(["check", ".", "--no-static"]) == 0
    assert capsys.readouterr().out == "no problems found in 0 files\n"


def test_a_stage_that_is_built_twice_with_other_values_is_told_once(folder: Path) -> None:
    Path("user.py").write_text(
        "from metta.sweep import Pipeline\n"
        "def build(size):\n"
        "    return Pipeline(x=int).stage('a', [0] * size)\n"
        "one, other = build(3), build(5)\n"
    )
    assert [(d.code, d.line) for d in check_paths(["user.py"])] == [("not-a-stage", 3)]


def test_a_finding_is_told_once(folder: Path) -> None:
    Path("user.py").write_text(WRONG)
    assert len(check_paths(["user.py", ".", "user.py"])) == 1


def test_a_part_is_checked_where_it_is_used(folder: Path) -> None:
    Path("user.py").write_text(
        "from metta.sweep import Pipeline\n"
        "def f(x: int) -> int: return x\n"
        "def g(y: int) -> int: return y\n"
        "arm = Pipeline().stage('f', f).through(z=int).stage('g', g)\n"
        "whole = Pipeline(x=int, y=int).stage('arm', arm)\n"
    )
    assert check_paths(["user.py"]) == []
    Path("user.py").write_text(Path("user.py").read_text().replace(", y=int", ""))
    assert [(d.line, d.code) for d in check_paths(["user.py"])] == [(4, "missing-field")]


def test_checking_again_finds_the_same() -> None:
    # The file is in a package, and this test's own modules lie below the same folder.
    assert check_paths([str(ROOT / MISTAKES)]) == check_paths([str(ROOT / MISTAKES)])
    assert sys.modules["metta.sweep.compiler.check"].check_paths is check_paths


def test_a_path_that_does_not_exist(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("user.py").write_text(FINE)
    assert main(["check", "uses.py"]) == 2
    assert capsys.readouterr() == ("", 'error: there is no file or directory uses.py (did you mean "user.py"?)\n')


def test_a_wrong_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "no matter what", "--format", "jsn"]) == 2
    assert capsys.readouterr() == (
        "",
        'error: unknown format "jsn" (did you mean "json"?): choose text, json, github, sarif or junit\n',
    )
