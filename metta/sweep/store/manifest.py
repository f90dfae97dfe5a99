"""The manifest of a run: how to come back to what ran. Written for people, read by nobody to go on.

What is at hand is written before the run starts; packages and git are looked up meanwhile, in a thread, and added.
Secrets are taken out. Nothing here ever fails a run.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from metta.sweep import __version__
from metta.sweep.errors import StorageError, UsageError
from metta.sweep.redaction import secrets_in
from metta.sweep.store import files, redact
from metta.sweep.store.entries import to_text
from metta.sweep.store.failpoints import fail_point
from metta.sweep.store.git import Checkout, checkout

MANIFEST_FILE: Final = "manifest.json"

DIFF_FILE: Final = "code.diff"
"""What `git diff HEAD` said of the working folder."""

FORMAT: Final = 1

PATIENCE: Final = 6.0
"""Seconds that `Manifest.finish` waits at most; git has 5 of them."""


class Manifest:
    """The manifest of a run that is being made.

    Args:
        identity: what tells the run apart: its id, name and kind.
        details: JSON values of whoever runs: seeds, settings.
    """

    def __init__(self, identity: Mapping[str, str], details: Mapping[str, Any]) -> None:
        self._secrets = secrets_in(os.environ)
        self._folder = _working_folder()
        self.values: dict[str, Any] = {"format": FORMAT, **identity, **self._at_hand()}
        self.values["details"] = redact.redact_values(dict(details), self._secrets)
        self._thread: threading.Thread | None = None

    def write(self, folder: Path) -> None:
        """Write what is known by now.

        Raises:
            StorageError: the file cannot be written.
        """
        try:
            text = to_text(self.values, "a manifest")
        except UsageError:  # details that are no JSON are better than none
            text = to_text({**self.values, "details": repr(self.values["details"])}, "a manifest")
        files.write_file(folder / MANIFEST_FILE, [text.encode("ascii"), b"\n"])

    def complete(self, folder: Path) -> None:
        """Look up the rest in a thread, and write it when it is known."""
        # A daemon: a program that ends without closing its run does not wait for git.
        self._thread = threading.Thread(target=self._complete, args=(folder,), name="manifest", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait until the thread has written."""
        if self._thread is not None:
            self._thread.join(PATIENCE)
            self._thread = None

    def _complete(self, folder: Path) -> None:
        with contextlib.suppress(OSError, ValueError, StorageError):
            self.values["packages"] = installed_packages()
            if (found := _recent_checkout(self._folder, self._secrets, int(time.time() // 60))) is not None:
                self.values["git"] = {"commit": found.commit, "dirty": found.dirty, "diff_is_cut": found.cut}
                if found.diff:
                    files.write_file(folder / DIFF_FILE, [found.diff.encode("utf-8", "replace")], durable=False)
            fail_point("manifest.collected")
            self.write(folder)
            fail_point("manifest.completed")

    def _at_hand(self) -> dict[str, Any]:
        return {
            "created": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "version": __version__,
            "command": redact.redact_arguments([sys.executable, *sys.orig_argv[1:]], self._secrets),
            "working_folder": str(self._folder),
            "python": sys.version,
            "platform": f"{sys.platform} {platform.machine()} {platform.release()}",
            "host": platform.node(),
            "pid": os.getpid(),
            "cpu_count": os.cpu_count(),
        }


@lru_cache(maxsize=1)
def _recent_checkout(folder: Path, secrets: frozenset[str], minute: int) -> Checkout | None:
    """What was checked out when it was first asked for in this minute (since the epoch), without secrets.

    Many short runs of one process would otherwise wait for git each time.
    """
    found = checkout(folder)
    return found and found._replace(diff=redact.redact_text(found.diff, secrets))


def installed_packages() -> dict[str, str]:
    """Name -> version of every distribution that Python finds, read from the names of their folders."""
    found: dict[str, str] = {}
    for place in sys.path:
        with contextlib.suppress(OSError):
            for entry in os.scandir(place or "."):
                stem, dot, suffix = entry.name.rpartition(".")
                name, dash, version = stem.partition("-")
                if dot and dash and suffix in ("dist-info", "egg-info"):
                    found.setdefault(name, version.split("-")[0])
    return dict(sorted(found.items()))


def _working_folder() -> Path:
    try:
        return Path.cwd()
    except OSError:  # removed meanwhile
        return Path("/")
