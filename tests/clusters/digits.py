"""The digits sweep, which has to go the same way wherever its trials run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from metta.sweep.executors.base import Executor
from metta.sweep.executors.local import LocalExecutor
from metta.sweep.experiments import SweepExperiment, TrainingExperiment
from metta.sweep.optimizers import Optimizer, OptunaOptimizer, RandomOptimizer
from metta.sweep.schedulers import HyperbandScheduler, Scheduler, SynchronousBatchScheduler
from metta.sweep.space import Integer, LogUniform, PowerOfTwo
from metta.sweep.trial import Resources, Trial

SEARCH_SPACE = {
    "trainer.learning_rate": LogUniform(1e-4, 1e-1),
    "trainer.batch_size": PowerOfTwo(32, 256),
    "agent.hidden_size": Integer(8, 64, log=True),
}

TOLERANCE = 1e-6
"""Between scores of two machines: their mathematical libraries may differ."""

RESOURCES = Resources(cpus=1, memory="1GB")


Plan = Callable[[], tuple[Optimizer, Scheduler, int]]
"""Optimizer, scheduler and budget."""


def hyperband() -> tuple[Optimizer, Scheduler, int]:
    """All brackets of Hyperband(9, 3): 17 configurations, 6 promotions, 23 attempts."""
    return RandomOptimizer(SEARCH_SPACE), HyperbandScheduler(9, 3), 17


def batches() -> tuple[Optimizer, Scheduler, int]:
    """Two batches, the second one suggested by what has come of the first."""
    return OptunaOptimizer(SEARCH_SPACE, n_startup_trials=4), SynchronousBatchScheduler(4, max_epochs=2), 8


PLANS = pytest.mark.parametrize("plan", [hyperband, batches])


def sweep(plan: Plan, executor: Executor, folder: Path) -> Sequence[Trial]:
    """Its trials; the store is in `folder`."""
    optimizer, scheduler, budget = plan()
    experiment = SweepExperiment(
        TrainingExperiment,
        name="digits",
        optimizer=optimizer,
        scheduler=scheduler,
        executor=executor,
        seed=11,
        store=folder,
        resources=RESOURCES,
    )
    return experiment.run(budget=budget).trials


def locally(plan: Plan, folder: Path) -> Sequence[Trial]:
    """The same on this machine, one trial after the other."""
    with LocalExecutor(1) as executor:
        return sweep(plan, executor, folder)


def check_equal(found: Sequence[Trial], expected: Sequence[Trial]) -> None:
    """The same parameters, numbers, promotions and reports; scores to `TOLERANCE`."""
    assert [_course(trial) for trial in found] == [_course(trial) for trial in expected]
    for one, other in zip(found, expected, strict=True):
        for report, wanted in zip(one.reports, other.reports, strict=True):
            assert dict(report.metrics) == pytest.approx(dict(wanted.metrics), abs=TOLERANCE)
        assert one.score == pytest.approx(other.score, abs=TOLERANCE)


def _course(trial: Trial) -> dict[str, Any]:
    """What has to be exactly the same."""
    return {
        "id": trial.id,
        "params": dict(trial.params),
        "state": trial.state,
        "resource": trial.resource,
        "steps": [report.step for report in trial.reports],
    }
