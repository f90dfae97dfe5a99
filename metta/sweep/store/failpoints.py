"""Places where a test may kill the process, to see what a crash just there leaves behind.

`METTA_SWEEP_FAIL_AT="journal.written"` kills the process with SIGKILL the first time it passes that place,
`"journal.written:3"` the third time. Without the variable a fail point costs one comparison.
"""

from __future__ import annotations

import os
import signal
from typing import Final

FAIL_POINTS: Final = frozenset(
    {
        "file.created",
        "file.written",
        "file.synced",
        "file.renamed",
        "journal.made",
        "journal.begun",
        "journal.written",
        "journal.committed",
        "journal.backed_up",
        "journal.upgraded",
        "run.folder_made",
        "run.locked",
        "run.journal_made",
        "run.described",
        "run.renamed",
        "run.set_aside",
        "run.started",
        "run.resumed",
        "run.ended",
        "stage.started",
        "stage.called",
        "stage.committed",
        "lock.taken",
        "lock.signed",
        "lease.found_stale",
        "lease.cleared",
        "manifest.collected",
        "manifest.completed",
        "remote.prepared",
        "remote.intended",
        "remote.submitted",
        "remote.noted",
        "sweep.folded",
        "sweep.decided",
        "sweep.granted",
        "sweep.collected",
        "sweep.committed",
        "sweep.snapshot",
        "sweep.answered",
        "sweep.submitted",
        "sweep.ending",
    }
)
"""The name of every fail point of the package; a test compares it with the source."""

VARIABLE: Final = "METTA_SWEEP_FAIL_AT"


class _Countdown:
    """Kills the process when a name has been passed for the n-th time."""

    def __init__(self, setting: str) -> None:
        self.name, _, times = setting.partition(":")
        self.left = int(times or 1)

    def passed(self, name: str) -> None:
        if name == self.name:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


_SETTING: Final = os.environ.get(VARIABLE, "")
_COUNTDOWN: Final = _Countdown(_SETTING) if _SETTING else None


def fail_point(name: str) -> None:
    """Mark a place called `name` (one of FAIL_POINTS) where METTA_SWEEP_FAIL_AT may kill this process."""
    if _COUNTDOWN is not None:
        _COUNTDOWN.passed(name)
