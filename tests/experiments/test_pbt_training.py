"""Populations of real networks: forks start from their donors' real weights, and a population survives kills."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.errors import UsageError
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.experiments import SweepExperiment
from metta.sweep.experiments.results import SweepResult
from metta.sweep.schedulers.pb2 import PB2Scheduler
from metta.sweep.schedulers.pbt import PBTScheduler
from metta.sweep.space import LogUniform, Uniform
from metta.sweep.trial import FailureReason, TrialState
from tests.experiments.killed import BUDGET, Nursery, nursery
from tests.experiments.killed_objectives import STEPS
from tests.experiments.population_objectives import digest, mortal, network
from tests.experiments.test_killed import Case


@pytest.fixture(scope="module")
def drivers() -> Iterator[Nursery]:
    with nursery() as made:
        yield made


def trained(folder: Path, scheduler: PBTScheduler) -> SweepResult:
    folder.mkdir()
    return SweepExperiment(
        network(str(folder)),
        name="population",
        search_space={"y": LogUniform(1e-5, 1e-1)},
        scheduler=scheduler,
        executor=partial(LocalExecutor, max_workers=2),
        seed=5,
        store=folder / "store",
        keep_checkpoints="last",
    ).run()


@pytest.mark.parametrize("kind", [PBTScheduler, pytest.param(PB2Scheduler, marks=pytest.mark.slow)])
def test_a_fork_starts_from_the_weights_of_its_donor(kind: type[PBTScheduler], tmp_path: Path) -> None:
    """Weights, the optimizer's moments and the generator: an epoch starts from what the one before has saved."""
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    result = trained(tmp_path / "sweep", kind(6, STEPS, max_resource=STEPS, quantile_fraction=0.34))
    trials = result.trials
    assert result.failures == {}
    forks = [trial for trial in trials if trial.parent is not None]
    assert len(forks) >= 4
    assert len(trials) - len(forks) == 6
    saved = {(trial.id, report.step): report.metrics["saved"] for trial in trials for report in trial.reports}
    assert len({saved[trial.id, 1] for trial in trials if trial.parent is None}) == 6
    for trial in trials:
        for report in trial.reports:
            own = (trial.id, report.step - 1)
            before = own if own in saved or trial.parent is None else (trial.parent, report.step - 1)
            if report.step > 1:
                assert report.metrics["loaded"] == saved[before]
    for fork in forks:
        assert fork.reports[0].step > 1
        assert fork.reports[0].metrics["loaded"] == saved[fork.parent or 0, fork.reports[0].step - 1]
    # The population is constant, and nothing was trained twice.
    assert Counter(trial.state for trial in trials) == {TrialState.COMPLETED: 6, TrialState.PRUNED: len(forks)}
    assert result.recomputed == 0
    calls = (tmp_path / "sweep" / "calls").read_text().splitlines()
    assert len(calls) == len(set(calls)) == sum(len(trial.reports) for trial in trials)
    # Of every trial the last state stays, and none of those that forks have started from.
    files = Counter(path.parent.name for path in tmp_path.rglob("step-*.safetensors"))
    assert len(files) == len(trials)
    assert set(files.values()) == {1}


def test_the_digest_sees_every_part() -> None:
    torch = pytest.importorskip("torch")
    state: dict[str, Any] = {"epoch": 1, "weights": {"a": torch.zeros(2)}, "moments": {"a.m": torch.zeros(2)}}
    others = [
        {**state, "epoch": 2},
        {**state, "weights": {"a": torch.tensor([0.0, 1e-30])}},
        {**state, "moments": {"a.m": torch.ones(2)}},
    ]
    assert len({digest(other) for other in [state, *others]}) == 4


def test_a_killed_member_is_replaced(tmp_path: Path) -> None:
    result = SweepExperiment(
        mortal,
        search_space={"x": Uniform(0.0, 1.0)},
        scheduler=PBTScheduler(3, 5, max_resource=5),
        executor=partial(LocalExecutor, max_workers=2),
        seed=1,
        store=tmp_path,
    ).run()
    dead = result.trials[1]
    assert dead.state is TrialState.FAILED
    assert dead.failure is not None
    assert dead.failure.reason is FailureReason.KILLED
    assert sum(trial.state is TrialState.COMPLETED for trial in result.trials) == 3
    assert sum(trial.parent is None for trial in result.trials) == 3
    assert result.recomputed == 0


def test_a_population_that_cannot_explore_is_refused_before_anything_runs(tmp_path: Path) -> None:
    from tests.experiments.killed import Counting

    sweep = SweepExperiment(mortal, optimizer=Counting(), scheduler=PBTScheduler(2), store=tmp_path)
    with pytest.raises(UsageError, match="PBTScheduler explores the search space, and there is none"):
        sweep.run()
    assert not list(tmp_path.rglob("trial-*"))


@pytest.mark.slow
def test_a_killed_population_of_networks_goes_on_as_if_nothing_had_happened(drivers: Nursery, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    whole = Case(drivers, tmp_path / "whole", "random", "pbt", 1, "network").finish()
    case = Case(drivers, tmp_path / "killed", "random", "pbt", 1, "network")
    for number, point in enumerate(["sweep.answered", "journal.committed", "sweep.granted"]):
        assert case.live(fail_at=f"{point}:{12 + number}", snapshots=(1, 10, 1000)[number])
    result = case.finish()
    assert result["table"] == whole["table"]
    assert result["recomputed"] == 0
    assert sum(row["state"] == "completed" for row in result["table"]) == BUDGET
    case.check_decisions()
