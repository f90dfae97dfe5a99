"""From what the rules found to diagnostics with a file and a line: raised, or collected by `metta-sweep check`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from metta.sweep.contracts.diagnostics import ContractError, Diagnostic, Severity, Site
from metta.sweep.contracts.flow import Problem
from metta.sweep.pipeline.steps import Inputs, ParallelStep, StageStep, Step

Found = tuple["Step | Inputs | None", Problem]
"""A problem and the step it belongs to; without a step the caller gives the site."""

POSITIONS: Mapping[object, int] = {"then": 1, "otherwise": 2}
"""Of arguments that may be given by name or by position."""

_collected: ContextVar[dict[Diagnostic, None] | None] = ContextVar("_collected", default=None)


@contextmanager
def collecting() -> Iterator[dict[Diagnostic, None]]:
    """Inside the block no builder call raises: every finding is collected (in order, each once)."""
    found: dict[Diagnostic, None] = {}
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


def is_collecting() -> bool:
    """Whether errors are collected instead of raised right now."""
    return _collected.get() is not None


def settle(found: Sequence[Found], site: Site | None = None, stage: str = "") -> tuple[Diagnostic, ...]:
    """Raise ContractError if there is an error among the findings; otherwise the notes.

    While collecting, nothing is raised.
    """
    if not found:
        return ()
    diagnostics = tuple(dict.fromkeys(diagnose(step, problem, site, stage) for step, problem in found))
    collector = _collected.get()
    if collector is not None:
        collector.update(dict.fromkeys(diagnostics))
    elif any(d.severity is Severity.ERROR for d in diagnostics):
        raise ContractError(diagnostics)
    return tuple(d for d in diagnostics if d.severity is Severity.NOTE)


def diagnose(step: Step | Inputs | None, problem: Problem, site: Site | None = None, stage: str = "") -> Diagnostic:
    """Find the line of a problem: the offending argument's, else the method name's."""
    if isinstance(step, (StageStep, ParallelStep)):
        stage = step.name
    if site is None:
        assert step is not None
        site = step.site
        if problem.at == "through" and isinstance(step, (StageStep, ParallelStep)) and step.through is not None:
            site = step.through.site
    file, line = site.locate(problem.argument, POSITIONS.get(problem.argument))
    return Diagnostic(
        problem.code,
        file,
        line,
        site.scope(),
        stage,
        problem.expected,
        problem.found,
        problem.remedy,
        problem.message,
        Severity.NOTE if problem.note else Severity.ERROR,
    )
