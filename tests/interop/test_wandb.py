"""W&B's offline files, read back: W&B's own messages in the frames of LevelDB's log format.

W&B has no reader for Python any more; its service reads these files with `wandb sync`.
"""

from __future__ import annotations

import json
import os
import struct
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.interop import WandbLogger, export_run
from metta.sweep.trial import TrialState
from tests.interop.sweeps import made, snapshot, sweep

pytest.importorskip("wandb")

BLOCK, HEADER = 32 * 1024, 7


def frames(data: bytes) -> Iterator[bytes]:
    """The records of a file: blocks of 32 KiB, each frame with checksum, length and kind (whole, or a part)."""
    position, parts = HEADER, b""  # the file begins with a header of W&B's own
    while position + HEADER <= len(data):
        if BLOCK - position % BLOCK < HEADER:
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + HEADER])
        position += HEADER
        parts += data[position : position + length]
        position += length
        if kind in (1, 4):
            yield parts
            parts = b""


def runs(folder: Path) -> dict[str, dict[str, Any]]:
    """Display name -> what W&B keeps of a run."""
    Record: Any = import_module("wandb.proto.wandb_internal_pb2").Record

    found: dict[str, dict[str, Any]] = {}
    for file in sorted((folder / "wandb").glob("offline-run-*/*.wandb")):
        run: dict[str, Any] = defaultdict(dict)
        run["history"] = []
        for frame in frames(file.read_bytes()):
            record = Record.FromString(frame)
            match record.WhichOneof("record_type"):
                case "run":
                    run |= {"id": record.run.run_id, "group": record.run.run_group, "project": record.run.project}
                    run["name"] = record.run.display_name
                    run["config"] |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
                case "history":
                    items = {
                        item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item
                    }
                    run["history"].append(items)
                case "summary":
                    for item in record.summary.update:
                        run["summary"][item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
                case "exit":
                    run["exit"] = record.exit.exit_code
        found[run["name"]] = run
    return found


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)


@pytest.mark.slow
def test_a_run_per_trial_with_mettas_keys(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    trials = snapshot(made(0), made(1, TrialState.FAILED, steps=1))
    for _ in range(2):
        told = export_run(trials, "wandb", mode="offline", path=tmp_path)
    assert told.startswith("2 trials are in")
    assert capfd.readouterr() == ("", "")
    found = runs(tmp_path)
    assert list(found) == ["trial-0000", "trial-0001"]
    first = found["trial-0000"]
    assert (first["group"], first["project"], first["id"]) == ("digits", "metta-sweep", "digits-1-trial-0000")
    assert first["config"]["learning_rate"] == 0.01
    assert first["config"]["api_token"] == "***"
    assert [(line["_step"], line["score"]) for line in first["history"]] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert first["summary"]["sweep/suggestion"] == {
        "learning_rate": 0.01,
        "layers": 2,
        "batch": 16,
        "kind": "mlp",
        "api_token": "***",
    }
    assert first["summary"]["sweep/score"] == 0.3
    assert first["summary"]["sweep/cost"] == 4.5
    assert first["summary"]["sweep/state"] == "completed"
    assert first["exit"] == 0
    failed = found["trial-0001"]
    assert (failed["exit"], failed["summary"]["sweep/failure"]) == (1, "oom: it needs 9 GB")


@pytest.mark.slow
def test_a_logger_writes_while_the_sweep_runs(tmp_path: Path) -> None:
    logger = WandbLogger(project="mine", mode="offline", folder=tmp_path)
    result = sweep(tmp_path / "store", logger, trials=4)
    assert len(result.trials) == 4
    found = runs(tmp_path)
    assert {run["project"] for run in found.values()} == {"mine"}
    scores = {name: run["summary"]["sweep/score"] for name, run in found.items() if "sweep/score" in run["summary"]}
    assert scores == {f"trial-{trial.id:04d}": trial.score for trial in result.trials if trial.score is not None}


def test_a_mode_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mode='of' of W&B: expected one of 'online', 'offline', 'disabled'"):
        export_run(snapshot(made(0)), "wandb", mode="of", path=tmp_path)
    assert list(tmp_path.iterdir()) == []
