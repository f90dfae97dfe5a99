"""Volumes of a pod, written like those of `docker run -v`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from metta.sweep.errors import UsageError

_EXAMPLES: Final = 'expected "CLAIM:/path" for a PersistentVolumeClaim or "/host/path:/path", and ":ro" for read-only'
_CLAIM: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Volume:
    """Where a pod finds files that outlive it.

    Attributes:
        source: the name of a PersistentVolumeClaim, or an absolute path of the node.
        mount: the path in the pod.
        read_only: whether the pod may only read.
    """

    source: str
    mount: PurePosixPath
    read_only: bool = False

    @classmethod
    def parse(cls, text: str) -> Volume:
        """A volume from text: "CLAIM:/path" (a PersistentVolumeClaim), "/host/path:/path" or "/path" (a folder of the
        node, at the same path), each with ":ro" at its end for read-only.

        Raises:
            UsageError: it is none of these.
        """
        source, *rest = text.split(":")
        read_only = rest[-1:] == ["ro"]
        if rest[-1:] in (["ro"], ["rw"]):
            rest = rest[:-1]
        mount = rest[0] if rest else source
        if len(rest) > 1 or not _is_path(mount):
            raise UsageError(f"volumes: {text!r} cannot be read: {_EXAMPLES}")
        if not _is_path(source) and not _CLAIM.fullmatch(source):
            raise UsageError(f"volumes: {source!r} in {text!r} is neither a path nor a name of a claim: {_EXAMPLES}")
        return cls(source, PurePosixPath(mount), read_only)

    def spec(self, name: str) -> dict[str, Any]:
        """The entry for the pod's `volumes`."""
        if self.source.startswith("/"):
            return {"name": name, "hostPath": {"path": self.source}}
        return {"name": name, "persistentVolumeClaim": {"claimName": self.source}}

    def mounted(self, name: str) -> dict[str, Any]:
        """The entry for the container's `volumeMounts`."""
        return {"name": name, "mountPath": str(self.mount), "readOnly": self.read_only}


def _is_path(text: str) -> bool:
    return text.startswith("/") and text.isprintable() and ".." not in PurePosixPath(text).parts


def volume_of(path: Path, volumes: Iterable[Volume]) -> Volume | None:
    """The volume that holds a path of the pod: of those that do, the one mounted deepest."""
    holding = [volume for volume in volumes if PurePosixPath(path).is_relative_to(volume.mount)]
    return max(holding, key=lambda volume: len(volume.mount.parts), default=None)
