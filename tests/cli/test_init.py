"""`metta-sweep init`: what it writes works as it is, and nothing that is there gets lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from metta.sweep.cli.init import FILES, checked_name, make_project, project_texts
from metta.sweep.errors import StorageError, UsageError
from tests.cli.commands import ROOT, Commands


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    folder = tmp_path / "line-fit"
    assert make_project(str(folder), name=None, force=False) == 0
    return folder


def written(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_it_writes_a_project_and_says_what_is_next(command: Commands, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "line-fit"
    code, out, err = command("init", str(folder))
    assert (code, err) == (0, "")
    assert written(folder) == set(FILES)
    assert out.splitlines()[0].startswith(f"line-fit is in {folder}: pyproject.toml, ")
    assert out.splitlines()[1:4] == ["next:", f"  cd {folder}", "  pip install -e '.[dev]'"]
    assert 'name = "line-fit"' in (folder / "pyproject.toml").read_text()
    assert ".metta-sweep/" in (folder / ".gitignore").read_text().splitlines()


def test_no_template_has_a_placeholder_left() -> None:
    texts = project_texts("demo")
    assert not [file for file, text in texts.items() if "$" in text]
    assert [file for file, text in texts.items() if "demo" in text] == ["pyproject.toml", "sweep.py", "README.md"]
    assert max(len(line) for text in texts.values() for line in text.splitlines()) <= 120


@pytest.mark.parametrize("name", ["a", "a-name-of-sixty-letters-" + "x" * 36])
def test_comments_stand_in_one_column_whatever_the_name(name: str) -> None:
    block = project_texts(name)["README.md"].partition("```sh\n")[2].partition("```")[0]
    assert f"metta-sweep report {name} -o report.html\n" in block
    assert {line.index("#") for line in block.splitlines() if "#" in line} == {0}


def test_it_is_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert make_project(".", name=None, force=False) == 0
    assert "cd " not in capsys.readouterr().out
    assert 'name="here"' in (folder / "sweep.py").read_text()


def test_nothing_is_written_over(command: Commands, tmp_path: Path) -> None:
    (tmp_path / "sweep.py").write_text("mine")
    (tmp_path / "README.md").symlink_to("nowhere")
    code, out, err = command("init", str(tmp_path), "--name", "x")
    assert (code, out) == (4, "")
    assert f"error: {tmp_path} has sweep.py, README.md already, and nothing was written" in err
    assert "--force" in err
    assert not (tmp_path / "pyproject.toml").exists()
    assert (tmp_path / "sweep.py").read_text() == "mine"


def test_force_writes_over_files_and_not_where_a_link_leads(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "sweep.py").symlink_to(outside)
    make_project(str(folder), name=None, force=True)
    assert outside.read_text() == "mine"
    assert not (folder / "sweep.py").is_symlink()


def folder_link(folder: Path) -> Path:
    (folder.parent / "outside").mkdir()
    (folder / "tests").symlink_to(folder.parent / "outside")
    return folder / "tests"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "README.md")  # the last but one: nothing before it is written either
    return folder / "README.md"


def own_folder(folder: Path) -> Path:
    (folder / "sweep.py").mkdir()
    return folder / "sweep.py"


@pytest.mark.parametrize("make", [folder_link, pipe, own_folder])
def test_force_refuses_what_is_no_file(command: Commands, tmp_path: Path, make: Callable[[Path], Path]) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    there = make(folder)
    code, out, err = command("init", str(folder), "--force")
    assert (code, out) == (4, "")
    assert err.startswith(f"error: {there} is ")
    assert err.endswith("nothing was written: remove it, or name another folder\n")
    assert list(folder.iterdir()) == [there]
    assert not [*(tmp_path / "outside").glob("*")]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("my project", "my-project"),
        ("a\nb", "a-b"),
        ('x"; import os', "x-import-os"),
        ("Café", "cafe"),
        ("中文", "project"),
        ("-x-", "x"),
        ("", "project"),
        ("x" * 61, "x" * 60),
        ("metta_sweep", "my-metta-sweep"),
        ("$name", "name"),
    ],
)
def test_what_is_no_name_is_refused_with_one_that_is(name: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"add --name {near}$"):
        checked_name(name)
    assert checked_name(near) == near


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match="is no folder: name one that is new or empty"):
        make_project(str(tmp_path / "taken"), name=None, force=False)
    with pytest.raises(StorageError, match="cannot be written: Not a directory"):
        make_project(str(tmp_path / "taken" / "below"), name=None, force=False)


def test_its_pipelines_have_no_mistake(project: Path, command: Commands) -> None:
    code, out, err = command("check", "--no-static", str(project))
    assert (code, out) == (0, "no problems found in 2 files\n"), err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (["mypy"], "Success: no issues found in 3 source files"),
        (["pytest", "-q", "-p", "no:cacheprovider"], "2 passed"),
        (["metta.sweep.cli.main", "run", "sweep.py:sweep"], "20 trials (20 completed)"),
        (
            [
                "metta.sweep.cli.main",
                "run",
                "pipeline.py",
                "--set",
                "rate=0.1",
                "--set",
                "momentum=0",
                "--set",
                "epochs=5",
            ],
            "score = 0.98",
        ),
    ],
    ids=["mypy", "pytest", "sweep", "pipeline"],
)
def test_everything_that_its_readme_names_succeeds(project: Path, program: list[str], expected: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    environment.pop("METTA_SWEEP_HOME", None)
    done = subprocess.run(
        [sys.executable, "-m", *program], cwd=project, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert expected in done.stdout + done.stderr
