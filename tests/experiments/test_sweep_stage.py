"""A sweep as a stage of an experiment that is killed and resumed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from pathlib import Path

from metta.sweep import Experiment, Pipeline
from metta.sweep.experiments import SweepExperiment, SweepResult
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.space import Uniform


def train(trial):
    with Path("trained").open("a") as notes:
        notes.write(f"{trial.id}\\n")
    return trial.params["x"]


def best(result: SweepResult) -> float:
    return result.best_score


class Search(Experiment[float]):
    def pipeline(self) -> Pipeline:
        space = {"x": Uniform(0, 1)}
        sweep = SweepExperiment(train, name="inner", search_space=space, optimizer=RandomOptimizer(), seed=1)
        return (
            Pipeline()
            .stage("sweep", sweep, budget=6)
            .through(result=SweepResult)
            .stage("best", best)
            .through(float)
        )


print(Search().run(store="store", resume="resume" in sys.argv).value)
"""


def run(folder: Path, *arguments: str, fail_at: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "METTA_SWEEP_FAIL_AT": fail_at}
    return subprocess.run(
        [sys.executable, "search.py", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("fail_at", ["sweep.committed:5", "sweep.ending:1", "stage.called:2"])
def test_the_inner_sweep_goes_on_where_it_was(fail_at: str, tmp_path: Path) -> None:
    (tmp_path / "search.py").write_text(PROGRAM)
    killed = run(tmp_path, fail_at=fail_at)
    assert killed.returncode == -9, killed.stderr
    trained = (tmp_path / "trained").read_text().split()
    assert len(trained) >= 2
    resumed = run(tmp_path, "resume")
    assert resumed.returncode == 0, resumed.stderr
    again = (tmp_path / "trained").read_text().split()
    # Two workers: at most what they had begun when the driver died is trained again.
    assert len(again) - 6 <= (2 if fail_at.startswith("sweep.committed") else 0)
    assert set(again) == set("012345")
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "search.py").write_text(PROGRAM)
    assert run(tmp_path / "whole").stdout == resumed.stdout
