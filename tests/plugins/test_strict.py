"""With the plugin's `strict`, a stage whose types are not known is an error, but not one that has been told already."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.marks import STATIC, Finding, marks
from tests.plugins.running import Mypy

TEXT = """\
from metta.sweep import Experiment, Pipeline, field


class Ridge:
    penalty = 1.0


def step(x: int) -> int:
    return x + 1


def add(x: int, y: int) -> int:
    return x + y


def keep(x):  # S: no-untyped-def
    return x


def steps() -> Pipeline:
    return Pipeline(x=int).stage("step", step).through(y=int)


def typed_steps() -> Pipeline[int, int]:
    return Pipeline(int).stage("step", step).through(int)


stepped = Pipeline(x=int).stage("step", step).through(y=int)

# What is known.
in_place = Pipeline(x=int).stage("steps", Pipeline(x=int).stage("step", step).through(y=int))
with_a_name = Pipeline(x=int).stage("steps", stepped)
with_a_type = Pipeline(int).stage("steps", typed_steps())
renamed = Pipeline(ridge=Ridge).stage("penalty", lambda a: a.penalty, a=field("ridge")).through(penalty=float)
arms = Pipeline(x=int).parallel({"l": lambda x: x + 1, "r": lambda x: x * 2}).through(l=int, r=int)

# What is not.
untyped = Pipeline(x=int).stage("keep", keep)  # S: untyped-stage
bare = Pipeline(x=int).stage("steps", steps())  # S: untyped-stage
bare_arm = Pipeline(x=int).conditional(
    lambda ctx: ctx.x > 1,
    steps(),  # S: untyped-stage
)

# What has been told, and what stands behind it.
far = Pipeline(x=int).stage("far", elsewhere, y=1)  # S: name-defined
far_on = far.through(z=int).stage("step", lambda z: z + 1)


class Study(Experiment[int]):
    def best(self, x: int) -> int:
        return x

    def pipeline(self) -> Pipeline:
        return (
            Pipeline(x=int)
            .stage("best", self.bst, y=1)  # S: attr-defined
            .stage("again", lambda y: y + 1)
            .through(int)
        )


wrong = (
    Pipeline(x=int)
    .stage("step", step)
    .through(Ridge)  # S: stage-output
    .stage("read", lambda penalty: penalty + 1)
    .through(y=int)
)
missing = (
    Pipeline(x=int)
    .stage("add", add)  # S: missing-field
    .through(z=int)
    .stage("again", add)
    .through(w=int)
)
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("strict") / "stages.py"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_what_is_not_known_is_an_error_once(path: Path, python: Path) -> None:
    found = Mypy(path.parent, python, strict=True).findings([path.name])
    assert {Finding(it.line, it.severity, it.code) for it in found if it.severity == "error"} == marks(path, STATIC)


def test_a_module_that_is_not_found_is_told_once(python: Path, tmp_path: Path) -> None:
    text = (
        'from absent import far\nfrom metta.sweep import Pipeline\n\nfar_on = Pipeline(x=int).stage("far", far, y=1)\n'
    )
    (tmp_path / "imports.py").write_text(text, encoding="utf-8")
    mypy = Mypy(tmp_path, python, strict=True)
    told = replace(mypy, options=("--config-file=told.ini",))
    mypy.settings()
    config = (tmp_path / "cache.ini").read_text(encoding="utf-8")
    (tmp_path / "told.ini").write_text(config.replace("ignore_missing_imports = true", ""), encoding="utf-8")
    assert [it.code for it in told.findings(["imports.py"]) if it.severity == "error"] == ["import-not-found"]
    assert {it.code for it in mypy.findings(["imports.py"]) if it.severity == "error"} == {"untyped-stage"}


def test_without_strict_it_is_a_note(path: Path, python: Path) -> None:
    found = Mypy(path.parent, python, cache="lax").findings([path.name])
    untyped = {Finding(it.line, "error", it.code) for it in found if it.code == "untyped-stage"}
    assert untyped == {mark for mark in marks(path, STATIC) if mark.code == "untyped-stage"}
    assert {it.severity for it in found if it.code == "untyped-stage"} == {"note"}
