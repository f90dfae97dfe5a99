"""The plugin reports the same with any mypy, with and without a cache, and when it is installed from a wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from metta.sweep.contracts.diagnostics import CODES
from tests import environments
from tests.marks import case_files
from tests.plugins import evolution
from tests.plugins.running import Finding, Mypy

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PINS = ROOT / ".ci" / "mypy-versions.txt"
OLDER = [line.removeprefix("mypy==") for line in PINS.read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
MISTAKES = {"steps": "a parameter is renamed", "records": "a field is removed", "flows": "a stage is renamed"}
"""What is wrong in the project: its errors stand in modules that read the others."""


DIFFERENCES = {
    'wrong = base.stage("use", use_two)': "older mypys infer Any for a bare ClassVar",
    'from_a_class = Holder.base.stage("use", use_two)': "the same",
    'stage(name, evaluate).through(Score).stage("use", use_two)': "to them a loop's variable is a str",
    'by_fields.run(3, "a")': "they have another code for too many arguments",
}
"""Lines of the cases about which mypy itself has changed its mind."""


def older(version: str) -> tuple[Path, ...]:
    """Where another mypy is installed; an empty version is the one that is tested with."""
    if not version:
        return ()
    folder = Path(sys.prefix) / "mypy" / version
    assert folder.exists(), f"mypy {version} is not installed: run `make mypy-versions`"
    return (folder,)


def corpus(folder: Path) -> list[Path]:
    """Copy all case files, and a project with mistakes, into a folder; their relative paths."""
    files = [path.relative_to(ROOT) for path in case_files()]
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / file, folder / file)
    project = evolution.Project(folder)
    for edit in evolution.EDITS:
        if MISTAKES.get(edit.module) == edit.what:
            project.make(edit)
    return [*files, *map(Path, evolution.FILES)]


def is_ours(finding: Finding) -> bool:
    return finding.code in CODES or "metta_mypy" in finding.message


@pytest.fixture(scope="module")
def newest(python: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    """What the mypy of this environment reports, without a cache."""
    folder = tmp_path_factory.mktemp("newest")
    files = corpus(folder)
    return Mypy(folder, python, options=("--no-incremental",)).findings(files)


def test_the_corpus_is_worth_comparing(newest: list[Finding]) -> None:
    codes = {it.code for it in newest if is_ours(it)}
    assert len([it for it in newest if is_ours(it)]) > 200
    assert len(codes) > 20
    for module in ("flows", "use"):
        assert any(it.file == f"{module}.py" for it in newest)


@pytest.mark.parametrize("version", OLDER)
def test_older_versions_report_the_same(version: str, python: Path, newest: list[Finding], tmp_path: Path) -> None:
    mypy = Mypy(tmp_path, python, libraries=older(version))
    assert mypy.call("mypy", ["--version"])[0].split()[1] == version
    found = mypy.findings(corpus(tmp_path))
    found, expected = comparable(found, tmp_path), comparable(newest, tmp_path)
    assert list(filter(is_ours, found)) == list(filter(is_ours, expected))
    assert errors_of_mypy(found) == errors_of_mypy(expected)


def comparable(found: list[Finding], folder: Path) -> list[Finding]:
    """All but what stands on the lines of `DIFFERENCES`."""
    lines = {file: (folder / file).read_text(encoding="utf-8").splitlines() for file in {it.file for it in found}}
    return [it for it in found if not any(text in lines[it.file][it.line - 1] for text in DIFFERENCES)]


def errors_of_mypy(found: Iterable[Finding]) -> set[tuple[str, int, str]]:
    """Its own errors; their wording differs from version to version, and so do the notes that explain them."""
    return {(it.file, it.line, it.code) for it in found if not is_ours(it) and it.severity == "error"}


@pytest.mark.parametrize(
    "options",
    [(), ("--no-sqlite-cache",), ("--cache-fine-grained",), ("--no-fixed-format-cache", "--no-sqlite-cache")],
    ids=lambda options: " ".join(options) or "default",
)
def test_a_warm_cache_changes_nothing(
    options: tuple[str, ...], python: Path, newest: list[Finding], tmp_path: Path
) -> None:
    files = corpus(tmp_path)
    mypy = Mypy(tmp_path, python, options=options)
    assert mypy.findings(files) == newest  # cold
    assert mypy.findings(files) == newest
    assert mypy.rechecked(files) == set()
    for file in ("use.py", "flows.py", "tests/plugins/cases/shop/parts.py"):
        touch(tmp_path / file)
        assert mypy.findings(files) == newest
        touch(tmp_path / file)
        assert mypy.rechecked(files) == {file.removesuffix(".py").replace("/", ".")}


@pytest.mark.parametrize("option", ["--num-workers=2", "--no-native-parser"])
def test_other_ways_to_run_report_the_same(option: str, python: Path, newest: list[Finding], tmp_path: Path) -> None:
    found = Mypy(tmp_path, python, options=(option,)).findings(corpus(tmp_path))
    assert list(map(_in_short, found)) == list(map(_in_short, newest))


def _in_short(finding: Finding) -> Finding:
    """Without mypy's own words about a ParamSpec's overloads: they depend on which of its processes has read what."""
    return finding._replace(message="", hint="") if finding.code == "call-overload" else finding


def touch(path: Path) -> None:
    """A change that says nothing, and a time that mypy takes for another."""
    at = path.stat().st_mtime + 5
    path.write_text(path.read_text(encoding="utf-8") + "# seen\n", encoding="utf-8")
    os.utime(path, (at, at))


def test_an_installed_wheel_reports_the_same(newest: list[Finding], tmp_path: Path) -> None:
    python = environments.create_with_wheel(tmp_path / "installed")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    mypy = Mypy(folder, python)
    places = "import metta_mypy, metta.sweep, mypy; print(metta_mypy.__file__, metta.sweep.__file__)"
    done = subprocess.run([python, "-c", places], cwd=folder, capture_output=True, text=True, check=True)
    assert all(Path(place).is_relative_to(python.parents[1]) for place in done.stdout.split())
    assert mypy.findings(corpus(folder)) == newest
    assert replace(mypy, options=("--no-incremental",)).findings(corpus(folder)) == newest
