"""Files and folders of this machine that are seen inside containers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from metta.sweep.errors import UsageError
from metta.sweep.executors.remote.engine import EngineRefused, Job

WRITABLE: Final = ":rw"
"""Ends the target of a mount that jobs may write to."""


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or folder of this machine, seen inside a container at `target`."""

    source: str
    target: str
    writable: bool = False


def parse_mounts(mounts: Mapping[str, str]) -> tuple[Bind, ...]:
    """The mounts that a user asked for: path on this machine -> path in the container, read-only unless it ends in
    ":rw".

    Raises:
        UsageError: a path is not absolute or not there, or two things are to be seen at one place.
    """
    binds: dict[str, Bind] = {}
    for given, wanted in mounts.items():
        source = os.fspath(given)
        shown = f"DockerExecutor(mounts={{{source!r}: {wanted!r}}})"
        if not isinstance(wanted, str):
            raise UsageError(f'{shown}: expected the path in the container as text, such as "/data" or "/cache:rw"')
        target = wanted.removesuffix(WRITABLE)
        for what, path in (("on this machine", source), ("in the container", target)):
            if not path.startswith("/") or "\0" in path:
                raise UsageError(f"{shown}: the path {what} is {path!r}; expected an absolute one, such as /data")
        if not os.path.exists(source):
            raise UsageError(f"{shown}: there is no {source} on this machine: make it first")
        target = os.path.normpath("/" + target.lstrip("/"))
        if target == "/":
            raise UsageError(f"{shown}: the container's root cannot be covered; name a folder below it")
        if target in binds:
            raise UsageError(f"{shown}: {binds[target].source} is to be seen at {target} already")
        binds[target] = Bind(os.path.normpath(source), target, wanted.endswith(WRITABLE))
    return tuple(binds.values())


def job_binds(job: Job, mounts: Iterable[Bind]) -> tuple[Bind, ...]:
    """All that a job sees of this machine, the outermost first: its code and the state it goes on from read-only, what
    it writes, and the mounts of the user, which may cover code but not what it writes.

    Raises:
        EngineRefused: the job's folders cannot be seen at the paths that they have here.
    """
    found: dict[str, Bind] = {}
    for path in (job.work_folder, *job.paths, *job.reads):
        found[str(path)] = Bind(str(path), str(path))
    found |= {mount.target: mount for mount in mounts}
    for path in (job.folder, *job.writes):
        if str(path) in found and found[str(path)].source != str(path):
            raise EngineRefused(f"mounts= covers {path}, where the job writes: choose another path in the container")
        found[str(path)] = Bind(str(path), str(path), writable=True)
    if "/" in found:
        raise EngineRefused("the working folder is /, which no container can have: start from the folder of your code")
    return tuple(sorted(found.values(), key=lambda bind: (len(PurePosixPath(bind.target).parts), bind.target)))


def closed_folders(binds: Iterable[Bind], closed: Iterable[Path]) -> tuple[str, ...]:
    """Those of the folders `closed` to the container's user that are in a read-only bind, above a writable one: the
    user could not get through them to where it writes. The outermost ones, sorted."""
    binds = tuple(binds)
    outer = [PurePosixPath(bind.target) for bind in binds if not bind.writable]
    inner = [PurePosixPath(bind.target) for bind in binds if bind.writable]
    found = sorted(
        folder
        for folder in map(PurePosixPath, closed)
        if any(folder in path.parents for path in inner) and any(path in folder.parents for path in outer)
    )
    return tuple(str(folder) for folder in found if not any(other in folder.parents for other in found))
