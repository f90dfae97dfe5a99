"""The command itself: exit codes, help, what a crash looks like; some of it in real processes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from metta.sweep.cli import main as entry
from metta.sweep.cli.main import DEBUG, main
from metta.sweep.cli.output import show
from metta.sweep.compiler import render
from metta.sweep.contracts import diagnostics
from metta.sweep.experiments.tree import drawing
from metta.sweep.interop import EXPORTERS

ROOT = Path(__file__).parents[2]


def run(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "metta.sweep.cli.main", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_processes_end_with_the_exit_code() -> None:
    assert run("check", "--no-static", "tests/compiler/drawn.py").returncode == 0
    broken = run("check", "--no-static", "tests/cli/mistakes.py")
    assert broken.returncode == 2
    assert broken.stdout.endswith("5 errors in 1 file\n")
    assert "Traceback" not in broken.stderr
    absent = run("compile", "absent.py")
    assert (absent.returncode, absent.stdout) == (2, "")
    assert absent.stderr == f"error: there is no file absent.py in {ROOT}\n"


@pytest.mark.parametrize("main_part", ["pipeline.compile().run(x=1)", "One().run(x=1)", "One().run(x=1).value"])
def test_a_script_without_a_guard_is_not_run(main_part: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from metta.sweep import Experiment, Pipeline\n"
        "def stage(x: int) -> int:\n"
        "    raise AssertionError('the stage was run')\n"
        "class One(Experiment[int]):\n"
        "    def pipeline(self) -> Pipeline:\n"
        "        return Pipeline(x=int).stage('stage', stage)\n"
        "pipeline = One().pipeline()\n"
        f"{main_part}\n"
        "raise AssertionError('the run was started')\n"
    )
    checked = run("check", "--no-static", str(script))
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "script.py:8: note: read up to line 8, where a run starts; what follows is not checked" in checked.stdout
    assert checked.stdout.endswith("\n1 note in 1 file\n")
    script.write_text(script.read_text().replace("raise AssertionError('the run was started')\n", ""))
    complete = run("check", "--no-static", str(script))
    assert (complete.returncode, complete.stdout, complete.stderr) == (0, "no problems found in 1 file\n", "")


def test_threads_of_the_file_do_not_hold_the_command(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import threading\n"
        "from metta.sweep import Pipeline\n"
        "p = Pipeline(x=int).stage('a', 3)\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
    )
    program = "import sys; from metta.sweep.cli.main import main; sys.exit(main())"
    ended = subprocess.run(
        [sys.executable, "-c", program, "check", "--no-static", str(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stdout.endswith("1 error in 1 file\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full")
@pytest.mark.parametrize("arguments", [["check", "--no-static", "tests/compiler/drawn.py"], ["--version"]])
def test_a_full_disk_is_not_our_mistake(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "metta.sweep.cli.main", *arguments],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    sentence = "error: cannot write to standard output: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (2, sentence)


def test_nobody_reads_any_more() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        ended = subprocess.run(
            [sys.executable, "-m", "metta.sweep.cli.main", "compile", "tests/compiler/drawn.py", "--source"],
            cwd=ROOT,
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (141, "")  # as if SIGPIPE had ended it


@pytest.mark.parametrize(("encoding", "shown"), [("latin-1", "inputs  ?: int"), ("utf-8", "inputs  λ: int")])
def test_a_terminal_that_lacks_a_letter(encoding: str, shown: str, tmp_path: Path) -> None:
    script = tmp_path / "greek.py"
    script.write_text(
        "from metta.sweep import Pipeline\ndef same(λ: int) -> int:\n    return λ\n"
        "p = Pipeline(λ=int).stage('a', same)\n",
        encoding="utf-8",
    )
    ended = run("compile", str(script), PYTHONIOENCODING=encoding)
    assert (ended.returncode, ended.stderr, shown in ended.stdout) == (0, "", True)


def test_names_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    show("a name\x1b[2J\r\n")
    assert capsys.readouterr().out == "a name\\x1b[2J\\r\n\n"
    assert main(["status", "\x1b[2J\x1b]0;title\x07name"]) == 2
    assert main(["\x1b[31mred"]) == 2
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
    assert "\\x1b[31mred" in captured.err


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from metta.sweep.cli.main import main\n"
        "assert main(['--help']) == 0\n"
        "print(sorted(m for m in ('numpy', 'networkx', 'pydantic', 'rich', 'torch', 'metta.sweep.pipeline') "
        "if m in sys.modules), file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stderr == "[]\n"


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], *([name, "--help"] for name in entry.cli.commands)])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("Usage: metta-sweep")


def test_without_a_command_help_lists_them_by_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert re.findall(r"^(\w+):$", shown, re.MULTILINE) == ["Options", "Run", "Look", "Keep", "Check"]
    assert sorted(re.findall(r"^  ([a-z]+)  +[A-Z]", shown, re.MULTILINE)) == sorted(entry.cli.commands)
    assert max(map(len, shown.splitlines())) <= 80
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")  # no shell is asked for its version
    assert main(["completion", shell]) == 0
    captured = capsys.readouterr()
    assert "_METTA_SWEEP_COMPLETE" in captured.out
    assert captured.err == ""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_takes_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out + "complete -p metta-sweep\n"
    ended = subprocess.run(["bash", "--norc"], input=script, capture_output=True, text=True, check=True)
    assert (ended.stdout.endswith(" metta-sweep\n"), ended.stderr) == (True, "")


@pytest.mark.parametrize(
    ("words", "start", "completed"),
    [
        (["run"], "tr", [("file", "tr")]),
        (["check", "a.py"], "", [("file", "")]),
        (["export", "RUN", "--to"], "m", [("plain", "mlflow")]),
        (["tree", "RUN", "--format"], "s", [("plain", "svg")]),
        (["explain"], "loop-", [("plain", "loop-carried"), ("plain", "loop-condition")]),
        (["completion"], "z", [("plain", "zsh")]),
        (["run", "x.py"], "--de", [("plain", "--detach")]),
    ],
)
def test_what_is_completed(words: list[str], start: str, completed: list[tuple[str, str]]) -> None:
    found = ShellComplete(entry.cli, {}, "metta-sweep", "").get_completions(words, start)
    assert [(item.type, item.value) for item in found] == completed


@pytest.mark.parametrize(
    ("command", "option", "known"),
    [
        ("check", "--format", diagnostics.FORMATS),
        ("compile", "--format", render.FORMATS),
        ("tree", "--format", drawing.FORMATS),
        ("export", "--to", EXPORTERS.names()),
    ],
)
def test_every_format_is_completed_and_told(
    command: str, option: str, known: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands have lists of their own, since what knows the formats takes a while to load."""
    completion = ShellComplete(entry.cli, {}, "metta-sweep", "_METTA_SWEEP_COMPLETE")
    assert {item.value for item in completion.get_completions([command, option], "")} == set(known)
    main([command, "--help"])
    assert set(known) <= set(re.findall(r"\w+", capsys.readouterr().out))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"metta-sweep {version('metta-sweep')}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chek"], 'error: no such command "chek": did you mean "check"?'),
        (["zzz"], 'error: no such command "zzz": `metta-sweep --help` lists them'),
        (["check"], "error: PATH... is missing: `metta-sweep check --help` tells what it takes"),
        (["compile", "x.py", "--grph"], "error: no such option --grph: did you mean --graph?"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_our_own_mistake_asks_to_be_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> object:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(entry.cli, "main", broken)
    monkeypatch.delenv(DEBUG, raising=False)
    assert main(["check", "."]) == 3
    assert capsys.readouterr().err == (
        "error: ZeroDivisionError: oops (this is a mistake of metta-sweep: please report it)\n"
        "set METTA_SWEEP_DEBUG=1 to see the traceback\n"
    )
    monkeypatch.setenv(DEBUG, "1")
    assert main(["check", "."]) == 3
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_control_c_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object, **__: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr("metta.sweep.cli.check.check_files", interrupted)
    assert main(["check", "."]) == 130
    assert capsys.readouterr().err.endswith("interrupted\n")


def test_completion_of_an_unknown_command_does_not_fail() -> None:
    ended = run("x", _METTA_SWEEP_COMPLETE="bash_complete", COMP_WORDS="metta-sweep chek --", COMP_CWORD="2")
    assert ended.returncode == 0
    assert ended.stderr == ""
    commands = run("x", _METTA_SWEEP_COMPLETE="bash_complete", COMP_WORDS="metta-sweep c", COMP_CWORD="1")
    assert commands.stdout == "plain,cancel\nplain,check\nplain,compare\nplain,compile\nplain,completion\n"
