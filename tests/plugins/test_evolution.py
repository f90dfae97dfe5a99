"""An edit of one module is seen in the modules that read it: by a run with a warm cache, and by the daemon."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.plugins.evolution import EDITS, FILES, Edit, Project
from tests.plugins.running import Daemon, Mypy
from tests.plugins.test_matrix import OLDER, older

pytestmark = pytest.mark.slow

_IMPORTS = """\
import dataclasses, typing

import attrs, pydantic
from metta.sweep import Pipeline

Pipeline(x=int).stage("x", print).compile()
"""


class Fresh:
    """Runs that know nothing of the project: each begins with a cache of the libraries alone."""

    def __init__(self, mypy: Mypy) -> None:
        self._mypy = mypy
        (mypy.folder / "imports.py").write_text(_IMPORTS, encoding="utf-8")
        assert replace(mypy, cache="libraries").lines(["imports.py"]) == []

    def lines(self) -> list[str]:
        shutil.rmtree(self._mypy.folder / "fresh", ignore_errors=True)
        shutil.copytree(self._mypy.folder / "libraries", self._mypy.folder / "fresh")
        return replace(self._mypy, cache="fresh").lines(FILES)


def check_seen(edit: Edit, lines: list[str]) -> None:
    """What the edit leads to is reported, and nothing but that, so that other runs can be compared."""
    errors = [line for line in lines if ": error: " in line]
    found = {f"{line.partition('.py:')[0]} {line.rpartition('[')[2][:-1]}" for line in errors}
    assert {it for it in found if it.split()[0] != edit.module or edit.module == "use"} == edit.seen, edit.what


@pytest.mark.parametrize("version", [*OLDER, ""], ids=lambda version: version or "newest")
def test_every_edit_is_seen(version: str, python: Path, tmp_path: Path) -> None:
    project = Project(tmp_path)
    mypy = Mypy(tmp_path, python, libraries=older(version))
    fresh, warm = Fresh(mypy), replace(mypy, cache="warm")
    assert warm.lines(FILES) == []
    with Daemon(mypy) as daemon:
        assert daemon.lines(FILES) == []
        for edit in EDITS:
            project.make(edit)
            lines = fresh.lines()
            check_seen(edit, lines)
            assert warm.lines(FILES) == lines, edit.what
            assert daemon.lines(FILES) == lines, edit.what
            project.mend(edit)
            assert warm.lines(FILES) == [], edit.what
            assert daemon.lines(FILES) == [], edit.what


def test_the_daemon_starts_from_a_cache(python: Path, tmp_path: Path) -> None:
    project = Project(tmp_path)
    mypy = Mypy(tmp_path, python)
    fresh = Fresh(mypy)
    cached = replace(mypy, cache="fine")
    assert replace(cached, options=("--cache-fine-grained",)).lines(FILES) == []
    with Daemon(replace(cached, options=("--use-fine-grained-cache",))) as daemon:
        assert daemon.lines(FILES) == []
        for edit in EDITS:
            project.make(edit)
            assert daemon.lines(FILES) == fresh.lines(), edit.what
            project.mend(edit)
            assert daemon.lines(FILES) == [], edit.what
