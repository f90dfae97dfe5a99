"""Promises S1, S4 and S5 for pipelines: a run's folder executes nothing, is private, and tells no secrets."""

from __future__ import annotations

import os
import pickle
import stat
from pathlib import Path
from typing import Any

import pytest

from metta.sweep import Pipeline
from metta.sweep.errors import MettaSweepError
from metta.sweep.runtime.durable import DurableGraph

CANARY = "canary-7f3a91c2-value"


class Bomb:
    """Leaves a file behind when somebody unpickles it."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def load(size: int) -> list[float]:
    return [0.5] * size


def fails(data: list[float]) -> float:
    raise OSError(f"no access with {os.environ['SERVICE_TOKEN']}")


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DurableGraph[Any, Any]:
    """A run that has stored an artifact and has failed behind it."""
    monkeypatch.setenv("SERVICE_TOKEN", CANARY)
    monkeypatch.setattr("sys.argv", ["train.py", f"--api-token={CANARY}"])
    pipeline = Pipeline(size=int).stage("load", load).through(data=list[float]).stage("fails", fails).through(x=float)
    graph = pipeline.compile().with_store(tmp_path / "store", "run")
    with pytest.raises(OSError, match="no access"):
        graph.run(size=5_000)
    return graph


def everything(graph: DurableGraph[Any, Any]) -> list[Path]:
    return [path for path in graph.store.folder.rglob("*") if path.is_file()]


def test_a_pickle_in_the_place_of_any_file_is_not_loaded(broken: DurableGraph[Any, Any], tmp_path: Path) -> None:
    bomb = tmp_path / "exploded"
    for path in everything(broken):
        kept = path.read_bytes()
        path.write_bytes(pickle.dumps(Bomb(bomb)))
        with pytest.raises((MettaSweepError, OSError)):  # damaged; or the stage that fails, where the file is not read
            broken.resume()
        assert not bomb.exists(), path
        path.write_bytes(kept)


def test_a_link_out_of_the_run_is_not_followed(broken: DurableGraph[Any, Any], tmp_path: Path) -> None:
    (artifact,) = broken.store.folder.glob("runs/*/artifacts/*/*")
    outside = tmp_path / "outside"
    artifact.rename(outside)
    artifact.symlink_to(outside)
    with pytest.raises(MettaSweepError):
        broken.resume()


def test_folders_and_files_are_private(broken: DurableGraph[Any, Any]) -> None:
    for path in [broken.store.folder, *broken.store.folder.rglob("*")]:
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_no_file_of_a_run_tells_a_secret(broken: DurableGraph[Any, Any]) -> None:
    files = everything(broken)
    assert any(b"no access with ***" in path.read_bytes() for path in files)
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
