"""Standard output: a full disk or a closed file behind it is not our mistake."""

from __future__ import annotations

import click

from metta.sweep.errors import UsageError


def show(text: str | bytes, *, end: bool = True) -> None:
    """Write to standard output.

    Args:
        text: what to write, as it is if these are bytes.
        end: whether to end the line.

    Raises:
        UsageError: standard output cannot be written.
        BrokenPipeError: nobody reads it any more; click ends the command then.
    """
    try:
        click.echo(text, nl=end)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"cannot write to standard output: {error.strerror or error}") from error
