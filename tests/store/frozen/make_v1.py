"""Makes the run of format 1 that every later release must read: `python -m tests.store.frozen.make_v1 FOLDER`.

The folder `v1` beside this file was made with it once, by release 0.1.0. It is never made again.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from metta.sweep.store.artifacts import ArtifactStore
from metta.sweep.store.entries import ARTIFACT, Entry, ReportEntry, TrialRow
from metta.sweep.store.journal import Journal, make_journal

MANIFEST = """{"format":1,"id":"v1","name":"Frozen run \\u2116 1","kind":"sweep",
"created":"2026-11-22T05:15:00.000000Z","version":"0.1.0","command":["python","train.py"],"details":{"seed":3}}
"""
STATUS = '{"format":1,"status":"completed","seq":8,"counts":{"completed":1,"failed":1},"time":1795324500.0}\n'


def make(folder: Path) -> None:
    """Write the run into a new folder."""
    folder.mkdir(mode=0o700)
    digest = ArtifactStore(folder / "artifacts").put(b"an artifact")
    times = iter(1795324500.0 + second / 4 for second in range(100))
    make_journal(folder / "run.db")
    with Journal.open(folder / "run.db", write=True, network=True, clock=lambda: next(times)) as journal:
        journal.commit([Entry("run.started", data={"seed": 3, "name": "Frozen run № 1"})])
        journal.commit([Entry("trial.suggested", "0", {"lr": 0.1}), Entry("trial.suggested", "1", {"lr": 1e-300})])
        journal.commit([ReportEntry(0, 1, {"score": 0.5, "loss": math.nan})], rows=[TrialRow(0, "running", 1, 0.5, {})])
        journal.commit([ReportEntry(0, 2, {"score": 0.75, "loss": -math.inf})], snapshot={"trials": 2})
        rows = [TrialRow(0, "completed", 2, 0.75, {"lr": 0.1}), TrialRow(1, "failed", 0, None, {"why": "oom\n"})]
        journal.commit([Entry("trial.ended", "0", {"result": ARTIFACT + digest}), Entry("trial.ended", "1")], rows=rows)
        journal.commit([Entry("run.ended", data=[None, True, -7, "\0\U0001f600"])], snapshot={"trials": 0})
    (folder / "manifest.json").write_text(MANIFEST, encoding="ascii")
    (folder / "status.json").write_text(STATUS, encoding="ascii")
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
