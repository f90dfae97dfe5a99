"""`metta-sweep check`: every mistake in files and directories, as text, JSON or annotations for GitHub."""

from __future__ import annotations

from collections.abc import Sequence

from metta.sweep.cli.output import show
from metta.sweep.compiler.check import check_paths
from metta.sweep.contracts.diagnostics import Severity, format_diagnostics


def check_files(paths: Sequence[str], format: str) -> bool:
    """Print what is found; whether there is an error.

    Raises:
        UsageError: an unknown format, or a path that does not exist.
    """
    format_diagnostics((), format)  # a wrong format is told before anything is imported
    found = check_paths(paths)
    if text := format_diagnostics(found, format):
        show(text)
    return any(d.severity is Severity.ERROR for d in found)
