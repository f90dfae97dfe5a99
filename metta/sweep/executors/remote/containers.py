"""What the containers of every engine have in common: as whom they run, and their variables."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metta.sweep.errors import UsageError
from metta.sweep.executors.remote.engine import EngineRefused, Job


@dataclass(frozen=True, slots=True)
class User:
    """A user and a group, as numbers."""

    uid: int
    gid: int

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}"

    @classmethod
    def here(cls) -> User:
        """This process's."""
        return cls(os.geteuid(), os.getegid())


def parse_user(user: int | str, executor: str) -> User:
    """The user that "1000:100", "1000" or 1000 names; without a group, the one of the same number.

    Args:
        user: as it was given.
        executor: the class that it was given to, for messages.

    Raises:
        UsageError: it names none, or by a name, which may be somebody else in each image.
    """
    uid, colon, gid = str(user).partition(":")
    numbers = [
        part for part in (uid, gid if colon else uid) if part.isascii() and part.isdigit() and int(part) < 2**32 - 1
    ]
    if len(numbers) != 2:
        raise UsageError(f'{executor}(user={user!r}): expected numbers, such as "1000:1000" or "1000" (see `id`)')
    return User(*map(int, numbers))


def checked_environment(environment: Mapping[str, Any], executor: str) -> dict[str, str]:
    """Variables that a user gives.

    Raises:
        UsageError: a name or a value that no environment can hold.
    """
    for name, value in environment.items():
        if not isinstance(value, str) or not name or "=" in name or "\0" in name + value:
            raise UsageError(
                f"{executor}(environment={{{name!r}: ...}}): expected a name without '=' and text as its value"
            )
    return dict(environment)


def variables_of(job: Job, paths: Iterable[Path], given: Mapping[str, str]) -> dict[str, str]:
    """The variables of a job's container.

    Args:
        job: what is to run.
        paths: for PYTHONPATH: those of the job that the container sees.
        given: the user's, which go before ours.

    Raises:
        EngineRefused: a folder cannot be named in PYTHONPATH.
    """
    found = {
        # A user without a name has no home, and "/" is not writable; libraries keep their caches there.
        "HOME": "/tmp",
        "USER": "metta-sweep",
        "PYTHONUNBUFFERED": "1",
    }
    if not job.resources.gpus:
        found["NVIDIA_VISIBLE_DEVICES"] = "void"  # images of NVIDIA ask for all devices
    found |= given
    folders = [str(path) for path in paths]
    if unusable := [folder for folder in folders if ":" in folder]:
        raise EngineRefused(
            f"{unusable[0]} is on sys.path, but a path with ':' cannot be named in PYTHONPATH: rename it"
        )
    if folders:
        found["PYTHONPATH"] = ":".join([*folders, *filter(None, [given.get("PYTHONPATH")])])
    return found
