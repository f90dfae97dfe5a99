"""Files of a store: whole or not at all, private, inside their folder."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.errors import StorageError, UsageError
from metta.sweep.store.files import inside, make_folder, read_file, storage_errors, temporary_files, write_file

POINTS = ["file.created", "file.written", "file.synced", "file.renamed"]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_and_files_are_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        write_file(tmp_path / "a" / "b" / "file", [b"one", b"two"])
    finally:
        os.umask(old)
    assert read_file(tmp_path / "a" / "b" / "file") == b"onetwo"
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700
    assert mode(tmp_path / "a" / "b" / "file") == 0o600


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("durable", [True, False])
def test_killed_anywhere_the_old_or_the_new_file_is_there(tmp_path: Path, point: str, durable: bool) -> None:
    path = tmp_path / "file"
    write_file(path, [b"old"])
    script = (
        "import sys\nfrom pathlib import Path\nfrom metta.sweep.store.files import write_file\n"
        f"write_file(Path(sys.argv[1]), [b'new', b'er'], durable={durable})"
    )
    environment = {**os.environ, "METTA_SWEEP_FAIL_AT": point}
    done = subprocess.run([sys.executable, "-c", script, str(path)], env=environment, check=False)
    assert done.returncode == -9
    assert path.read_bytes() == (b"newer" if point == "file.renamed" else b"old")
    leftovers = [it for it in tmp_path.iterdir() if it != path]
    assert sorted(temporary_files(tmp_path, older_than=-60)) == leftovers
    assert list(temporary_files(tmp_path)) == []  # too young: it may be another process's, at work
    write_file(path, [b"newest"])
    assert path.read_bytes() == b"newest"


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "the disk is full: make room"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "check the owner and the mode"),
        (errno.ENAMETOOLONG, "the name is too long"),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
def test_the_disks_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str, call: str) -> None:
    path = tmp_path / "file"
    write_file(path, [b"old"])

    def fails(*args: Any, **kwargs: Any) -> Any:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fails)
        with pytest.raises(StorageError, match=f"cannot write {path}: .*{remedy}") as caught:
            write_file(path, [b"new"])
    assert caught.value.path == str(path)
    assert caught.value.exit_code == 3
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_real_limit(tmp_path: Path) -> None:
    """RLIMIT_FSIZE fails a write half-way, as a full disk does."""
    script = (
        "import resource, signal, sys\nfrom pathlib import Path\nfrom metta.sweep.errors import StorageError\n"
        "from metta.sweep.store.files import write_file\npath = Path(sys.argv[1])\nwrite_file(path, [b'old'])\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    write_file(path, [b'x' * 600] * 3)\nexcept StorageError as error:\n    print(error)\n"
        "write_file(path, [b'new'])\n"
    )
    path = tmp_path / "file"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert f"cannot write {path}: File too large" in done.stdout
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_stands_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"a part of the path is a file, where a folder is needed"):
        make_folder(tmp_path / "file" / "folder")
    with pytest.raises(StorageError, match=r"cannot make the folder .*file"):
        make_folder(tmp_path / "file")
    with pytest.raises(StorageError, match=r"choose a shorter one"):
        write_file(tmp_path / ("n" * 300), [b""])
    write_file(tmp_path / ("n" * 255), [b"long"])
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(StorageError, match=r"symbolic link"):
        read_file(tmp_path / "link")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match=r"cannot read .*pipe: it is no regular file"):
        read_file(tmp_path / "pipe")
    write_file(tmp_path / "link", [b"new"])  # replaces the link, and leaves what it named
    assert (tmp_path / "file").read_text() == ""
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none")


def test_other_errors_pass() -> None:
    with pytest.raises(ValueError, match="other"), storage_errors("path", "read"):
        raise ValueError("other")


def test_a_content_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def pieces() -> Any:
        yield b"half"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_file(tmp_path / "file", pieces())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/etc/passwd", "is absolute"),
        ("../other", 'has a ".."'),
        ("a/../../other", 'has a ".."'),
        ("a\0b", "has a NUL character"),
        ("", "names no file"),
        (".", "names no file"),
        ("out/file", "leads out of .* by a symbolic link"),
        ("a/out", "leads out of .* by a symbolic link"),
        ("loop/file", "cannot be followed|leads out"),
        ("self", "leads out of .* by a symbolic link"),
    ],
)
def test_paths_that_leave(tmp_path: Path, path: str, message: str) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (tmp_path / "rooted").mkdir()
    (root / "out").symlink_to(tmp_path)
    (root / "a" / "out").symlink_to(tmp_path / "rooted")
    (root / "loop").symlink_to(root / "loop")
    (root / "self").symlink_to(root)
    with pytest.raises(UsageError, match=message):
        inside(root, path)


def test_paths_that_stay(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "alias").symlink_to(root)
    (root / "a").mkdir()
    (root / "link").symlink_to(root / "a")
    for path in ("file", "a/b/c", "a\nb", "-rf", "link/file", "...", "a/./b", Path("x")):
        assert inside(root, path).is_relative_to(root.resolve())
    assert inside(root, "link/file") == (root / "a" / "file").resolve()
    assert inside(tmp_path / "alias", "file") == (root / "file").resolve()


@given(st.text(st.sampled_from("./\\ab\0\n~:"), max_size=12))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_any_path(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    root = tmp_path_factory.getbasetemp()
    try:
        found = inside(root, path)
    except UsageError:
        return
    assert found != root.resolve()
    assert os.path.commonpath([found, root.resolve()]) == str(root.resolve())
