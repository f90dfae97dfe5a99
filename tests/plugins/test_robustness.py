"""What makes an old cache worthless, and what happens when the plugin itself fails."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.plugins.running import Mypy

ROOT = Path(__file__).parents[2]

UNTYPED = """\
from metta.sweep import Pipeline

def load(path):  # type: ignore[no-untyped-def]
    return path

Pipeline(path=str).stage("load", load).through(text=str)
"""

TYPED = """\
from metta.sweep import Pipeline

def load(path: str) -> str:
    return path

p = Pipeline(path=str).stage("load", load).through(text=str)
p.stage("again", load).through(number=int)
"""

OTHER = """\
import sys
from metta_mypy import plugin as plugin

sys.modules["metta_mypy.plugin"].VERSION = "{version}"
"""

BROKEN = """\
from metta_mypy import plugin as plugin
from metta_mypy import settle, session
from metta_mypy.plugin import MettaPlugin

def fail(*_: object, **__: object) -> object:
    raise KeyError("a mistake of ours")

session.Session.point_of = fail
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of what decides about a verdict, and of something that does not."""
    for name in ("metta/sweep/contracts", "plugins/metta_mypy"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "metta" / "sweep" / "__init__.py").touch()
    return tmp_path


def version(sources: Path) -> str:
    """`metta_mypy.__version__`, which mypy asks for; without mypy itself."""
    code = "from metta_mypy.digest import digest; print(digest())"
    program = (
        f"import sys, types; sys.path[:0] = [{str(sources)!r}, {str(sources / 'plugins')!r}];"
        f"package = types.ModuleType('metta_mypy'); package.__path__ = [{str(sources / 'plugins/metta_mypy')!r}];"
        f"sys.modules['metta_mypy'] = package; {code}"
    )
    done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def append(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")


@pytest.mark.parametrize(
    "change",
    [
        lambda sources: append(sources / "plugins" / "metta_mypy" / "records.py"),
        lambda sources: append(sources / "metta" / "sweep" / "contracts" / "flow" / "__init__.py"),
        lambda sources: append(sources / "metta" / "sweep" / "contracts" / "diagnostics.py"),
        lambda sources: (sources / "plugins" / "metta_mypy" / "new.py").touch(),
    ],
    ids=["plugin", "rule book", "diagnostics", "new file"],
)
def test_the_version_changes_with_every_file_that_decides(sources: Path, change: Callable[[Path], object]) -> None:
    before = version(sources)
    append(sources / "metta" / "sweep" / "__init__.py")
    assert version(sources) == before
    change(sources)
    assert version(sources) != before


@pytest.mark.slow
def test_a_changed_option_is_not_answered_from_the_cache(python: Path, tmp_path: Path) -> None:
    (tmp_path / "untyped.py").write_text(UNTYPED, encoding="utf-8")
    mypy = Mypy(tmp_path, python)
    for _ in range(2):
        relaxed, strict = mypy.findings(["untyped.py"]), replace(mypy, strict=True).findings(["untyped.py"])
        assert [(it.severity, it.code) for it in relaxed] == [("note", "untyped-stage")]
        assert [(it.severity, it.code) for it in strict] == [("error", "untyped-stage")]


@pytest.mark.slow
def test_what_another_version_or_option_has_checked_is_checked_again(python: Path, tmp_path: Path) -> None:
    files = ["untyped.py", "typed.py"]
    (tmp_path / "untyped.py").write_text(UNTYPED, encoding="utf-8")
    (tmp_path / "typed.py").write_text(TYPED, encoding="utf-8")
    plugin = tmp_path / "other.py"
    plugin.write_text(OTHER.format(version="one"), encoding="utf-8")
    mypy = Mypy(tmp_path, python, libraries=(tmp_path,), plugins="other")

    def rechecked(mypy: Mypy) -> set[str]:
        return mypy.rechecked(files) & {"untyped", "typed"}

    mypy.findings(files)
    assert rechecked(mypy) == set()
    # mypy itself sees the other plugin as well, but at the first run only, and for what that run checks.
    plugin.write_text(OTHER.format(version="two"), encoding="utf-8")
    mypy.findings(files[:1])
    assert rechecked(mypy) == {"typed"}
    assert rechecked(mypy) == set()
    assert rechecked(replace(mypy, strict=True)) == {"untyped", "typed"}


@pytest.mark.slow
def test_a_failure_of_the_plugin_is_a_note(python: Path, tmp_path: Path) -> None:
    (tmp_path / "typed.py").write_text(TYPED, encoding="utf-8")
    (tmp_path / "broken.py").write_text(BROKEN, encoding="utf-8")
    mypy = Mypy(tmp_path, python)
    (found,) = mypy.findings(["typed.py"])
    assert (found.line, found.code) == (7, "stage-output")
    broken = replace(mypy, libraries=(tmp_path,), plugins="broken", cache="broken_cache").findings(["typed.py"])
    assert {it.severity for it in broken} == {"note"}
    assert {it.line for it in broken} == {6, 7}
    for it in broken:
        assert it.message.startswith("metta_mypy failed here (KeyError: 'a mistake of ours')")
