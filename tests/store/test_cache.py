"""The cache: an entry is what was put, or a miss."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.store.cache import Cache
from metta.sweep.store.codec import digest, dumps, loads
from tests.store.test_files import POINTS, mode

KEY, OTHER = digest("key"), digest("other")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_put_and_get(cache: Cache) -> None:
    assert cache.get(KEY) is None
    cache.put(KEY, dumps([1, 2]))
    content = cache.get(KEY)
    assert content is not None
    assert loads(content) == [1, 2]
    cache.put(KEY, b"")
    assert cache.get(KEY) == b""
    assert cache.get(OTHER) is None
    assert mode(cache.path(KEY)) == 0o600
    assert list(cache.damaged()) == []


def test_every_damage_is_a_miss_until_it_is_replaced(cache: Cache) -> None:
    cache.put(KEY, b"content")
    path = cache.path(KEY)
    good = path.read_bytes()
    damaged = [good[:length] for length in range(len(good))] + [good + b"x"]
    damaged += [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in range(len(good))]
    for data in damaged:
        path.write_bytes(data)
        assert cache.get(KEY) is None
        assert list(cache.damaged()) == [path]
    cache.put(KEY, b"content")
    assert cache.get(KEY) == b"content"


def test_an_entry_under_another_name_is_none(cache: Cache) -> None:
    cache.put(KEY, b"content")
    cache.put(OTHER, b"other")
    os.replace(cache.path(KEY), cache.path(OTHER))
    assert cache.get(OTHER) is None


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "A" * 32, "a" * 15, "a" * 129, "a" * 32 + "\n"])
def test_what_is_no_key(cache: Cache, key: str) -> None:
    with pytest.raises(UsageError, match="is no key of a cache"):
        cache.get(key)
    with pytest.raises(UsageError, match="is no key of a cache"):
        cache.put(key, b"")


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere(cache: Cache, point: str) -> None:
    cache.put(KEY, b"old")
    script = "import sys\nfrom metta.sweep.store.cache import Cache\nCache(sys.argv[1]).put(sys.argv[2], b'new')"
    environment = {**os.environ, "METTA_SWEEP_FAIL_AT": point}
    command = [sys.executable, "-c", script, str(cache.folder), KEY]
    assert subprocess.run(command, env=environment, check=False).returncode == -9
    assert cache.get(KEY) == (b"new" if point == "file.renamed" else b"old")


def test_processes_at_once(cache: Cache) -> None:
    children = []
    for number in range(3):
        child = os.fork()
        if child == 0:
            content = b"%d" % number * 10_000
            for _ in range(60):
                cache.put(KEY, content)
                found = cache.get(KEY)
                if found is None or len(set(found)) != 1:
                    os._exit(1)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]


def test_prune(cache: Cache) -> None:
    keys = [digest(number) for number in range(5)]
    now = time.time()
    for age, key in enumerate(keys):
        cache.put(key, b"x" * 1000)
        os.utime(cache.path(key), (now - 1000 * age - 500,) * 2)
    size = cache.path(keys[0]).stat().st_size
    assert cache.prune() == 0
    assert cache.prune(max_age=3600) == size
    assert [cache.path(key).exists() for key in keys] == [True, True, True, True, False]
    assert cache.get(keys[3]) is not None  # used: now it is the youngest
    assert cache.prune(max_bytes=2 * size) == 2 * size
    assert [cache.path(key).exists() for key in keys] == [True, False, False, True, False]
    assert cache.prune(max_bytes=0) == 2 * size


def test_prune_clears_what_killed_writers_left(cache: Cache) -> None:
    cache.put(KEY, b"content")
    leftover = cache.path(KEY).parent / ".1-1.tmp"
    leftover.write_bytes(b"half")
    cache.prune()
    assert leftover.exists()
    os.utime(leftover, (1, 1))
    cache.prune()
    assert not leftover.exists()
    assert cache.get(KEY) == b"content"
