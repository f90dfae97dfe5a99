"""No text of a user reaches a shell (promise S3): names are made of allowed letters, programs are given lists."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import metta.sweep
from metta.sweep.store.naming import is_plain, natural_order, slug, stage_path, unique_slug

PACKAGE = Path(next(iter(metta.sweep.__path__)))

HOSTILE = [
    "",
    "-rf",
    "--store=/",
    "a\nb",
    "a\rb",
    "a\0b",
    "; touch canary",
    "$(touch canary)",
    "`touch canary`",
    "' ; touch canary '",
    '" ; touch canary "',
    "${IFS}",
    "%j",
    "../../etc",
    ".hidden",
    "~",
    "*",
    "a b",
    "a\\",
    "!!",
    "\u202egnp",
    "\ud800",
    "ﬁle",
    "x" * 5_000,
]

ANY_NAME = st.one_of(st.text(max_size=40), st.text(st.sampled_from("ab'\"\\$`;|&<>(){}*?!~#%\n\t -./"), max_size=40))


@given(ANY_NAME)
@settings(max_examples=300, derandomize=True, deadline=None)
def test_every_name_becomes_a_plain_one(name: str) -> None:
    for made in (slug(name), unique_slug(name), f"{slug(name)}-20261122-051500-3fa9", *stage_path(name).split("/")):
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", made), made
        assert is_plain(made)


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_plain(name: str) -> None:
    assert not is_plain(name)
    assert is_plain(slug(name))


@pytest.mark.parametrize("name", ["v1", "lr_search-20261122-051500-3fa9", "tune-1-0a1b2c3d4e5f", "_", "a.b"])
def test_what_a_store_gives_is_plain(name: str) -> None:
    assert is_plain(name)


def test_bash_takes_each_name_for_one_word(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    drawn: list[str] = []

    @given(ANY_NAME)
    @settings(max_examples=300, derandomize=True, deadline=None, database=None)
    def draw(name: str) -> None:
        drawn.append(name)

    draw()
    names = [made for name in [*HOSTILE, *drawn] for made in (slug(name), unique_slug(name))]
    script = tmp_path / "script"
    script.write_text("".join(f"printf '%s|%s\\n' {name} $#\n" for name in names))
    checked = subprocess.run([bash, "-n", str(script)], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    done = subprocess.run([bash, str(script)], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{name}|0" for name in names]
    assert [path.name for path in tmp_path.iterdir()] == ["script"]


SHELLS = {"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell"}


def shell_calls(tree: ast.AST) -> Iterator[int]:
    """The lines that hand a text to a shell."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in SHELLS or any(keyword.arg == "shell" for keyword in node.keywords):
                yield node.lineno


def test_the_package_starts_no_shell() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 100
    texts = {file: file.read_text() for file in files}
    suspects = [file for file, text in texts.items() if any(word in text for word in (*SHELLS, "shell"))]
    assert [f"{file}:{line}" for file in suspects for line in shell_calls(ast.parse(texts[file]))] == []
    assert list(shell_calls(ast.parse("import os\nos.system('ls')\nsubprocess.run(x, shell=True)"))) == [2, 3]


def test_numbers_in_names_count() -> None:
    names = ["trial-10", "trial-2", "a", "trial", "x²", "7", "²"]
    assert sorted(names, key=natural_order) == ["7", "a", "trial", "trial-2", "trial-10", "x²", "²"]
    assert sorted(["9" * 10_000, "8"], key=natural_order) == ["8", "9" * 10_000]  # more digits than Python reads
