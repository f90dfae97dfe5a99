"""The manifest: what it says, that it says no secrets, and that it never stops a run."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from metta.sweep import __version__
from metta.sweep.store import git
from metta.sweep.store.git import checkout
from metta.sweep.store.manifest import Manifest, installed_packages
from metta.sweep.store.runs import Store

CANARY = "canary-5f2e9b"


def make_repository(folder: Path) -> str:
    for arguments in (
        ["init", "-q"],
        ["config", "user.email", "a@example.org"],
        ["config", "user.name", "a"],
        ["add", "."],
        ["commit", "-q", "-m", "first"],
    ):
        subprocess.run(["git", "-C", str(folder), *arguments], check=True)
    done = subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "train.py").write_text("lr = 1\n")
    monkeypatch.chdir(folder)
    return folder


def manifest_of(store: Path, details: dict[str, Any]) -> tuple[dict[str, Any], Path]:
    with Store.at(store).create("a", "sweep", details) as run:
        pass
    return run.manifest, run.folder


def test_what_a_manifest_says(project: Path, tmp_path: Path) -> None:
    commit = make_repository(project)
    (project / "train.py").write_text("lr = 2\n")
    manifest, folder = manifest_of(tmp_path / "store", {"seed": 3})
    assert manifest["format"] == 1
    assert (manifest["name"], manifest["kind"], manifest["details"]) == ("a", "sweep", {"seed": 3})
    assert manifest["id"] == folder.name
    assert manifest["created"].endswith("Z")
    assert manifest["version"] == __version__
    assert manifest["python"] == sys.version
    assert manifest["working_folder"] == str(project)
    assert manifest["pid"] == os.getpid()
    assert manifest["command"][0] == sys.executable
    assert "pytest" in manifest["packages"]
    assert manifest["git"] == {"commit": commit, "dirty": True, "diff_is_cut": False}
    assert "-lr = 1\n+lr = 2\n" in (folder / "code.diff").read_text()


def test_a_clean_checkout_has_no_diff(project: Path, tmp_path: Path) -> None:
    make_repository(project)
    manifest, folder = manifest_of(tmp_path / "store", {})
    assert manifest["git"]["dirty"] is False
    assert not (folder / "code.diff").exists()


def test_no_secret_gets_into_a_run(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_repository(project)
    (project / "train.py").write_text(f'api_key = "{CANARY}"\nprint("{CANARY}-of-the-environment")\n')
    monkeypatch.setenv("SOME_TOKEN", f"{CANARY}-of-the-environment")
    monkeypatch.setattr(sys, "orig_argv", ["python", "train.py", "--token", CANARY, f"api.key={CANARY}"])
    _, folder = manifest_of(tmp_path / "store", {"password": CANARY, "url": f"https://me:{CANARY}@host"})
    assert (folder / "code.diff").exists()
    for path in folder.iterdir():
        assert CANARY.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("details", [{"x": object()}, {"x": float("nan")}, {("a", 1): 2}, {"x": {1, 2}}])
def test_odd_details_do_not_stop_a_run(tmp_path: Path, details: dict[str, Any]) -> None:
    manifest, _ = manifest_of(tmp_path, details)
    assert "x" in str(manifest["details"]) or "a" in str(manifest["details"])


def test_without_git_or_a_repository(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checkout(project) is None
    make_repository(project)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert checkout(project) is None
    manifest, _ = manifest_of(tmp_path / "store", {})
    assert "git" not in manifest
    assert "packages" in manifest


def fake_git(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    program = folder / "git"
    program.write_text(f"#!{sys.executable}\n{script}\n")
    program.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_a_git_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_git(tmp_path / "bin", "import time; time.sleep(600)", monkeypatch)
    assert checkout(tmp_path, seconds=0.2) is None


def test_a_long_diff_is_cut(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_repository(project)
    (project / "train.py").write_text("x" * 5000)
    monkeypatch.setattr(git, "LARGEST_DIFF", 1000)
    found = checkout(project)
    assert found is not None
    assert found.cut
    assert len(found.diff) == 1000


def test_settings_of_a_repository_start_no_programs(project: Path, tmp_path: Path) -> None:
    (project / ".gitattributes").write_text("*.py diff=mine\n")
    make_repository(project)
    (project / "train.py").write_text("lr = 2\n")
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    trap.chmod(stat.S_IRWXU)
    for name in ("core.fsmonitor", "diff.external", "core.pager", "diff.mine.textconv", "diff.mine.command"):
        subprocess.run(["git", "-C", str(project), "config", name, str(trap)], check=True)
    found = checkout(project)
    assert found is not None
    assert "+lr = 2" in found.diff
    assert not (tmp_path / "ran").exists()


def test_a_full_disk_later_on_does_not_stop_a_run(tmp_path: Path) -> None:
    manifest = Manifest({"name": "a"}, {})
    (tmp_path / "file").write_text("x")
    manifest.complete(tmp_path / "file")  # where no manifest can be written
    manifest.finish()
    assert (tmp_path / "file").read_text() == "x"


def test_closing_a_run_leaves_no_thread(tmp_path: Path) -> None:
    manifest_of(tmp_path, {})
    assert not [thread for thread in threading.enumerate() if thread.name == "manifest"]


def test_packages_are_found_by_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("alpha-1.2.dist-info", "beta_two-0.1.post3-py3.11.egg-info", "gamma", "delta-1"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "none")])
    assert installed_packages() == {"alpha": "1.2", "beta_two": "0.1.post3"}


def test_a_manifest_is_plain_json(tmp_path: Path) -> None:
    _, folder = manifest_of(tmp_path, {"name": "実験"})
    text = (folder / "manifest.json").read_text("ascii")
    assert json.loads(text)["details"] == {"name": "実験"}
