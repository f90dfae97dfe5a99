"""The page about static checking: its output is real, its configuration files can be read, its commands exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.cli.main import cli, main
from metta.sweep.contracts.diagnostics import FORMATS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "static_checking.md").read_text()
HOOKS = ROOT / ".pre-commit-hooks.yaml"


def blocks(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found


def yaml(text: str) -> Any:
    return pytest.importorskip("yaml").safe_load(text)


def test_the_mistake_gives_its_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rollout.py").write_text(blocks("py")[0])
    Path("mypy.ini").write_text("[mypy]\nplugins = metta_mypy\nfollow_imports = silent\nno_site_packages = True\n")
    command = [sys.executable, "-m", "mypy", "--no-error-summary", f"--cache-dir={tmp_path / 'cache'}", "rollout.py"]
    environment = {**os.environ, "MYPYPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == (blocks("text")[0], 1), done.stderr


def test_the_check_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rollout.py").write_text(blocks("py")[0])
    assert main(["check", "--no-static", "rollout.py"]) == 2
    error, remedy = blocks("text")[0].splitlines()
    expected = [error.replace(" error:", ""), "    " + remedy.partition(" note: ")[2], "1 error in 1 file"]
    assert capsys.readouterr().out.splitlines() == expected


def test_the_ignore_comment_stands_on_the_line_of_the_mistake() -> None:
    code, ignored = blocks("py")
    line, code_of_finding = re.findall(r":(\d+): .*\[(.*)\]", blocks("text")[0])[0]
    bare, comment = ignored.rstrip().split("  # ")
    assert code.splitlines()[int(line) - 1] == bare
    assert comment == f"type: ignore[{code_of_finding}]"


def test_the_configuration_can_be_read() -> None:
    (toml,), (ini,) = blocks("toml"), blocks("ini")
    assert tomllib.loads(toml)["tool"] == {"mypy": {"plugins": ["metta_mypy"]}, "metta-mypy": {"strict": True}}
    parser = ConfigParser()
    parser.read_string(ini)
    assert parser["mypy"]["plugins"] == "metta_mypy"
    assert parser["metta-mypy"].getboolean("strict")


def test_the_workflows_can_be_read() -> None:
    github, gitlab, pre_commit = map(yaml, blocks("yaml"))
    steps = github["jobs"]["check"]["steps"]
    (upload,) = (step["with"] for step in steps if "upload-sarif" in step.get("uses", ""))
    assert any(step.get("run", "").endswith(f"--format sarif > {upload['sarif_file']}") for step in steps)
    report = gitlab["pipelines"]["artifacts"]["reports"]["junit"]
    assert gitlab["pipelines"]["script"][-1].endswith(f"--format junit > {report}")
    (hook,) = yaml(HOOKS.read_text())
    assert pre_commit["repos"][0]["hooks"][0]["id"] == hook["id"]


def commands() -> list[str]:
    (hook,) = yaml(HOOKS.read_text())
    entry = f"{hook['entry']} {' '.join(hook['args'])}"
    return [entry, *re.findall(r"metta-sweep check [^\n>`#|]+", PAGE + (ROOT / "README.md").read_text())]


@pytest.mark.parametrize("command", commands())
def test_the_commands_exist(command: str) -> None:
    name, *arguments = command.split()[1:]
    context = cli.commands[name].make_context(name, arguments)
    assert (context.params["format"] or "text") in FORMATS


def test_the_page_and_the_help_name_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--help"]) == 0
    shown = capsys.readouterr().out
    for format in FORMATS:
        assert f"| `{format}` |" in PAGE
        assert format in shown
