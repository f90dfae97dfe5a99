"""Both checkers in one go: what the files define when they are imported, and what mypy sees with our plugin.

mypy runs in a process of its own (compiler/mypy_child.py) beside the check at definition time, and the two lists become
one. Only findings with a code of ours are taken over: what else mypy has to say, it says where its user runs it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from metta.sweep.compiler.check import Target, check_targets, in_order, targets
from metta.sweep.contracts.call_site import display_path
from metta.sweep.contracts.diagnostics import CODES, Diagnostic, Severity
from metta.sweep.errors import MettaSweepError, MissingExtraError, UsageError
from metta.sweep.pipeline.replay import A_LAMBDA

_CHILD = os.path.join(os.path.dirname(__file__), "mypy_child.py")
_STAGE = re.compile(r'stage "([^"]*)"')
_PLUGIN_FAILED = "metta_mypy failed"
_REMEDY = "metta-sweep check --no-static leaves mypy out"


class StaticCheckFailed(MettaSweepError):
    """mypy, or a plugin in it, crashed; nothing is wrong with the pipelines or the call."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Checked:
    """What both checkers have to say.

    Attributes:
        found: by file and line.
        files: what was checked, as findings name it.
        warnings: of mypy about its configuration, each one line.
        failure: why the static check is not complete, or None.
    """

    found: tuple[Diagnostic, ...]
    files: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    failure: MettaSweepError | None = None


def check_all(paths: Iterable[str], *, static: bool | None = None) -> Checked:
    """Check files and directories at definition time, and with mypy.

    Args:
        paths: as in `check_paths`.
        static: whether to run mypy; None: where it is installed.

    Raises:
        UsageError: a path that does not exist.
        MissingExtraError: `static` is True, and mypy is not installed.
    """
    if static is None:
        static = has_mypy()
    elif static and not has_mypy():
        raise MissingExtraError("the static check", "mypy")
    chosen = targets(paths)
    files = tuple(dict.fromkeys(_shown(target.file) for target in chosen))
    if not static or not chosen:
        return Checked(tuple(check_targets(chosen)), files)
    with _mypy(chosen) as process:
        found = check_targets(chosen)
        answer = _answer(process)
    if not answer["failure"]:
        # mypy infers what a lambda returns, and tells where it cannot.
        found = [d for d in found if d.found != A_LAMBDA]
    return Checked(
        tuple(merged(found, static_findings(answer["errors"]))), files, tuple(answer["warnings"]), _failure(answer)
    )


def has_mypy() -> bool:
    """Whether mypy can be imported; it is not imported for that."""
    from importlib.util import find_spec

    spec = find_spec("mypy")
    return spec is not None and spec.has_location  # a mere folder named mypy has none


def merged(definition: Iterable[Diagnostic], static: Iterable[Diagnostic]) -> list[Diagnostic]:
    """One list by file and line; of what both found on a line, the finding at definition time knows more."""
    kept = list(definition)
    known = {(d.code, d.file, d.line) for d in kept}
    return in_order([*kept, *dict.fromkeys(d for d in static if (d.code, d.file, d.line) not in known)])


def static_findings(errors: Iterable[Mapping[str, Any]]) -> list[Diagnostic]:
    """mypy's errors that have a code of ours, as findings; and where our plugin failed, that something is not checked.

    Args:
        errors: objects as `mypy --output json` prints them. Notes at the place of an error are its remedy, whether mypy
            put them into its "hint" or behind it.
    """
    found: list[Diagnostic] = []
    gaps: list[Diagnostic] = []
    behind: tuple[object, object] | None = None  # the place of the error that a note may belong to, if it is ours
    for error in errors:
        place, code, is_note = (error["file"], error["line"]), error["code"], error["severity"] == "note"
        said = [error["message"]] * is_note + (error["hint"] or "").splitlines()
        gaps += [_gap(error, text) for text in said if text.startswith(_PLUGIN_FAILED)]
        if is_note and place == behind and code in (None, "misc", found[-1].code):
            found[-1] = _with_remedy(found[-1], error["message"])
        elif code in CODES:
            found.append(_finding(error, Severity.NOTE if is_note else Severity.ERROR))
            behind = None if is_note else place
        else:
            behind = None
    return [*found, *gaps]


def _finding(error: Mapping[str, Any], severity: Severity) -> Diagnostic:
    message = error["message"]
    stage = _STAGE.search(message)
    return Diagnostic(
        error["code"],
        _shown(error["file"]),
        max(error["line"], 1),
        pipeline="",
        stage=stage[1] if stage else "",
        expected="",
        found="",
        remedy=error["hint"] or "",
        message=message,
        severity=severity,
    )


def _gap(error: Mapping[str, Any], text: str) -> Diagnostic:
    return _finding({**error, "code": "not-loaded", "message": text, "hint": None}, Severity.NOTE)


def _with_remedy(d: Diagnostic, text: str) -> Diagnostic:
    from dataclasses import replace

    return replace(d, remedy="\n".join(filter(None, (d.remedy, text))))


def _shown(file: str) -> str:
    return display_path(os.path.abspath(file))


@contextmanager
def _mypy(chosen: Sequence[Target]) -> Iterator[subprocess.Popen[str]]:
    """mypy at work on the files; stopped if the block is left before it is done."""
    request = {
        "named": [file for file, named in chosen if named],
        "found": [file for file, named in chosen if not named],
    }
    with tempfile.TemporaryFile("w+", encoding="utf-8") as asked:
        json.dump(request, asked)
        asked.seek(0)
        # -P: what lies beside the program, or in the working directory, is no library of mypy's.
        process = subprocess.Popen(
            [sys.executable, "-P", _CHILD],
            stdin=asked,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def _answer(process: subprocess.Popen[str]) -> Mapping[str, Any]:
    """What the child says; a death without an answer is one, too."""
    written, said = process.communicate()
    if process.returncode == 0:
        answer: Mapping[str, Any] = json.loads(written)
        return answer
    lines = said.strip().splitlines()
    reason = f"{lines[-1]} (exit code {process.returncode})" if lines else f"exit code {process.returncode}"
    return {"errors": [], "warnings": [], "failure": reason, "blame": "crash"}


def _failure(answer: Mapping[str, Any]) -> MettaSweepError | None:
    if not answer["failure"]:
        return None
    if answer["blame"] == "usage":
        return UsageError(f"mypy cannot check this: {answer['failure']} ({_REMEDY})")
    return StaticCheckFailed(f"mypy crashed: {answer['failure']} ({_REMEDY})")
