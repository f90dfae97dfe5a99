"""Sweeps over experiments whose driver is killed: what they come to, and what that has cost, is the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys

from metta.sweep.executors import LocalExecutor
from metta.sweep.experiments import Experiment, Pipeline, SweepExperiment
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.schedulers import ASHAScheduler, AsynchronousScheduler, SynchronousBatchScheduler
from metta.sweep.space import Integer, Uniform
from metta.sweep.trial import Trial


def score(trial):
    return 1 - (trial.params["x"] - 0.3) ** 2


def inner(**settings):
    return SweepExperiment(score, search_space={"x": Uniform(0, 1)}, optimizer=RandomOptimizer(), **settings)


class Reporting(Experiment[float]):
    \"\"\"Two stages, each of which runs a sweep and reports.\"\"\"

    nests = True

    def __init__(self, seed=1):
        self.seed = seed

    def pipeline(self):
        return Pipeline(trial=Trial).stage("one", self.one).through(best=float).stage("two", self.two).through(float)

    async def one(self, trial: Trial) -> float:
        best = (await inner(name="one", seed=self.seed).run(budget=2)).best_score
        trial.report({"score": best / 2})
        return best

    async def two(self, trial: Trial, best: float) -> float:
        best = max(best, (await inner(name="two", seed=self.seed + 9).run(budget=2)).best_score)
        trial.report({"score": best})
        return best


kind, size, *options = sys.argv[1:]
with LocalExecutor(max_workers=1) as executor:
    batches = SynchronousBatchScheduler(batch_size=int(size))
    if kind == "pipeline":
        base, scheduler = Reporting(), AsynchronousScheduler()
    else:
        base, scheduler = inner(scheduler=batches), ASHAScheduler(max_epochs=4, reduction_factor=2, grace_period=2)
    space = {"seed": Integer(0, 99)}
    settings = dict(search_space=space, optimizer=RandomOptimizer(), scheduler=scheduler, executor=executor)
    sweep = SweepExperiment(base, store="store", seed=2, **settings)
    result = sweep.run(budget=4, resume="resume" in options, allow_changed="allow" in options)
    for trial in result.trials:
        reports = [(report.step, report.metrics["score"]) for report in trial.reports]
        # What was used is exact in the end: an inner run may have been ahead of the reports that tell of it.
        used = trial.reports[-1].metrics["leaf_resource"] if trial.reports else None
        print(trial.id, trial.state.value, reports, used, trial.failure and trial.failure.message)
"""


def run(folder: Path, *arguments: str, fail_at: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "METTA_SWEEP_FAIL_AT": fail_at}
    command = [sys.executable, "search.py", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    found = {}
    for kind in ("pipeline", "sweep"):
        folder = tmp_path_factory.mktemp(kind)
        (folder / "search.py").write_text(PROGRAM)
        done = run(folder, kind, "1")
        assert done.returncode == 0, done.stderr
        found[kind] = done.stdout
    return found


@pytest.mark.parametrize(
    ("kind", "fail_at"),
    [
        ("pipeline", "stage.called:1"),  # the first stage has reported, and is not committed
        ("pipeline", "stage.committed:1"),
        ("pipeline", "stage.committed:4"),
        ("pipeline", "sweep.committed:20"),
        ("sweep", "sweep.committed:12"),
        ("sweep", "sweep.ending:2"),
        ("sweep", "sweep.answered:25"),
    ],
)
def test_a_killed_sweep_of_experiments_comes_to_the_same_end(
    kind: str, fail_at: str, whole: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "search.py").write_text(PROGRAM)
    killed = run(tmp_path, kind, "1", fail_at=fail_at)
    assert killed.returncode == -9, killed.stderr
    resumed = run(tmp_path, kind, "1", "resume")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout == whole[kind]


def test_a_change_that_was_allowed_stays_allowed_below(tmp_path: Path) -> None:
    """The inner sweeps that the second driver has not touched have the first one's plan when the third takes over."""
    (tmp_path / "search.py").write_text(PROGRAM)
    assert run(tmp_path, "sweep", "1", fail_at="sweep.ending:2").returncode == -9
    assert run(tmp_path, "sweep", "2", "resume", "allow", fail_at="sweep.granted:1").returncode == -9
    done = run(tmp_path, "sweep", "2", "resume")
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout
