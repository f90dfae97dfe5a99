"""CSV and Parquet files, read back by `csv` and pyarrow."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import StorageError, UsageError
from metta.sweep.interop import export_run
from metta.sweep.trial import Report, TrialState
from tests.interop.sweeps import made, snapshot

parquet: Any = pytest.importorskip("pyarrow.parquet")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_per_trial_and_a_row_per_metric(tmp_path: Path) -> None:
    wide = {"learning_rate": 0.5, "layers": 2, "batch": 16, "kind": "cnn", "cnn.width": 1.5, "size": (3, 3)}
    sweep = snapshot(made(0), made(1, TrialState.FAILED, steps=0, params=wide))
    told = export_run(sweep, "csv", path=tmp_path / "trials.csv", reports=tmp_path / "reports.csv")
    assert told.startswith(f"2 trials are in {tmp_path / 'trials.csv'}, their reports in {tmp_path / 'reports.csv'};")
    first, second = read(tmp_path / "trials.csv")
    assert first == {
        "trial": "0",
        "state": "completed",
        "score": "0.3",
        "step": "3",
        "cost": "4.5",
        "failure": "",
        "attempts": "1",
        "parent": "",
        "learning_rate": "0.01",
        "layers": "2",
        "batch": "16",
        "kind": "mlp",
        "api_token": "***",
        "cnn.width": "",
        "size": "",
    }
    assert second["failure"] == "oom: it needs 9 GB"
    assert second["score"] == ""
    assert second["size"] == "[3, 3]"
    lines = read(tmp_path / "reports.csv")
    assert len(lines) == 6
    assert lines[0] == {"trial": "0", "step": "1", "metric": "score", "value": "0.1"}


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    """A spreadsheet would run it; numbers stay numbers."""
    params = {
        "a": "=1+1",
        "b": "@SUM(A1)",
        "c": "-x",
        "d": "+x",
        "e": "\tx",
        "g": "\n=x",
        "h": "\uff1dx",
        "f": -1.5,
        "=cmd": "1",
    }
    export_run(snapshot(made(0, params=dict(params))), "csv", path=tmp_path / "trials.csv")
    (row,) = read(tmp_path / "trials.csv")
    assert [row[name] for name in "abcdef"] == ["'=1+1", "'@SUM(A1)", "'-x", "'+x", "'\tx", "-1.5"]
    assert (row["g"], row["h"]) == ("'\n=x", "'\uff1dx")
    assert row["'=cmd"] == "1"


def test_names_that_are_taken(tmp_path: Path) -> None:
    export_run(snapshot(made(0, params={"step": 7, "score": 8, "state": "x"})), "csv", path=tmp_path / "trials.csv")
    (row,) = read(tmp_path / "trials.csv")
    assert (row["step"], row["params.step"]) == ("3", "7")
    assert (row["score"], row["params.score"]) == ("0.3", "8")
    assert (row["state"], row["params.state"]) == ("completed", "x")


def test_parquet_has_types(tmp_path: Path) -> None:
    trials = [
        made(0, params={"n": 1, "x": 1, "mixed": 1, "flag": True, "text": "=a", "huge": 2**70}),
        made(1, params={"n": 2, "x": 0.5, "mixed": "a", "flag": False, "text": None, "huge": 1}),
    ]
    trials[1].add_report(Report(4, {"score": math.nan}))
    export_run(snapshot(*trials), "parquet", path=tmp_path / "t.parquet", reports=tmp_path / "r.parquet")
    table = parquet.read_table(tmp_path / "t.parquet")
    types = {name: str(table.schema.field(name).type) for name in ("n", "x", "mixed", "flag", "text", "huge", "score")}
    assert types == {
        "n": "int64",
        "x": "double",
        "mixed": "string",
        "flag": "bool",
        "text": "string",
        "huge": "string",
        "score": "double",
    }
    assert table.column("text").to_pylist() == ["=a", None], "no spreadsheet opens it: nothing is put in front"
    assert table.column("huge").to_pylist() == [str(2**70), "1"]
    reports = parquet.read_table(tmp_path / "r.parquet").to_pylist()
    assert len(reports) == 13
    assert reports[0] == {"trial": 0, "step": 1, "metric": "score", "value": 0.1}
    assert math.isnan(reports[-1]["value"])


def test_several_objectives_have_columns(tmp_path: Path) -> None:
    export_run(snapshot(made(0, several=True), several=True), "csv", path=tmp_path / "trials.csv")
    (row,) = read(tmp_path / "trials.csv")
    assert (row["accuracy"], row["latency"]) == ("0.3", "5.0")


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_a_sweep_without_trials(tmp_path: Path, to: str) -> None:
    assert export_run(snapshot(), to, path=tmp_path / "t", reports=tmp_path / "r").startswith("0 trials are in")
    assert (tmp_path / "r").exists()


def test_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "there", tmp_path / "file" / "trials.csv"):
        with pytest.raises(StorageError, match="cannot be written"):
            export_run(snapshot(made(0)), "csv", path=path)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["file", "there"]
    with pytest.raises(UsageError, match=r"export_csv has no argument 'pth': did you mean 'path'\?"):
        export_run(snapshot(made(0)), "csv", pth="x")


def test_the_old_file_stays_where_the_new_one_fails(tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"
    export_run(snapshot(made(0)), "csv", path=path)
    before = path.read_bytes()
    broken = made(1)
    broken.read_reports_later(3, lambda: (_ for _ in ()).throw(StorageError("gone")))
    with pytest.raises(StorageError, match="gone"):
        export_run(snapshot(broken), "csv", path=tmp_path / "other.csv", reports=path)
    assert path.read_bytes() == before


def test_what_utf8_and_floats_do_not_have_is_a_text(tmp_path: Path) -> None:
    """The name of a file that is no UTF-8, as Python reads it, and a number beyond all floats."""
    odd: dict[str, Any] = {"caf\udce9": "caf\udce9", "large": 10**400}
    sweep = snapshot(made(0, params=odd))
    export_run(sweep, "csv", path=tmp_path / "trials.csv")
    (row,) = read(tmp_path / "trials.csv")
    assert (row["caf\\udce9"], row["large"]) == ("caf\\udce9", str(10**400))
    export_run(sweep, "parquet", path=tmp_path / "trials.parquet")
    assert parquet.read_table(tmp_path / "trials.parquet")["caf\\udce9"].to_pylist() == ["caf\\udce9"]


def test_no_pipe_is_replaced_and_no_link(tmp_path: Path) -> None:
    """A user who may do all would lose /dev/stdout else."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.csv").symlink_to("real.csv")
    with pytest.raises(StorageError, match=r"pipe cannot be written: it is a pipe or a device; name a file"):
        export_run(snapshot(made(0)), "csv", path=tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()
    export_run(snapshot(made(0)), "csv", path=tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert len(read(tmp_path / "real.csv")) == 1
