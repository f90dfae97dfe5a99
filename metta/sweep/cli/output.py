"""Standard output: a full disk or a closed file behind it is not our mistake, and no text of a user's moves the cursor.

Nothing but click is imported here.
"""

from __future__ import annotations

import os
import sys
from typing import Final

import click

from metta.sweep.errors import UsageError

READER_GONE: Final = 141
"""The exit code that a shell gives a program that SIGPIPE has ended."""


def show(text: str | bytes, *, end: bool = True) -> None:
    """Write to standard output.

    Args:
        text: what to write; bytes are written as they are.
        end: whether to end the line.

    Raises:
        UsageError: standard output cannot be written.
        click.exceptions.Exit: nobody reads it any more; there is nothing left to do.
    """
    from metta.sweep.report.text import harmless

    try:
        click.echo(harmless(text) if isinstance(text, str) else text, nl=end)
    except BrokenPipeError:
        # What is left in the buffer must not fail once more when Python ends.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        raise click.exceptions.Exit(READER_GONE) from None
    except OSError as error:
        raise UsageError(f"cannot write to standard output: {error.strerror or error}") from error


def write_file(data: bytes, path: str) -> None:
    """Write to the file that `-o` names, and say so on standard error.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        with open(path, "wb") as file:
            file.write(data)
    except IsADirectoryError:
        inside = os.path.normpath(os.path.join(path, "FILE"))
        raise UsageError(f"cannot write {path}: it is a folder; name a file in it, such as -o {inside}") from None
    except FileNotFoundError:
        raise UsageError(f"cannot write {path}: make the folder {os.path.dirname(path)} first") from None
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}; name another file with -o") from None
    click.echo(f"wrote {path}", err=True)
