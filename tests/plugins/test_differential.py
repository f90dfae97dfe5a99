"""Random pipelines as program texts: what the plugin says, what definition time says, and what a run does, agree.

The pipelines are those of tests/pipeline/test_property.py, right or with one mistake; here each is written down as its
author could have written it (rendering.py), also with slips that no described pipeline can have (slips.py). mypy
reads the very text that is then executed. The findings of both have to be the same, line by line; without errors the
pipeline is run, and does what the naive interpreter does (naive_run.py).
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from metta.sweep.contracts.diagnostics import CODES
from tests.pipeline.grammar import Pipe
from tests.pipeline.grammar_draw import pipes
from tests.pipeline.naive import Broken, Judge
from tests.pipeline.test_property import changed, check_runs
from tests.plugins.differential import Case, Verdict, verdicts
from tests.plugins.rendering import Style
from tests.plugins.shrinking import shrink

ONLY_DEFINITION = frozenset({"timeout-isolates", "empty-loop", "unstorable", "recursive-pipeline"})
"""Codes that definition time alone decides (language.md, section 6)."""

_LATE_THROUGH = re.compile(r"^ *\w+ = \w+\.through\(", re.MULTILINE)


class Difference(NamedTuple):
    """A way in which the two may differ.

    Attributes:
        why: what makes it right, from language.md.
        most: the percentage of the pipelines of one test that may differ so: what was measured, and a little (what is
            drawn repeats itself, so that one pipeline may count for seven).
    """

    why: str
    holds: Callable[[Verdict], bool]
    most: float


JUSTIFIED: dict[str, Difference] = {
    "codes of definition time": Difference(
        "section 6 has a list of codes that only definition time decides",
        lambda v: not v.only_static and {f.code for f in v.only_definition} <= ONLY_DEFINITION,
        most=1,
    ),
    "named open pipelines": Difference(
        "section 2: the plugin settles a named `Pipeline()` on its own, and may ask for declared inputs where "
        "definition time would have waited; that is the one place where static is stricter",
        lambda v: _names_open(v) and bool(_errors(v.static)),
        most=2.5,
    ),
    "late through": Difference(
        "section 2: a stage is settled by the next builder call. Where that is a `.through` in a statement of its own, "
        "which may cure what the stage alone has wrong, the plugin has settled the stage before",
        lambda v: not v.only_definition and bool(_LATE_THROUGH.search(v.text)),
        most=0.75,
    ),
    "where a named open pipeline is used": Difference(
        "the same place, seen from the other side: a mistake that only the context around a named `Pipeline()` makes "
        "one is found when it is known",
        lambda v: _names_open(v),
        most=0.25,
    ),
    "what follows a mistake": Difference(
        "a mistake that both tell may hide others from one of them: which, is not said",
        lambda v: bool(_errors(v.static & v.definition)),
        most=0.5,
    ),
}
"""Every difference that is no mistake."""


# -- the tests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", range(2))
def test_plugin_definition_time_and_run_agree(part: int, warm: Path, tmp_path: Path) -> None:
    check(drawn(500, part), _started(warm, tmp_path))


def test_plugin_and_definition_time_agree_on_slips(warm: Path, tmp_path: Path) -> None:
    check(drawn(400, 2, slips=True), _started(warm, tmp_path))


def _parts(first: int, end: int, slow: int) -> list[Any]:
    """Parts of the long comparison: the first ones are run by CI, all of them by `pytest -m "slow or soak"`."""
    marks = [pytest.mark.slow if part < first + slow else pytest.mark.soak for part in range(first, end)]
    return [pytest.param(part, marks=mark) for part, mark in zip(range(first, end), marks, strict=True)]


@pytest.mark.parametrize("part", _parts(10, 20, slow=4))
def test_all_agree_at_length(part: int, warm: Path, tmp_path: Path) -> None:
    check(drawn(1000, part), _started(warm, tmp_path))


@pytest.mark.parametrize("part", _parts(20, 23, slow=1))
def test_both_agree_on_slips_at_length(part: int, warm: Path, tmp_path: Path) -> None:
    check(drawn(1000, part, slips=True), _started(warm, tmp_path))


# -- drawing ----------------------------------------------------------------------------------------------------------


def styles(*, slips: bool) -> st.SearchStrategy[Style]:
    """Half of the texts name some of their closed pipelines, a few their open ones."""
    numbers = st.integers(0, 10**6)
    return st.builds(
        Style,
        seed=numbers,
        layout=st.sampled_from(["line", "lines", "lines", "statements", "rebound"]),
        in_function=st.booleans(),
        names_closed=st.sampled_from([0, 50]),
        names_open=st.sampled_from([*[0] * 19, 50]),
        lambdas=st.just(30),
        slip=numbers if slips else st.none(),
    )


def drawn(count: int, number: int, *, slips: bool = False) -> list[Case]:
    """So many cases, always the same ones for a number."""
    found: list[Case] = []

    @seed(number)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        pipes(),
        st.sampled_from(["none"] if slips else ["extension", "mutation", "mutation", "none"]),
        st.integers(0, 10**6),
        styles(slips=slips),
    )
    def draw(pipe: Pipe, change: str, number: int, style: Style) -> None:
        found.append(Case(changed(pipe, change, number), style))

    draw()
    return found


# -- judging ----------------------------------------------------------------------------------------------------------


def check(cases: Sequence[Case], folder: Path) -> None:
    """The property, for many cases.

    Raises:
        AssertionError: with the text of the smallest case that could be found.
    """
    found: Counter[str] = Counter()
    for verdict in (judged := verdicts(cases, folder)):
        reason = difference(verdict)
        if reason == "":
            pytest.fail(f"the plugin and definition time differ:\n{_smallest(verdict, folder).show()}", pytrace=False)
        if reason is not None:
            found[reason] += 1
        elif verdict.case.style.slip is None:
            check_run(verdict)
    wrong = sum(bool(_errors(v.definition)) for v in judged)
    print(f"{len(cases)} pipelines, {wrong} of them wrong; justified differences: {dict(found)}")
    assert wrong > len(cases) / 4
    for name, number in found.items():
        assert number <= JUSTIFIED[name].most * len(cases) / 100, name


def difference(verdict: Verdict) -> str | None:
    """None where both agree; the name of a justified difference; "" for any other."""
    assert {f.code for f in verdict.static | verdict.definition} <= CODES.keys(), verdict.show()
    # An early finding is a first sight of an error that is found again, or the consequence of one.
    assert not _errors(verdict.early) or _errors(verdict.definition), verdict.show()
    if verdict.static == verdict.definition:
        return None
    return next((name for name, it in JUSTIFIED.items() if it.holds(verdict)), "")


def check_run(verdict: Verdict) -> None:
    """The verdict is that of the naive reading of the language; what compiles runs as the naive run does."""
    judge = Judge()
    broken: Broken | None = None
    try:
        expected = judge.pipeline(verdict.case.pipe)
    except Broken as error:
        broken = error
    if broken is not None:
        codes = {f.code for f in verdict.definition | verdict.early}
        assert broken.code in codes, f"{broken}\n{verdict.show()}"
        return
    assert not _errors(verdict.definition), verdict.show()
    check_runs(verdict.case.pipe, verdict.build().compile(), verdict.recorder, judge, *expected)


def _errors(findings: frozenset[object]) -> list[object]:
    return [finding for finding in findings if getattr(finding, "severity", "") == "error"]


def _names_open(verdict: Verdict) -> bool:
    """Whether an open pipeline is held by a variable and stands in another one."""
    name = re.compile(r"^ *(p\d+_\w+) = \(?\s*Pipeline\(\)", re.MULTILINE)
    return any(not re.search(r"_step\d*$", found) for found in name.findall(verdict.text))


def _smallest(verdict: Verdict, folder: Path) -> Verdict:
    def still(cases: Sequence[Case]) -> list[bool]:
        return [_kind(it) == _kind(verdict) and difference(it) == "" for it in verdicts(cases, folder)]

    return verdicts([shrink(verdict.case, still)], folder)[0]


def _kind(verdict: Verdict) -> tuple[set[str], set[str]]:
    return {f.code for f in verdict.only_static}, {f.code for f in verdict.only_definition}


# -- mypy's cache -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which mypy knows what all texts import; the workers of pytest-xdist share it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with (folder / "differential.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "differential" / "cache").exists():
            verdicts([Case(Pipe(None, ()), Style())], folder / "differential")
    return folder / "differential"


def _started(warm: Path, folder: Path) -> Path:
    shutil.copytree(warm, folder, dirs_exist_ok=True)
    return folder
