"""As whom containers run, and what that user may get at.

Containers do not run as root. Where the driver is an ordinary user they run as that user, so that files belong to the
right one. Where the driver is root they run as `NOBODY`; the folders that a job writes are then given to that user.
An engine without root ("rootless") maps the container's root to the driver's user, who is meant then.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from metta.sweep.executors.remote.containers import User
from metta.sweep.executors.remote.engine import EngineRefused

ROOT: Final = User(0, 0)
NOBODY: Final = User(65534, 65534)


def user_of_containers(wanted: User | None, driver: User, *, rootless: bool) -> User:
    """As whom containers run.

    Raises:
        EngineRefused: what they write would not be readable here, nor could it be given to them.
    """
    if wanted is None:
        if rootless:
            return ROOT
        return NOBODY if driver.uid == 0 else driver
    meant = ROOT.uid if rootless else driver.uid
    if driver.uid != 0 and wanted.uid not in (meant, ROOT.uid):
        raise EngineRefused(
            f"DockerExecutor(user={str(wanted)!r}): the driver runs as {driver} and cannot give folders to that user; "
            "leave user= out, or run the driver as root"
        )
    return wanted


def may_enter(status: os.stat_result, user: User) -> bool:
    """Whether a user may get to what is in a folder."""
    if user.uid == 0:
        return True
    if status.st_uid == user.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == user.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def closed_above(paths: Iterable[Path], user: User) -> tuple[Path, ...]:
    """The folders above `paths` that a user may not get through."""
    above = {parent for path in paths for parent in path.parents}
    return tuple(sorted(folder for folder in above if folder.is_dir() and not may_enter(folder.stat(), user)))


def hand_over(paths: Iterable[Path], user: User) -> None:
    """Give files, and folders with all that is in them, to a user. Links are not followed: a job may have made them.

    Raises:
        OSError: that is not possible.
    """
    for path in paths:
        os.chown(path, user.uid, user.gid, follow_symlinks=False)
        if path.is_symlink() or not path.is_dir():
            continue
        for _, folders, files, descriptor in os.fwalk(path, follow_symlinks=False):
            for name in (*folders, *files):
                os.chown(name, user.uid, user.gid, dir_fd=descriptor, follow_symlinks=False)
