"""As whom containers run, and what is given to that user."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.executors.container.access import (
    NOBODY,
    ROOT,
    closed_above,
    hand_over,
    may_enter,
    user_of_containers,
)
from metta.sweep.executors.remote.containers import User, parse_user
from metta.sweep.executors.remote.engine import EngineRefused

ADA = User(1000, 100)


@pytest.mark.parametrize(("text", "user"), [("1000:100", ADA), ("1000", User(1000, 1000)), ("0:0", ROOT)])
def test_users(text: str, user: User) -> None:
    assert parse_user(text, "DockerExecutor") == user
    assert parse_user(str(user), "DockerExecutor") == user


@pytest.mark.parametrize("text", ["", "ada", "1000:", ":100", "-1:5", "1:2:3", "٣", "4294967295", " 5"])
def test_text_that_is_no_user(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected numbers, such as"):
        parse_user(text, "DockerExecutor")


@pytest.mark.parametrize(
    ("wanted", "driver", "rootless", "expected"),
    [
        (None, ADA, False, ADA),
        (None, ROOT, False, NOBODY),
        (None, User(0, 5), False, NOBODY),
        (None, ADA, True, ROOT),  # which is ADA outside of the container
        (User(5, 5), ROOT, False, User(5, 5)),
        (User(1000, 7), ADA, False, User(1000, 7)),
        (ROOT, ADA, False, ROOT),
    ],
)
def test_who_containers_run_as(wanted: User | None, driver: User, rootless: bool, expected: User) -> None:
    assert user_of_containers(wanted, driver, rootless=rootless) == expected


def test_a_user_to_whom_nothing_can_be_given() -> None:
    with pytest.raises(EngineRefused, match=r"user='5:5'.*runs as 1000:100 and cannot give"):
        user_of_containers(User(5, 5), ADA, rootless=False)


@pytest.mark.parametrize(
    ("mode", "user", "may"),
    [
        (0o100, ADA, True),
        (0o077, ADA, False),
        (0o010, User(5, 100), True),
        (0o701, User(5, 100), False),
        (0o001, User(5, 5), True),
        (0o770, User(5, 5), False),
        (0o000, ROOT, True),
    ],
)
def test_who_may_enter(mode: int, user: User, may: bool) -> None:
    status = os.stat_result((0o40000 | mode, 1, 1, 1, ADA.uid, ADA.gid, 0, 0, 0, 0))
    assert may_enter(status, user) is may


def test_closed_folders(tmp_path: Path) -> None:
    inner = tmp_path / "open" / "closed" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "open").chmod(0o755)
    (tmp_path / "open/closed").chmod(0o700)
    inner.chmod(0o700)
    found = [path for path in closed_above((inner,), User(12345, 12345)) if path.is_relative_to(tmp_path / "open")]
    assert found == [tmp_path / "open/closed"]
    assert closed_above((tmp_path / "no" / "such" / "folder",), ROOT) == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_links_are_not_followed(tmp_path: Path) -> None:
    folder, outside = tmp_path / "attempt", tmp_path / "outside"
    (folder / "run").mkdir(parents=True)
    outside.mkdir()
    (outside / "shadow").write_text("root's")
    (folder / "file").write_text("")
    (folder / "run/link").symlink_to(outside / "shadow")
    (folder / "run/folder").symlink_to(outside)
    (tmp_path / "state").symlink_to(outside / "shadow")
    hand_over((folder, tmp_path / "state"), NOBODY)
    for path in (folder, folder / "file", folder / "run", folder / "run/link", tmp_path / "state"):
        assert (path.lstat().st_uid, path.lstat().st_gid) == (NOBODY.uid, NOBODY.gid)
    assert {outside.stat().st_uid, (outside / "shadow").stat().st_uid} == {0}
