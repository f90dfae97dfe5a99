"""Every code that definition time can know, at its exact line: the case files say where, in comments (tests/marks.py).

The message, what was expected and found, and the remedy are in a golden file beside the cases of this folder; those of
the plugin (tests/plugins/test_golden.py) are loaded here as well.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metta.sweep import Pipeline
from metta.sweep.contracts.diagnostics import CODES, Diagnostic
from metta.sweep.errors import UsageError
from metta.sweep.pipeline.reporting import collecting
from tests.golden import check_golden
from tests.marks import DEFINITION, Finding, case_files, marks, name_of

OWN = Path(__file__).parent / "cases"
CASES = case_files()

OF_FILES = {"no-pipeline", "not-loaded"}
"""Codes of whole files; tests/cli has their cases."""


def diagnostics_of(path: Path) -> list[Diagnostic]:
    """Load a file and compile every pipeline that it leaves in its namespace."""
    name = f"pipeline_case_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with collecting() as found:
            spec.loader.exec_module(module)
            for value in list(vars(module).values()):
                if isinstance(value, Pipeline):
                    value.compile()
    finally:
        del sys.modules[name]
    return sorted(found, key=lambda d: (d.line, d.code, d.message))


@pytest.mark.parametrize("path", CASES, ids=name_of)
def test_every_finding_stands_where_the_comment_says(path: Path) -> None:
    diagnostics = diagnostics_of(path)
    found = {Finding(d.line, d.severity.value, d.code) for d in diagnostics}
    assert sorted(found) == sorted(marks(path, DEFINITION))
    if path.parent == OWN:
        check_golden(path.with_suffix(".txt"), "\n".join(_lines(diagnostics)) + "\n")


def _lines(diagnostics: list[Diagnostic]) -> Iterator[str]:
    for d in diagnostics:
        yield f"{d.line} {d.pipeline} {d.stage or '-'}: {d.message}  [{d.code}]"
        yield f"    expected: {d.expected}"
        yield f"    found: {d.found}"
        yield f"    {d.remedy}"


@pytest.mark.parametrize("path", CASES, ids=name_of)
def test_messages_are_one_sentence_that_says_what_to_do(path: Path) -> None:
    for d in diagnostics_of(path):
        assert d.code in CODES
        assert len(d.message) <= 200, d.message
        assert "\n" not in d.message
        assert d.expected, d
        assert d.found, d
        assert d.remedy, d
        assert Path(d.file).resolve() == path


def test_a_graph_that_was_only_checked_cannot_be_run() -> None:
    with collecting() as found:
        graph = Pipeline(x=int).stage("needs y", lambda y: y).through(int).compile()  # type: ignore[stage-output]
    assert [d.code for d in found] == ["untyped-stage"]
    with pytest.raises(UsageError, match="while its file was checked"):
        graph.run(x=1)
    with collecting() as found:
        Pipeline(x=int).stage("needs y", lambda y, z: y).through(int).compile()  # type: ignore[missing-field]
    assert "missing-field" in {d.code for d in found}


def test_every_code_has_three_cases() -> None:
    counts = dict.fromkeys(CODES.keys() - OF_FILES, 0)
    for path in CASES:
        for finding in marks(path, DEFINITION):
            counts[finding.code] += 1
    assert {code: count for code, count in counts.items() if count < 3} == {}
