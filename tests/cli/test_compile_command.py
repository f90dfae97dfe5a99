"""`metta-sweep compile`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from metta.sweep.cli.main import main
from tests.golden import check_golden

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parents[2]
DRAWN = "tests/compiler/drawn.py"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(ROOT / DRAWN, tmp_path / "drawn.py")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_summary(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "drawn.py"]) == 0
    shown = capsys.readouterr()
    check_golden(GOLDEN / "summary.txt", shown.out)
    assert shown.err == ""


def test_a_name_picks_a_part(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "drawn.py:Tuning"]) == 0
    assert capsys.readouterr().out == ("Tuning\n  inputs  rows: list[int]\n  result  float\n  steps   1 stage\n")


def test_several_pipelines_are_all_described(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = "from drawn import fit\nfrom metta.sweep import Pipeline\n"
    two += "a = Pipeline(rows=list[int]).stage('a', fit)\nb = Pipeline(rows=list[int]).stage('b', fit)\n"
    Path("two.py").write_text(two)
    assert main(["compile", "two.py"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line in "ab"] == ["a", "", "b"]
    assert main(["compile", "two.py", "--graph", "--format", "dot"]) == 2
    assert capsys.readouterr().err == ("error: two.py has 2 pipelines (a, b): choose one, as in two.py:a\n")


def test_the_generated_python(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "drawn.py:Tuning", "--source"]) == 0
    source = capsys.readouterr().out
    compile(source, "generated", "exec")
    assert "def run(rows)" in source
    assert main(["compile", "drawn.py:Tuning", "--source", "-o", "out.py"]) == 0
    assert Path("out.py").read_text() == source


@pytest.mark.parametrize("format", ["dot", "mermaid", "json"])
def test_text_goes_to_standard_output(format: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "drawn.py", "--graph", "--format", format]) == 0
    shown = capsys.readouterr()
    assert "everything" in shown.out
    assert shown.err == ""
    assert [path.name for path in folder.glob("everything*")] == []


def test_a_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "drawn.py:everything", "--graph", "--format", "html"]) == 0
    assert capsys.readouterr() == ("", "wrote everything.html\n")
    page = Path("everything.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "<title>everything</title>" in page
    assert ("<svg" in page) if shutil.which("dot") else ("<table" in page)
    assert main(["compile", "drawn.py:everything", "--graph", "-o", "other.html"]) == 0
    assert Path("other.html").read_text(encoding="utf-8") == page


def test_the_suffix_of_the_output_says_the_format(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "drawn.py:everything", "--graph", "-o", "graph.json"]) == 0
    assert capsys.readouterr() == ("", "wrote graph.json\n")
    assert json.loads(Path("graph.json").read_text())["name"] == "everything"


def test_a_picture_is_named_after_the_pipeline(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which("dot") is None:
        assert main(["compile", "drawn.py", "--graph"]) == 2
        assert 'the program "dot", which is not installed' in capsys.readouterr().err
        return
    assert main(["compile", "drawn.py", "--graph"]) == 0
    assert capsys.readouterr() == ("", "wrote everything.svg\n")
    assert "<svg" in Path("everything.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.py"], "there is no file absent.py in HERE"),
        (["drwn.py"], 'there is no file drwn.py (did you mean "drawn.py"?)'),
        (["."], ". is a directory: name a Python file (metta-sweep check takes directories)"),
        (["binary.py"], "binary.py is no Python file: it holds binary data"),
        (["syntax.py"], "syntax.py:1: syntax.py does not import: SyntaxError: invalid syntax"),
        (["raises.py"], "raises.py:2: raises.py does not import: ZeroDivisionError: division by zero"),
        (
            ["missing.py"],
            (
                "missing.py:1: missing.py does not import: ModuleNotFoundError: No module named 'no_such' "
                "(is it installed in this environment?)"
            ),
        ),
        (
            ["empty.py"],
            (
                "empty.py:1: no pipeline here: expected a Pipeline or an experiment in a global variable, an "
                "Experiment class, or a function annotated -> Pipeline"
            ),
        ),
        (["drawn.py:everythin"], 'drawn.py has no "everythin" (did you mean "everything"?)'),
        (["drawn.py:load"], '"load" in drawn.py needs arguments (path): make it in a global variable and name that'),
        (
            ["drawn.py", "--graph", "--format", "sgv"],
            'unknown format "sgv" (did you mean "svg"?): choose svg, png, pdf, html, dot, mermaid or json',
        ),
        (["drawn.py", "--format", "svg"], "--format is for drawings: add --graph"),
        (["drawn.py", "-o", "x.svg"], "-o is for drawings and for --source: add one of them"),
        (["drawn.py", "--graph", "--source"], "--graph and --source exclude one another: choose one"),
        (
            ["drawn.py", "--graph", "-o", "none/x.dot"],
            "cannot write none/x.dot: make the folder none first",
        ),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence_and_exit_2(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("binary.py").write_bytes(b"\x7fELF\0\0\1")
    Path("syntax.py").write_text("def f(:\n")
    Path("raises.py").write_text("zero = 0\nprint(1 / zero)\n")
    Path("missing.py").write_text("import no_such\n")
    Path("empty.py").write_text("number = 3\n")
    assert main(["compile", *arguments]) == 2
    assert capsys.readouterr() == ("", f"error: {message}\n".replace("HERE", str(Path.cwd())))


def test_all_mistakes_of_the_file_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(ROOT / "tests/cli/mistakes.py", folder)
    assert main(["compile", "mistakes.py"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert [line for line in shown.err.splitlines() if line.startswith("mistakes.py:")] == [
        line
        for line in (GOLDEN / "mistakes.txt").read_text().replace("tests/cli/", "").splitlines()
        if "mistakes.py:" in line
    ]


TWO = (
    "from metta.sweep import Pipeline\n"
    "def f(x: int) -> int: return x\n"
    "later = Pipeline(x=int).stage('f', f)\n"
    "q = Pipeline(x=int).stage('a', 3)\n"
    "later = (Pipeline(x=int).stage('f', f)\n"
    "    .through(y=str))\n"
    "p = (Pipeline(x=int).stage('f', f).through(y=str)\n"
    "    .with_global_hooks(lg=print))\n"
    "good = Pipeline(x=int).stage('f', f).through(y=int)\n"
    "watched = good.with_global_hooks(lg=print)\n"
)


def test_findings_are_sorted_and_are_those_of_the_pipeline_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def lines(target: str) -> list[int]:
        main(["compile", target])
        shown = capsys.readouterr().err.splitlines()
        return [int(line.split(":")[1]) for line in shown if line.startswith("two.py:")]

    Path("two.py").write_text(TWO)
    assert lines("two.py") == [4, 6, 7, 8, 10]
    assert lines("two.py:p") == [7, 8]
    assert lines("two.py:q") == [4]
    assert lines("two.py:watched") == [10]
    assert main(["compile", "two.py:good"]) == 0
    # The rules for a whole pipeline are applied last: what they find may stand further up.
    Path("late.py").write_text(
        "from metta.sweep import Pipeline\n"
        "p = (\n"
        "    Pipeline(x=int)\n"
        "    .loop_while(lambda now: now.x)\n"
        "    .stage('a', 3)\n"
        ")\n"
    )
    assert main(["compile", "late.py"]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("late.py:")]
    assert [line.rpartition("[")[2] for line in told] == ["unclosed-loop]", "not-a-stage]"]


def test_a_name_behind_a_run_is_missed_with_a_reason(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("user.py").write_text(
        TWO.splitlines()[0] + "\np = Pipeline(x=int).stage('a', abs)\np.compile().run(x=1)\nq = p\n"
    )
    assert main(["compile", "user.py:q"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("user.py:3: note: read up to line 3, where a run starts; what follows is not checked")
    assert shown.endswith('error: user.py has no "q"; it has p\n')


def test_a_mistake_is_told_even_where_the_file_then_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("user.py").write_text(
        "from metta.sweep import Pipeline\np = Pipeline(x=int).stage('a', 3)\nraise ValueError('because of that')\n"
    )
    assert main(["compile", "user.py"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith('user.py:2: stage "a" is given ')
    assert "because of that" not in shown
