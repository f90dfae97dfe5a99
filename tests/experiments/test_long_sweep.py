"""R15 in small: a long sweep goes on without reading the reports that it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import durability
from metta.sweep.experiments.sweep_status import sweep_status
from metta.sweep.experiments.verify import verify_sweep
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.optimizers.base import Restored
from metta.sweep.store.runs import Store

TRIALS, REPORTS = 2_000, 20


def test_a_long_sweep_goes_on_without_reading_its_reports(tmp_path: Path) -> None:
    durability.build(tmp_path, TRIALS, REPORTS)
    result = durability.sweep(tmp_path).run(TRIALS + 1, resume=True)
    assert len(result.trials) == TRIALS + 1
    assert result.resumed is Restored.STATE
    assert all(trial._unread is not None for trial in result.trials[1:TRIALS])
    assert [report.step for report in result.trials[1234].reports] == list(range(1, REPORTS + 1))
    stream = RandomOptimizer(durability.SPACE, seed=1).suggest(TRIALS + 1)
    assert dict(result.trials[TRIALS].params) == dict(stream[TRIALS].params)
    with Store.at(tmp_path).open("durability") as run:
        assert sweep_status(run).spent.resource == TRIALS * REPORTS + 1
        assert verify_sweep(run) == []


def test_the_benchmark_prints_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sqlalchemy")
    assert durability.main(["--rounds=1", "--trials=2", "--largest=200", "--reports=2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["what", "took", "beside", "ratio", "promise", "holds"]
    assert sum("durable trial" in line for line in lines) == 3
    assert sum("resume of 200 trials with 2 reports" in line for line in lines) == 2


def test_check_fails_on_a_broken_promise(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(durability, "RESUME_S", 0.0)
    assert durability.main(["--rounds=1", "--trials=1", "--largest=100", "--reports=1", "--no-peers", "--check"]) == 1
    assert "NO" in capsys.readouterr().out
