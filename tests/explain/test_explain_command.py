"""`metta-sweep explain`, and the hint at the end of a check."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from metta.sweep.cli.explain import explain, hint, tell_more
from metta.sweep.cli.main import main
from metta.sweep.contracts.diagnostics import CODES, Diagnostic, Severity
from metta.sweep.errors import UsageError
from metta.sweep.explain import codes, page

_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def found(code: str, severity: Severity = Severity.ERROR) -> Diagnostic:
    return Diagnostic(code, "train.py", 3, "", "", "", "", "", "no", severity)


def test_without_a_code_there_is_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(None) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[: len(codes())]] == list(codes())
    assert f"missing-field          {CODES['missing-field']}" in lines
    assert "metta-sweep explain CODE" in lines[-1]
    # One more than the longest code, so that there is a second column.
    assert all(line[:23].rstrip() in codes() and line[22] == " " for line in lines[: len(codes())])


def test_a_page_is_plain_text_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("missing-field") == 0
    text = capsys.readouterr().out
    assert text.startswith("# missing-field\n\nA stage reads a field")
    assert "Wrong:\n\n```python\ndef train(rate" in text
    assert "Related: maybe-missing-field, stage-input, map-source.\n" in text
    assert "\x1b" not in text
    assert ".md" not in text
    assert "title=" not in text


@pytest.mark.parametrize("code", codes())
def test_no_page_has_what_only_a_web_page_can_show(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    explain(code)
    text = capsys.readouterr().out
    assert ".md" not in text
    assert "title=" not in text


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("missing-field", as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == {
        "code": "missing-field",
        "title": CODES["missing-field"],
        "text": page("missing-field").text,
    }
    assert explain(None, as_json=True) == 0
    assert [each["code"] for each in json.loads(capsys.readouterr().out)] == list(codes())


@pytest.mark.parametrize("as_json", [False, True])
def test_an_unknown_code_is_a_usage_error(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match='did you mean "stage-input"') as caught:
        explain("stage-inputs", as_json=as_json)
    assert caught.value.exit_code == 2
    assert capsys.readouterr().out == ""


def test_the_command_ends_with_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "missing-field"]) == 0
    assert capsys.readouterr().out.startswith("# missing-field\n")
    assert main(["explain", "mising-field"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert 'error: there is no code "mising-field" (did you mean "missing-field"?)' in err


def on_a_terminal(code: str | None, **environment: str) -> str:
    """What a person sees, in a real terminal of 80 columns."""
    program = f"from metta.sweep.cli.explain import explain; explain({code!r})"
    ours, theirs = pty.openpty()
    variables = {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", "PATH": os.environ["PATH"], **environment}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=theirs, stdout=theirs, stderr=theirs, env=variables, close_fds=True
    ) as process:
        os.close(theirs)
        text = b""
        try:
            while part := os.read(ours, 4096):
                text += part
        except OSError:  # how Linux says that nobody writes any more
            pass
        finally:
            os.close(ours)
    assert process.returncode == 0
    return text.decode()


def test_a_terminal_gets_it_drawn() -> None:
    text = on_a_terminal("missing-field")
    lines = [_ESCAPE.sub("", line).rstrip() for line in text.splitlines()]
    assert "\x1b[" in text
    assert "missing-field" in lines[0] + lines[1]
    assert max(map(len, lines)) <= 80
    assert not any("```" in line for line in lines)
    assert any(line.strip() == 'staged = sampled.stage("train", train)  # error: missing-field' for line in lines)


def test_a_list_on_a_terminal_keeps_its_columns() -> None:
    lines = [line.rstrip() for line in on_a_terminal(None).splitlines()]
    assert max(map(len, lines)) <= 80
    at = lines.index("maybe-missing-field    a stage reads a field that a branch or a loop may have")
    assert lines[at + 1] == f"{'':23}left unset"


def test_a_terminal_without_colour_gets_none() -> None:
    text = on_a_terminal("missing-field", NO_COLOR="1")
    assert re.findall(r"\x1b\[(?:\d+;)*(?:3[0-7]|4[0-7]|9[0-7]|38|48)[;m]", text) == []


def test_the_hint_names_what_to_ask_for() -> None:
    note = found("untyped-stage", Severity.NOTE)
    assert hint([]) == ""
    assert hint([note]) == "what it means: metta-sweep explain untyped-stage"
    assert hint([note, found("missing-field"), found("missing-field")]) == (
        "what it means: metta-sweep explain missing-field"
    )
    assert hint([found("stage-input"), note, found("missing-field")]) == (
        "what they mean: metta-sweep explain stage-input (or missing-field)"
    )


def test_the_hint_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    tell_more([])
    assert capsys.readouterr() == ("", "")
    tell_more([found("missing-field")])
    assert capsys.readouterr() == ("", "what it means: metta-sweep explain missing-field\n")


def test_every_code_a_hint_can_name_has_a_page() -> None:
    for code in CODES:
        assert page(hint([found(code)]).rpartition(" ")[2]).code == code
