"""What git says about the code that runs. Read-only, without a shell, and in bounded time."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from threading import Timer
from typing import Final, NamedTuple

LARGEST_DIFF: Final = 2**20
"""Bytes."""

# Settings of a repository may name programs for git to start; none of them is needed here.
_PLAIN: Final = ("-c", "core.fsmonitor=false", "-c", "core.pager=cat", "-c", "diff.external=")
_PLAIN_DIFF: Final = ("--no-ext-diff", "--no-textconv", "--no-color")


class Checkout(NamedTuple):
    """The code of a run: the commit, whether files differ from it, and how (`cut`: the diff was too long)."""

    commit: str
    dirty: bool
    diff: str
    cut: bool


def checkout(folder: Path, seconds: float = 5.0) -> Checkout | None:
    """What is checked out in `folder`; None where there is no git, no repository or not enough time."""
    deadline = time.monotonic() + seconds
    commit = _git(folder, deadline, 100, "rev-parse", "--verify", "HEAD")
    status = _git(folder, deadline, 1, "status", "--porcelain", "--ignore-submodules") if commit else None
    diff = _git(folder, deadline, LARGEST_DIFF + 1, "diff", *_PLAIN_DIFF, "HEAD") if status is not None else None
    if commit is None or status is None or diff is None:
        return None
    return Checkout(
        commit.decode(errors="replace").strip(),
        bool(status),
        diff[:LARGEST_DIFF].decode(errors="replace"),
        len(diff) > LARGEST_DIFF,
    )


def _git(folder: Path, deadline: float, limit: int, *arguments: str) -> bytes | None:
    """At most `limit` bytes of what git prints; None if it fails or takes too long."""
    hidden = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_EXTERNAL_DIFF")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        process = subprocess.Popen(
            ["git", "-C", os.fspath(folder), *_PLAIN, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
    except (OSError, ValueError):
        return None
    timer = Timer(max(0.0, deadline - time.monotonic()), process.kill)
    with process:
        timer.start()
        try:
            assert process.stdout is not None
            output = process.stdout.read(limit)
            if len(output) == limit:
                process.kill()  # enough
                return output
            return output if process.wait() == 0 else None
        finally:
            timer.cancel()
