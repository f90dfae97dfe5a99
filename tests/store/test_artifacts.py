"""Artifacts: what was put comes back, whatever crashes or is damaged meanwhile."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from metta.sweep.errors import DamagedError, StorageError
from metta.sweep.store.artifacts import ArtifactStore
from metta.sweep.store.codec import dumps, loads
from tests.store.test_files import POINTS, mode


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def test_put_and_get(store: ArtifactStore) -> None:
    encoded = dumps({"a": [1.5]})
    digest = store.put(encoded)
    assert digest == hashlib.blake2b(bytes(encoded), digest_size=32).hexdigest()
    assert loads(store.get(digest)) == {"a": [1.5]}
    assert digest in store
    assert store.size(digest) == encoded.nbytes
    assert store.put(bytes(encoded)) == store.put(iter(encoded)) == digest
    other = store.put([b""])
    assert sorted(store.digests()) == sorted([digest, other])
    assert store.get(other) == b""
    assert mode(store.path(digest)) == 0o600
    assert mode(store.path(digest).parent) == mode(store.folder) == 0o700


def test_what_is_there_is_not_written_again(store: ArtifactStore) -> None:
    digest = store.put(b"content")
    before = store.path(digest).stat()
    assert store.put(b"content") == digest
    assert store.path(digest).stat().st_ino == before.st_ino


@pytest.mark.parametrize("damage", [b"", b"conten", b"contenT", b"content and more"])
def test_damage_is_noticed_and_repaired(store: ArtifactStore, damage: bytes) -> None:
    digest = store.put(b"content")
    path = store.path(digest)
    path.write_bytes(damage)
    assert not store.is_intact(digest)
    with pytest.raises(DamagedError, match=f"the artifact {path} is damaged") as caught:
        store.get(digest)
    assert caught.value.path == str(path)
    store.put(b"content")
    assert store.is_intact(digest)
    assert store.get(digest) == b"content"


def test_what_is_missing(store: ArtifactStore) -> None:
    digest = store.put(b"content")
    store.path(digest).unlink()
    assert digest not in store
    assert not store.is_intact(digest)
    for ask in (store.get, store.size):
        with pytest.raises(DamagedError, match="is missing"):
            ask(digest)
    store.put(b"content")
    assert digest in store


@pytest.mark.parametrize("text", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "\n", "a" * 65, "..", "\0"])
def test_what_is_no_digest(store: ArtifactStore, text: str) -> None:
    for ask in (store.get, store.size, store.path, store.is_intact, store.__contains__):
        with pytest.raises(DamagedError, match="is no digest"):
            ask(text)


def test_a_link_is_not_followed(store: ArtifactStore, tmp_path: Path) -> None:
    digest = store.put(b"content")
    (tmp_path / "elsewhere").write_bytes(b"content")
    store.path(digest).unlink()
    store.path(digest).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="symbolic link"):
        store.get(digest)
    assert not store.is_intact(digest)
    store.put(b"content")
    assert not store.path(digest).is_symlink()


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere(store: ArtifactStore, point: str) -> None:
    """At each fail point of the second file: the first is whole, and the second either whole or not there."""
    script = (
        "import sys\nfrom metta.sweep.store.artifacts import ArtifactStore\n"
        "store = ArtifactStore(sys.argv[1])\nstore.put(b'one')\nstore.put(b'two')"
    )
    environment = {**os.environ, "METTA_SWEEP_FAIL_AT": f"{point}:2"}
    done = subprocess.run([sys.executable, "-c", script, str(store.folder)], env=environment, check=False)
    assert done.returncode == -9
    assert all(map(store.is_intact, store.digests()))
    one, two = (hashlib.blake2b(it, digest_size=32).hexdigest() for it in (b"one", b"two"))
    assert one in store
    assert (two in store) == (point == "file.renamed")
    assert store.put(b"two") == two
    store.sweep({one, two}, keep=-60)
    assert sum(it.is_file() for it in store.folder.rglob("*")) == 2


def test_two_processes_at_once(store: ArtifactStore) -> None:
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            for number in range(40):
                store.put(b"%d" % number * 1000)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert len(list(store.digests())) == 40
    assert all(map(store.is_intact, store.digests()))


def test_sweep(store: ArtifactStore) -> None:
    kept, old, young = store.put(b"kept"), store.put(b"old"), store.put(b"young")
    (store.folder / kept[:2] / "notes.txt").write_text("not ours")
    for digest in (kept, old):
        os.utime(store.path(digest), (1, 1))
    assert store.sweep({kept}, keep=100) == 3
    assert sorted(store.digests()) == sorted([kept, young])
    assert store.sweep({kept}, keep=100) == 0
    assert store.sweep({kept}, keep=-60) == 5
    assert list(store.digests()) == [kept]
    assert (store.folder / kept[:2] / "notes.txt").exists()


def test_what_is_put_again_is_young_again(store: ArtifactStore) -> None:
    digest = store.put(b"content")
    os.utime(store.path(digest), (1, 1))
    store.put(b"content")
    assert store.sweep(set(), keep=100) == 0
    assert digest in store


def test_no_folder_yet(store: ArtifactStore) -> None:
    assert list(store.digests()) == []
    assert store.sweep(set()) == 0
