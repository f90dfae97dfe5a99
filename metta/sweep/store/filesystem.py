"""Which kind of file system a path lies on.

SQLite's write-ahead log needs memory shared between processes, which network file systems do not give, so a journal
there uses the slower rollback journal.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

MOUNT_TABLE: Final = Path("/proc/self/mountinfo")

_SERVED: Final = frozenset({"afs", "cifs", "coda", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"})
_CLUSTERED: Final = frozenset({"beegfs", "ceph", "fhgfs", "gfs2", "glusterfs", "gpfs", "lustre", "ocfs2", "orangefs"})
_MORE_CLUSTERED: Final = frozenset({"acfs", "gfs", "mfs", "panfs", "pvfs2", "wekafs"})
_OF_A_HOST: Final = frozenset({"9p", "fakeowner", "grpcfuse", "osxfs", "prl_fs", "vboxsf", "virtiofs", "vmhgfs"})

NETWORK_TYPES: Final = _SERVED | _CLUSTERED | _MORE_CLUSTERED | _OF_A_HOST
"""File systems that several machines, or a machine and its guests, may mount at once."""

_FUSE_BUCKETS: Final = frozenset({"blobfuse", "blobfuse2", "gcsfuse", "geesefs", "goofys", "mount-s3", "s3fs", "s3ql"})
_FUSE_CLUSTERED: Final = frozenset({"beegfs", "ceph", "ceph-fuse", "cephfs", "glusterfs", "hdfs", "lizardfs", "mfs"})
_FUSE_SERVED: Final = frozenset({"afp", "davfs", "davfs2", "juicefs", "moosefs", "rclone", "seaweedfs", "sshfs"})

NETWORK_FUSE: Final = _FUSE_BUCKETS | _FUSE_CLUSTERED | _FUSE_SERVED | {"grpcfuse", "osxfs", "smbnetfs", "vmhgfs-fuse"}
"""What may follow "fuse." in the type of a network file system in user space."""


def file_system(path: str | os.PathLike[str], mount_table: Path = MOUNT_TABLE) -> str | None:
    """The type of the file system `path` (which may not exist yet) lies on, such as "ext4"; None where unknown."""
    try:
        lines = mount_table.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    real = os.path.realpath(path)
    found, longest = None, -1
    for line in lines:
        # "36 35 98:0 /root /mount/point options [optional ...] - type source superoptions" (proc(5))
        mount, separator, rest = line.partition(" - ")
        fields = mount.split(" ")
        if not separator or len(fields) < 6:
            continue
        point = _unescaped(fields[4])
        # A later mount on the same point hides the earlier one.
        if len(point) >= longest and (real == point or real.startswith(point.rstrip("/") + "/")):
            found, longest = rest.split(" ")[0], len(point)
    return found


def is_network(path: str | os.PathLike[str], mount_table: Path = MOUNT_TABLE) -> bool:
    """True where `path` lies on a file system that other machines may share; unknown ones count as local."""
    kind = file_system(path, mount_table)
    if kind is None:
        return False
    prefix, _, user_space = kind.partition(".")
    return user_space in NETWORK_FUSE if prefix == "fuse" else kind in NETWORK_TYPES


def _unescaped(field: str) -> str:
    """Blanks, tabs, newlines and backslashes stand as octal escapes in the mount table."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
