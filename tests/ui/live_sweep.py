"""A sweep that a test watches: `python -m tests.ui.live_sweep STORE` runs it until its file "go" is there."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from metta.sweep import Trial
from metta.sweep.experiments import SweepExperiment
from metta.sweep.optimizers import RandomOptimizer
from metta.sweep.space import Uniform

FIRST = 5
"""Trials that run before the sweep waits for "go"."""

ALL = 12


def objective(trial: Trial) -> float:
    if trial.id >= FIRST:
        while not Path(os.environ["GO"]).exists():
            time.sleep(0.05)
    if trial.id == 6:
        raise ValueError("this one fails")
    for step in (1, 2, 3):
        print(f"trial {trial.id} step {step}")
        trial.report({"score": trial.params["x"] * step})
    return 3 * float(trial.params["x"])


def main(store: str) -> None:
    space = {"x": Uniform(0.0, 1.0)}
    sweep = SweepExperiment(
        objective, name="watched", search_space=space, optimizer=RandomOptimizer(), seed=1, store=store
    )
    assert len(sweep.run(ALL).trials) == ALL


if __name__ == "__main__":
    main(sys.argv[1])
