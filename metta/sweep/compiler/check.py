"""Every mistake of every pipeline of every file, in one go: what `metta-sweep check` does."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import NamedTuple

from metta.sweep.compiler.find import Candidate, Unmade, built_by, candidates, no_pipeline, outermost, unmade
from metta.sweep.compiler.load import LoadError, fresh_packages, user_module
from metta.sweep.compiler.loading import Stop, noting_stops
from metta.sweep.compiler.sources import python_files
from metta.sweep.contracts.call_site import display_path
from metta.sweep.contracts.diagnostics import ContractError, Diagnostic, Severity, nearest
from metta.sweep.errors import UsageError
from metta.sweep.pipeline.builder import Pipeline
from metta.sweep.pipeline.reporting import collecting

# What these say of a value is what it is at that moment: the same mistake has another value each time.
_OF_VALUES = frozenset({"not-a-stage", "not-a-type", "setting-type", "hook-type"})


@dataclass(slots=True)
class _Check:
    """What is gathered over all files: one may make what stands in another.

    Attributes:
        packages: of `fresh_packages`.
        found: the findings, each once.
        unmade: what makes a pipeline and needs arguments.
        built: the code that was seen to build pipelines.
    """

    packages: set[str]
    found: dict[Diagnostic, None] = field(default_factory=dict)
    unmade: dict[Unmade, None] = field(default_factory=dict)
    built: set[CodeType] = field(default_factory=set)


class Target(NamedTuple):
    """A file to check; `named`: by the user, so that it is an error if it has no pipeline."""

    file: str
    named: bool


def targets(paths: Iterable[str]) -> list[Target]:
    """Files as they are named, and from directories (recursively) every Python file that may have pipelines.

    Raises:
        UsageError: a path that does not exist.
    """
    found: dict[Target, None] = {}
    for path in paths:
        if os.path.isdir(path):
            found.update((Target(file, named=False), None) for file in python_files(path))
        elif os.path.isfile(path):
            found[Target(path, named=True)] = None
        else:
            raise UsageError(_absent(path))
    return list(found)


def check_targets(files: Iterable[Target]) -> list[Diagnostic]:
    """Check what the files define.

    A pipeline that another one of the same file continues or contains is checked as a part of it. Importing a file runs
    it, as Python does; the pipelines are not run.

    Returns:
        What was found, each finding once, sorted by file and line. A file that cannot be imported is an error with the
        code "not-loaded"; so is, as "no-pipeline", a file that was named and has no pipeline. Notes of the code
        "not-loaded" name what was left out: what stands behind a run, and what needs arguments and is made nowhere.
    """
    with fresh_packages() as packages, noting_stops() as stops:
        check = _Check(packages)
        for file, named in files:
            _check_file(file, check, named=named)
    notes = [
        *map(note_of_stop, stops),
        *(_note_of_unmade(each) for each in check.unmade if each.code not in check.built),
    ]
    return in_order({**check.found, **dict.fromkeys(notes)})


def check_paths(paths: Iterable[str]) -> list[Diagnostic]:
    """`check_targets` of the files at the paths.

    Raises:
        UsageError: a path that does not exist.
    """
    return check_targets(targets(paths))


def in_order(found: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Findings by file and line, those that differ in a value alone once."""
    kept: dict[tuple[object, ...], Diagnostic] = {}
    for d in found:
        message = d.message.replace(d.found, "") if d.code in _OF_VALUES and d.found else d.message
        kept.setdefault((d.code, d.file, d.line, d.stage, d.pipeline, d.severity, message), d)
    return sorted(kept.values(), key=lambda d: (d.file, d.line, d.code, d.stage, d.message))


def note_of_stop(stop: Stop) -> Diagnostic:
    """What is said about a file that was not read to its end."""
    return Diagnostic(
        "not-loaded",
        stop.file,
        stop.line,
        pipeline="",
        stage="",
        expected="a file that can be read to its end",
        found="a run",
        remedy='put the run under if __name__ == "__main__":',
        message=f"read up to line {stop.line}, where a run starts; what follows is not checked",
        severity=Severity.NOTE,
    )


def _note_of_unmade(each: Unmade) -> Diagnostic:
    return Diagnostic(
        "not-loaded",
        each.file,
        each.line,
        pipeline="",
        stage="",
        expected="something that is made without arguments",
        found=f"the parameters {', '.join(each.missing)}",
        remedy="",
        message=f"not checked: {each}",
        severity=Severity.NOTE,
    )


def _absent(path: str) -> str:
    folder = os.path.dirname(path) or "."
    near = nearest(os.path.basename(path), os.listdir(folder)) if os.path.isdir(folder) else None
    hint = f' (did you mean "{os.path.join(os.path.dirname(path), near)}"?)' if near else ""
    return f"there is no file or directory {path}{hint}"


def _check_file(file: str, check: _Check, *, named: bool) -> None:
    """Check the pipelines of one file."""
    with collecting() as collected:
        try:
            with user_module(file, check.packages) as module:
                made = list(_build(candidates(module), collected))
                check.built |= built_by(pipeline for _, pipeline in made)
                for _, pipeline in outermost(made):
                    _stand(pipeline, collected)
                if named and not made and not collected:
                    collected[_finding("no-pipeline", no_pipeline(module))] = None
                else:
                    check.unmade.update(dict.fromkeys(unmade(module)))
        except ContractError as error:  # raised by the user's own code
            collected.update(dict.fromkeys(error.diagnostics))
        except LoadError as error:
            collected[_finding("not-loaded", error)] = None
        except UsageError as error:
            shown = display_path(os.path.abspath(file))
            collected[_finding("not-loaded", LoadError(str(error), shown))] = None
    check.found.update(collected)


def _build(found: Iterable[Candidate], collected: dict[Diagnostic, None]) -> Iterator[tuple[Candidate, Pipeline]]:
    for candidate in found:
        try:
            yield candidate, candidate.build()
        except LoadError as error:
            collected[_finding("not-loaded", error)] = None
        except ContractError as error:
            collected.update(dict.fromkeys(error.diagnostics))


def _stand(pipeline: Pipeline, collected: dict[Diagnostic, None]) -> None:
    """Apply the rules for the whole pipeline; what they find is collected on the way."""
    try:
        pipeline._standing()
    except Exception:
        # A pipeline with mistakes is replayed as if they were mended. Where that does not work out, the mistakes are
        # what the user needs to hear of.
        if not any(d.severity is Severity.ERROR for d in collected):
            raise


def _finding(code: str, error: LoadError) -> Diagnostic:
    return Diagnostic(
        code,
        error.file,
        error.line,
        pipeline="",
        stage="",
        expected="a Python file that can be imported and has pipelines",
        found=error.reason,
        remedy="",
        message=error.reason,
    )
