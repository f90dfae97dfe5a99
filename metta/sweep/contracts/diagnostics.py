"""What is wrong, where in the user's file, and what to do about it.

`Diagnostic` is the finding, `ContractError` carries all of them, `format_diagnostics` writes them down.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Literal, get_args

from metta.sweep.contracts.call_site import Site as Site
from metta.sweep.errors import UsageError, UserError

CODES: dict[str, str] = {
    "stage-input": "a stage is given a field or a value of the wrong type",
    "missing-field": "a stage reads a field that the context does not have",
    "maybe-missing-field": "a stage reads a field that a branch or a loop may have left unset",
    "stage-output": "what a stage returns does not meet the contract behind it",
    "field-redefined": "a field is set again with another type, or in a value that cannot be rebuilt",
    "loop-carried": "a field a loop was entered with is lost, or has another type, at the end of a pass",
    "parallel-conflict": "an arm of a parallel step sets a field of the context around it",
    "map-source": "the field a map runs over is not there, or cannot be iterated",
    "end-loop-without-loop": "end_loop() closes no loop",
    "break-without-loop": "break_if() stands in no loop",
    "unclosed-loop": "a loop is still open at the end of its pipeline",
    "empty-loop": "a loop has no stage in its body",
    "loop-condition": "a condition returns a coroutine or a function, which is always true",
    "hook-signature": "a hook cannot be called with the arguments it will be given",
    "hook-type": "the value of a hook has the wrong type",
    "unknown-hook": "a keyword of through() is neither a hook nor a parameter of the stage",
    "unknown-setting": "a keyword of stage() is no parameter of the stage's function",
    "setting-type": "a setting does not fit its parameter's annotation",
    "mixed-contract": "a positional contract and keyword fields stand in the same through()",
    "through-without-stage": "through() has no stage before it, or the stage has one already",
    "not-a-type": "a contract or a declared input is no type",
    "not-a-stage": "a stage is neither a callable nor a pipeline, a graph or an experiment",
    "skip-without-value": "a stage that may be skipped would leave a field unset",
    "reserved-name": "a field has a name that means something else",
    "untyped-stage": "a stage has no annotations, so what it reads or returns is not verified",
    "duplicate-stage": "two stages of one level have the same name",
    "unstorable": "a checkpoint is asked for, and the data has no storable type",
    "timeout-isolates": "a time-out moves a synchronous stage to a worker process",
    "not-loaded": "a file, or a part of it, cannot be loaded, so it is not checked",
    "no-pipeline": "a file was named and holds no pipeline",
    "recursive-pipeline": "a pipeline or an experiment contains itself",
}
"""Every code a diagnostic can have, and what it means in general."""

_LINE_LIMIT = 200
_INDENT = "    "


class Severity(StrEnum):
    """An error stops the compilation; a note never does."""

    ERROR = "error"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding, complete: formatting it needs nothing else.

    Args:
        code: a key of `CODES`, for example "stage-input".
        file: of the user's call; relative to the working directory when below it.
        line: of the offending argument, else of the method's name; counted from 1.
        pipeline: the name its user would recognise.
        stage: the stage's name; "" where none is concerned.
        expected: what the contract asks for, as a type or a short phrase.
        found: what is there instead.
        remedy: what to do; may be several lines, may be "".
        message: one sentence that says what is wrong.
        severity: whether the pipeline can be compiled all the same.
    """

    code: str
    file: str
    line: int
    pipeline: str
    stage: str
    expected: str
    found: str
    remedy: str
    message: str
    severity: Severity = Severity.ERROR


class ContractError(UserError):
    """A pipeline breaks a contract; found before anything runs.

    Args:
        diagnostics: every finding, notes included.

    Attributes:
        diagnostics: the same, in the order in which they were found.
    """

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        # The findings are the exception's arguments, so that it can be pickled and copied.
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        return "\n".join(map(_as_text, self.diagnostics))


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate a misspelt name was probably meant to be, or None.

    Of those that are near, a common beginning counts, as in Winkler's variant of Jaro's measure: people misspell ends.
    """
    from difflib import SequenceMatcher, get_close_matches

    def nearness(candidate: str) -> float:
        alike = [one == other for one, other in zip(name, candidate, strict=False)][:_WINKLER_PREFIX]
        return SequenceMatcher(None, name, candidate).ratio() + _WINKLER_WEIGHT * [*alike, False].index(False)

    return max(get_close_matches(name, list(candidates), n=5), key=nearness, default=None)


# The usual parameters of that measure.
_WINKLER_PREFIX, _WINKLER_WEIGHT = 4, 0.1


Format = Literal["text", "json", "github", "sarif", "junit"]
FORMATS: tuple[str, ...] = get_args(Format)
"""What `format_diagnostics` can write."""


def format_diagnostics(
    diagnostics: Iterable[Diagnostic], fmt: Format | str = "text", files: Iterable[str] | None = None
) -> str:
    """All findings as one text, sorted by file and line.

    Args:
        diagnostics: of any number of pipelines.
        fmt: "text" for people, ending in a line that counts; "json", a list of objects; "github", the
            commands that make GitHub Actions annotate a change; "sarif", a log for code scanning; "junit", a test
            report.
        files: what was checked, as findings name it, if that is known: a text says how many files, and a test report
            tells of those without a finding, too.

    Raises:
        UsageError: an unknown format.
    """
    found = sorted(diagnostics, key=lambda d: (d.file, d.line, d.code, d.stage, d.message))
    match fmt:
        case "text":
            return "\n".join([*map(_as_text, found), _count(found, files)])
        case "json":
            import json

            return json.dumps([asdict(d) for d in found], indent=2, ensure_ascii=False)
        case "github":
            return "\n".join(map(_as_github, found))
        case "sarif":
            from metta.sweep.contracts.report_formats import as_sarif

            return as_sarif(found)
        case "junit":
            from metta.sweep.contracts.report_formats import as_junit

            return as_junit(found, files or ())
    near = nearest(fmt, FORMATS)
    hint = f' (did you mean "{near}"?)' if near else ""
    raise UsageError(f'unknown format "{fmt}"{hint}: choose {", ".join(FORMATS[:-1])} or {FORMATS[-1]}')


def _as_text(d: Diagnostic) -> str:
    """`file:line: message  [code]` within 200 characters, the rest on indented lines."""
    note = "note: " if d.severity is Severity.NOTE else ""
    head, *rest = d.message.splitlines() or [""]
    suffix = f"  [{d.code}]"
    where = _cut(f"{d.file}:{d.line}: ", _LINE_LIMIT // 2, keep_end=True) + note
    sentence, hint, near = head.partition(_HINT)
    first = _cut(sentence, _LINE_LIMIT - len(where) - len(suffix) - len(hint + near)) + hint + near
    if first != head:
        # The sentence was cut: say elsewhere what it could not.
        rest += [f"expected: {d.expected}", f"found: {d.found}"]
    rest += d.remedy.splitlines()
    return "\n".join([where + first + suffix, *(_INDENT + line for line in rest)])


# What a cut sentence keeps: the nearest name.
_HINT = " (did you mean "


def _cut(text: str, limit: int, *, keep_end: bool = False) -> str:
    if len(text) <= limit:
        return text
    return "..." + text[-(limit - 3) :] if keep_end else text[: limit - 3].rstrip() + "..."


def _count(found: Sequence[Diagnostic], files: Iterable[str] | None) -> str:
    having = {d.file for d in found}
    checked = None if files is None else len(having.union(files))
    if not found:
        return "no problems found" + ("" if checked is None else f" in {_plural(checked, 'file')}")
    errors = sum(d.severity is Severity.ERROR for d in found)
    notes = len(found) - errors
    parts = [_plural(n, word) for n, word in ((errors, "error"), (notes, "note")) if n]
    of = "" if checked is None or checked == len(having) else f" ({checked} checked)"
    return f"{' and '.join(parts)} in {_plural(len(having), 'file')}{of}"


def _plural(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")


def _as_github(d: Diagnostic) -> str:
    """One workflow command, see "Workflow commands for GitHub Actions" in GitHub's documentation."""
    kind = "error" if d.severity is Severity.ERROR else "notice"
    text = "\n".join(part for part in (d.message, d.remedy) if part)
    properties = f"file={_escaped(d.file)},line={d.line},title={_escaped(d.code)}"
    return f"::{kind} {properties}::{_escaped_data(text)}"


def _escaped_data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escaped(text: str) -> str:
    return _escaped_data(text).replace(":", "%3A").replace(",", "%2C")
