"""What repeats, reuse, patience and limits of failures decide is decided again from the journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.executors.local import LocalExecutor
from metta.sweep.experiments import Budget, SweepExperiment
from metta.sweep.experiments.ledger_json import remainder_of
from metta.sweep.experiments.restore import restore
from metta.sweep.experiments.sweep_status import result_so_far
from metta.sweep.experiments.verify import verify_sweep
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.optimizers.params import ParamsCodec
from metta.sweep.schedulers import ASHAScheduler
from metta.sweep.space import Choice
from metta.sweep.store.runs import Store
from metta.sweep.trial import Trial

SETTINGS: dict[str, tuple[dict[str, Any], Budget]] = {
    "reuse": ({"deduplicate": True}, Budget(trials=8)),
    "repeats": ({"repeats": 2}, Budget(trials=4)),
    "patience": ({}, Budget(patience=3)),
    "failures": ({}, Budget(failures=2)),
    "all": ({"deduplicate": True, "repeats": 2}, Budget(trials=9, patience=4, failures=3)),
}


def curve(trial: Trial) -> Iterator[dict[str, float]]:
    done = trial.load() or 0
    if trial.params["x"] == 0.25 and trial.id % 2:
        raise ValueError("no such layer")
    for step in range(done + 1, 5):
        trial.save(step)
        yield {"score": float(step * trial.params["x"])}


@pytest.mark.parametrize("case", SETTINGS)
def test_it_is_replayed_without_a_difference(case: str, tmp_path: Path) -> None:
    arguments, budget = SETTINGS[case]
    result = SweepExperiment(
        curve,
        search_space={"x": Choice([0.25, 0.5, 0.75])},
        optimizer=RandomOptimizer(),
        scheduler=ASHAScheduler(max_epochs=4, grace_period=1, reduction_factor=2),
        executor=lambda: LocalExecutor(max_workers=2),
        seed=1,
        store=tmp_path,
        **arguments,
    ).run(budget=budget)
    assert result.run_id is not None
    table = [trial.to_json() for trial in result.trials]
    with Store(tmp_path).open(result.run_id) as run:
        assert verify_sweep(run) == []
        assert [trial.to_json() for trial in result_so_far(run).trials] == table
        # From the snapshot and from the start it becomes the same.
        codec = ParamsCodec(None)
        ledgers = [restore(run.journal, codec, from_start=whole).ledger for whole in (False, True)]
        assert remainder_of(ledgers[0]) == remainder_of(ledgers[1])
