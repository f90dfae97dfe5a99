"""Runs that released versions wrote stay readable, and can be gone on with."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from metta.sweep.store.artifacts import ArtifactStore
from metta.sweep.store.doctor import Severity, examine
from metta.sweep.store.entries import Entry, Event, Snapshot, StoredReport, TrialRow
from metta.sweep.store.run import Run, RunStatus, read_info
from tests.store.frozen.make_v1 import make

FROZEN = Path(__file__).parent / "frozen" / "v1"
START = 1795324500.0


@pytest.fixture(params=["frozen", "made now"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "frozen":
        shutil.copytree(FROZEN, tmp_path / "v1")
    else:
        make(tmp_path / "v1")
    return tmp_path / "v1"


def test_what_a_run_of_format_1_says(folder: Path) -> None:
    info = read_info(folder)
    assert (info.name, info.kind, info.status, info.seq) == ("Frozen run № 1", "sweep", RunStatus.COMPLETED, 8)
    assert info.counts == {"completed": 1, "failed": 1}
    with Run.open(folder, write=False) as run:
        journal = run.journal
        entries = list(journal.entries())
        assert [entry for entry in entries if isinstance(entry, Event)] == [
            Event(1, START, "run.started", "", {"seed": 3, "name": "Frozen run № 1"}),
            Event(2, START + 0.25, "trial.suggested", "0", {"lr": 0.1}),
            Event(3, START + 0.25, "trial.suggested", "1", {"lr": 1e-300}),
            Event(6, START + 1, "trial.ended", "0", {"result": f"artifact:{next(iter(journal.digests()))}"}),
            Event(7, START + 1, "trial.ended", "1", None),
            Event(8, START + 1.25, "run.ended", "", [None, True, -7, "\0\U0001f600"]),
        ]
        reports = [entry for entry in entries if isinstance(entry, StoredReport)]
        assert [(report.seq, report.time, report.trial, report.step) for report in reports] == [
            (4, START + 0.5, 0, 1),
            (5, START + 0.75, 0, 2),
        ]
        assert math.isnan(reports[0].metrics.pop("loss"))
        assert [report.metrics for report in reports] == [{"score": 0.5}, {"score": 0.75, "loss": -math.inf}]
        assert list(journal.trials()) == [
            TrialRow(0, "completed", 2, 0.75, {"lr": 0.1}),
            TrialRow(1, "failed", 0, None, {"why": "oom\n"}),
        ]
        assert list(journal.snapshots()) == [Snapshot(8, {"trials": 0}), Snapshot(5, {"trials": 2})]
        (digest,) = journal.digests(promised=True)
        assert ArtifactStore(run.artifacts_folder).get(digest) == b"an artifact"


def test_a_run_of_format_1_is_sound_and_goes_on(folder: Path) -> None:
    assert not [finding for finding in examine(folder) if finding.severity is Severity.ERROR]
    with Run.open(folder, write=True) as run:
        assert run.journal.commit([Entry("run.resumed")]) == 9
        assert len(list(run.journal.entries())) == 9
