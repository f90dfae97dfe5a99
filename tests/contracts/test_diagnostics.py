"""How findings are written down. The golden files are the texts people and machines get."""

import json
import pickle
from pathlib import Path

import pytest

from metta.sweep.contracts.diagnostics import (
    CODES,
    ContractError,
    Diagnostic,
    Severity,
    format_diagnostics,
    nearest,
)
from metta.sweep.errors import UsageError, UserError

GOLDEN = Path(__file__).parent / "golden"

MISSING = Diagnostic(
    code="missing-field",
    file="train.py",
    line=12,
    pipeline="pipeline",
    stage="train",
    expected="trails: list[Trial]",
    found="run_name: str, trials: list[Trial]",
    remedy='rename the parameter to "trials",\nor declare it: Pipeline(trails=list[Trial])',
    message='stage "train" needs field "trails: list[Trial]"; the context has run_name: str, trials: list[Trial] '
    '(did you mean "trials"?)',
)
REMOTE = Diagnostic(
    code="timeout-isolates",
    file="jobs/a,b.py",
    line=3,
    pipeline="Sweep.pipeline",
    stage="evaluate",
    expected="",
    found="",
    remedy="",
    message="100% of the arguments are sent to a worker: 2 fields\nsecond line",
    severity=Severity.NOTE,
)
EARLIER = Diagnostic(
    code="stage-input",
    file="train.py",
    line=4,
    pipeline="pipeline",
    stage="prepare",
    expected="dict[str, " * 20 + "int" + "]" * 20,
    found="int",
    remedy="return the mapping",
    message='stage "prepare" expects ' + "dict[str, " * 20 + "int" + "]" * 20 + ", found int",
)
ALL = [MISSING, REMOTE, EARLIER]


@pytest.mark.parametrize("fmt", ["text", "json", "github"])
def test_golden(fmt: str) -> None:
    assert format_diagnostics(ALL, fmt) + "\n" == (GOLDEN / f"diagnostics.{fmt}").read_text()


def test_json_is_complete() -> None:
    loaded = json.loads(format_diagnostics(ALL, "json"))
    assert [Diagnostic(**{**it, "severity": Severity(it["severity"])}) for it in loaded] == [REMOTE, EARLIER, MISSING]


def test_the_count_at_the_end() -> None:
    def last(*found: Diagnostic) -> str:
        return format_diagnostics(found).splitlines()[-1]

    assert last() == "no problems found"
    assert last(MISSING) == "1 error in 1 file"
    assert last(MISSING, EARLIER) == "2 errors in 1 file"
    assert last(REMOTE) == "1 note in 1 file"
    assert last(MISSING, EARLIER, REMOTE, REMOTE) == "2 errors and 2 notes in 2 files"


def test_the_count_of_what_was_checked() -> None:
    def last(*found: Diagnostic, files: tuple[str, ...]) -> str:
        return format_diagnostics(found, "text", files).splitlines()[-1]

    assert last(files=("a.py", "b.py")) == "no problems found in 2 files"
    assert last(MISSING, files=(MISSING.file,)) == "1 error in 1 file"
    assert last(MISSING, files=(MISSING.file, "b.py", "c.py")) == "1 error in 1 file (3 checked)"


@pytest.mark.parametrize(
    ("name", "meant"),
    [("retries", "retry"), ("metric", "metrics"), ("chekpoint", "checkpoint"), ("zzz", None)],
)
def test_the_nearest_name(name: str, meant: str | None) -> None:
    assert nearest(name, ["metrics", "retry", "checkpoint", "checkpoint_path", "filter"]) == meant


def test_the_order_found_does_not_matter() -> None:
    assert format_diagnostics(ALL) == format_diagnostics(reversed(ALL))


def test_unknown_format() -> None:
    with pytest.raises(UsageError, match=r'unknown format "jsno" \(did you mean "json"\?\): choose text'):
        format_diagnostics(ALL, "jsno")


def test_error_carries_and_tells_all() -> None:
    error = ContractError(iter(ALL))
    assert error.diagnostics == tuple(ALL)
    assert isinstance(error, UserError)
    assert error.exit_code == 2
    lines = str(error).splitlines()
    assert lines[0] == f"train.py:12: {MISSING.message}  [missing-field]"
    assert lines[1:3] == [f"    {part}" for part in MISSING.remedy.splitlines()]
    assert "jobs/a,b.py:3: note: 100% of the arguments are sent to a worker: 2 fields  [timeout-isolates]" in lines
    again = pickle.loads(pickle.dumps(error))
    assert again.diagnostics == error.diagnostics
    assert str(again) == str(error)


def test_a_long_message_is_cut_and_its_sides_follow() -> None:
    first, expected, found, remedy = str(ContractError([EARLIER])).splitlines()
    assert len(first) == 200
    assert first.endswith("...  [stage-input]")
    assert (expected, found, remedy) == (
        f"    expected: {EARLIER.expected}",
        "    found: int",
        "    return the mapping",
    )


def test_a_long_path_leaves_room_for_the_message() -> None:
    deep = Diagnostic("stage-input", "x/" * 300 + "train.py", 7, "p", "s", "a", "b", "", "short sentence")
    first = str(ContractError([deep])).splitlines()[0]
    assert len(first) <= 200
    assert first.endswith("x/train.py:7: short sentence  [stage-input]")


def test_nearest() -> None:
    assert nearest("trails", ["run_name", "trials"]) == "trials"
    assert nearest("zebra", ["run_name", "trials"]) is None
    assert nearest("x", iter([])) is None


def test_every_code_has_a_meaning() -> None:
    assert len(CODES) == 31
    for code, meaning in CODES.items():
        assert code == code.lower()
        assert " " not in code
        assert meaning
        assert not meaning.endswith(".")
