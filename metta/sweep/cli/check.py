"""`metta-sweep check`: every mistake in files and directories, for people, CI servers and other programs."""

from __future__ import annotations

from collections.abc import Sequence

import click

from metta.sweep.cli.explain import tell_more
from metta.sweep.cli.output import show
from metta.sweep.compiler import static_check
from metta.sweep.contracts.diagnostics import Severity, format_diagnostics


def check_files(paths: Sequence[str], format: str, *, static: bool | None = None) -> bool:
    """Print what is found; whether there is an error.

    Args:
        paths: files and directories.
        format: of `format_diagnostics`.
        static: whether to run mypy, too; None: where it is installed.

    Raises:
        UsageError: an unknown format, a path that does not exist, or a configuration that mypy does not accept.
        MissingExtraError: `static` is True, and mypy is not installed.
        StaticCheckFailed: mypy crashed. This, and what mypy does not accept, is raised when the rest is printed.
    """
    format_diagnostics((), format)  # a wrong format is told before anything is imported
    checked = static_check.check_all(paths, static=static)
    for warning in checked.warnings:
        click.echo(f"mypy: {warning}", err=True)
    if text := format_diagnostics(checked.found, format, checked.files):
        show(text)
    if checked.failure is not None:
        raise checked.failure
    errors = [d for d in checked.found if d.severity is Severity.ERROR]
    if format == "text":
        tell_more(errors)
        if static is None and not static_check.has_mypy():
            click.echo("mypy has not looked at them: pip install 'metta-sweep[mypy]'", err=True)
    return bool(errors)
