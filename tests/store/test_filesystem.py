"""Which file systems are those of a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from metta.sweep.store.filesystem import file_system, is_network

MOUNTS = r"""
21 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 21 0:30 / /data rw - nfs4 server:/data rw
31 30 0:31 / /data/scratch rw shared:7 master:2 - xfs /dev/sdb rw
32 21 0:32 / /mnt/two\040words rw - lustre mds@tcp:/fs rw
33 21 0:33 / /home/me/remote rw - fuse.sshfs me@host: rw
34 21 0:34 / /home/me/other rw - fuse.gocryptfs here rw
35 21 0:35 / /over rw - nfs server:/over rw
36 21 0:36 / /over rw - tmpfs tmpfs rw
this line is cut
"""


@pytest.mark.parametrize(
    ("path", "kind", "network"),
    [
        ("/tmp/x", "ext4", False),
        ("/data", "nfs4", True),
        ("/data/runs/not/there/yet", "nfs4", True),
        ("/database", "ext4", False),
        ("/data/scratch/x", "xfs", False),
        ("/mnt/two words/x", "lustre", True),
        ("/home/me/remote/x", "fuse.sshfs", True),
        ("/home/me/other/x", "fuse.gocryptfs", False),
        ("/over/x", "tmpfs", False),
    ],
)
def test_the_innermost_newest_mount_decides(tmp_path: Path, path: str, kind: str, network: bool) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS)
    assert file_system(path, table) == kind
    assert is_network(path, table) is network


def test_without_a_mount_table_everything_is_local(tmp_path: Path) -> None:
    assert file_system("/data", tmp_path / "none") is None
    assert not is_network("/data", tmp_path / "none")


def test_a_link_counts_where_it_leads(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    (tmp_path / "there").mkdir()
    (tmp_path / "here").symlink_to(tmp_path / "there")
    table.write_text(f"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / {tmp_path / 'there'} rw - cifs b rw\n")
    assert is_network(tmp_path / "here" / "run.db", table)
