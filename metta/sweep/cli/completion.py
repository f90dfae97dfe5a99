"""The scripts that complete commands, and what RUN is completed with.

The shell waits for it, so nothing heavy is imported and no run is read.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

import click
from click.shell_completion import ShellComplete, get_completion_class

from metta.sweep.cli.file_commands import SHELLS
from metta.sweep.cli.output import show
from metta.sweep.errors import UsageError
from metta.sweep.store.runs import Store

MOST: Final = 200
_KNOWN: Final = "one for bash, zsh and fish"


def run_ids(start: str) -> list[str]:
    """The ids in the default store that begin so, at most 200."""
    try:
        names = (entry.name for entry in Store.at().runs_folder.iterdir() if entry.name.startswith(start))
        return sorted(islice((name for name in names if not name.startswith(".")), MOST))
    except OSError:
        return []


def script(shell: str, command: click.Command) -> None:
    """Print the script for a shell.

    Args:
        shell: "bash", "zsh" or "fish".
        command: what is completed.

    Raises:
        UsageError: there is no script for this shell.
    """
    kind = get_completion_class(shell) if shell in SHELLS else None
    if kind is None:
        from metta.sweep.contracts.diagnostics import nearest

        near = nearest(shell, SHELLS)
        raise UsageError(f"no script for {shell!r}: " + (f"did you mean {near}?" if near else f"there is {_KNOWN}"))
    # Not `kind.source()`: for bash that starts one to ask for its version.
    show(ShellComplete.source(kind(command, {}, "metta-sweep", "_METTA_SWEEP_COMPLETE")).rstrip("\n"))
