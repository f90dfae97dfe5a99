"""mypy's own rule for plugins over ours: no `isinstance` on a type that may still be an alias."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CONFIGURATION = f"""\
[mypy]
strict = true
plugins = mypy.plugins.proper_plugin
mypy_path = {ROOT}, {ROOT / "plugins"}, {ROOT / "stubs"}
namespace_packages = true
explicit_package_bases = true
follow_imports = silent
"""

UNEXPANDED = """\
from mypy.types import Instance, Type

def names_a_class(typ: Type) -> bool:
    return isinstance(typ, Instance)
"""

EXPANDED = UNEXPANDED.replace("Instance, Type", "Instance, Type, get_proper_type").replace(
    "(typ, Instance)", "(get_proper_type(typ), Instance)"
)


def self_check(target: Path, folder: Path) -> str:
    """What mypy and its plugin for plugins say about a file or a folder: nothing if all is well."""
    configuration = folder / "self_check.ini"
    configuration.write_text(CONFIGURATION, encoding="utf-8")
    options = [f"--config-file={configuration}", f"--cache-dir={folder / 'cache'}", "--no-error-summary"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(target)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert not done.stderr, done.stderr
    assert bool(done.returncode) is bool(done.stdout)
    return done.stdout


def test_our_plugin_expands_types_before_it_looks_at_them(tmp_path: Path) -> None:
    assert self_check(ROOT / "plugins" / "metta_mypy", tmp_path) == ""


@pytest.mark.parametrize(
    ("text", "said"), [(UNEXPANDED, "Never apply isinstance() to unexpanded types"), (EXPANDED, "")]
)
def test_the_rule_tells_them_apart(text: str, said: str, tmp_path: Path) -> None:
    source = tmp_path / "sample.py"
    source.write_text(text, encoding="utf-8")
    found = self_check(source, tmp_path)
    assert said in found
    assert bool(said) is bool(found)
