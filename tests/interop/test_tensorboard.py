"""TensorBoard's files, read back by its own reader."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import RefusedError, StorageError
from metta.sweep.interop import export_run
from metta.sweep.interop.export.tensorboard import export_tensorboard
from metta.sweep.interop.source import ExportedSweep
from metta.sweep.trial import TrialState
from tests.interop.sweeps import BEGAN, made, snapshot

accumulator: Any = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def events(folder: Path) -> Any:
    found = accumulator.EventAccumulator(str(folder))
    found.Reload()
    return found


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found = events(folder)
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def hparams(folder: Path) -> tuple[Any, Any]:
    """What a trial's session says at its start and its end."""
    plugin_data_pb2: Any = import_module("tensorboard.plugins.hparams.plugin_data_pb2")

    found = []
    for name in ("start", "end"):
        data = events(folder).SummaryMetadata(f"_hparams_/session_{name}_info").plugin_data
        assert data.plugin_name == "hparams"
        found.append(plugin_data_pb2.HParamsPluginData.FromString(data.content))
    return found[0].session_start_info, found[1].session_end_info


def test_scalars_and_parameters_arrive(tmp_path: Path) -> None:
    told = export_tensorboard(ExportedSweep(snapshot(made(0), made(1, TrialState.FAILED)), BEGAN), path=tmp_path)
    assert told.endswith(f"tensorboard --logdir {tmp_path}")
    folder = tmp_path / "digits-1" / "trial-0000"
    found = scalars(folder)
    assert dict(found["score"]) == pytest.approx({1: 0.1, 2: 0.2, 3: 0.3})
    assert dict(found["sweep/score"]) == pytest.approx({3: 0.3})
    assert found["sweep/cost"] == [(3, 4.5)]
    assert set(found) == {"score", "loss", "sweep/score", "sweep/cost"}
    start, end = hparams(folder)
    assert start.hparams["learning_rate"].number_value == 0.01
    assert start.hparams["kind"].string_value == "mlp"
    assert start.hparams["api_token"].string_value == "***"
    assert start.start_time_secs == BEGAN
    assert (end.status, end.end_time_secs) == (1, BEGAN + 5)
    assert hparams(tmp_path / "digits-1" / "trial-0001")[1].status == 2


def test_exported_again_nothing_is_there_twice(tmp_path: Path) -> None:
    running = snapshot(made(0, TrialState.RUNNING, steps=2), made(1, TrialState.PENDING, steps=0), status="running")
    export_run(running, "tensorboard", path=tmp_path)
    for _ in range(2):
        export_run(snapshot(made(0, steps=4), made(1)), "tensorboard", path=tmp_path)
    found = scalars(tmp_path / "digits-1" / "trial-0000")
    assert [step for step, _ in found["score"]] == [1, 2, 3, 4]
    assert [step for step, _ in found["sweep/score"]] == [4]
    assert len(scalars(tmp_path / "digits-1" / "trial-0001")["score"]) == 3


def test_runs_without_a_store_are_told_apart(tmp_path: Path) -> None:
    for trials in ([made(0)], [made(0)], [made(0), made(1)]):
        sweep = replace(snapshot(*trials, run_id=None), name="../my sweep/")
        export_run(sweep, "tensorboard", path=tmp_path / "logs")
    first, second = sorted((tmp_path / "logs").iterdir(), key=lambda folder: len(list(folder.iterdir())))
    assert first.name.startswith("my-sweep-")
    assert len(scalars(first / "trial-0000")["score"]) == len(scalars(second / "trial-0000")["score"]) == 3
    assert [found.name for found in tmp_path.iterdir()] == ["logs"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be read: Not a directory"):
        export_run(snapshot(made(0)), "tensorboard", path=tmp_path / "file")


def test_a_folder_of_another_sweep_is_left_alone(tmp_path: Path) -> None:
    export_run(snapshot(made(0), run_id="digits-2"), "tensorboard", path=tmp_path)
    (tmp_path / "digits-2").rename(tmp_path / "digits-1")
    marks = tmp_path / "digits-1" / "metta-sweep.json"
    with pytest.raises(RefusedError, match="holds the sweep 'digits-2', not 'digits-1': write to another folder"):
        export_run(snapshot(made(0)), "tensorboard", path=tmp_path)
    marks.write_text("[]")
    with pytest.raises(StorageError, match="is not what was written to it"):
        export_run(snapshot(made(0)), "tensorboard", path=tmp_path)
