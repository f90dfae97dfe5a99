"""The documentation is true: its code is run and type-checked, its commands exist, what is printed is what it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from metta.sweep.cli.main import cli
from tests.docs.blocks import blocks_of, program, run_page

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md"))]
# Their commands need files that are not on the page; tests/cli runs the like.
COMMANDS_ELSEWHERE = {"README.md", "command_line.md", "static_checking.md"}
# Those that train networks, run conformance suites, or call mypy and the command line many times.
SLOW = {
    "tutorial.md",
    "guides/custom_parts.md",
    "guides/migration.md",
    "guides/mypy_ci.md",
    "guides/slurm.md",
    "guides/training_code.md",
}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT / "docs").as_posix() if page.is_relative_to(ROOT / "docs") else page.name


def is_run(page: Path) -> bool:
    return any(
        block.language == "python" or (block.language == "sh" and name_of(page) not in COMMANDS_ELSEWHERE)
        for block in blocks_of(page.read_text())
        if "no-run" not in block.marks
    )


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=name_of(page), marks=[pytest.mark.slow] if name_of(page) in SLOW else [])
        for page in PAGES
        if is_run(page)
    ],
)
def test_the_code_of_a_page_runs_and_prints_what_it_says(page: Path, tmp_path: Path) -> None:
    run_page(blocks_of(page.read_text()), tmp_path, commands=name_of(page) not in COMMANDS_ELSEWHERE)


def test_the_mistake_of_the_readme_gives_its_message(tmp_path: Path) -> None:
    broken = "\n\n".join(block.code for block in program(blocks_of(README)) if "no-run" not in block.marks)
    for old, new in (
        ("rates: list[float]) -> Training", "rate: list[float]) -> Training"),
        ("for rate in rates]", "for _ in rate]"),
    ):
        assert old in broken
        broken = broken.replace(old, new)
    (tmp_path / "train.py").write_text(broken)
    done = subprocess.run([sys.executable, "train.py"], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    shown = README.split("Rename a parameter")[1].split("```text\n")[1].split("```")[0]
    assert done.stderr.split("ContractError: ")[1] == shown


def test_the_code_of_all_pages_passes_mypy(tmp_path: Path) -> None:
    scripts = []
    for page in PAGES:
        blocks = blocks_of(page.read_text())
        name = re.sub(r"\W", "_", name_of(page).removesuffix(".md").lower())
        files = {block.title: block.code for block in blocks if block.language == "python" and block.title is not None}
        files[f"page_{name}.py"] = "\n\n".join(block.code for block in program(blocks))
        for title, code in files.items():
            script = tmp_path / title  # in one folder: files import each other
            assert not script.exists(), f"two pages have a file {title}"
            script.write_text(code)
            scripts.append(str(script))
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml")]
    done = subprocess.run(
        [*command, "--cache-dir", str(tmp_path / "cache"), *scripts],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
        env={**os.environ, "MYPYPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout


def commands_of(page: Path) -> Iterator[list[str]]:
    """The words of every call of metta-sweep in the page's `sh` blocks."""
    for block in blocks_of(page.read_text()):
        if block.language != "sh":
            continue
        for line in block.code.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            command: list[str] = []
            for word in [*lexer, ";"]:
                if not set(word) <= set("();<>|&"):
                    command.append(word)
                    continue
                if command[:1] == ["metta-sweep"]:
                    yield command[1:]
                command = []


@pytest.mark.parametrize("page", [pytest.param(page, id=name_of(page)) for page in PAGES])
def test_the_commands_of_a_page_exist_with_their_options(page: Path) -> None:
    group = click.Context(cli, info_name="metta-sweep")
    for name, *words in commands_of(page):
        command = cli.get_command(group, name)
        if name.startswith("-"):
            cli.make_parser(group).parse_args([name])
            continue
        assert command is not None, f"no command {name!r}"
        command.make_parser(click.Context(command, parent=group)).parse_args(words)
